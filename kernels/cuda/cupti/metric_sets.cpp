// SPDX-License-Identifier: Apache-2.0
#include "metric_sets.h"

#include <algorithm>
#include <iterator>

namespace xqs::cuda::cupti {
namespace {

/// Bytes read and written, by preference. Which of them a chip has depends on its memory controllers.
constexpr Metric kTraffic[][2] = {
    {{"dram__bytes_read.sum", &CounterFigures::dramRead}, {"dram__bytes_write.sum", &CounterFigures::dramWrite}},
    {{"dram__bytes_op_read.sum", &CounterFigures::dramRead}, {"dram__bytes_op_write.sum", &CounterFigures::dramWrite}},
    {{"fbpa__dram_read_bytes.sum", &CounterFigures::dramRead}, {"fbpa__dram_write_bytes.sum", &CounterFigures::dramWrite}},
};
/// Beside them, the most useful first: the last ones give way where one pass is too little.
constexpr Metric kBeside[] = {
    {"gpu__time_duration.sum", &CounterFigures::seconds, 1e-9},
    {"lts__t_sectors.sum", &CounterFigures::cacheAccesses},
    {"sm__cycles_active.avg", &CounterFigures::cycles},
    {"lts__d_sectors_fill_device.sum", &CounterFigures::cacheMisses},
    {"sm__inst_executed_pipe_tensor.sum", &CounterFigures::tensorInstructions},
};
constexpr Metric kHitRate = {"lts__t_sector_hit_rate.pct", &CounterFigures::cacheHitRate, 0.01};

std::optional<MetricSet> inOnePass(const Library &cupti, CUpti_ProfilerType type, const Chip &chip,
                                   std::vector<Metric> metrics) {
  auto set = Host(cupti, type, chip).schedule(std::move(metrics));
  return set && set->passes == 1 ? std::move(set) : std::nullopt;
}

MetricSet trafficAlone(const Library &cupti, CUpti_ProfilerType type, const Chip &chip) {
  for (const auto &pair : kTraffic)
    if (auto set = inOnePass(cupti, type, chip, {std::begin(pair), std::end(pair)})) return *std::move(set);
  throw Failure(noTrafficCounters(chip.name));
}

} // namespace

std::string MetricSet::names() const {
  std::string text;
  for (const Metric &m : metrics) text += (text.empty() ? "" : " ") + std::string(m.name);
  return text;
}

std::vector<const char *> MetricSet::pointers() const {
  std::vector<const char *> pointers;
  for (const Metric &m : metrics) pointers.push_back(m.name);
  return pointers;
}

void Host::Deinitialize::operator()(CUpti_Profiler_Host_Object *object) const noexcept {
  auto p = XQS_CUPTI_PARAMS(Profiler_Host_Deinitialize);
  p.pHostObject = object;
  (void)cupti->cuptiProfilerHostDeinitialize.pointer(&p);
}

Host::Host(const Library &cupti, CUpti_ProfilerType type, const Chip &chip)
    : m_cupti(cupti), m_object(nullptr, Deinitialize{&cupti}) {
  auto p = XQS_CUPTI_PARAMS(Profiler_Host_Initialize);
  p.profilerType = type;
  p.pChipName = chip.name.c_str();
  p.pCounterAvailabilityImage = chip.availability.empty() ? nullptr : chip.availability.data();
  cupti.call(cupti.cuptiProfilerHostInitialize, &p);
  m_object.reset(p.pHostObject);
}

std::optional<MetricSet> Host::schedule(std::vector<Metric> metrics) {
  MetricSet set{std::move(metrics), {}, 0};
  std::vector<const char *> names = set.pointers();
  auto add = XQS_CUPTI_PARAMS(Profiler_Host_ConfigAddMetrics);
  add.pHostObject = m_object.get();
  add.ppMetricNames = names.data();
  add.numMetrics = names.size();
  const CUptiResult added = m_cupti.cuptiProfilerHostConfigAddMetrics.pointer(&add);
  if (added == CUPTI_ERROR_INVALID_PARAMETER || added == CUPTI_ERROR_INVALID_METRIC_NAME) return {}; // in truth the first
  m_cupti.check(added, m_cupti.cuptiProfilerHostConfigAddMetrics.name);

  auto size = XQS_CUPTI_PARAMS(Profiler_Host_GetConfigImageSize);
  size.pHostObject = m_object.get();
  m_cupti.call(m_cupti.cuptiProfilerHostGetConfigImageSize, &size);
  set.config.resize(size.configImageSize);
  auto image = XQS_CUPTI_PARAMS(Profiler_Host_GetConfigImage);
  image.pHostObject = m_object.get();
  image.configImageSize = set.config.size();
  image.pConfigImage = set.config.data();
  m_cupti.call(m_cupti.cuptiProfilerHostGetConfigImage, &image);
  auto passes = XQS_CUPTI_PARAMS(Profiler_Host_GetNumOfPasses);
  passes.configImageSize = set.config.size();
  passes.pConfigImage = set.config.data();
  m_cupti.call(m_cupti.cuptiProfilerHostGetNumOfPasses, &passes);
  set.passes = passes.numOfPasses;
  return set;
}

CounterFigures Host::evaluate(const MetricSet &set, std::span<const std::uint8_t> image, std::size_t index) const {
  std::vector<const char *> names = set.pointers();
  std::vector<double> values(names.size(), kNotMeasured);
  auto p = XQS_CUPTI_PARAMS(Profiler_Host_EvaluateToGpuValues);
  p.pHostObject = m_object.get();
  p.pCounterDataImage = image.data();
  p.counterDataImageSize = image.size();
  p.rangeIndex = index;
  p.ppMetricNames = names.data();
  p.numMetrics = names.size();
  p.pMetricValues = values.data();
  m_cupti.call(m_cupti.cuptiProfilerHostEvaluateToGpuValues, &p);
  CounterFigures figures;
  for (std::size_t i = 0; i < values.size(); ++i) figures.*set.metrics[i].figure = set.metrics[i].unit * values[i];
  return figures;
}

MetricSet trafficSet(const Library &cupti, const Chip &chip) {
  MetricSet best = trafficAlone(cupti, CUPTI_PROFILER_TYPE_RANGE_PROFILER, chip);
  for (const Metric &metric : kBeside) {
    std::vector<Metric> more = best.metrics;
    more.push_back(metric);
    if (auto set = inOnePass(cupti, CUPTI_PROFILER_TYPE_RANGE_PROFILER, chip, std::move(more))) best = *std::move(set);
  }
  return best;
}

MetricSet hitRateSet(const Library &cupti, const Chip &chip) {
  if (auto set = Host(cupti, CUPTI_PROFILER_TYPE_RANGE_PROFILER, chip).schedule({kHitRate})) return *std::move(set);
  throw Failure(noHitRate(chip.name));
}

MetricSet samplingSet(const Library &cupti, const Chip &chip) {
  return trafficAlone(cupti, CUPTI_PROFILER_TYPE_PM_SAMPLING, chip);
}

bool sampledByCycles(std::string_view chip) { return chip.starts_with("TU") || chip == "GA100"; }

} // namespace xqs::cuda::cupti

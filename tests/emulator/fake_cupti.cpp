// SPDX-License-Identifier: Apache-2.0
// The fake CUPTI: answers, and the host part, which needs no device. See fake_cupti.h.
#include "fake_cupti.h"

#include "fake_images.h"

#include <cupti_profiler_host.h>
#include <cupti_version.h>

#include <cstdio>
#include <cstdlib>

namespace xqs::fake {

int s_held = 0, s_samplesAsked = 0;
bool s_sampled = false;

std::string setting(const char *name) {
  const char *const value = std::getenv(name);
  return value != nullptr ? value : "";
}

bool listed(const char *name, const std::string &item) {
  return ("," + setting(name) + ",").find("," + item + ",") != std::string::npos;
}

void misused(const char *function, const char *why) {
  std::fprintf(stderr, "fake CUPTI: %s: %s\n", function, why);
  std::abort();
}

CUptiResult answerOf(const char *function) {
  const std::string answers = "," + setting("XQS_FAKE_CUPTI_ANSWERS"), wanted = std::string(",") + function + "=";
  const std::size_t at = answers.find(wanted);
  return at == std::string::npos ? CUPTI_SUCCESS : static_cast<CUptiResult>(std::atoi(answers.c_str() + at + wanted.size()));
}

} // namespace xqs::fake

using namespace xqs;

struct CUpti_Profiler_Host_Object {
  CUpti_ProfilerType type;
  bool twoPasses = false;
};

namespace {

struct Metric {
  const char *name;
  double (*of)(const fake::Entry &);
};
constexpr auto kRead = [](const fake::Entry &e) { return e.read; };
constexpr auto kWritten = [](const fake::Entry &e) { return e.written; };
constexpr const char *kHitRate = "lts__t_sector_hit_rate.pct"; ///< two passes
constexpr Metric kMetrics[] = {
    {"dram__bytes_read.sum", kRead},
    {"dram__bytes_write.sum", kWritten},
    {"dram__bytes_op_read.sum", kRead},
    {"dram__bytes_op_write.sum", kWritten},
    {"fbpa__dram_read_bytes.sum", kRead},
    {"fbpa__dram_write_bytes.sum", kWritten},
    {"gpu__time_duration.sum", [](const fake::Entry &e) { return e.nanoseconds; }},
    {"lts__t_sectors.sum", [](const fake::Entry &e) { return (e.read + e.written) / 32; }},
    {"lts__d_sectors_fill_device.sum", [](const fake::Entry &e) { return e.read / 32; }},
    {"sm__cycles_active.avg", [](const fake::Entry &e) { return e.cycles; }},
    {"sm__inst_executed_pipe_tensor.sum", [](const fake::Entry &) { return 0.0; }},
    {kHitRate, [](const fake::Entry &) { return 25.0; }},
};

const Metric *metricOf(const std::string &name) {
  for (const Metric &metric : kMetrics)
    if (name == metric.name && !fake::listed("XQS_FAKE_CUPTI_LACKS", name)) return &metric;
  return nullptr;
}

} // namespace

extern "C" {
__attribute__((visibility("default"))) int xqsFakeCuptiHeld() { return fake::s_held; }
__attribute__((visibility("default"))) int xqsFakeCuptiSamplesAsked() { return fake::s_samplesAsked; }

CUptiResult cuptiGetVersion(std::uint32_t *version) {
  XQS_FAKE_ANSWER();
  *version = CUPTI_API_VERSION;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiGetResultString(CUptiResult, const char **text) {
  *text = "a result of the fake CUPTI";
  return CUPTI_SUCCESS;
}
CUptiResult cuptiGetErrorMessage(CUptiResult, const char **text) {
  *text = "a message of the fake CUPTI";
  return CUPTI_SUCCESS;
}

CUptiResult cuptiProfilerHostInitialize(CUpti_Profiler_Host_Initialize_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_Host_Initialize_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  p->pHostObject = new CUpti_Profiler_Host_Object{p->profilerType};
  ++fake::s_held;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiProfilerHostDeinitialize(CUpti_Profiler_Host_Deinitialize_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_Host_Deinitialize_Params_STRUCT_SIZE);
  delete p->pHostObject;
  --fake::s_held;
  return fake::answerOf(__func__);
}
CUptiResult cuptiProfilerHostGetSupportedChips(CUpti_Profiler_Host_GetSupportedChips_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_Host_GetSupportedChips_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  static constexpr const char *kChips[] = {"GH100"};
  p->numChips = 1, p->ppChipNames = kChips;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiProfilerHostConfigAddMetrics(CUpti_Profiler_Host_ConfigAddMetrics_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_Host_ConfigAddMetrics_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  for (std::size_t i = 0; i < p->numMetrics; ++i) {
    const Metric *const metric = metricOf(p->ppMetricNames[i]);
    if (metric == nullptr) return CUPTI_ERROR_INVALID_PARAMETER;
    p->pHostObject->twoPasses |= metric->name == kHitRate;
  }
  return CUPTI_SUCCESS;
}
CUptiResult cuptiProfilerHostGetConfigImageSize(CUpti_Profiler_Host_GetConfigImageSize_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_Host_GetConfigImageSize_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  p->configImageSize = sizeof(fake::Config);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiProfilerHostGetConfigImage(CUpti_Profiler_Host_GetConfigImage_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_Host_GetConfigImage_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  if (p->configImageSize != sizeof(fake::Config)) return CUPTI_ERROR_PARAMETER_SIZE_NOT_SUFFICIENT;
  const fake::Config config{fake::Config::kMagic, p->pHostObject->twoPasses ? 2u : 1u};
  std::memcpy(p->pConfigImage, &config, sizeof config);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiProfilerHostGetNumOfPasses(CUpti_Profiler_Host_GetNumOfPasses_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_Host_GetNumOfPasses_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  fake::Config config;
  std::memcpy(&config, p->pConfigImage, sizeof config);
  p->numOfPasses = config.passes;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiProfilerHostEvaluateToGpuValues(CUpti_Profiler_Host_EvaluateToGpuValues_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_Host_EvaluateToGpuValues_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  if (p->rangeIndex >= fake::CounterData::headerOf(p->pCounterDataImage).count)
    fake::misused(__func__, "there is no such range or sample");
  const std::string factor = fake::setting("XQS_FAKE_CUPTI_FACTOR");
  const fake::Entry entry = fake::CounterData::entryOf(p->pCounterDataImage, p->rangeIndex);
  for (std::size_t i = 0; i < p->numMetrics; ++i)
    p->pMetricValues[i] = metricOf(p->ppMetricNames[i])->of(entry) * (factor.empty() ? 1 : std::atof(factor.c_str()));
  return CUPTI_SUCCESS;
}
}

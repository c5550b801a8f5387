// SPDX-License-Identifier: Apache-2.0
#include "run/decode_bench.h"

#include "analysis/statistics.h"
#include "engine/seconds.h"
#include "error.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace xqs {

namespace {

double median(const std::vector<double> &values) { return quantileOf(values, 0.5); }

} // namespace

double DecodeResult::share(const std::string &operation) const {
  double sum = 0, of = 0;
  for (const Operation &o : operations) {
    sum += o.seconds;
    if (o.name == operation) of += o.seconds;
  }
  return sum > 0 ? of / sum : 0;
}

DecodeMemory decodeMemory(const DecodeSettings &settings, std::span<const PolicySpec> policies, DType weightType) {
  const auto reader = LoadedShape::open(settings.shape, settings.layers, settings.seed);
  DecodeMemory most;
  for (const PolicySpec &policy : policies) {
    const DecodeMemory need = decodeMemory(settings.point(), policy, reader->config(), weightType);
    if (need.total() + need.host > most.total() + most.host) most = need;
  }
  return most;
}

DecodeBench::DecodeBench(const DecodeSettings &settings, std::vector<PolicySpec> policies, Backend &backend,
                         Progress progress, std::stop_token stop)
    : m_settings(settings), m_policies(std::move(policies)), m_backend(backend), m_progress(std::move(progress)),
      m_stop(std::move(stop)) {
  requireMemory(decodeMemory(m_settings, m_policies, m_backend.weightType()), m_settings.point(), m_backend);
  const auto reader = LoadedShape::open(m_settings.shape, m_settings.layers, m_settings.seed);
  const auto loading = [this](double fraction) { report(fraction, "writing weights"); };
  m_shape = std::make_unique<LoadedShape>(*reader, m_settings.seed, m_backend, loading, m_stop);
  m_shape->calibration().setStop(m_stop);
}

void DecodeBench::report(double fraction, const std::string &text) const {
  if (m_progress) m_progress(fraction, text);
}

DecodeResult DecodeBench::run(const PolicySpec &policy) {
  DecodeResult result;
  result.policy = policy.canonical();
  report(0, "preparing " + result.policy);
  const auto method = prepareMethod(policy, model(), m_shape->calibration());
  report(0, "filling the caches of " + result.policy);
  DecodeSequences sequences(*method, m_settings.point(), m_stop);
  const CacheBytes cache = sequences.front().bytes();
  result.predicted = filledBytes(m_settings.point(), policy, model().shape());

  const Times times = timeSteps(sequences);
  for (std::size_t i = 0; i < times.layers.size(); ++i) result.stepSeconds.push_back(times.layers[i] + times.logits[i]);
  result.lowSeconds = quantileOf(result.stepSeconds, 0.25), result.highSeconds = quantileOf(result.stepSeconds, 0.75);
  result.measured = figures(policy, model().config(), cache, median(result.stepSeconds));

  const ModelConfig whole = shapeConfig(builtInShape(m_settings.shape));
  const double depth = static_cast<double>(whole.shape.layers) / static_cast<double>(model().shape().layers);
  result.scaled = depth == 1 ? result.measured
                             : figures(policy, whole, filledBytes(m_settings.point(), policy, whole.shape),
                                       depth * median(times.layers) + median(times.logits));
  if (m_settings.statistics) result.statisticsCost = statisticsCost(sequences);
  traceSteps(sequences, result);
  return result;
}

DecodeBench::Times DecodeBench::timeSteps(DecodeSequences &sequences) {
  Times times;
  for (Index i = 0; i < m_settings.warmUp + m_settings.steps; ++i) {
    report(static_cast<double>(i) / static_cast<double>(m_settings.warmUp + m_settings.steps), "decoding");
    const auto start = std::chrono::steady_clock::now();
    sequences.layers(m_stop);
    const double layers = secondsSince(start);
    sequences.logits();
    const double both = secondsSince(start);
    if (i < m_settings.warmUp) continue;
    times.layers.push_back(layers), times.logits.push_back(both - layers);
  }
  return times;
}

double DecodeBench::statisticsCost(DecodeSequences &sequences) {
  const auto step = [&](bool on) {
    sequences.setStatistics(on);
    const auto start = std::chrono::steady_clock::now();
    sequences.layers(m_stop);
    return secondsSince(start);
  };
  const double cost = costInTurns(
      m_settings.steps, [&] { return step(true); }, [&] { return step(false); });
  sequences.setStatistics(false);
  return cost;
}

void DecodeBench::traceSteps(DecodeSequences &sequences, DecodeResult &result) {
  struct Tracing {
    Backend &backend;
    ~Tracing() { backend.setTrace({}); }
  } const tracing{m_backend};
  const double share = 1.0 / static_cast<double>(m_settings.traced);
  m_backend.setTrace([&](const KernelRecord &record) {
    const auto named = [&](const auto &o) { return o.name == record.tag.op; };
    auto at = std::find_if(result.operations.begin(), result.operations.end(), named);
    if (at == result.operations.end()) at = result.operations.insert(at, {record.tag.op, 0, 0});
    at->seconds += share * 1e-9 * static_cast<double>(record.durationNs), at->bytes += share * record.bytes;
    auto &kernels = result.attentionKernels;
    if (at->name == "attend" && std::find(kernels.begin(), kernels.end(), record.kernel) == kernels.end())
      kernels.emplace_back(record.kernel);
  });
  for (Index i = 0; i < m_settings.traced; ++i) {
    sequences.layers(m_stop);
    sequences.logits();
  }
}

DecodeFigures DecodeBench::figures(const PolicySpec &policy, const ModelConfig &config, const CacheBytes &cache,
                                   double seconds) const {
  const Index width = sizeOf(model().tokenEmbedding().type), batch = m_settings.batch;
  DecodeFigures f;
  f.stepSeconds = seconds;
  f.tokensPerSecond = static_cast<double>(batch) / seconds;
  f.cache = cache;
  f.weightBytes = weightBytes(config, model().tokenEmbedding().type) + mapBytes(policy, config.shape);
  const Index notRead = config.tiedOutput ? 0 : (config.vocab - batch) * config.shape.d * width;
  f.countedBytes = f.weightBytes - notRead + batch * cache.formatBytes();
  return f;
}

} // namespace xqs

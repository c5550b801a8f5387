// SPDX-License-Identifier: Apache-2.0
#include "run/decode_bench.h"

#include "analysis/statistics.h"
#include "cache/layer_plan.h"
#include "engine/fill.h"
#include "engine/seconds.h"
#include "error.h"
#include "model/random.h"
#include "model/weights.h"
#include "run/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace xqs {

namespace {

constexpr Queue kQueue = Queue::Compute;
constexpr double kGigabyte = 1e9;

ModelConfig configOf(const DecodeSettings &settings) { return shapeConfig(builtInShape(settings.shape), settings.layers); }

/// Room for every step that follows the filling.
CacheSize cacheSize(const DecodeSettings &s) {
  const Index steps = s.warmUp + s.steps + s.traced + (s.statistics ? 2 * s.steps : 0);
  return {s.context + steps, std::min(s.context, kFillTokens), State::Stream, s.placement};
}

CacheBytes predictedBytes(const DecodeSettings &settings, const PolicySpec &policy, const ModelShape &shape) {
  return footprint(cacheLayout(policy, shape), settings.context, cacheSize(settings));
}

/// Activations of the engine, the rows that caches are filled with, and scratch: of one sequence at a time, a chunk of K and
/// V and the rows they come from.
Index workingBytes(const DecodeSettings &settings, const ModelConfig &c) {
  const Index d = c.shape.d, dkv = c.shape.dkv(), dq = c.shape.heads * c.shape.dh;
  const Index row = 3 * d + 2 * dq + 3 * dkv + 2 * c.ffn + c.vocab;
  const CacheSize size = cacheSize(settings);
  const Index rebuilt = settings.form == DecodeSettings::Form::Separate ? size.capacity : Cache::kAttendTokens;
  const Index ahead = settings.form == DecodeSettings::Form::Pipelined
                          ? settings.batch * Stage::kHalves * size.capacity * dkv * sizeOf(DType::F16)
                          : 0;
  return sizeOf(DType::F32) * (settings.batch * row + size.maxStep * (2 * d + 3 * dkv) + rebuilt * (2 * d + 4 * dkv)) +
         ahead;
}

void checkMemory(const DecodeSettings &settings, std::span<const PolicySpec> policies, const Backend &backend) {
  const DecodeMemory need = decodeMemory(settings, policies, backend.weightType());
  const auto gigabytes = [](Index bytes) { return static_cast<double>(bytes) / kGigabyte; };
  // Page-locked memory cannot be paged out: what is available is the most there is.
  if (const Index free = availableMemory(); !backend.hostVisible() && free >= 0 && need.host > free)
    throw Error(
        Code::OutOfMemory,
        fmt::format("{:.1f} GB of the host's memory are needed for {} caches of {} tokens under {} and {:.1f} GB are "
                    "free: lower --context, --batch or --layers",
                    gigabytes(need.host), settings.batch, settings.context, need.policy, gigabytes(free)));
  Index free = backend.freeBytes();
  if (free < 0 && backend.hostVisible()) free = availableMemory();
  if (free < 0 || need.total() <= free) return;
  throw Error(
      Code::OutOfMemory,
      fmt::format("{:.1f} GB are needed (weights {:.1f}, {} caches of {} tokens under {} {:.1f}, working memory {:.1f}) "
                  "and {:.1f} GB are free on {}: lower --context, --batch or --layers",
                  gigabytes(need.total()), gigabytes(need.weights + need.maps), settings.batch, settings.context,
                  need.policy, gigabytes(need.caches), gigabytes(need.working), gigabytes(free), backend.name()));
}

/// Statistics of no text at all: conditioning needs some, and time does not depend on them.
Activations randomActivations(const ModelShape &shape, std::uint64_t seed) {
  Activations a;
  a.tokens = 1;
  Random random(seed);
  for (Index i = 0; i < shape.layers * kSources; ++i) {
    const auto width = static_cast<std::size_t>(sourceWidth(static_cast<Source>(i % kSources), shape));
    ChannelStats c{std::vector<float>(width), std::vector<float>(width)};
    for (float &x : c.mean) x = 0.1f * nearNormal(random.next());
    for (float &x : c.meanAbs) x = std::abs(nearNormal(random.next()));
    a.channels.push_back(std::move(c));
  }
  return a;
}

double quantileOf(std::vector<double> values, double fraction) {
  std::sort(values.begin(), values.end());
  return quantile(values, fraction);
}
double median(const std::vector<double> &values) { return quantileOf(values, 0.5); }

Index mapFloats(const LayerPlan &plan, const ModelShape &shape) {
  Index floats = 0;
  for (const StoredTensor &t : plan.tensors) {
    const Index inputs = sourceWidth(t.source, shape);
    const bool mapped = t.forward != Map::None || t.conditioning.linear();
    if (mapped) floats += t.spec.width * inputs * (plan.chain ? 2 : 1); // a chain needs the way back by itself
    if (t.conditioning.center) floats += (mapped ? t.spec.width : inputs) + (plan.chain ? inputs : 0);
  }
  if (plan.chain) return floats;
  for (const RebuiltSide &side : {plan.k, plan.v}) {
    const StoredTensor &t = plan.tensors[static_cast<std::size_t>(side.tensor)];
    const bool own = side.map == Map::SBk || side.map == Map::SBv || t.conditioning.linear();
    if (own) floats += shape.dkv() * t.spec.width;
    if (t.conditioning.center) floats += shape.dkv();
  }
  return floats;
}

} // namespace

double DecodeResult::share(const std::string &operation) const {
  double sum = 0, of = 0;
  for (const Operation &o : operations) {
    sum += o.seconds;
    if (o.name == operation) of += o.seconds;
  }
  return sum > 0 ? of / sum : 0;
}

Index mapBytes(const PolicySpec &spec, const ModelShape &shape) {
  Index floats = 0;
  for (Index layer = 0; layer < shape.layers; ++layer) floats += mapFloats(layerPlan(spec, shape, layer), shape);
  return floats * sizeOf(DType::F32);
}

DecodeMemory decodeMemory(const DecodeSettings &settings, std::span<const PolicySpec> policies, DType weightType) {
  const ModelConfig config = configOf(settings);
  DecodeMemory most;
  for (const PolicySpec &policy : policies) {
    const CacheBytes cache = predictedBytes(settings, policy, config.shape);
    DecodeMemory need{policy.canonical(), weightBytes(config, weightType), mapBytes(policy, config.shape),
                      settings.batch * (cache.allocated + cache.accumulator + cache.scratch),
                      workingBytes(settings, config)};
    if (settings.placement == Placement::Host) {
      need.host = settings.batch * cache.allocated;
      // The halves of Stage, an eighth in reserve, for layers that may be twice the mean.
      need.caches += 2 * Stage::kHalves * need.host / config.shape.layers * 9 / 8 - need.host;
    }
    if (need.total() + need.host > most.total() + most.host) most = need;
  }
  return most;
}

/// The caches of one policy, filled, and what steps them.
class DecodeBench::Sequences {
public:
  Sequences(const DecodeBench &bench, const Method &method)
      : m_settings(bench.m_settings), m_model(*bench.m_model), m_engine(m_model) {
    std::vector<Cache *> caches;
    for (Index i = 0; i < m_settings.batch; ++i) {
      Cache &cache = *m_caches.emplace_back(method.makeCache(cacheSize(m_settings)));
      if (m_settings.form == DecodeSettings::Form::Separate) cache.setAttendForm(AttendForm::Rebuilt);
      cache.setRebuild(m_settings.form == DecodeSettings::Form::Fused       ? Rebuild::Fused
                       : m_settings.form == DecodeSettings::Form::Pipelined ? Rebuild::Ahead
                                                                            : Rebuild::Chunks);
      if (m_settings.form == DecodeSettings::Form::Separate) cache.setChunk(cacheSize(m_settings).capacity);
      caches.push_back(&cache);
      m_lanes.emplace_back().cache = &cache;
    }
    fillCaches(m_model, caches, m_settings.context, m_settings.seed, bench.m_stop);
    m_logits =
        m_model.backend().allocate(m_settings.batch * m_model.config().vocab * sizeOf(DType::F32), Purpose::Activations);
  }
  const Cache &front() const { return *m_caches.front(); }
  void layers(const std::stop_token &stop) {
    m_model.backend().setTag({-1, -1, "embedding"});
    m_engine.step(m_lanes, {&kToken, 1}, stop);
    m_model.backend().sync(kQueue);
  }
  /// Summaries of X, every layer and sequence, from the next step on, or none.
  void setStatistics(bool on) {
    m_statistics.resize(m_lanes.size(), std::vector<Summary>(static_cast<std::size_t>(m_model.shape().layers)));
    for (std::size_t i = 0; i < m_lanes.size(); ++i) m_lanes[i].statistics = on ? &m_statistics[i] : nullptr;
  }
  /// Of all sequences at once: their hidden states lie behind each other.
  void logits() {
    ConstView hidden = m_engine.hidden(0);
    hidden.rows = m_settings.batch;
    m_engine.logits(hidden, m_logits.f32(m_settings.batch, m_model.config().vocab));
    m_model.backend().sync(kQueue);
  }

private:
  static constexpr TokenId kToken = 1;
  const DecodeSettings &m_settings;
  const Model &m_model;
  Engine m_engine;
  std::vector<std::unique_ptr<Cache>> m_caches;
  std::vector<Lane> m_lanes;
  std::vector<std::vector<Summary>> m_statistics;
  Buffer m_logits;
};

DecodeBench::DecodeBench(const DecodeSettings &settings, std::vector<PolicySpec> policies, Backend &backend,
                         Progress progress, std::stop_token stop)
    : m_settings(settings), m_policies(std::move(policies)), m_backend(backend), m_progress(std::move(progress)),
      m_stop(std::move(stop)) {
  const std::string layers = m_settings.layers > 0 ? fmt::format(",layers={}", m_settings.layers) : "";
  const auto reader = openModel(fmt::format("shape:{}{},seed={}", m_settings.shape, layers, m_settings.seed));
  checkMemory(m_settings, m_policies, m_backend);
  const auto loading = [this](double fraction) { report(fraction, "writing weights"); };
  m_model = Model::load(*reader, m_backend, loading, m_stop);
  m_calibration = std::make_unique<Calibration>(*m_model, std::filesystem::path());
  m_calibration->setStop(m_stop);
  m_calibration->setMeasure("none",
                            [this](std::stop_token) { return randomActivations(m_model->shape(), m_settings.seed); });
}

void DecodeBench::report(double fraction, const std::string &text) const {
  if (m_progress) m_progress(fraction, text);
}

DecodeResult DecodeBench::run(const PolicySpec &policy) {
  DecodeResult result;
  result.policy = policy.canonical();
  report(0, "preparing " + result.policy);
  const auto method = prepareMethod(policy, *m_model, *m_calibration);
  report(0, "filling the caches of " + result.policy);
  Sequences sequences(*this, *method);
  const CacheBytes cache = sequences.front().bytes();
  result.predicted = predictedBytes(m_settings, policy, m_model->shape());

  const Times times = timeSteps(sequences);
  for (std::size_t i = 0; i < times.layers.size(); ++i) result.stepSeconds.push_back(times.layers[i] + times.logits[i]);
  result.lowSeconds = quantileOf(result.stepSeconds, 0.25), result.highSeconds = quantileOf(result.stepSeconds, 0.75);
  result.measured = figures(policy, m_model->config(), cache, median(result.stepSeconds));

  const ModelConfig whole = shapeConfig(builtInShape(m_settings.shape));
  const double depth = static_cast<double>(whole.shape.layers) / static_cast<double>(m_model->shape().layers);
  result.scaled = depth == 1 ? result.measured
                             : figures(policy, whole, predictedBytes(m_settings, policy, whole.shape),
                                       depth * median(times.layers) + median(times.logits));
  if (m_settings.statistics) result.statisticsCost = statisticsCost(sequences);
  traceSteps(sequences, result);
  return result;
}

DecodeBench::Times DecodeBench::timeSteps(Sequences &sequences) {
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

/// Steps in turns, so that what else the machine does meets both.
double DecodeBench::statisticsCost(Sequences &sequences) {
  std::vector<double> with, without;
  for (Index i = 0; i < 2 * m_settings.steps; ++i) {
    sequences.setStatistics(i % 2 == 1);
    const auto start = std::chrono::steady_clock::now();
    sequences.layers(m_stop);
    (i % 2 == 1 ? with : without).push_back(secondsSince(start));
  }
  sequences.setStatistics(false);
  return median(with) / median(without) - 1;
}

void DecodeBench::traceSteps(Sequences &sequences, DecodeResult &result) {
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
  const Index width = sizeOf(m_model->tokenEmbedding().type), batch = m_settings.batch;
  DecodeFigures f;
  f.stepSeconds = seconds;
  f.tokensPerSecond = static_cast<double>(batch) / seconds;
  f.cache = cache;
  f.weightBytes = weightBytes(config, m_model->tokenEmbedding().type) + mapBytes(policy, config.shape);
  const Index notRead = config.tiedOutput ? 0 : (config.vocab - batch) * config.shape.d * width;
  f.countedBytes = f.weightBytes - notRead + batch * cache.formatBytes();
  return f;
}

} // namespace xqs

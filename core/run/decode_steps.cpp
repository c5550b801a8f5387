// SPDX-License-Identifier: Apache-2.0
#include "run/decode_steps.h"

#include "analysis/statistics.h"
#include "engine/fill.h"
#include "error.h"
#include "model/random.h"
#include "run/machine.h"
#include "run/memory_fit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

constexpr Queue kQueue = Queue::Compute;
constexpr TokenId kToken = 1;
constexpr const char *kForms[] = {"separate", "chunked", "fused", "pipelined"}; ///< as DecodeForm

/// Room for every step that follows the filling.
CacheSize cacheSize(const DecodePoint &p) {
  return {p.context + p.steps, std::min(p.context, kFillTokens), State::Stream, p.placement};
}

/// Activations of the engine, the rows that caches are filled with, and scratch: of one sequence at a time, a chunk of K and
/// V and the rows they come from.
Index workingBytes(const DecodePoint &point, const ModelConfig &c) {
  const Index d = c.shape.d, dkv = c.shape.dkv(), dq = c.shape.heads * c.shape.dh;
  const Index row = 3 * d + 2 * dq + 3 * dkv + 2 * c.ffn + c.vocab;
  const CacheSize size = cacheSize(point);
  const Index rebuilt = point.form == DecodeForm::Separate ? size.capacity : Cache::kAttendTokens;
  const Index ahead =
      point.form == DecodeForm::Pipelined ? point.batch * Stage::kHalves * size.capacity * dkv * sizeOf(DType::F16) : 0;
  return sizeOf(DType::F32) * (point.batch * row + size.maxStep * (2 * d + 3 * dkv) + rebuilt * (2 * d + 4 * dkv)) + ahead;
}

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

double gigabytes(Index bytes) { return 1e-9 * static_cast<double>(bytes); }

void requireWeights(const ModelConfig &config, const Backend &backend) {
  const Index need = weightBytes(config, backend.weightType()), free = freeMemory(backend);
  if (free >= 0 && need > free)
    throw MemoryRefusal(fmt::format("the weights of the {} take {:.1f} GB and {:.1f} GB are free on {}: lower --layers",
                                    config.name, gigabytes(need), gigabytes(free), backend.name()));
}

/// What the caches of a point are called in messages.
std::string cachesOf(const DecodePoint &point, const DecodeMemory &need) {
  return fmt::format("{} caches of {} tokens under {}", point.batch, point.context, need.policy);
}

/// The sum's parts; weights that are loaded already are none of them.
std::string partsOf(const DecodePoint &point, const DecodeMemory &need) {
  constexpr double kShown = 0.05; // less reads 0.0
  const double weights = gigabytes(need.weights + need.maps);
  return fmt::format("{}({}{} {:.1f}, working memory {:.1f})", need.weights == 0 ? "beside the loaded model " : "",
                     weights >= kShown ? fmt::format("weights {:.1f}, ", weights) : "", cachesOf(point, need),
                     gigabytes(need.caches), gigabytes(need.working));
}

Rebuild rebuildOf(DecodeForm form) {
  return form == DecodeForm::Fused ? Rebuild::Fused : form == DecodeForm::Pipelined ? Rebuild::Ahead : Rebuild::Chunks;
}

} // namespace

const char *decodeFormName(DecodeForm form) { return kForms[static_cast<std::size_t>(form)]; }
std::vector<std::string> decodeFormNames() { return {std::begin(kForms), std::end(kForms)}; }

DecodeForm parseDecodeForm(std::string_view text) {
  const auto found = std::find(std::begin(kForms), std::end(kForms), text);
  if (found == std::end(kForms))
    throw Error(Code::Usage, fmt::format("no form is called '{}'; there are {}", text, fmt::join(kForms, ", ")));
  return static_cast<DecodeForm>(found - std::begin(kForms));
}

Placement parsePlacement(std::string_view text) {
  for (const Placement p : {Placement::Device, Placement::Host})
    if (text == placementName(p)) return p;
  throw Error(Code::Usage, fmt::format("the placement '{}' is neither device nor host", text));
}

CacheBytes filledBytes(const DecodePoint &point, const PolicySpec &policy, const ModelShape &shape) {
  return footprint(cacheLayout(policy, shape), point.context, cacheSize(point));
}

DecodeMemory decodeMemory(const DecodePoint &point, const PolicySpec &policy, const ModelConfig &config, DType weightType) {
  const CacheBytes cache = filledBytes(point, policy, config.shape);
  DecodeMemory need{policy.canonical(), weightBytes(config, weightType), mapBytes(policy, config.shape),
                    point.batch * (cache.allocated + cache.accumulator + cache.scratch), workingBytes(point, config)};
  if (point.placement == Placement::Host) {
    need.host = point.batch * cache.allocated;
    need.caches += stageBytes(need.host, config.shape.layers) - need.host;
  }
  return need;
}

void requireMemory(const DecodeMemory &need, const DecodePoint &point, const Backend &backend) {
  constexpr const char *kRemedy = "lower --context, --batch or --layers";
  // Page-locked memory cannot be paged out: what is available is the most there is.
  if (const Index free = availableMemory(); !backend.hostVisible() && free >= 0 && need.host > free)
    throw MemoryRefusal(fmt::format("{:.1f} GB of the host's memory are needed for {} and {:.1f} GB are free: {}",
                                    gigabytes(need.host), cachesOf(point, need), gigabytes(free), kRemedy));
  const Index free = freeMemory(backend);
  if (free < 0 || need.total() <= free) return;
  throw MemoryRefusal(fmt::format("{:.1f} GB are needed {} and {:.1f} GB are free on {}: {}", gigabytes(need.total()),
                                  partsOf(point, need), gigabytes(free), backend.name(), kRemedy));
}

std::unique_ptr<ModelReader> LoadedShape::open(const std::string &shape, Index layers, std::uint64_t seed) {
  return openModel(fmt::format("shape:{}{},seed={}", shape, layers > 0 ? fmt::format(",layers={}", layers) : "", seed));
}

LoadedShape::LoadedShape(const ModelReader &reader, std::uint64_t seed, Backend &backend, const Model::Progress &progress,
                         const std::stop_token &stop)
    : m_model((requireWeights(reader.config(), backend), Model::load(reader, backend, progress, stop))),
      m_calibration(std::make_unique<Calibration>(*m_model, std::filesystem::path())) {
  m_calibration->setMeasure("none",
                            [&shape = m_model->shape(), seed](std::stop_token) { return randomActivations(shape, seed); });
}

DecodeSequences::DecodeSequences(const Method &method, const DecodePoint &point, const std::stop_token &stop)
    : m_point(point), m_model(method.model()), m_engine(m_model) {
  std::vector<Cache *> caches;
  for (Index i = 0; i < point.batch; ++i) {
    Cache &cache = *m_caches.emplace_back(method.makeCache(cacheSize(point)));
    cache.setRebuild(rebuildOf(point.form));
    if (point.form == DecodeForm::Separate) {
      cache.setAttendForm(AttendForm::Rebuilt);
      cache.setChunk(cacheSize(point).capacity);
    }
    caches.push_back(&cache);
    m_lanes.emplace_back().cache = &cache;
  }
  fillCaches(m_model, caches, point.context, point.seed, stop);
  m_logits = m_model.backend().allocate(point.batch * m_model.config().vocab * sizeOf(DType::F32), Purpose::Activations);
}

void DecodeSequences::layers(const std::stop_token &stop) {
  m_model.backend().setTag({-1, -1, "embedding"});
  m_engine.step(m_lanes, {&kToken, 1}, stop);
  m_model.backend().sync(kQueue);
}

void DecodeSequences::logits() {
  ConstView hidden = m_engine.hidden(0);
  hidden.rows = m_point.batch;
  m_engine.logits(hidden, m_logits.f32(m_point.batch, m_model.config().vocab));
  m_model.backend().sync(kQueue);
}

bool DecodeSequences::rewind(Index tokens) {
  if (!front().canTruncate(tokens)) return false; // all are alike
  for (const auto &cache : m_caches) cache->truncate(tokens);
  return true;
}

void DecodeSequences::setStatistics(bool on) {
  m_statistics.resize(m_lanes.size(), std::vector<Summary>(static_cast<std::size_t>(m_model.shape().layers)));
  for (std::size_t i = 0; i < m_lanes.size(); ++i) m_lanes[i].statistics = on ? &m_statistics[i] : nullptr;
}

double costInTurns(Index turns, const std::function<double()> &on, const std::function<double()> &off) {
  std::vector<double> with, without;
  for (Index i = 0; i < turns; ++i) without.push_back(off()), with.push_back(on());
  return quantileOf(with, 0.5) / quantileOf(without, 0.5) - 1;
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <algorithm>

namespace xqs {
namespace {
constexpr Queue kQueue = Queue::Compute;
} // namespace

ExactTrace::ExactTrace(const Model &model, Index tokens) : m_model(model), m_tokens(tokens) {
  const ModelShape &s = model.shape();
  for (Index i = 0; i < s.layers; ++i)
    m_layers.push_back(
        model.backend().allocate(tokens * (2 * s.d + 3 * s.dkv()) * sizeOf(DType::F32), Purpose::Activations));
}

View ExactTrace::part(Index layer, Index offset, Index width) const {
  const Buffer &buffer = m_layers[static_cast<std::size_t>(layer)];
  return {buffer.data() + m_tokens * offset * sizeOf(DType::F32), DType::F32, m_tokens, width};
}
View ExactTrace::residual(Index layer) const { return part(layer, 0, m_model.shape().d); }
View ExactTrace::normed(Index layer) const { return part(layer, m_model.shape().d, m_model.shape().d); }
View ExactTrace::k(Index layer) const { return part(layer, 2 * m_model.shape().d, m_model.shape().dkv()); }
View ExactTrace::kRope(Index layer) const {
  return part(layer, 2 * m_model.shape().d + m_model.shape().dkv(), m_model.shape().dkv());
}
View ExactTrace::v(Index layer) const {
  return part(layer, 2 * m_model.shape().d + 2 * m_model.shape().dkv(), m_model.shape().dkv());
}
LayerInput ExactTrace::input(Index layer) const {
  return {residual(layer), normed(layer), k(layer), kRope(layer), v(layer)};
}

View Engine::rows(const Buffer &buffer, Index lane, Index lanes, Index width) const {
  return buffer.f32(m_lanes * m_tokens, width).rowRange(lane * m_tokens, lanes * m_tokens);
}

void Engine::reserve(Index lanes, Index tokens) {
  if (lanes == m_lanes && tokens == m_tokens) return;
  m_lanes = m_tokens = 0; // until all of it is there: memory may run out in between
  const ModelConfig &c = m_model.config();
  const Index d = c.shape.d, dkv = c.shape.dkv(), dq = c.shape.heads * c.shape.dh;
  const std::pair<Buffer *, Index> all[] = {{&m_residual, d}, {&m_normed, d}, {&m_q, dq},        {&m_k, dkv},
                                            {&m_kRope, dkv},  {&m_v, dkv},    {&m_attended, dq}, {&m_gate, c.ffn},
                                            {&m_up, c.ffn},   {&m_hidden, d}};
  for (const auto &[buffer, width] : all) {
    *buffer = {}; // given back before the next one is asked for
    *buffer = m_model.backend().allocate(lanes * tokens * width * sizeOf(DType::F32), Purpose::Activations);
  }
  m_lanes = lanes, m_tokens = tokens;
}

void Engine::step(std::span<const Lane> lanes, std::span<const TokenId> tokens, std::stop_token stop,
                  const LayerRange &range) {
  XQS_ASSERT(!lanes.empty() && !tokens.empty());
  const auto count = static_cast<Index>(lanes.size());
  reserve(count, static_cast<Index>(tokens.size()));
  Backend &backend = m_model.backend();
  const ModelConfig &config = m_model.config();
  const Index d = config.shape.d;

  const View residual = rows(m_residual, 0, count, d);
  for (const Lane &lane : lanes) lane.cache->beginStep(lane.cache->tokens(), m_tokens);
  const ResultsGuard results(backend); // of lanes' statistics
  // A decoding step that nobody looks into can run as one.
  Gathered gathered(backend, m_tokens == 1 && !range.reached && std::all_of(lanes.begin(), lanes.end(), [](const Lane &l) {
                               return l.trace == nullptr && !l.visit && l.perturbation == 0;
                             }));
  for (Index lane = 0; lane < count; ++lane) {
    const Lane &l = lanes[static_cast<std::size_t>(lane)];
    if (range.first > 0)
      backend.copy(kQueue, range.residual, rows(m_residual, lane, 1, d));
    else
      embed(l, l.tokens.empty() ? tokens : l.tokens, rows(m_residual, lane, 1, d));
  }
  const Index last = range.last < 0 ? config.shape.layers : range.last;
  const auto prefetch = [&](Index layer) {
    backend.setTag({static_cast<std::int16_t>(layer), -1, "cache"});
    for (const Lane &lane : lanes) lane.cache->prefetch(layer);
  };
  prefetch(range.first);
  for (Index layer = range.first; layer < last; ++layer) {
    if (stop.stop_requested()) throw Error(Code::Cancelled, "cancelled");
    if (layer + 1 < last) prefetch(layer + 1);
    attentionBlock(lanes, layer);
    feedForwardBlock(count, layer);
    if (range.reached) range.reached(layer + 1, rows(m_residual, 0, 1, d));
  }
  if (last == config.shape.layers)
    backend.rmsNorm(kQueue, residual, m_model.outputNorm(), config.rmsEps, rows(m_hidden, 0, count, d));
  backend.setTag({-1, -1, "cache"});
  for (const Lane &lane : lanes) lane.cache->endStep();
  gathered.submit();
}

void Engine::embed(const Lane &lane, std::span<const TokenId> tokens, View out) {
  XQS_ASSERT(static_cast<Index>(tokens.size()) == m_tokens);
  Backend &backend = m_model.backend();
  backend.embed(kQueue, m_model.tokenEmbedding(), tokens, out);
  if (lane.perturbation == 0) return;
  std::vector<float> host(static_cast<std::size_t>(out.rows * out.cols));
  const Index bytes = out.rows * out.cols * sizeOf(DType::F32);
  backend.download(kQueue, host.data(), out.data, bytes);
  backend.sync(kQueue);
  std::uint64_t random = lane.seed;
  for (float &x : host) {
    random = random * 6364136223846793005ull + 1442695040888963407ull; // Knuth's MMIX generator
    x *= 1 + lane.perturbation * (static_cast<float>(random >> 40) * 0x1p-23f - 1);
  }
  backend.upload(kQueue, out.data, host.data(), bytes);
}

void Engine::attentionBlock(std::span<const Lane> lanes, Index layer) {
  Backend &backend = m_model.backend();
  const ModelConfig &config = m_model.config();
  const ModelShape &s = config.shape;
  const LayerWeights &w = m_model.layer(layer);
  const auto count = static_cast<Index>(lanes.size());
  const Index dq = s.heads * s.dh;

  const View residual = rows(m_residual, 0, count, s.d);
  const View normed = rows(m_normed, 0, count, s.d);
  backend.setTag({static_cast<std::int16_t>(layer), -1, "qkv"});
  backend.rmsNorm(kQueue, residual, w.attentionNorm, config.rmsEps, normed);
  backend.matmulLanes(kQueue, count, normed, w.wq, rows(m_q, 0, count, dq));
  for (Index i = 0; i < count; ++i) {
    const Lane &lane = lanes[static_cast<std::size_t>(i)];
    LayerInput input{rows(m_residual, i, 1, s.d), rows(m_normed, i, 1, s.d), {}, {}, {}};
    backend.setTag({static_cast<std::int16_t>(layer), static_cast<std::int16_t>(i), "qkv"});
    const Index first = lane.cache->stepFirst();
    m_model.rope(kQueue, rows(m_q, i, 1, dq), s.heads, first);
    if (lane.cache->needsKv(layer) || lane.trace != nullptr) computeKv(i, layer, first, input);
    if (lane.trace != nullptr) keep(*lane.trace, layer, input);
    if (lane.statistics != nullptr)
      backend.summarize(kQueue, input.normed, (*lane.statistics)[static_cast<std::size_t>(layer)]);
    backend.setTag({static_cast<std::int16_t>(layer), static_cast<std::int16_t>(i), "cache"});
    lane.cache->append(layer, input);
    lane.cache->advance(layer);
    if (lane.visit) lane.visit(layer, *lane.cache);
    backend.setTag({static_cast<std::int16_t>(layer), static_cast<std::int16_t>(i), "attend"});
    lane.cache->attend(layer, rows(m_q, i, 1, dq), rows(m_attended, i, 1, dq));
  }
  backend.setTag({static_cast<std::int16_t>(layer), -1, "output projection"});
  if (config.residualStrength != 1.0f) backend.scale(kQueue, residual, config.residualStrength);
  backend.matmulLanes(kQueue, count, rows(m_attended, 0, count, dq), w.wo, residual, true);
}

void Engine::computeKv(Index lane, Index layer, Index first, LayerInput &input) {
  Backend &backend = m_model.backend();
  const ModelShape &s = m_model.shape();
  const View k = rows(m_k, lane, 1, s.dkv()), kRope = rows(m_kRope, lane, 1, s.dkv()), v = rows(m_v, lane, 1, s.dkv());
  backend.matmul(kQueue, input.normed, m_model.layer(layer).wk, k);
  backend.matmul(kQueue, input.normed, m_model.layer(layer).wv, v);
  backend.copy(kQueue, k, kRope);
  m_model.rope(kQueue, kRope, s.kvHeads, first);
  input.k = k, input.kRope = kRope, input.v = v;
}

void Engine::keep(const ExactTrace &trace, Index layer, const LayerInput &input) {
  Backend &backend = m_model.backend();
  const Index n = std::min(trace.tokens(), m_tokens);
  backend.copy(kQueue, input.residual.rowRange(0, n), trace.residual(layer).rowRange(0, n));
  backend.copy(kQueue, input.normed.rowRange(0, n), trace.normed(layer).rowRange(0, n));
  backend.copy(kQueue, input.k.rowRange(0, n), trace.k(layer).rowRange(0, n));
  backend.copy(kQueue, input.kRope.rowRange(0, n), trace.kRope(layer).rowRange(0, n));
  backend.copy(kQueue, input.v.rowRange(0, n), trace.v(layer).rowRange(0, n));
}

void Engine::feedForwardBlock(Index count, Index layer) {
  Backend &backend = m_model.backend();
  const ModelConfig &config = m_model.config();
  const LayerWeights &w = m_model.layer(layer);
  const View residual = rows(m_residual, 0, count, config.shape.d);
  const View normed = rows(m_normed, 0, count, config.shape.d);
  const View gate = rows(m_gate, 0, count, config.ffn), up = rows(m_up, 0, count, config.ffn);
  backend.setTag({static_cast<std::int16_t>(layer), -1, "feed forward"});
  backend.rmsNorm(kQueue, residual, w.ffnNorm, config.rmsEps, normed);
  backend.matmulLanes(kQueue, count, normed, w.wGate, gate);
  backend.matmulLanes(kQueue, count, normed, w.wUp, up);
  backend.siluMul(kQueue, gate, up, gate);
  if (config.residualStrength != 1.0f) backend.scale(kQueue, residual, config.residualStrength);
  backend.matmulLanes(kQueue, count, gate, w.wDown, residual, true);
}

View Engine::hidden(Index lane) const { return rows(m_hidden, lane, 1, m_model.shape().d); }

void Engine::logits(ConstView hidden, View out) const {
  m_model.backend().setTag({-1, -1, "logits"});
  m_model.backend().matmul(kQueue, hidden, m_model.output(), out);
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "cache/cache.h"

#include <cmath>

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;

class ExactCache final : public Cache {
public:
  ExactCache(const Model &model, const CacheSize &size) : Cache(model, size) {
    for (Index i = 0; i < model.shape().layers; ++i)
      m_layers.push_back(
          model.backend().allocate(2 * size.capacity * model.shape().dkv() * sizeOf(DType::F32), Purpose::Activations));
  }
  bool needsKv(Index) const override { return true; }
  void append(Index layer, const LayerInput &input) override {
    m_model.backend().copy(kQueue, input.kRope, rows(layer, Side::K, {stepFirst(), stepEnd()}));
    m_model.backend().copy(kQueue, input.v, rows(layer, Side::V, {stepFirst(), stepEnd()}));
  }
  void rebuild(Index layer, Side side, Version, TokenRange range, View out) const override {
    m_model.backend().copy(kQueue, rows(layer, side, range), out);
  }
  Index exactBegin(Index, Side) const override { return 0; }
  ExactFrom exactFrom(Index, Side) const override { return {}; }
  void attend(Index layer, ConstView q, View out) const override {
    AttentionArgs args = attentionArgs(q, out);
    args.k.stored = rows(layer, Side::K, {0, stepEnd()});
    args.v.stored = rows(layer, Side::V, {0, stepEnd()});
    m_model.backend().attention(kQueue, args);
  }
  void endStep() override { finishStep(); }
  CacheBytes bytes() const override { return {}; }

private:
  View rows(Index layer, Side side, TokenRange range) const {
    const View all = m_layers[static_cast<std::size_t>(layer)].f32(2 * m_size.capacity, m_model.shape().dkv());
    return all.rowRange((side == Side::K ? 0 : m_size.capacity) + range.begin, range.size());
  }
  std::vector<Buffer> m_layers; ///< K rows, then V rows
};

} // namespace

const char *siteName(Site site) {
  constexpr const char *kNames[kSites] = {"x", "residual", "delta", "latent_k", "latent_v", "k", "v"};
  return kNames[static_cast<std::size_t>(site)];
}

void Cache::beginStep(Index firstToken, Index count) {
  XQS_ASSERT(firstToken == m_tokens && count > 0 && m_tokens + count <= m_size.capacity && count <= m_size.maxStep);
  m_stepCount = count;
}

AttentionArgs Cache::attentionArgs(ConstView q, View out) const {
  const ModelShape &shape = m_model.shape();
  AttentionArgs args;
  args.q = q;
  args.firstQuery = stepFirst();
  args.heads = shape.heads;
  args.kvHeads = shape.kvHeads;
  args.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.dh)));
  args.out = out;
  return args;
}

void Cache::attend(Index layer, ConstView q, View out) const {
  Backend &backend = m_model.backend();
  const Index dkv = m_model.shape().dkv();
  const TokenRange all{0, stepEnd()};
  AttentionArgs args = attentionArgs(q, out);
  std::vector<Buffer> scratch;
  const auto rebuilt = [&](Side side, Version version, TokenRange range) {
    scratch.push_back(backend.allocate(range.size() * dkv * sizeOf(DType::F32), Purpose::Scratch));
    const View rows = scratch.back().f32(range.size(), dkv);
    rebuild(layer, side, version, range, rows);
    return rows;
  };
  for (const Side side : {Side::K, Side::V}) {
    AttentionSide &s = side == Side::K ? args.k : args.v;
    s.stored = rebuilt(side, Version::Stored, all);
    // With one query the stored form of an open token is its exact one.
    if (const ExactFrom from = exactFrom(layer, side); !from.never() && m_stepCount > 1) {
      s.from = from;
      s.exactBegin = exactBegin(layer, side);
      s.exact = rebuilt(side, Version::Exact, {s.exactBegin, stepEnd()});
    }
  }
  backend.attention(kQueue, args);
}

std::unique_ptr<Cache> makeExactCache(const Model &model, const CacheSize &size) {
  return std::make_unique<ExactCache>(model, size);
}

std::unique_ptr<Method> prepareMethod(const PolicySpec &spec, const Model &model, Calibration &calibration) {
  return spec.method().prepare(spec, model, calibration);
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
// XQuant-CL, arXiv 2508.10395 sec. 3.3 (MHA: deltas of X) and 3.4 (GQA: deltas on Ukv): Delta_i = Q(X_i - X^_{i-1}),
// X^_i = X^_{i-1} + Delta_i from a base layer on; layers below the base are plain XQuant.
#include "cache/accumulator.h"
#include "cache/methods.h"
#include "calibrate/calibration.h"

#include <fmt/format.h>

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;

/// Everything that follows from settings and shape.
struct ClPlan {
  Index base = 0;          ///< the layer whose X starts the sum
  bool latent = false;     ///< deltas go through Ukv
  bool latentBase = false; ///< so does the base
  bool residualDomain = false;
  TensorSpec baseTensor, deltaTensor;
  AccumulatorFormat accumulator;
};

ClPlan planOf(const PolicySpec &spec, const ModelShape &shape) {
  ClPlan p;
  p.base = std::clamp<Index>(spec.integer("first_layers") - 1, 0, shape.layers - 1);
  p.latent = storesLatents(spec, shape);
  p.latentBase = spec.choice("base") == "latent";
  p.residualDomain = spec.choice("domain") == "residual";
  const Index residual = spec.integer("residual");
  const bool perChannel = spec.choice("delta_axis") == "channel";
  if (p.latentBase && !p.latent)
    throw Error(Code::Usage,
                fmt::format("policy '{}': base=latent needs latents; use source=latent or base=full", spec.canonical()));
  if (perChannel && residual > 0)
    throw Error(Code::Usage,
                fmt::format("policy '{}': residual={} is for per-token deltas; use delta_axis=token or residual=0 "
                            "(per-channel deltas keep their open group in FP16)",
                            spec.canonical(), residual));
  const Index latentWidth = std::min(shape.d, 2 * shape.dkv());
  const int firstBits = static_cast<int>(spec.integer("first_bits"));
  p.baseTensor.width = p.latentBase ? latentWidth : shape.d;
  p.baseTensor.bits = firstBits;
  p.baseTensor.group = spec.integer("group");
  p.baseTensor.stream = {0, residual};
  p.deltaTensor = p.baseTensor;
  p.deltaTensor.width = p.latent ? latentWidth : shape.d;
  p.deltaTensor.bits = static_cast<int>(spec.integer("bits"));
  // FP16 deltas are final at once: a base that closed later would move the sum under them.
  if (p.deltaTensor.fp16()) p.baseTensor.stream = p.deltaTensor.stream = {};
  if (perChannel && !p.deltaTensor.fp16()) {
    p.deltaTensor.axis = Axis::Channel;
    p.deltaTensor.stream = {p.deltaTensor.group, 0};
  }
  const std::string &kind = spec.choice("accumulator");
  if (kind == "fp16" || (kind == "first_bits" && firstBits == 16)) {
    p.accumulator.kind = AccumulatorFormat::Kind::F16;
  } else if (kind == "first_bits") {
    p.accumulator.kind = AccumulatorFormat::Kind::Packed;
    p.accumulator.packed = {firstBits, p.baseTensor.group, Axis::Token, 0};
  }
  return p;
}

LayerRecipe belowBase(const PolicySpec &spec, const ModelShape &shape, Index) {
  return xquantRecipe(spec, shape, static_cast<int>(spec.integer("first_bits")), 0);
}

CacheLayout layoutOf(const PolicySpec &spec, const ModelShape &shape) {
  const ClPlan plan = planOf(spec, shape);
  CacheLayout layout;
  for (Index i = 0; i < shape.layers; ++i) {
    auto &tensors = layout.layers.emplace_back();
    if (i >= plan.base)
      tensors.push_back(i == plan.base ? plan.baseTensor : plan.deltaTensor);
    else
      for (const StoredTensor &t : belowBase(spec, shape, i).tensors) tensors.push_back(t.spec);
  }
  layout.accumulatorRowBytes = plan.accumulator.rowBytes(shape.d);
  layout.accumulatorExact = plan.deltaTensor.stream;
  return layout;
}

/// Ukv of one layer as matmul takes it.
struct Projection {
  Buffer forward; ///< Ukv^T [r, d]
  Buffer back;    ///< Ukv [d, r]
};

/// Matrices of the chain layers (base first), shared by all caches of a method.
struct ClPrepared {
  ClPlan plan;
  std::vector<RecipeLayers::Prepared> below;
  std::vector<Projection> projections; ///< empty for deltas of X
};

class ClCache final : public Cache {
public:
  ClCache(const Model &model, const CacheLayout &layout, const ClPrepared &prepared, const CacheSize &size)
      : Cache(model, size), m_prepared(prepared), m_plan(prepared.plan), m_backend(model.backend()),
        m_below(model, prepared.below, size),
        m_stored(model.backend(), m_plan.accumulator, size.capacity, model.shape().d, Purpose::Accumulator),
        m_exact(model.backend(), m_plan.accumulator, accumulatorExactRows(layout, size), model.shape().d,
                Purpose::Accumulator) {
    for (Index i = m_plan.base; i < model.shape().layers; ++i)
      m_chain.emplace_back(model.backend(), i == m_plan.base ? m_plan.baseTensor : m_plan.deltaTensor, size);
    m_windowed = size.state == State::Stream && !layout.accumulatorExact.never();
  }

  bool needsKv(Index) const override { return false; }

  void append(Index layer, const LayerInput &input) override {
    if (layer < m_plan.base) return m_below.append(layer, stepFirst(), input);
    const ConstView x = m_plan.residualDomain ? input.residual : input.normed;
    Rows rows, delta;
    if (layer == m_plan.base) {
      tensor(layer).append(stepFirst(), m_plan.latentBase ? project(layer, x, rows) : x);
      return;
    }
    // Delta_i against what the sum really holds, so that errors do not pile up.
    const TokenRange step{stepFirst(), stepEnd()};
    const View sum = m_windowed ? m_exact.load(inExact(step), m_scratch) : m_stored.load(step, m_scratch);
    const View difference = makeRows(delta, x.rows, x.cols);
    m_backend.subtract(kQueue, x, sum, difference);
    const ConstView stored = m_plan.latent ? project(layer, difference, rows) : ConstView(difference);
    if (m_windowed)
      tensor(layer).storeExact(stepFirst(), stored);
    else
      tensor(layer).append(stepFirst(), stored);
  }

  void advance(Index layer) override {
    if (layer < m_plan.base) return;
    PackedTensor &t = tensor(layer);
    const TokenRange all{0, stepEnd()};
    if (m_windowed) {
      if (layer == m_plan.base) m_exactFirst = std::min(m_openFirst, stepFirst());
      const TokenRange open{m_exactFirst, stepEnd()};
      move(layer, m_exact, inExact(open), Version::Exact, open);
      if (layer > m_plan.base) packClosing(layer, {t.closed(), m_plan.deltaTensor.stream(stepEnd() - 1)});
    }
    move(layer, m_stored, all, Version::Stored, all);
  }

  void rebuild(Index layer, Side side, Version version, TokenRange range, View out) const override {
    if (layer < m_plan.base) return m_below.rebuild(layer, side, version, range, out);
    const LayerWeights &weights = m_model.layer(layer);
    Buffer scratch;
    ConstView x = sum(version, range, scratch);
    Rows normed;
    if (m_plan.residualDomain) {
      const View y = makeRows(normed, x.rows, x.cols);
      m_backend.rmsNorm(kQueue, x, weights.attentionNorm, m_model.config().rmsEps, y);
      x = y;
    }
    m_backend.matmul(kQueue, x, side == Side::K ? weights.wk : weights.wv, out);
    if (side == Side::K) m_backend.rope(kQueue, out, m_model.shape().kvHeads, range.begin, m_model.config().ropeFrequency);
  }

  Index exactBegin(Index layer, Side side) const override {
    return layer < m_plan.base ? m_below.exactBegin(layer, side) : m_exactFirst;
  }
  ExactFrom exactFrom(Index layer, Side side) const override {
    if (layer < m_plan.base) return m_below.exactFrom(layer, side);
    const bool packedAtOnce = layer == m_plan.base && !tensor(layer).windowed(); // nothing of it is ever open
    return m_windowed && !packedAtOnce ? m_plan.deltaTensor.stream : ExactFrom{};
  }

  bool reconstruct(Index layer, Site site, TokenRange range, View out) const override {
    if (layer < m_plan.base) return m_below.reconstruct(layer, site, range, out);
    Buffer scratch;
    if (site == Site::Delta && layer > m_plan.base) {
      readRows(layer, Version::Stored, range, out);
      return true;
    }
    if (site == (m_plan.residualDomain ? Site::Residual : Site::X)) {
      m_backend.copy(kQueue, sum(Version::Stored, range, scratch), out);
      return true;
    }
    if (site != Site::X) return false;
    m_backend.rmsNorm(kQueue, sum(Version::Stored, range, scratch), m_model.layer(layer).attentionNorm,
                      m_model.config().rmsEps, out);
    return true;
  }

  void endStep() override {
    finishStep();
    m_below.endStep(tokens());
    if (!m_windowed) return;
    const Index closed = m_plan.deltaTensor.closedAt(tokens(), State::Stream);
    closeChain({std::max(m_openFirst, m_chain.back().closed()), closed});
    for (PackedTensor &t : m_chain) t.dropClosed();
    m_openFirst = closed;
  }

  CacheBytes bytes() const override {
    CacheBytes sum = m_below.bytes(tokens());
    for (const PackedTensor &t : m_chain) sum += t.bytes(tokens());
    sum.accumulator = m_stored.bytes() + m_exact.bytes();
    return sum;
  }

private:
  using Rows = Buffer;

  PackedTensor &tensor(Index layer) { return m_chain[static_cast<std::size_t>(layer - m_plan.base)]; }
  const PackedTensor &tensor(Index layer) const { return m_chain[static_cast<std::size_t>(layer - m_plan.base)]; }
  /// FP32 scratch [rows, cols] that lives as long as `buffer`.
  View makeRows(Rows &buffer, Index rows, Index cols) const {
    buffer = m_backend.allocate(rows * cols * sizeOf(DType::F32), Purpose::Scratch);
    return buffer.f32(rows, cols);
  }
  TokenRange inExact(TokenRange range) const { return {range.begin - m_exactFirst, range.end - m_exactFirst}; }
  ConstView sum(Version version, TokenRange range, Buffer &scratch) const {
    return version == Version::Stored ? m_stored.load(range, scratch) : m_exact.load(inExact(range), scratch);
  }

  /// x Ukv: [n, d] to [n, r].
  ConstView project(Index layer, ConstView x, Rows &buffer) const {
    const View out = makeRows(buffer, x.rows, m_plan.deltaTensor.width);
    const Projection &p = m_prepared.projections[static_cast<std::size_t>(layer - m_plan.base)];
    m_backend.matmul(kQueue, x, p.forward.f32(m_plan.deltaTensor.width, x.cols), out);
    return out;
  }

  /// What a chain layer stores, as X: out [range.size(), d].
  void readRows(Index layer, Version version, TokenRange range, View out) const {
    const PackedTensor &t = tensor(layer);
    // A base without a window is packed at once: its stored rows are the exact chain's start.
    const Version v = t.windowed() ? version : Version::Stored;
    if (!(layer == m_plan.base ? m_plan.latentBase : m_plan.latent)) return t.read(v, range, out);
    const Projection &p = m_prepared.projections[static_cast<std::size_t>(layer - m_plan.base)];
    t.readMatmul(v, range, p.back.f32(out.cols, t.spec().width), out);
  }

  /// sum[rows] = what the base stores, or sum[rows] += what a layer above stores, of tokens `range`.
  void move(Index layer, Accumulator &into, TokenRange rows, Version version, TokenRange range) {
    if (range.empty()) return;
    Rows buffer;
    const View x = makeRows(buffer, range.size(), m_model.shape().d);
    readRows(layer, version, range, x);
    if (layer == m_plan.base) return into.store(rows, x);
    const View sum = into.load(rows, m_scratch);
    m_backend.add(kQueue, sum, x, sum);
    into.store(rows, sum);
  }

  /// Packs the deltas of tokens whose group closes in this step: Q(exact X_i - stored X^_{i-1}).
  void packClosing(Index layer, TokenRange closing) {
    if (closing.empty()) return;
    Rows exact, stored;
    packDelta(layer, closing, m_exact.load(inExact(closing), exact), m_stored.load(closing, stored));
  }
  void packDelta(Index layer, TokenRange closing, ConstView exact, ConstView stored) {
    Rows difference, latent;
    const View delta = makeRows(difference, closing.size(), exact.cols);
    m_backend.subtract(kQueue, exact, stored, delta);
    tensor(layer).pack(closing.begin, m_plan.latent ? project(layer, delta, latent) : ConstView(delta));
  }

  /// After the step: closes tokens in every chain layer, base first, both sums running over those tokens alone.
  void closeChain(TokenRange closing) {
    if (closing.empty()) return;
    const Index d = m_model.shape().d;
    const TokenRange rows{0, closing.size()};
    Accumulator exact(m_backend, m_plan.accumulator, rows.end, d, Purpose::Scratch);
    Accumulator stored(m_backend, m_plan.accumulator, rows.end, d, Purpose::Scratch);
    Rows exactRows, storedRows;
    for (Index layer = m_plan.base; layer < m_model.shape().layers; ++layer) {
      move(layer, exact, rows, Version::Exact, closing);
      if (layer == m_plan.base) {
        if (tensor(layer).windowed()) tensor(layer).closeTo(closing.end);
      } else {
        packDelta(layer, closing, exact.load(rows, exactRows), stored.load(rows, storedRows));
      }
      move(layer, stored, rows, Version::Stored, closing);
    }
  }

  const ClPrepared &m_prepared;
  const ClPlan &m_plan;
  Backend &m_backend;
  RecipeLayers m_below;
  std::vector<PackedTensor> m_chain; ///< base, then deltas
  Accumulator m_stored;              ///< X^_i of all tokens, as packed (open tokens: as FP16 rows)
  Accumulator m_exact;               ///< X^_i of tokens from m_exactFirst on, along FP16 rows
  Buffer m_scratch;
  Index m_exactFirst = 0; ///< first token of m_exact in this step
  Index m_openFirst = 0;  ///< first token that was open when the last step ended
  bool m_windowed = false;
};

class ClMethod final : public Method {
public:
  ClMethod(const PolicySpec &spec, const Model &model, Calibration &calibration) : Method(spec, model) {
    m_prepared.plan = planOf(spec, model.shape());
    m_prepared.below = RecipeLayers::prepare(spec, model, calibration, belowBase, m_prepared.plan.base);
    if (!m_prepared.plan.latent) return;
    for (Index i = m_prepared.plan.base; i < model.shape().layers; ++i) {
      const Svd &svd = calibration.svd(SvdOf::WkWv, i);
      m_prepared.projections.push_back(
          {uploadMatrix(model.backend(), svd.uTransposed(svd.rank)), uploadMatrix(model.backend(), svd.u)});
    }
  }
  std::unique_ptr<Cache> makeCache(const CacheSize &size) const override {
    return std::make_unique<ClCache>(model(), layout(), m_prepared, size);
  }

private:
  ClPrepared m_prepared;
};

ParameterInfo choice(const char *name, std::vector<std::string> choices, const char *meaning) {
  ParameterInfo p;
  p.name = name;
  p.type = ParameterInfo::Type::Choice;
  p.defaultValue = choices.front();
  p.choices = std::move(choices);
  p.meaning = meaning;
  return p;
}

} // namespace

MethodInfo xquantClMethod() {
  return {"xquant-cl",
          "XQuant-CL",
          "Stores what X changes from layer to layer; a running sum gives X back, then K and V.",
          "arXiv 2508.10395, sec. 3.3 and 3.4",
          {bitsParameter(), groupParameter(128), firstLayersParameter(3), firstBitsParameter(), sourceParameter(),
           choice("domain", {"post_norm", "residual"},
                  "Deltas of the post-norm X, or of the residual stream (the norm is then applied after the sum)."),
           choice("base", {"full", "latent"}, "The base layer stores all of X, or X Ukv (latents only; 2 dkv wide)."),
           choice("delta_axis", {"token", "channel"},
                  "Groups of the deltas run along a token's channels or along a channel's tokens."),
           choice("accumulator", {"fp32", "fp16", "first_bits"},
                  "Precision of the running sum between layers; first_bits quantizes it again after each addition."),
           residualParameter(0)},
          layoutOf,
          [](const PolicySpec &s, const Model &m, Calibration &c) -> std::unique_ptr<Method> {
            return std::make_unique<ClMethod>(s, m, c);
          }};
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
// The running sum of XQuant-CL (arXiv 2508.10395 sec. 3.3, 3.4): the base's rows, then what each layer above adds.
#include "cache/layer_group.h"

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;
constexpr Index kMoveTokens = 512; ///< tokens that a sum takes at a time

class Chain final : public TensorGroup {
public:
  Chain(const Model &model, std::span<const PreparedLayer> links, Index first, const CacheSize &size)
      : TensorGroup(model), m_links(links), m_base(first), m_link(*links.front().plan.chain),
        m_stored(model.backend(), m_link.accumulator, size.capacity, model.shape().d, Purpose::Accumulator),
        m_exact(model.backend(), m_link.accumulator, exactSumRows(m_link.exact, size), model.shape().d,
                Purpose::Accumulator),
        m_windowed(size.state == State::Stream && !m_link.exact.never()) {
    for (const PreparedLayer &link : links) m_tensors.emplace_back(model.backend(), link.plan.tensors.front().spec, size);
  }

  bool needsKv() const override { return false; }

  void append(Index layer, TokenRange step, const LayerInput &input) override {
    m_tokens = step.end;
    const ConstView x = m_link.residualDomain ? input.residual : input.normed;
    Buffer mapped, delta;
    if (layer == m_base) {
      m_stored.resize(step.end);
      tensor(layer).append(step.begin, project(layer, x, mapped));
      return;
    }
    // Delta_i against what the sum really holds, so that errors do not pile up.
    const View difference = makeRows(delta, x.rows, x.cols);
    readSum(m_windowed ? Version::Exact : Version::Stored, step, [&](ConstView sum, Index before) {
      m_backend.subtract(kQueue, x.rowRange(before, sum.rows), sum, difference.rowRange(before, sum.rows));
    });
    const ConstView stored = project(layer, difference, mapped);
    if (m_windowed)
      tensor(layer).storeExact(step.begin, stored);
    else
      tensor(layer).append(step.begin, stored);
  }

  void advance(Index layer, TokenRange step) override {
    PackedTensor &t = tensor(layer);
    const TokenRange all{0, step.end};
    if (m_windowed) {
      if (layer == m_base) m_exactFirst = std::min(m_openFirst, step.begin);
      const TokenRange open{m_exactFirst, step.end};
      move(layer, m_exact, inExact(open), Version::Exact, open);
      if (layer > m_base) packClosing(layer, {t.closed(), m_link.exact(step.end - 1)});
    }
    move(layer, m_stored, all, Version::Stored, all);
  }

  void rows(Index layer, Side, Version version, TokenRange range, View out) const override {
    readSum(version, range, [&](ConstView x, Index before) {
      const View to = out.rowRange(before, x.rows);
      if (m_link.residualDomain)
        m_backend.rmsNorm(kQueue, x, m_model.layer(layer).attentionNorm, m_model.config().rmsEps, to);
      else
        m_backend.copy(kQueue, x, to);
    });
  }
  Index rowWidth(Index, Side) const override { return m_model.shape().d; }
  const AffineMap &map(Index layer, Side side) const override { return side == Side::K ? link(layer).k : link(layer).v; }
  bool ropeAfter(Index) const override { return true; }

  /// The packed sum; where it is the residual stream, its rows are normed first and lie nowhere.
  std::optional<StoredSide> stored(Index, Side) const override {
    return m_link.residualDomain ? std::nullopt : std::optional(m_stored.stored(m_tokens));
  }
  std::span<PackedTensor> tensors(Index layer) override { return {&tensor(layer), 1}; }

  Index exactBegin(Index, Side) const override { return m_exactFirst; }
  ExactFrom exactFrom(Index layer, Side) const override {
    const bool packedAtOnce = layer == m_base && !tensor(layer).windowed(); // nothing of it is ever open
    return m_windowed && !packedAtOnce ? m_link.exact : ExactFrom{};
  }

  bool reconstruct(Index layer, Site site, TokenRange range, View out) const override {
    if (site == Site::Delta && layer > m_base) {
      readRows(layer, Version::Stored, range, out);
      return true;
    }
    if (site == (m_link.residualDomain ? Site::Residual : Site::X)) {
      readSum(Version::Stored, range,
              [&](ConstView x, Index before) { m_backend.copy(kQueue, x, out.rowRange(before, x.rows)); });
      return true;
    }
    if (site != Site::X) return false;
    rows(layer, Side::K, Version::Stored, range, out);
    return true;
  }

  void endStep(Index tokens) override {
    if (!m_windowed) return;
    const Index closed = closedAt(tokens);
    closeChain({std::max(m_openFirst, m_tensors.back().closed()), closed});
    for (PackedTensor &t : m_tensors) t.dropClosed();
    m_openFirst = closed;
  }

  CacheBytes bytes(Index tokens) const override {
    CacheBytes sum = TensorGroup::bytes(tokens);
    sum.accumulator = m_stored.bytes() + m_exact.bytes();
    return sum;
  }

  void resize(Index tokens) override {
    TensorGroup::resize(tokens);
    m_stored.resize(tokens);
    m_openFirst = m_windowed ? closedAt(tokens) : 0;
  }

private:
  struct SumRows {
    const Accumulator &sum;
    TokenRange rows;
  };

  const PreparedLayer &link(Index layer) const { return m_links[static_cast<std::size_t>(layer - m_base)]; }
  PackedTensor &tensor(Index layer) { return m_tensors[static_cast<std::size_t>(layer - m_base)]; }
  const PackedTensor &tensor(Index layer) const { return m_tensors[static_cast<std::size_t>(layer - m_base)]; }
  const TensorMaps &maps(Index layer) const { return link(layer).tensors.front(); }
  /// Tokens that are closed in every link when there are `tokens` of them (State::Stream).
  Index closedAt(Index tokens) const {
    TensorSpec open;
    open.bits = 2; // any packed width: only the bounds are asked for
    open.stream = m_link.exact;
    return open.closedAt(tokens, State::Stream);
  }
  TokenRange inExact(TokenRange range) const { return {range.begin - m_exactFirst, range.end - m_exactFirst}; }
  void readSum(Version version, TokenRange range, const Accumulator::Read &fn) const {
    version == Version::Stored ? m_stored.read(range, fn) : m_exact.read(inExact(range), fn);
  }

  /// X or a delta [n, d] as its layer stores it.
  ConstView project(Index layer, ConstView x, Buffer &buffer) const {
    if (maps(layer).forward.identity()) return x;
    const View out = makeRows(buffer, x.rows, tensor(layer).spec().width);
    applyMap(m_backend, maps(layer).forward, x, out);
    return out;
  }

  /// What a link stores, as X: out [range.size(), d].
  void readRows(Index layer, Version version, TokenRange range, View out) const {
    const PackedTensor &t = tensor(layer);
    // A base without a window is packed at once: its stored rows are the exact chain's start.
    const Version v = t.windowed() ? version : Version::Stored;
    const AffineMap &back = maps(layer).back;
    if (back.matrix.empty())
      t.read(v, range, out);
    else
      t.readMatmul(v, range, back.matrix, out);
    if (!back.bias.empty()) m_backend.addRow(kQueue, out, back.bias);
  }

  /// sum[rows] = what the base stores, or sum[rows] += what a layer above stores, of tokens `range`; in parts, so that
  /// scratch does not grow with the context.
  void move(Index layer, Accumulator &into, TokenRange rows, Version version, TokenRange range) {
    for (Index at = 0; at < range.size(); at += kMoveTokens) {
      const Index end = std::min(at + kMoveTokens, range.size());
      movePart(layer, into, {rows.begin + at, rows.begin + end}, version, {range.begin + at, range.begin + end});
    }
  }
  void movePart(Index layer, Accumulator &into, TokenRange rows, Version version, TokenRange range) {
    Buffer buffer;
    const View x = makeRows(buffer, range.size(), m_model.shape().d);
    readRows(layer, version, range, x);
    if (layer == m_base) return into.store(rows, x);
    into.change(rows, [&](View sum, Index before) { m_backend.add(kQueue, sum, x.rowRange(before, sum.rows), sum); });
  }

  /// Packs the deltas of tokens whose group closes in this step: Q(exact X_i - stored X^_{i-1}).
  void packClosing(Index layer, TokenRange closing) {
    if (closing.empty()) return;
    packDelta(layer, closing, {m_exact, inExact(closing)}, {m_stored, closing});
  }
  void packDelta(Index layer, TokenRange closing, const SumRows &exact, const SumRows &stored) {
    Buffer difference, mapped;
    const View delta = makeRows(difference, closing.size(), m_model.shape().d);
    exact.sum.read(exact.rows, [&](ConstView x, Index at) {
      const Index first = stored.rows.begin + at;
      stored.sum.read({first, first + x.rows}, [&](ConstView sum, Index before) {
        m_backend.subtract(kQueue, x.rowRange(before, sum.rows), sum, delta.rowRange(at + before, sum.rows));
      });
    });
    tensor(layer).pack(closing.begin, project(layer, delta, mapped));
  }

  /// After the step: closes tokens in every link, base first, both sums running over those tokens alone.
  void closeChain(TokenRange closing) {
    if (closing.empty()) return;
    const Index d = m_model.shape().d;
    const TokenRange rows{0, closing.size()};
    Accumulator exact(m_backend, m_link.accumulator, rows.end, d, Purpose::Scratch);
    Accumulator stored(m_backend, m_link.accumulator, rows.end, d, Purpose::Scratch);
    for (Index layer = m_base; layer < m_base + static_cast<Index>(m_links.size()); ++layer) {
      move(layer, exact, rows, Version::Exact, closing);
      if (layer == m_base) {
        if (tensor(layer).windowed()) tensor(layer).closeTo(closing.end);
      } else {
        packDelta(layer, closing, {exact, rows}, {stored, rows});
      }
      move(layer, stored, rows, Version::Stored, closing);
    }
  }

  std::span<const PreparedLayer> m_links; ///< base, then deltas
  Index m_base;
  const ChainLink &m_link; ///< of the base: what all links share
  Accumulator m_stored;    ///< X^_i of all tokens, as packed (open tokens: as FP16 rows); made anew in every step
  Accumulator m_exact;     ///< X^_i of tokens from m_exactFirst on, along FP16 rows
  Index m_tokens = 0;      ///< of the packed sum in this step
  Index m_exactFirst = 0;  ///< first token of m_exact in this step
  Index m_openFirst = 0;   ///< first token that was open when the last step ended
  bool m_windowed;
};

} // namespace

std::unique_ptr<LayerGroup> makeChain(const Model &model, std::span<const PreparedLayer> links, Index first,
                                      const CacheSize &size) {
  return std::make_unique<Chain>(model, links, first, size);
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "cache/layer_group.h"
#include "model/matrices.h"

#include <numeric>

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;

class StoredLayer final : public TensorGroup {
public:
  StoredLayer(const Model &model, const PreparedLayer &layer, const CacheSize &size) : TensorGroup(model), m_layer(layer) {
    for (const StoredTensor &t : layer.plan.tensors) m_tensors.emplace_back(model.backend(), t.spec, size);
  }

  bool needsKv() const override {
    for (const StoredTensor &t : m_layer.plan.tensors)
      if (t.source != Source::X) return true;
    return false;
  }

  void append(Index, TokenRange step, const LayerInput &input) override {
    for (std::size_t i = 0; i < m_tensors.size(); ++i) {
      const StoredTensor &t = m_layer.plan.tensors[i];
      const ConstView rows = t.source == Source::X   ? input.normed
                             : t.source == Source::K ? input.k
                             : t.source == Source::V ? input.v
                                                     : input.kRope;
      const AffineMap &forward = m_layer.tensors[i].forward;
      if (forward.identity()) {
        m_tensors[i].append(step.begin, rows);
        continue;
      }
      Buffer scratch;
      const View mapped = makeRows(scratch, rows.rows, t.spec.width);
      applyMap(m_backend, forward, rows, mapped);
      m_tensors[i].append(step.begin, mapped);
    }
  }

  void endStep(Index tokens) override {
    for (PackedTensor &t : m_tensors) t.endStep(tokens);
  }

  void rows(Index, Side side, Version version, TokenRange range, View out) const override {
    tensor(side).read(version, range, out);
  }
  Index rowWidth(Index, Side side) const override { return tensor(side).spec().width; }
  const AffineMap &map(Index, Side side) const override { return side == Side::K ? m_layer.k : m_layer.v; }
  bool ropeAfter(Index) const override { return m_layer.plan.ropeAfter; }
  void image(Index layer, Side side, Version version, TokenRange range, View out) const override {
    const AffineMap &m = map(layer, side);
    if (m.matrix.empty())
      tensor(side).read(version, range, out);
    else
      tensor(side).readMatmul(version, range, m.matrix, out);
    if (!m.bias.empty()) m_backend.addRow(kQueue, out, m.bias);
  }

  std::optional<StoredSide> stored(Index, Side side) const override { return tensor(side).stored(); }
  std::span<PackedTensor> tensors(Index) override { return m_tensors; }
  bool independent() const override { return true; }

  Index exactBegin(Index, Side side) const override { return tensor(side).exactBegin(); }
  ExactFrom exactFrom(Index, Side side) const override {
    return tensor(side).windowed() ? tensor(side).spec().stream : ExactFrom{};
  }

  bool reconstruct(Index, Site site, TokenRange range, View out) const override {
    for (std::size_t i = 0; i < m_tensors.size(); ++i) {
      const StoredTensor &t = m_layer.plan.tensors[i];
      if (t.site != site || t.mappedWidth != out.cols) continue;
      readOwnChannels(i, range, out);
      return true;
    }
    return false;
  }

private:
  /// A tensor's rows in the channels of its site, out [range.size(), mappedWidth], whatever conditioning made of them:
  /// stored = G y + bias with bias = -G centre and G^T G = 1 (conditioning.h) give y = G^T (stored - bias).
  void readOwnChannels(std::size_t i, TokenRange range, View out) const {
    const StoredTensor &t = m_layer.plan.tensors[i];
    const ConstView bias = m_layer.tensors[i].forward.bias;
    Buffer scratch, negated;
    const bool linear = t.conditioning.linear();
    const View stored = linear ? makeRows(scratch, range.size(), t.spec.width) : out;
    m_tensors[i].read(Version::Stored, range, stored);
    if (!bias.empty()) {
      const View minus = makeRows(negated, 1, t.spec.width);
      m_backend.copy(kQueue, bias, minus);
      m_backend.scale(kQueue, minus, -1);
      m_backend.addRow(kQueue, stored, minus);
    }
    if (linear) m_backend.matmul(kQueue, stored, uploadColumns(i).view, out);
  }

  /// G^T [mappedWidth, width]. Made when a capture asks: it would double what a conditioned layer's maps take.
  Matrix uploadColumns(std::size_t i) const {
    const StoredTensor &t = m_layer.plan.tensors[i];
    const Index inner = t.mappedWidth, width = t.spec.width;
    std::vector<float> g;
    if (t.forward == Map::None) {
      g = downloadMatrix(m_backend, m_layer.tensors[i].forward.matrix);
    } else { // G is folded into the map; a latent's outlier channels are its first
      std::vector<Index> leading(static_cast<std::size_t>(t.conditioning.outlierChannels));
      std::iota(leading.begin(), leading.end(), Index{0});
      g = conditioningMap(t.conditioning, leading, inner);
    }
    std::vector<float> columns(g.size());
    for (Index r = 0; r < width; ++r)
      for (Index c = 0; c < inner; ++c)
        columns[static_cast<std::size_t>(c * width + r)] = g[static_cast<std::size_t>(r * inner + c)];
    return uploadMatrix(m_backend, columns, inner, width);
  }

  const PackedTensor &tensor(Side side) const {
    const RebuiltSide &s = side == Side::K ? m_layer.plan.k : m_layer.plan.v;
    return m_tensors[static_cast<std::size_t>(s.tensor)];
  }
  const PreparedLayer &m_layer;
};

class ExactGroup final : public LayerGroup {
public:
  ExactGroup(const Model &model, const CacheSize &size) : LayerGroup(model) {
    m_layers.resize(static_cast<std::size_t>(model.shape().layers));
    reserve(size.capacity);
  }
  bool needsKv() const override { return true; }
  void append(Index layer, TokenRange step, const LayerInput &input) override {
    m_end = step.end;
    if (step.end > m_rows) reserve(grownRows(step.end, m_rows, m_rows + kBlockTokens));
    m_backend.copy(kQueue, input.kRope, view(layer, Side::K, step));
    m_backend.copy(kQueue, input.v, view(layer, Side::V, step));
  }
  void endStep(Index tokens) override { m_tokens = tokens; }
  CacheBytes bytes(Index) const override { return {}; }
  void visitState(const StateVisitor &visit) const override {
    for (const auto &sides : m_layers)
      for (const Buffer &side : sides) visit(side, m_tokens * m_model.shape().dkv() * sizeOf(DType::F32));
  }
  bool canTruncate(Index) const override { return true; }
  void resize(Index tokens) override {
    if (tokens > m_rows) reserve(tokens);
    m_tokens = tokens;
  }
  void rows(Index layer, Side side, Version, TokenRange range, View out) const override {
    m_backend.copy(kQueue, view(layer, side, range), out);
  }
  Index rowWidth(Index, Side) const override { return m_model.shape().dkv(); }
  const AffineMap &map(Index, Side) const override { return m_identity; }
  bool ropeAfter(Index) const override { return false; }
  std::optional<StoredSide> stored(Index layer, Side side) const override {
    StoredSide s;
    s.width = m_model.shape().dkv();
    StoredSide::Block &block = s.blocks.emplace_back();
    block.rows = m_end, block.plain = view(layer, side, {0, m_end});
    return s;
  }
  Index exactBegin(Index, Side) const override { return 0; }
  ExactFrom exactFrom(Index, Side) const override { return {}; }

private:
  /// More room, contents kept.
  void reserve(Index rows) {
    const Index width = m_model.shape().dkv();
    for (auto &sides : m_layers)
      for (Buffer &old : sides) {
        Buffer larger = m_backend.allocate(rows * width * sizeOf(DType::F32), Purpose::Activations);
        if (m_rows > 0) m_backend.copy(kQueue, old.f32(m_rows, width), larger.f32(m_rows, width));
        old = std::move(larger);
      }
    m_rows = rows;
  }
  View view(Index layer, Side side, TokenRange range) const {
    return m_layers[static_cast<std::size_t>(layer)][static_cast<std::size_t>(side)]
        .f32(m_rows, m_model.shape().dkv())
        .rowRange(range.begin, range.size());
  }
  Index m_rows = 0, m_tokens = 0, m_end = 0; ///< m_end: of the step in progress
  std::vector<std::array<Buffer, 2>> m_layers;
  AffineMap m_identity;
};

} // namespace

void LayerGroup::image(Index layer, Side side, Version version, TokenRange range, View out) const {
  const AffineMap &m = map(layer, side);
  if (m.identity()) return rows(layer, side, version, range, out);
  Buffer scratch;
  const View stored = makeRows(scratch, range.size(), rowWidth(layer, side));
  rows(layer, side, version, range, stored);
  applyMap(m_backend, m, stored, out);
}

std::unique_ptr<LayerGroup> makeExactGroup(const Model &model, const CacheSize &size) {
  return std::make_unique<ExactGroup>(model, size);
}

std::unique_ptr<LayerGroup> makeStoredLayer(const Model &model, const PreparedLayer &layer, const CacheSize &size) {
  return std::make_unique<StoredLayer>(model, layer, size);
}

} // namespace xqs

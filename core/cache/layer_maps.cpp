// SPDX-License-Identifier: Apache-2.0
#include "cache/layer_maps.h"

#include "model/matrices.h"

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;

std::vector<float> transposed(const std::vector<float> &m, Index rows, Index cols) {
  std::vector<float> t(m.size());
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < cols; ++c) t[static_cast<std::size_t>(c * rows + r)] = m[static_cast<std::size_t>(r * cols + c)];
  return t;
}

/// What conditioning does to one tensor of a layer: G, once for the way in and for both ways back.
struct Conditioned {
  std::vector<float> values; ///< G [width, inner]; empty: nothing is mapped
  ConstView g;               ///< the same on the backend
  Buffer owned;              ///< of g, unless the tensor's forward map is g itself
};

class Builder {
public:
  Builder(const Model &model, Calibration &calibration, Index layer)
      : m_backend(model.backend()), m_weights(model.layer(layer)), m_calibration(calibration), m_layer(layer) {}

  Conditioned condition(const StoredTensor &t);
  TensorMaps tensorMaps(const StoredTensor &t, Conditioned &conditioned, bool wantBack);
  AffineMap sideMap(const StoredTensor &t, const RebuiltSide &side, Side which, const Conditioned &conditioned);

  /// The transpose that an absorbed K multiplies queries with.
  void addColumns(AffineMap &map) {
    const std::vector<float> values = downloadMatrix(m_backend, map.matrix);
    Matrix columns =
        uploadMatrix(m_backend, transposed(values, map.matrix.rows, map.matrix.cols), map.matrix.cols, map.matrix.rows);
    map.columns = columns.view, map.ownedColumns = std::move(columns.owned);
  }

private:
  Matrix upload(const std::vector<float> &values, Index rows, Index cols) {
    return uploadMatrix(m_backend, values, rows, cols);
  }
  /// x W^T.
  Matrix product(ConstView from, ConstView w) {
    const Matrix wide = asFloats(m_backend, from);
    const ConstView x = wide.view;
    Matrix m;
    m.owned = m_backend.allocate(x.rows * w.rows * sizeOf(DType::F32), Purpose::Weights);
    const View out = m.owned.f32(x.rows, w.rows);
    m_backend.matmul(kQueue, x, w, out);
    m.view = out;
    return m;
  }
  Matrix negated(Matrix m) {
    m_backend.scale(kQueue, m.owned.f32(m.view.rows, m.view.cols), -1);
    return m;
  }
  Matrix map(Map which, Index rank) {
    switch (which) {
    case Map::None: return {};
    case Map::Wk: return {m_weights.wk, {}};
    case Map::Wv: return {m_weights.wv, {}};
    case Map::Uk: return forwardU(SvdOf::Wk, rank);
    case Map::Uv: return forwardU(SvdOf::Wv, rank);
    case Map::Ukv: return forwardU(SvdOf::WkWv, rank);
    case Map::SBk: return backU(SvdOf::Wk, rank);
    case Map::SBv: return backU(SvdOf::Wv, rank);
    }
    return {};
  }
  Matrix forwardU(SvdOf of, Index rank) {
    const Svd &svd = m_calibration.svd(of, m_layer);
    return upload(svd.uTransposed(rank), rank, svd.d);
  }
  Matrix backU(SvdOf of, Index rank) {
    const Svd &svd = m_calibration.svd(of, m_layer);
    return upload(svd.bTimesS(rank), svd.width, rank);
  }
  /// U [d, r], the transpose of a forward map.
  Matrix uColumns(Map which, Index rank) {
    const SvdOf of = which == Map::Uk ? SvdOf::Wk : which == Map::Uv ? SvdOf::Wv : SvdOf::WkWv;
    const Svd &svd = m_calibration.svd(of, m_layer);
    XQS_ASSERT(rank == svd.rank); // a chain stores full rank
    return upload(svd.u, svd.d, svd.rank);
  }
  static void set(AffineMap &to, Matrix matrix) { to.matrix = matrix.view, to.ownedMatrix = std::move(matrix.owned); }
  static void setBias(AffineMap &to, Matrix bias) { to.bias = bias.view, to.ownedBias = std::move(bias.owned); }
  const std::vector<float> &mean(Source source) { return m_calibration.channels(source, m_layer).mean; }

  Backend &m_backend;
  const LayerWeights &m_weights;
  Calibration &m_calibration;
  Index m_layer;
};

Conditioned Builder::condition(const StoredTensor &t) {
  Conditioned result;
  const Conditioning &c = t.conditioning;
  if (!c.linear()) return result;
  std::vector<Index> outliers;
  if (c.leadingOutliers) {
    for (Index i = 0; i < c.outlierChannels; ++i) outliers.push_back(i);
  } else if (c.outlierChannels > 0) {
    outliers = m_calibration.outlierChannels(t.source, m_layer, c.outlierChannels, c.outliersByWeights);
  }
  result.values = conditioningMap(c, outliers, t.mappedWidth);
  Matrix g = upload(result.values, t.spec.width, t.mappedWidth);
  result.g = g.view, result.owned = std::move(g.owned);
  return result;
}

TensorMaps Builder::tensorMaps(const StoredTensor &t, Conditioned &conditioned, bool wantBack) {
  TensorMaps maps;
  const Conditioning &c = t.conditioning;
  const Index inner = t.mappedWidth, width = t.spec.width;
  Matrix forward, back;
  if (t.forward == Map::None) {
    forward = {conditioned.g, std::move(conditioned.owned)};
    if (wantBack && c.linear()) back = upload(transposed(conditioned.values, width, inner), inner, width);
  } else if (c.linear()) {
    const Matrix columns = uColumns(t.forward, inner); // G U^T = product(G, U)
    forward = product(conditioned.g, columns.view);
    if (wantBack) back = product(columns.view, conditioned.g);
  } else {
    forward = map(t.forward, inner);
    if (wantBack) back = uColumns(t.forward, inner);
  }
  if (c.center) {
    const std::vector<float> &centre = mean(t.source);
    Matrix row = upload(centre, 1, static_cast<Index>(centre.size()));
    setBias(maps.forward,
            negated(forward.view.empty() ? upload(centre, 1, row.view.cols) : product(row.view, forward.view)));
    if (wantBack) setBias(maps.back, std::move(row));
  }
  set(maps.forward, std::move(forward));
  set(maps.back, std::move(back));
  return maps;
}

AffineMap Builder::sideMap(const StoredTensor &t, const RebuiltSide &side, Side which, const Conditioned &conditioned) {
  AffineMap result;
  const Conditioning &c = t.conditioning;
  Matrix m = map(side.map, t.mappedWidth);
  if (c.linear())
    m = m.view.empty() ? upload(transposed(conditioned.values, t.spec.width, t.mappedWidth), t.mappedWidth, t.spec.width)
                       : product(m.view, conditioned.g);
  if (c.center) {
    const std::vector<float> &centre = mean(t.source);
    Matrix row = upload(centre, 1, static_cast<Index>(centre.size()));
    setBias(result,
            t.source == Source::X ? product(row.view, which == Side::K ? m_weights.wk : m_weights.wv) : std::move(row));
  }
  set(result, std::move(m));
  return result;
}

} // namespace

PreparedLayer prepareLayer(const LayerPlan &plan, const Model &model, Calibration &calibration, Index layer) {
  PreparedLayer p;
  p.plan = plan;
  Builder builder(model, calibration, layer);
  std::vector<Conditioned> conditioned;
  for (const StoredTensor &t : plan.tensors) {
    conditioned.push_back(builder.condition(t));
    p.tensors.push_back(builder.tensorMaps(t, conditioned.back(), plan.chain.has_value()));
  }
  if (plan.chain) {
    p.k.matrix = model.layer(layer).wk, p.v.matrix = model.layer(layer).wv;
  } else {
    const auto side = [&](const RebuiltSide &s, Side which) {
      const auto i = static_cast<std::size_t>(s.tensor);
      return builder.sideMap(plan.tensors[i], s, which, conditioned[i]);
    };
    p.k = side(plan.k, Side::K), p.v = side(plan.v, Side::V);
  }
  if (model.config().ropeFrequency.empty() && !p.k.matrix.empty()) builder.addColumns(p.k);
  return p;
}

void applyMap(Backend &backend, const AffineMap &map, ConstView rows, View out) {
  if (map.matrix.empty())
    backend.copy(kQueue, rows, out);
  else
    backend.matmul(kQueue, rows, map.matrix, out);
  if (!map.bias.empty()) backend.addRow(kQueue, out, map.bias);
}

} // namespace xqs

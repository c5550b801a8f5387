// SPDX-License-Identifier: Apache-2.0
#include "cache/layer_maps.h"

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;

/// A matrix on the backend, with what owns it.
struct Matrix {
  ConstView view;
  Buffer owned;
};

class Builder {
public:
  Builder(const Model &model, Calibration &calibration, Index layer)
      : m_backend(model.backend()), m_weights(model.layer(layer)), m_calibration(calibration), m_layer(layer) {}

  TensorMaps tensorMaps(const StoredTensor &t, std::vector<Index> &outliers, bool wantBack);
  AffineMap sideMap(const StoredTensor &t, const RebuiltSide &side, Side which, const std::vector<Index> &outliers);

private:
  Matrix upload(const std::vector<float> &values, Index rows, Index cols) {
    Matrix m;
    m.owned = m_backend.allocate(rows * cols * sizeOf(DType::F32), Purpose::Weights);
    m_backend.upload(kQueue, m.owned.data(), values.data(), m.owned.bytes());
    m.view = m.owned.f32(rows, cols);
    return m;
  }
  /// x W^T.
  Matrix product(ConstView x, ConstView w) {
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

std::vector<float> transposed(const std::vector<float> &m, Index rows, Index cols) {
  std::vector<float> t(m.size());
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < cols; ++c) t[static_cast<std::size_t>(c * rows + r)] = m[static_cast<std::size_t>(r * cols + c)];
  return t;
}

TensorMaps Builder::tensorMaps(const StoredTensor &t, std::vector<Index> &outliers, bool wantBack) {
  TensorMaps maps;
  const Conditioning &c = t.conditioning;
  const Index inner = t.mappedWidth, width = t.spec.width;
  if (c.leadingOutliers) {
    for (Index i = 0; i < c.outlierChannels; ++i) outliers.push_back(i);
  } else if (c.outlierChannels > 0) {
    outliers = m_calibration.outlierChannels(t.source, m_layer, c.outlierChannels, c.outliersByWeights);
  }
  Matrix forward = map(t.forward, inner);
  Matrix back = wantBack && t.forward != Map::None ? uColumns(t.forward, inner) : Matrix{};
  if (c.linear()) {
    const std::vector<float> values = conditioningMap(c, outliers, inner);
    const Matrix g = upload(values, width, inner);
    if (t.forward == Map::None) {
      forward = upload(values, width, inner);
      if (wantBack) back = upload(transposed(values, width, inner), inner, width);
    } else {
      const Matrix columns = uColumns(t.forward, inner); // G U^T = product(G, U)
      forward = product(g.view, columns.view);
      if (wantBack) back = product(columns.view, g.view);
    }
  }
  if (c.center) {
    const std::vector<float> &centre = mean(t.source);
    Matrix row = upload(centre, 1, static_cast<Index>(centre.size()));
    setBias(maps.forward, negated(forward.view.empty() ? upload(centre, 1, row.view.cols) : product(row.view, forward.view)));
    if (wantBack) setBias(maps.back, std::move(row));
  }
  set(maps.forward, std::move(forward));
  set(maps.back, std::move(back));
  return maps;
}

AffineMap Builder::sideMap(const StoredTensor &t, const RebuiltSide &side, Side which, const std::vector<Index> &outliers) {
  AffineMap result;
  const Conditioning &c = t.conditioning;
  Matrix m = map(side.map, t.mappedWidth);
  if (c.linear()) {
    const std::vector<float> values = conditioningMap(c, outliers, t.mappedWidth);
    if (m.view.empty()) {
      m = upload(transposed(values, t.spec.width, t.mappedWidth), t.mappedWidth, t.spec.width);
    } else {
      const Matrix g = upload(values, t.spec.width, t.mappedWidth);
      m = product(m.view, g.view);
    }
  }
  if (c.center) {
    const std::vector<float> &centre = mean(t.source);
    Matrix row = upload(centre, 1, static_cast<Index>(centre.size()));
    setBias(result, t.source == Source::X ? product(row.view, which == Side::K ? m_weights.wk : m_weights.wv)
                                          : std::move(row));
  }
  set(result, std::move(m));
  return result;
}

} // namespace

PreparedLayer prepareLayer(const LayerPlan &plan, const Model &model, Calibration &calibration, Index layer) {
  PreparedLayer p;
  p.plan = plan;
  Builder builder(model, calibration, layer);
  p.outliers.resize(plan.tensors.size());
  for (std::size_t i = 0; i < plan.tensors.size(); ++i)
    p.tensors.push_back(builder.tensorMaps(plan.tensors[i], p.outliers[i], plan.chain.has_value()));
  if (plan.chain) {
    p.k.matrix = model.layer(layer).wk, p.v.matrix = model.layer(layer).wv;
    return p;
  }
  const auto side = [&](const RebuiltSide &s, Side which) {
    const auto i = static_cast<std::size_t>(s.tensor);
    return builder.sideMap(plan.tensors[i], s, which, p.outliers[i]);
  };
  p.k = side(plan.k, Side::K), p.v = side(plan.v, Side::V);
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

// SPDX-License-Identifier: Apache-2.0
#include "cache/recipe.h"

#include "calibrate/calibration.h"

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;

class RecipeCache final : public Cache {
public:
  RecipeCache(const Model &model, const std::vector<RecipeLayers::Prepared> &prepared, const CacheSize &size)
      : Cache(model, size), m_layers(model, prepared, size) {}

  bool needsKv(Index layer) const override { return m_layers.needsKv(layer); }
  void append(Index layer, const LayerInput &input) override { m_layers.append(layer, stepFirst(), input); }
  void rebuild(Index layer, Side side, Version version, TokenRange range, View out) const override {
    m_layers.rebuild(layer, side, version, range, out);
  }
  Index exactBegin(Index layer, Side side) const override { return m_layers.exactBegin(layer, side); }
  ExactFrom exactFrom(Index layer, Side side) const override { return m_layers.exactFrom(layer, side); }
  bool reconstruct(Index layer, Site site, TokenRange range, View out) const override {
    return m_layers.reconstruct(layer, site, range, out);
  }
  void endStep() override {
    finishStep();
    m_layers.endStep(tokens());
  }
  CacheBytes bytes() const override { return m_layers.bytes(tokens()); }

private:
  RecipeLayers m_layers;
};

class RecipeMethod final : public Method {
public:
  RecipeMethod(const PolicySpec &spec, const Model &model, Calibration &calibration, RecipeOf recipeOf)
      : Method(spec, model), m_prepared(RecipeLayers::prepare(spec, model, calibration, recipeOf, model.shape().layers)) {}
  std::unique_ptr<Cache> makeCache(const CacheSize &size) const override {
    return std::make_unique<RecipeCache>(model(), m_prepared, size);
  }

private:
  std::vector<RecipeLayers::Prepared> m_prepared;
};

} // namespace

Buffer uploadMatrix(Backend &backend, const std::vector<float> &values) {
  const Index bytes = static_cast<Index>(values.size() * sizeof(float));
  Buffer buffer = backend.allocate(bytes, Purpose::Weights);
  backend.upload(kQueue, buffer.data(), values.data(), bytes);
  return buffer;
}

ConstView RecipeLayers::Prepared::view(Map map, const LayerWeights &weights) const {
  if (map == Map::Wk) return weights.wk;
  if (map == Map::Wv) return weights.wv;
  for (const auto &[key, buffer] : owned) {
    if (key != map) continue;
    const bool forward = map == Map::Uk || map == Map::Uv;
    const RebuiltSide &side = map == Map::Uk || map == Map::SBk ? recipe.k : recipe.v;
    const Index rank = recipe.tensors[static_cast<std::size_t>(side.tensor)].spec.width;
    return forward ? buffer.f32(rank, weights.wk.cols) : buffer.f32(weights.wk.rows, rank);
  }
  return {};
}

std::vector<RecipeLayers::Prepared> RecipeLayers::prepare(const PolicySpec &spec, const Model &model,
                                                          Calibration &calibration, RecipeOf recipeOf, Index layers) {
  std::vector<Prepared> prepared;
  for (Index layer = 0; layer < layers; ++layer) {
    Prepared p;
    p.recipe = recipeOf(spec, model.shape(), layer);
    const auto own = [&](Map map, Index rank) {
      if (map == Map::None || map == Map::Wk || map == Map::Wv) return;
      const Svd &svd = calibration.svd(map == Map::Uk || map == Map::SBk ? SvdOf::Wk : SvdOf::Wv, layer);
      p.owned.emplace_back(
          map, uploadMatrix(model.backend(), map == Map::Uk || map == Map::Uv ? svd.uTransposed(rank) : svd.bTimesS(rank)));
    };
    for (const StoredTensor &t : p.recipe.tensors) own(t.forward, t.spec.width);
    for (const RebuiltSide &side : {p.recipe.k, p.recipe.v})
      own(side.map, p.recipe.tensors[static_cast<std::size_t>(side.tensor)].spec.width);
    prepared.push_back(std::move(p));
  }
  return prepared;
}

RecipeLayers::RecipeLayers(const Model &model, const std::vector<Prepared> &prepared, const CacheSize &size)
    : m_model(model), m_prepared(prepared) {
  for (const Prepared &p : prepared) {
    auto &tensors = m_tensors.emplace_back();
    for (const StoredTensor &t : p.recipe.tensors) tensors.emplace_back(model.backend(), t.spec, size);
  }
}

bool RecipeLayers::needsKv(Index layer) const {
  for (const StoredTensor &t : m_prepared[static_cast<std::size_t>(layer)].recipe.tensors)
    if (t.source != StoredTensor::Source::X) return true;
  return false;
}

void RecipeLayers::append(Index layer, Index first, const LayerInput &input) {
  const auto l = static_cast<std::size_t>(layer);
  const Prepared &p = m_prepared[l];
  Backend &backend = m_model.backend();
  for (std::size_t i = 0; i < p.recipe.tensors.size(); ++i) {
    const StoredTensor &t = p.recipe.tensors[i];
    ConstView rows;
    switch (t.source) {
    case StoredTensor::Source::X: rows = input.normed; break;
    case StoredTensor::Source::K: rows = input.k; break;
    case StoredTensor::Source::KRope: rows = input.kRope; break;
    case StoredTensor::Source::V: rows = input.v; break;
    }
    Buffer scratch;
    if (t.forward != Map::None) {
      scratch = backend.allocate(rows.rows * t.spec.width * sizeOf(DType::F32), Purpose::Scratch);
      const View latent = scratch.f32(rows.rows, t.spec.width);
      backend.matmul(kQueue, rows, p.view(t.forward, m_model.layer(layer)), latent);
      rows = latent;
    }
    m_tensors[l][i].append(first, rows);
  }
}

const PackedTensor &RecipeLayers::sideTensor(Index layer, Side side) const {
  const auto l = static_cast<std::size_t>(layer);
  const RebuiltSide &s = side == Side::K ? m_prepared[l].recipe.k : m_prepared[l].recipe.v;
  return m_tensors[l][static_cast<std::size_t>(s.tensor)];
}

void RecipeLayers::rebuild(Index layer, Side side, Version version, TokenRange range, View out) const {
  const Prepared &p = m_prepared[static_cast<std::size_t>(layer)];
  const PackedTensor &tensor = sideTensor(layer, side);
  const Map map = side == Side::K ? p.recipe.k.map : p.recipe.v.map;
  if (map == Map::None)
    tensor.read(version, range, out);
  else
    tensor.readMatmul(version, range, p.view(map, m_model.layer(layer)), out);
  if (side == Side::K && p.recipe.ropeAfter)
    m_model.backend().rope(kQueue, out, m_model.shape().kvHeads, range.begin, m_model.config().ropeFrequency);
}

Index RecipeLayers::exactBegin(Index layer, Side side) const { return sideTensor(layer, side).exactBegin(); }

ExactFrom RecipeLayers::exactFrom(Index layer, Side side) const {
  const PackedTensor &tensor = sideTensor(layer, side);
  return tensor.windowed() ? tensor.spec().stream : ExactFrom{};
}

bool RecipeLayers::reconstruct(Index layer, Site site, TokenRange range, View out) const {
  const auto l = static_cast<std::size_t>(layer);
  for (std::size_t i = 0; i < m_tensors[l].size(); ++i) {
    const StoredTensor &t = m_prepared[l].recipe.tensors[i];
    if (t.site != site || t.spec.width != out.cols) continue;
    m_tensors[l][i].read(Version::Stored, range, out);
    return true;
  }
  return false;
}

void RecipeLayers::endStep(Index tokens) {
  for (auto &layer : m_tensors)
    for (PackedTensor &t : layer) t.endStep(tokens);
}

CacheBytes RecipeLayers::bytes(Index tokens) const {
  CacheBytes sum;
  for (const auto &layer : m_tensors)
    for (const PackedTensor &t : layer) sum += t.bytes(tokens);
  return sum;
}

CacheLayout recipeLayout(const PolicySpec &spec, const ModelShape &shape, RecipeOf recipeOf) {
  CacheLayout layout;
  for (Index layer = 0; layer < shape.layers; ++layer) {
    auto &tensors = layout.layers.emplace_back();
    for (const StoredTensor &t : recipeOf(spec, shape, layer).tensors) tensors.push_back(t.spec);
  }
  return layout;
}

std::unique_ptr<Method> prepareRecipe(const PolicySpec &spec, const Model &model, Calibration &calibration,
                                      RecipeOf recipeOf) {
  return std::make_unique<RecipeMethod>(spec, model, calibration, recipeOf);
}

} // namespace xqs

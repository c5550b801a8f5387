// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/cache.h"
#include "cache/packed_tensor.h"

#include <vector>

namespace xqs {

/// A matrix of one layer that rows are multiplied with; W as Backend::matmul takes it, [outputs, inputs].
enum class Map : std::uint8_t {
  None, ///< the row itself
  Wk,   ///< [dkv, d]
  Wv,   ///< [dkv, d]
  Uk,   ///< Uk^T [r, d]: X to the latent of K (method.md 3)
  Uv,   ///< Uv^T [r, d]
  SBk,  ///< Bk Sk [dkv, r]: the latent back to K, the two small matrices fused
  SBv,  ///< Bv Sv [dkv, r]
};

/// A tensor to store: rows of `source`, through `forward`.
struct StoredTensor {
  enum class Source : std::uint8_t { X, K, KRope, V };
  TensorSpec spec;
  Source source = Source::X;
  Map forward = Map::None;
  Site site = Site::X; ///< what captures call it
};
/// K or V of a layer: a stored tensor, through `map`.
struct RebuiltSide {
  int tensor = 0;
  Map map = Map::None;
};
/// One layer of a method whose layers do not depend on each other, as data.
struct LayerRecipe {
  std::vector<StoredTensor> tensors;
  RebuiltSide k, v;
  bool ropeAfter = true; ///< K is stored before RoPE and rotated when it is rebuilt
};
using RecipeOf = LayerRecipe (*)(const PolicySpec &, const ModelShape &, Index layer);

/// The layers [0, layers) of a cache that follow recipes. Also serves the layers below the base of XQuant-CL.
class RecipeLayers {
public:
  /// Matrices of those layers, on the model's backend; shared by all caches of one method.
  struct Prepared {
    LayerRecipe recipe;
    std::vector<std::pair<Map, Buffer>> owned;
    ConstView view(Map map, const LayerWeights &weights) const;
  };
  static std::vector<Prepared> prepare(const PolicySpec &spec, const Model &model, Calibration &calibration,
                                       RecipeOf recipeOf, Index layers);

  RecipeLayers(const Model &model, const std::vector<Prepared> &prepared, const CacheSize &size);
  bool needsKv(Index layer) const;
  void append(Index layer, Index first, const LayerInput &input);
  void rebuild(Index layer, Side side, Version version, TokenRange range, View out) const;
  Index exactBegin(Index layer, Side side) const;
  ExactFrom exactFrom(Index layer, Side side) const;
  bool reconstruct(Index layer, Site site, TokenRange range, View out) const;
  void endStep(Index tokens);
  CacheBytes bytes(Index tokens) const;

private:
  const PackedTensor &sideTensor(Index layer, Side side) const;

  const Model &m_model;
  const std::vector<Prepared> &m_prepared;
  std::vector<std::vector<PackedTensor>> m_tensors; ///< [layer][tensor]
};

CacheLayout recipeLayout(const PolicySpec &spec, const ModelShape &shape, RecipeOf recipeOf);
std::unique_ptr<Method> prepareRecipe(const PolicySpec &spec, const Model &model, Calibration &calibration,
                                      RecipeOf recipeOf);

/// Copies a host matrix [rows, cols] to the model's backend.
Buffer uploadMatrix(Backend &backend, const std::vector<float> &values);

} // namespace xqs

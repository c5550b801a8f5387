// SPDX-License-Identifier: Apache-2.0
#include "cache/methods.h"

namespace xqs {
namespace {

LayerRecipe recipeOf(const PolicySpec &, const ModelShape &shape, Index) {
  TensorSpec rows;
  rows.width = shape.dkv();
  LayerRecipe r;
  r.tensors = {{rows, StoredTensor::Source::KRope, Map::None, Site::K}, {rows, StoredTensor::Source::V, Map::None, Site::V}};
  r.k.tensor = 0, r.v.tensor = 1;
  r.ropeAfter = false;
  return r;
}

} // namespace

MethodInfo fp16Method() {
  return {"fp16",
          "FP16 KV",
          "K (after RoPE) and V in FP16: the baseline that every size is relative to.",
          "arXiv 2508.10395, table 4",
          {},
          [](const PolicySpec &s, const ModelShape &m) { return recipeLayout(s, m, recipeOf); },
          [](const PolicySpec &s, const Model &m, Calibration &c) { return prepareRecipe(s, m, c, recipeOf); }};
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
// KIVI, arXiv 2402.02750 sec. 3: K per channel, V per token. KIVI* is the stronger baseline of arXiv 2508.10395 sec. 4: K
// before RoPE, V's groups across all KV heads.
#include "cache/methods.h"

#include <fmt/format.h>

namespace xqs {
namespace {

LayerRecipe kvRecipe(const PolicySpec &spec, const ModelShape &shape, Index layer, bool original) {
  const Index group = spec.integer("group");
  const Index residual = spec.integer("residual");
  if (original && residual % group != 0)
    throw Error(Code::Usage,
                fmt::format("policy '{}': residual={} must be 0 or a multiple of group={}, because K is packed in "
                            "blocks of residual tokens",
                            spec.canonical(), residual, group));
  TensorSpec k;
  k.width = shape.dkv();
  k.bits = bitsOfLayer(spec, layer);
  k.group = group;
  k.axis = Axis::Channel;
  k.stream.block = original && residual > 0 ? residual : group;
  TensorSpec v = k;
  v.axis = Axis::Token;
  v.segment = original ? shape.dh : 0;
  v.stream = {0, residual};
  LayerRecipe r;
  r.tensors = {{k, original ? StoredTensor::Source::KRope : StoredTensor::Source::K, Map::None, Site::K},
               {v, StoredTensor::Source::V, Map::None, Site::V}};
  r.k.tensor = 0, r.v.tensor = 1;
  r.ropeAfter = !original;
  return r;
}

LayerRecipe original(const PolicySpec &spec, const ModelShape &shape, Index layer) {
  return kvRecipe(spec, shape, layer, true);
}
LayerRecipe star(const PolicySpec &spec, const ModelShape &shape, Index layer) {
  return kvRecipe(spec, shape, layer, false);
}

} // namespace

MethodInfo kiviMethod() {
  return {"kivi",
          "KIVI",
          "K after RoPE per channel, V per token within each head; newest tokens stay FP16 while decoding.",
          "arXiv 2402.02750, sec. 3",
          {bitsParameter(), groupParameter(32), firstLayersParameter(0), firstBitsParameter(), residualParameter(128)},
          [](const PolicySpec &s, const ModelShape &m) { return recipeLayout(s, m, original); },
          [](const PolicySpec &s, const Model &m, Calibration &c) { return prepareRecipe(s, m, c, original); }};
}

MethodInfo kiviStarMethod() {
  return {"kivi-star",
          "KIVI*",
          "K before RoPE per channel, V per token across all KV heads: the stronger baseline of the XQuant paper.",
          "arXiv 2508.10395, sec. 4",
          {bitsParameter(), groupParameter(128), firstLayersParameter(3), firstBitsParameter(), residualParameter(0)},
          [](const PolicySpec &s, const ModelShape &m) { return recipeLayout(s, m, star); },
          [](const PolicySpec &s, const Model &m, Calibration &c) { return prepareRecipe(s, m, c, star); }};
}

} // namespace xqs

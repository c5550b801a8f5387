// SPDX-License-Identifier: Apache-2.0
// KIVI, arXiv 2402.02750 sec. 3: K per channel, V per token. KIVI* is the stronger baseline of arXiv 2508.10395 sec. 4: K
// before RoPE, V's groups across all KV heads.
#include "cache/methods.h"

#include <fmt/format.h>

namespace xqs {
namespace {

LayerPlan kvPlan(const PolicySpec &spec, const ModelShape &shape, Index layer, bool original) {
  const Index group = spec.integer("group");
  const Index residual = spec.integer("residual");
  if (original && residual % group != 0)
    throw Error(Code::Usage,
                fmt::format("policy '{}': residual={} must be 0 or a multiple of group={}, because K is packed in "
                            "blocks of residual tokens",
                            spec.canonical(), residual, group));
  const Conditioning conditioning = conditioningOf(spec);
  TensorSpec k;
  k.width = shape.dkv();
  k.bits = bitsOfLayer(spec, layer);
  k.group = group;
  k.axis = Axis::Channel;
  k.stream.block = original && residual > 0 ? residual : group;
  TensorSpec v = k;
  v.axis = Axis::Token;
  v.segment = original && !conditioning.linear() ? shape.dh : 0; // a conditioned row has no heads
  v.stream = {0, residual};
  LayerPlan p;
  p.tensors = {storedTensor(k, original ? Source::KRope : Source::K, Map::None, Site::K, conditioning, spec),
               storedTensor(v, Source::V, Map::None, Site::V, conditioning, spec)};
  p.k.tensor = 0, p.v.tensor = 1;
  p.ropeAfter = !original;
  return p;
}

} // namespace

MethodInfo kiviMethod() {
  return {"kivi",
          "KIVI",
          "K after RoPE per channel, V per token within each head; newest tokens stay FP16 while decoding.",
          "arXiv 2402.02750, sec. 3",
          withConditioning({bitsParameter(), groupParameter(32), firstLayersParameter(0), firstBitsParameter()}, 128),
          [](const PolicySpec &s, const ModelShape &m, Index layer) { return kvPlan(s, m, layer, true); }};
}

MethodInfo kiviStarMethod() {
  return {"kivi-star",
          "KIVI*",
          "K before RoPE per channel, V per token across all KV heads: the stronger baseline of the XQuant paper.",
          "arXiv 2508.10395, sec. 4",
          withConditioning({bitsParameter(), groupParameter(128), firstLayersParameter(3), firstBitsParameter()}, 0),
          [](const PolicySpec &s, const ModelShape &m, Index layer) { return kvPlan(s, m, layer, false); }};
}

} // namespace xqs

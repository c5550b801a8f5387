// SPDX-License-Identifier: Apache-2.0
// XQuant-CL, arXiv 2508.10395 sec. 3.3 (MHA: deltas of X) and 3.4 (GQA: deltas on Ukv): Delta_i = Q(X_i - X^_{i-1}),
// X^_i = X^_{i-1} + Delta_i from a base layer on; layers below the base are plain XQuant.
#include "cache/methods.h"

#include <fmt/format.h>

namespace xqs {
namespace {

AccumulatorFormat accumulatorOf(const PolicySpec &spec, int firstBits, Index group) {
  AccumulatorFormat format;
  const std::string &kind = spec.choice("accumulator");
  if (kind == "fp16" || (kind == "first_bits" && firstBits == 16)) {
    format.kind = AccumulatorFormat::Kind::F16;
  } else if (kind == "first_bits") {
    format.kind = AccumulatorFormat::Kind::Packed;
    format.packed = {firstBits, group, Axis::Token, 0};
  }
  return format;
}

LayerPlan plan(const PolicySpec &spec, const ModelShape &shape, Index layer) {
  const Index base = std::clamp<Index>(spec.integer("first_layers") - 1, 0, shape.layers - 1);
  if (layer >= base) return chainPlan(spec, shape, layer == base);
  // The published method has no outlier channels below its base; with conditioning they are conditioned as X or latents are.
  return xquantPlan(spec, shape, static_cast<int>(spec.integer("first_bits")));
}

} // namespace

LayerPlan chainPlan(const PolicySpec &spec, const ModelShape &shape, bool base) {
  const bool latents = storesLatents(spec, shape), latentBase = spec.choice("base") == "latent";
  const bool perChannel = spec.choice("delta_axis") == "channel";
  const Index residual = spec.integer("residual");
  if (latentBase && !latents)
    throw Error(Code::Usage,
                fmt::format("policy '{}': base=latent needs latents; use source=latent or base=full", spec.canonical()));
  if (perChannel && residual > 0)
    throw Error(Code::Usage,
                fmt::format("policy '{}': residual={} is for per-token deltas; use delta_axis=token or residual=0 "
                            "(per-channel deltas keep their open group in FP16)",
                            spec.canonical(), residual));
  const int firstBits = static_cast<int>(spec.integer("first_bits")), bits = static_cast<int>(spec.integer("bits"));
  const Index group = spec.integer("group");

  ChainLink link;
  link.base = base;
  link.residualDomain = spec.choice("domain") == "residual";
  link.accumulator = accumulatorOf(spec, firstBits, group);
  // FP16 deltas are final at once: a base that closed later would move the sum under them.
  if (bits != 16) link.exact = perChannel ? ExactFrom{group, 0} : ExactFrom{0, residual};

  TensorSpec tensor;
  tensor.bits = base ? firstBits : bits;
  tensor.group = group;
  if (!base && bits != 16) {
    tensor.axis = perChannel ? Axis::Channel : Axis::Token;
    tensor.stream = link.exact;
  } else if (bits != 16) {
    tensor.stream = {0, residual};
  }
  const bool throughU = base ? latentBase : latents;
  tensor.width = throughU ? std::min(shape.d, 2 * shape.dkv()) : shape.d;
  Conditioning conditioning = conditioningOf(spec);
  conditioning.leadingOutliers = throughU;
  const Source source =
      link.residualDomain ? (base ? Source::Residual : Source::DeltaResidual) : (base ? Source::X : Source::DeltaX);
  LayerPlan p;
  p.tensors = {storedTensor(tensor, source, throughU ? Map::Ukv : Map::None, Site::Delta, conditioning, spec)};
  p.k.map = Map::Wk, p.v.map = Map::Wv;
  p.chain = link;
  return p;
}

MethodInfo xquantClMethod() {
  const auto choice = [](const char *name, std::vector<std::string> choices, const char *meaning) {
    ParameterInfo p;
    p.name = name;
    p.type = ParameterInfo::Type::Choice;
    p.defaultValue = choices.front();
    p.choices = std::move(choices);
    p.meaning = meaning;
    return p;
  };
  return {"xquant-cl",
          "XQuant-CL",
          "Stores what X changes from layer to layer; a running sum gives X back, then K and V.",
          "arXiv 2508.10395, sec. 3.3 and 3.4",
          withConditioning(
              {bitsParameter(), groupParameter(128), firstLayersParameter(3), firstBitsParameter(), sourceParameter(),
               choice("domain", {"post_norm", "residual"},
                      "Deltas of the post-norm X, or of the residual stream (the norm is then applied after the sum)."),
               choice("base", {"full", "latent"}, "The base layer stores all of X, or X Ukv (latents only; 2 dkv wide)."),
               choice("delta_axis", {"token", "channel"},
                      "Groups of the deltas run along a token's channels or along a channel's tokens."),
               choice("accumulator", {"fp32", "fp16", "first_bits"},
                      "Precision of the running sum between layers; first_bits quantizes it again after each addition.")},
              0),
          plan};
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
// XQuant, arXiv 2508.10395: sec. 3.1 (MHA: X per token), sec. 3.2 (GQA: X Uk per channel, X Uv per token), appendix B (FP16
// outlier channel of X Uk).
#include "cache/methods.h"

#include <fmt/format.h>

namespace xqs {

bool storesLatents(const PolicySpec &spec, const ModelShape &shape) {
  const std::string &source = spec.choice("source");
  return source == "latent" || (source == "auto" && !shape.mha());
}

LayerRecipe xquantRecipe(const PolicySpec &spec, const ModelShape &shape, int bits, Index outliers) {
  TensorSpec tensor;
  tensor.bits = bits;
  tensor.group = spec.integer("group");
  tensor.stream = {0, spec.integer("residual")};
  LayerRecipe r;
  if (!storesLatents(spec, shape)) {
    if (outliers > 0)
      throw Error(Code::Usage,
                  fmt::format("policy '{}': outlier_channels needs latents; use source=latent", spec.canonical()));
    tensor.width = shape.d;
    r.tensors = {{tensor, StoredTensor::Source::X, Map::None, Site::X}};
    r.k.map = Map::Wk, r.v.map = Map::Wv;
    return r;
  }
  tensor.width = std::min(shape.d, shape.dkv());
  if (outliers >= tensor.width)
    throw Error(Code::Usage, fmt::format("policy '{}': outlier_channels={} leaves nothing to quantize of {} latent channels",
                                         spec.canonical(), outliers, tensor.width));
  TensorSpec k = tensor;
  k.axis = Axis::Channel;
  k.stream = {k.group, 0};
  k.outliers = bits == 16 ? 0 : outliers;
  r.tensors = {{k, StoredTensor::Source::X, Map::Uk, Site::LatentK},
               {tensor, StoredTensor::Source::X, Map::Uv, Site::LatentV}};
  r.k = {0, Map::SBk};
  r.v = {1, Map::SBv};
  return r;
}

namespace {

LayerRecipe recipeOf(const PolicySpec &spec, const ModelShape &shape, Index layer) {
  return xquantRecipe(spec, shape, bitsOfLayer(spec, layer), spec.integer("outlier_channels"));
}

ParameterInfo outlierChannelsParameter() {
  ParameterInfo p;
  p.name = "outlier_channels";
  p.min = 0, p.max = 4096;
  p.defaultValue = "0";
  p.meaning = "Channels 0 to n-1 of X Uk that stay FP16, in all layers (latents only): 16 bits each instead of a code.";
  return p;
}

} // namespace

MethodInfo xquantMethod() {
  return {"xquant",
          "XQuant",
          "Stores the attention input X (or its latents) and rebuilds K and V from it.",
          "arXiv 2508.10395, sec. 3.1 and 3.2",
          {bitsParameter(), groupParameter(128), firstLayersParameter(3), firstBitsParameter(), sourceParameter(),
           outlierChannelsParameter(), residualParameter(0)},
          [](const PolicySpec &s, const ModelShape &m) { return recipeLayout(s, m, recipeOf); },
          [](const PolicySpec &s, const Model &m, Calibration &c) { return prepareRecipe(s, m, c, recipeOf); }};
}

} // namespace xqs

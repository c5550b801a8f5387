// SPDX-License-Identifier: Apache-2.0
// XQuant, arXiv 2508.10395: sec. 3.1 (MHA: X per token), sec. 3.2 (GQA: X Uk per channel, X Uv per token), appendix B (FP16
// outlier channel of X Uk).
#include "cache/methods.h"

namespace xqs {

bool storesLatents(const PolicySpec &spec, const ModelShape &shape) {
  const std::string &source = spec.choice("source");
  return source == "latent" || (source == "auto" && !shape.mha());
}

LayerPlan xquantPlan(const PolicySpec &spec, const ModelShape &shape, int bits) {
  Conditioning conditioning = conditioningOf(spec);
  TensorSpec tensor;
  tensor.bits = bits;
  tensor.group = spec.integer("group");
  tensor.stream = {0, spec.integer("residual")};
  LayerPlan p;
  if (!storesLatents(spec, shape)) {
    tensor.width = shape.d;
    p.tensors = {storedTensor(tensor, Source::X, Map::None, Site::X, conditioning, spec)};
    p.k.map = Map::Wk, p.v.map = Map::Wv;
    return p;
  }
  tensor.width = std::min(shape.d, shape.dkv());
  TensorSpec k = tensor;
  k.axis = Axis::Channel;
  k.stream = {k.group, 0};
  conditioning.leadingOutliers = true; // all of them sit in the first channels of X Uk (appendix B); X Uv has none
  Conditioning vConditioning = conditioning;
  vConditioning.outlierChannels = 0;
  p.tensors = {storedTensor(k, Source::X, Map::Uk, Site::LatentK, conditioning, spec),
               storedTensor(tensor, Source::X, Map::Uv, Site::LatentV, vConditioning, spec)};
  p.k = {0, Map::SBk};
  p.v = {1, Map::SBv};
  return p;
}

MethodInfo xquantMethod() {
  return {"xquant",
          "XQuant",
          "Stores the attention input X (or its latents) and rebuilds K and V from it.",
          "arXiv 2508.10395, sec. 3.1 and 3.2",
          withConditioning(
              {bitsParameter(), groupParameter(128), firstLayersParameter(3), firstBitsParameter(), sourceParameter()}, 0),
          [](const PolicySpec &s, const ModelShape &m, Index layer) { return xquantPlan(s, m, bitsOfLayer(s, layer)); }};
}

} // namespace xqs

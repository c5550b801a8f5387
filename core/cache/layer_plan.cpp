// SPDX-License-Identifier: Apache-2.0
#include "cache/layer_plan.h"

#include <fmt/format.h>

namespace xqs {

const char *siteName(Site site) {
  constexpr const char *kNames[kSites] = {"x", "residual", "delta", "latent_k", "latent_v", "k", "v"};
  return kNames[static_cast<std::size_t>(site)];
}

bool sameChain(const ChainLink &a, const ChainLink &b) {
  return a.residualDomain == b.residualDomain && a.accumulator == b.accumulator && a.exact == b.exact;
}

LayerPlan layerPlan(const PolicySpec &spec, const ModelShape &shape, Index layer) {
  return spec.method().plan(spec, shape, layer);
}

bool storesFp16Kv(const LayerPlan &plan) {
  const auto plain = [&](const RebuiltSide &side, Source source) {
    const StoredTensor &t = plan.tensors[static_cast<std::size_t>(side.tensor)];
    return t.source == source && t.spec.fp16() && t.forward == Map::None && side.map == Map::None;
  };
  return !plan.chain && plain(plan.k, Source::KRope) && plain(plan.v, Source::V);
}

bool needsCalibration(const PolicySpec &spec, const ModelShape &shape) {
  for (Index layer = 0; layer < shape.layers; ++layer)
    for (const StoredTensor &t : layerPlan(spec, shape, layer).tensors)
      if (t.conditioning.needsCalibration()) return true;
  return false;
}

StoredTensor storedTensor(TensorSpec spec, Source source, Map forward, Site site, const Conditioning &conditioning,
                          const PolicySpec &policy) {
  StoredTensor t{spec, source, forward, site, conditioning, spec.width};
  if (spec.fp16()) { // nothing is quantized, nothing needs help
    t.conditioning = {};
    return t;
  }
  if (conditioning.outlierChannels >= spec.width)
    throw Error(Code::Usage, fmt::format("policy '{}': outlier_channels={} leaves nothing to quantize of {} channels",
                                         policy.canonical(), conditioning.outlierChannels, spec.width));
  t.spec.width = conditioning.storedWidth(spec.width);
  t.spec.outliers = conditioning.outlierChannels;
  t.spec.sinks = conditioning.sinkTokens;
  return t;
}

} // namespace xqs

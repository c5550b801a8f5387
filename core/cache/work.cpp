// SPDX-License-Identifier: Apache-2.0
#include "cache/work.h"

#include "cache/layer_plan.h"

namespace xqs {
namespace {

bool isProjected(Source source) { return source == Source::K || source == Source::V || source == Source::KRope; }

Index storeMacs(const StoredTensor &t, const ModelShape &shape) {
  const Index inputs = sourceWidth(t.source, shape);
  const Index projection = isProjected(t.source) ? shape.d * shape.dkv() : 0;
  const bool mapped = t.forward != Map::None || t.conditioning.linear();
  return projection + (mapped ? t.spec.width * inputs : 0); // forward map and conditioning are folded into one
}

Index rebuildMacs(const LayerPlan &plan, const ModelShape &shape) {
  if (plan.chain) { // back to X's channels, where stored otherwise; then K and V
    const StoredTensor &t = plan.tensors.front();
    const bool mapped = t.forward != Map::None || t.conditioning.linear();
    return (mapped ? t.spec.width * shape.d : 0) + 2 * shape.d * shape.dkv();
  }
  Index macs = 0;
  for (const RebuiltSide &side : {plan.k, plan.v}) {
    const StoredTensor &t = plan.tensors[static_cast<std::size_t>(side.tensor)];
    if (side.map != Map::None || t.conditioning.linear()) macs += t.spec.width * shape.dkv();
  }
  return macs;
}

} // namespace

CacheWork cacheWork(const PolicySpec &spec, const ModelShape &shape) {
  CacheWork work;
  for (Index layer = 0; layer < shape.layers; ++layer) {
    const LayerPlan plan = layerPlan(spec, shape, layer);
    for (const StoredTensor &t : plan.tensors) work.storeMacs += storeMacs(t, shape);
    work.rebuildMacs += rebuildMacs(plan, shape);
  }
  return work;
}

} // namespace xqs

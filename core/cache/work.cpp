// SPDX-License-Identifier: Apache-2.0
#include "cache/work.h"

namespace xqs {
namespace {

bool isProjected(Source source) { return source == Source::K || source == Source::V || source == Source::KRope; }

Index storeMacs(const StoredTensor &t, const ModelShape &shape) {
  const Index inputs = sourceWidth(t.source, shape);
  const Index projection = isProjected(t.source) ? shape.d * shape.dkv() : 0;
  const bool mapped = t.forward != Map::None || t.conditioning.linear();
  return projection + (mapped ? t.spec.width * inputs : 0); // forward map and conditioning are folded into one
}

} // namespace

RebuildWork rebuildWork(const LayerPlan &plan, const ModelShape &shape) {
  if (plan.chain) { // back to X's channels, where stored otherwise; then K and V
    const StoredTensor &t = plan.tensors.front();
    const bool mapped = t.forward != Map::None || t.conditioning.linear();
    return {mapped ? t.spec.width * shape.d : 0, shape.d * shape.dkv(), shape.d * shape.dkv()};
  }
  const auto image = [&](const RebuiltSide &side) -> Index {
    const StoredTensor &t = plan.tensors[static_cast<std::size_t>(side.tensor)];
    return side.map != Map::None || t.conditioning.linear() ? t.spec.width * shape.dkv() : 0;
  };
  return {0, image(plan.k), image(plan.v)};
}

CacheWork cacheWork(const PolicySpec &spec, const ModelShape &shape) {
  CacheWork work;
  for (Index layer = 0; layer < shape.layers; ++layer) {
    const LayerPlan plan = layerPlan(spec, shape, layer);
    for (const StoredTensor &t : plan.tensors) work.storeMacs += storeMacs(t, shape);
    work.rebuildMacs += rebuildWork(plan, shape).macs();
  }
  return work;
}

Index mapBytes(const LayerPlan &plan, const ModelShape &shape) {
  Index floats = 0;
  for (const StoredTensor &t : plan.tensors) {
    const Index inputs = sourceWidth(t.source, shape);
    const bool mapped = t.forward != Map::None || t.conditioning.linear();
    if (mapped) floats += t.spec.width * inputs * (plan.chain ? 2 : 1); // a chain needs the way back by itself
    if (t.conditioning.center) floats += (mapped ? t.spec.width : inputs) + (plan.chain ? inputs : 0);
  }
  if (!plan.chain)
    for (const RebuiltSide &side : {plan.k, plan.v}) {
      const StoredTensor &t = plan.tensors[static_cast<std::size_t>(side.tensor)];
      const bool own = side.map == Map::SBk || side.map == Map::SBv || t.conditioning.linear();
      if (own) floats += shape.dkv() * t.spec.width;
      if (t.conditioning.center) floats += shape.dkv();
    }
  return floats * sizeOf(DType::F32);
}

Index mapBytes(const PolicySpec &spec, const ModelShape &shape) {
  Index bytes = 0;
  for (Index layer = 0; layer < shape.layers; ++layer) bytes += mapBytes(layerPlan(spec, shape, layer), shape);
  return bytes;
}

} // namespace xqs

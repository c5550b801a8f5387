// SPDX-License-Identifier: Apache-2.0
#include "cache/methods.h"

namespace xqs {
namespace {

LayerPlan plan(const PolicySpec &spec, const ModelShape &shape, Index) {
  TensorSpec rows;
  rows.width = shape.dkv();
  LayerPlan p;
  p.tensors = {storedTensor(rows, Source::KRope, Map::None, Site::K, {}, spec),
               storedTensor(rows, Source::V, Map::None, Site::V, {}, spec)};
  p.k.tensor = 0, p.v.tensor = 1;
  p.ropeAfter = false;
  return p;
}

} // namespace

MethodInfo fp16Method() {
  return {"fp16",
          "FP16 KV",
          "K (after RoPE) and V in FP16: the baseline that every size is relative to.",
          "arXiv 2508.10395, table 4",
          {},
          plan};
}

} // namespace xqs

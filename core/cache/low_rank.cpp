// SPDX-License-Identifier: Apache-2.0
// Plain low rank: X times the first r left singular vectors of Wk and of Wv, in FP16 (baselines.md 9; Palu arXiv 2407.21118
// without whitening and head groups).
#include "cache/methods.h"

#include <fmt/format.h>

namespace xqs {
namespace {

LayerPlan plan(const PolicySpec &spec, const ModelShape &shape, Index) {
  TensorSpec rows;
  rows.width = spec.integer("rank");
  const Index full = std::min(shape.d, shape.dkv());
  if (rows.width > full)
    throw Error(Code::Usage, fmt::format("policy '{}': rank={} is above the full rank {} of this model's Wk and Wv",
                                         spec.canonical(), rows.width, full));
  LayerPlan p;
  p.tensors = {storedTensor(rows, Source::X, Map::Uk, Site::LatentK, {}, spec),
               storedTensor(rows, Source::X, Map::Uv, Site::LatentV, {}, spec)};
  p.k = {0, Map::SBk};
  p.v = {1, Map::SBv};
  return p;
}

} // namespace

MethodInfo lowRankMethod() {
  ParameterInfo rank;
  rank.name = "rank";
  rank.min = 1, rank.max = 65536;
  rank.meaning = "Singular directions kept of Wk and of Wv; at most the KV width.";
  return {"low-rank",
          "Low rank",
          "X on the first singular directions of Wk and of Wv, in FP16.",
          "baselines: arXiv 2407.21118, sec. 3",
          {rank},
          plan};
}

} // namespace xqs

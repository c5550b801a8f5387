// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layer_plan.h"
#include "calibrate/calibration.h"

namespace xqs {

/// A matrix with a row that is added behind it, on the model's backend: y = x W^T + bias. Empty: y = x.
struct AffineMap {
  ConstView matrix, bias; ///< [outputs, inputs], [1, outputs]; either may be empty
  Buffer ownedMatrix, ownedBias;
  bool identity() const { return matrix.empty() && bias.empty(); }
};

/// What a tensor's rows go through: `forward` on the way in (its bias is -W centre), `back` to the source's own channels,
/// for a chain's sum and for captures.
struct TensorMaps {
  AffineMap forward, back;
};

/// One layer of a method, prepared for one model: its plan, and every matrix that the plan and its conditioning need, folded
/// (method.md 9: K = (X T)(T^-1 Wk)). Immutable; shared by all caches of the method.
struct PreparedLayer {
  LayerPlan plan;
  std::vector<TensorMaps> tensors;
  AffineMap k, v; ///< stored rows to K (before RoPE, where it comes after) and V; of a chain: the sum's rows to K and V
  std::vector<std::vector<Index>> outliers; ///< by tensor: the channels that stay FP16
};
PreparedLayer prepareLayer(const LayerPlan &plan, const Model &model, Calibration &calibration, Index layer);

/// out = map(rows).
void applyMap(Backend &backend, const AffineMap &map, ConstView rows, View out);

} // namespace xqs

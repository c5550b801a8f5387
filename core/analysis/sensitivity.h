// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "compare.h"

#include "cache/plan.h"

#include <optional>
#include <string>
#include <vector>

/// What each layer costs by itself: one setting in one layer, or in its K or V alone, every other layer FP16. Such policies
/// are plans of one entry (`plan:3.k=kivi-star:bits=2`), whoever ran them; the built-in study `sensitivity` runs them all.
namespace xqs {

/// A plan that quantizes one layer only.
struct IsolatedLayer {
  Index layer = 0;
  std::optional<Side> side; ///< none: K and V
  Index span = 1;           ///< 2: an xquant-cl delta, whose base is the layer before
  PolicySpec policy;        ///< of the layer
};
/// None where the policy is no plan, or one of several layers.
std::optional<IsolatedLayer> isolatedLayer(const PolicySpec &policy);

/// One setting in one layer.
struct SensitivityCell {
  std::vector<WindowRow> windows; ///< ascending; empty: not measured
  Estimate kl;                    ///< nats a token; count 0 and mean NaN: not measured
  Estimate extraKl;               ///< the same minus that of FP16 in every layer, paired by window, where that was measured
  std::int64_t bits = 0;          ///< format bits of a window, state `all`: what the layer (or the side) stores
  double bytesPerToken = 0;       ///< bits / 8 / tokens of a window
};

/// A row of the matrix.
struct SensitivitySetting {
  std::string policy; ///< as a plan names it: "kivi-star:bits=2"
  PolicySpec spec;
  std::optional<Side> side;           ///< none: K and V
  Index span = 1;                     ///< see IsolatedLayer
  std::string name;                   ///< for legends: "kivi-star:bits=2, K"
  std::vector<SensitivityCell> cells; ///< one a layer
  bool complete() const;              ///< every layer from `span` - 1 on is measured
};

/// All settings that were measured on the same tokens of a model under one protocol. Every figure is over `windows`.
struct SensitivityMatrix {
  RunRow run; ///< the first of its runs
  ModelShape shape;
  std::vector<std::int64_t> windows; ///< ascending: those that most cells have; a cell that lacks one counts as not measured
  std::vector<SensitivitySetting> settings;
  std::vector<WindowRow> fp16;     ///< FP16 in every layer, the floor of every cell; empty: not measured
  std::vector<PolicyScores> whole; ///< policies of several layers that were measured on `windows`: how layers add up
  Estimate fp16Kl() const;         ///< count 0 where it was not measured
};

/// One matrix for each set of runs that may be paired with each other (`scoresOf`), in the order of runs; empty where the
/// rows have no isolated layer.
std::vector<SensitivityMatrix> sensitivityMatrices(const RowSet &rows);

/// Mean and interval of the windows' mean KL.
Estimate klOf(const std::vector<WindowRow> &windows);

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "solver.h"

#include <span>

namespace xqs {

/// A policy whose prediction is held against what it scored.
struct VerifiedPolicy {
  PolicySpec policy;
  std::optional<Prediction> prediction; ///< none: the matrix does not say
  double bytesPerToken = 0, relativeSize = 0;
  Estimate kl;             ///< nats a token over the windows verified; count 0: none was scored
  Estimate planDifference; ///< KL of the plan - this one's, paired by window
};

/// A plan beside policies that are the same in every layer, on windows that did not choose it.
struct Verification {
  VerifiedPolicy plan;
  std::vector<VerifiedPolicy> others; ///< in the order given
  /// Into `others`: of those that take at most the plan's budget, the one of lowest measured KL.
  std::optional<std::size_t> best;
};

/// From the rows of the runs that may be paired with `run`, windows [first, first + count). `budgetBytes`: a token, what the
/// others may take to be compared as of the same size.
Verification verification(const RowSet &rows, const RunRow &run, std::int64_t first, std::int64_t count,
                          const BudgetSolver &solver, const PolicySpec &plan, std::span<const PolicySpec> others,
                          double budgetBytes);

} // namespace xqs

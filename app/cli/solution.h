// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/noise.h"
#include "analysis/verification.h"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

namespace xqs::cli {

/// What the command found.
struct Solution {
  SensitivityMatrix matrix;
  BudgetSolver solver;
  SolvedPlan solved;
  double budgetBytes = 0;               ///< a token
  std::vector<PolicySpec> others;       ///< uniform policies of that size, best expected first; behind them `--against`
  std::optional<Verification> verified; ///< with `--verify`
  RowId run = 0;                        ///< of the verification
  Index firstWindow = 0, windows = 0;   ///< of the verification
  NoiseFloor noise;
  std::vector<std::string> problems;
};

double bytesPerToken(const PolicySpec &policy, const SensitivityMatrix &matrix); ///< format bytes, state `all`
std::string solutionTable(const Solution &solution);
nlohmann::json solutionJson(const Solution &solution);

} // namespace xqs::cli

// SPDX-License-Identifier: Apache-2.0
#include "verification.h"

#include "cache/layout.h"
#include "run_shape.h"

#include <algorithm>

namespace xqs {

Verification verification(const RowSet &rows, const RunRow &run, std::int64_t first, std::int64_t count,
                          const BudgetSolver &solver, const PolicySpec &plan, std::span<const PolicySpec> others,
                          double budgetBytes) {
  const std::vector<PolicyScores> scores = scoresOf(rows);
  const auto windowsOf = [&](const PolicySpec &policy) {
    std::vector<WindowRow> windows;
    for (const PolicyScores &s : scores)
      if (s.policy.policy == policy.canonical() && sameSetup(s.run, run))
        for (const WindowRow &row : s.windows)
          if (row.window >= first && row.window < first + count) windows.push_back(row);
    return windows;
  };
  const std::vector<WindowRow> ofPlan = windowsOf(plan);
  const ModelShape shape = shapeOf(run);
  const auto verified = [&](const PolicySpec &policy) {
    const std::vector<WindowRow> windows = windowsOf(policy);
    VerifiedPolicy v;
    v.policy = policy;
    v.prediction = solver.predict(policy);
    v.bytesPerToken = static_cast<double>(footprint(policy, shape, run.window, State::All).formatBits()) / 8 /
                      static_cast<double>(run.window);
    v.relativeSize = relativeSize(policy, shape, run.window, State::All);
    v.kl = klOf(windows);
    v.planDifference = windowDifference(ofPlan, windows, Quality::Kl);
    return v;
  };
  Verification result;
  result.plan = verified(plan);
  const double largest = std::max(budgetBytes, result.plan.bytesPerToken) * (1 + 1e-9);
  for (const PolicySpec &policy : others) {
    result.others.push_back(verified(policy));
    const VerifiedPolicy &v = result.others.back();
    if (v.kl.count == 0 || v.bytesPerToken > largest) continue;
    if (!result.best || v.kl.mean < result.others[*result.best].kl.mean) result.best = result.others.size() - 1;
  }
  return result;
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/sensitivity.h"

#include <string>

namespace xqs::test {

/// Rows of one run, 3 layers of dkv = 32, windows of 64 tokens.
class MatrixRows {
public:
  MatrixRows() {
    RunRow run;
    run.id = 1, run.kind = "eval", run.modelHash = "m", run.tokensHash = "t", run.window = 64, run.state = "all";
    run.protocol = "p", run.layers = 3, run.d = 64, run.heads = 4, run.kvHeads = 2, run.dh = 16;
    rows.runs = {run};
  }
  /// KL of a policy, window by window from 0 on (NaN: not scored).
  MatrixRows &add(const std::string &policy, const std::vector<double> &kl) {
    PolicyRow row;
    row.run = 1, row.index = static_cast<std::int64_t>(rows.policies.size()), row.policy = policy;
    rows.policies.push_back(row);
    for (std::size_t i = 0; i < kl.size(); ++i) {
      if (kl[i] != kl[i]) continue;
      WindowRow window;
      window.run = 1, window.policy = row.index, window.window = static_cast<std::int64_t>(i), window.meanKl = kl[i];
      rows.windows.push_back(window);
    }
    return *this;
  }
  SensitivityMatrix matrix() const { return sensitivityMatrices(rows).at(0); }

  RowSet rows;
};

} // namespace xqs::test

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "curve.h"
#include "noise.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

/// Differences between two scored policies, or between two runs of one: always window by window of the same tokens, because
/// windows of a text differ far more than policies do (baselines.md 14).
namespace xqs {

/// The two figures of a window in which policies are compared, nats a token; smaller is better.
enum class Quality { Kl, Nll };

/// Quality of a - quality of b, paired by window: windows that only one of them has are left out, the later row of a window
/// counts. The rows are one policy's of one run each; that the runs may be paired is `differingFields`' to say.
Estimate windowDifference(std::span<const WindowRow> a, std::span<const WindowRow> b, Quality quality);

/// Why windows of two runs cannot be paired: one entry for each field that must be equal and is not, as
/// "tokens_hash: 1f2e... and 77ab...". Empty: they can. Compared: model_hash, tokens_hash, window, state, protocol, kind.
std::vector<std::string> differingFields(const RunRow &a, const RunRow &b);

/// Nothing that moves a policy's figures differs: `differingFields` is empty, and backend, seed and calibration are the
/// same.
bool sameSetup(const RunRow &a, const RunRow &b);

/// What one policy scored: its windows from all runs of a set that may be paired with each other.
struct PolicyScores {
  static constexpr const char *kExact = "exact model"; ///< `policy` of the exact model's own windows
  RunRow run;                                          ///< the first of those runs
  PolicyRow policy;                                    ///< of that run; exact model: index -1, size NaN
  std::vector<WindowRow> windows;                      ///< ascending by window, each once (the later row)
};

/// Rows of one store; ids are only unique inside it.
struct RowSet {
  std::string name; ///< for messages: the file
  std::vector<RunRow> runs;
  std::vector<PolicyRow> policies;
  std::vector<WindowRow> windows;
};

/// By canonical policy, by what `differingFields` compares, and by setting (backend, seed, calibration); in the order of
/// rows, the exact model first. Policies without windows and rows of runs that are not in the set are left out.
std::vector<PolicyScores> scoresOf(const RowSet &set);

/// a - b of two scored policies.
struct Difference {
  Estimate kl, nll; ///< nats a token, paired by window; count 0 and NaN where no window is in both
  /// |mean| < the noise floor of a mean over as many windows: another order of summation moves as much.
  bool klBelowNoise = false, nllBelowNoise = false;
};

/// `noise`: of one window; count 0 where it is not known. Throws Usage, naming the fields, where the two may not be paired.
Difference difference(const PolicyScores &a, const PolicyScores &b, const NoiseFloor &noise);

/// One policy under one protocol in several sets.
struct ComparedRow {
  struct Cell {
    std::optional<PolicyScores> scores; ///< none: the set has no such row
    std::optional<Difference> toFirst;  ///< this set - the first; none for the first set or where one of the two is missing
    std::string refused; ///< `differingFields` of the row and the set's own, where it has the policy, but measured otherwise
  };
  std::string policy;
  std::vector<Cell> cells; ///< one a set
};

/// All policies of all sets, those of the first set first. Where a set has a policy under several settings, rows of the
/// same setting stand side by side before others do.
std::vector<ComparedRow> sideBySide(std::span<const RowSet> sets, const NoiseFloor &noise);

} // namespace xqs

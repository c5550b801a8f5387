// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "records.h"

#include <filesystem>
#include <span>
#include <vector>

namespace xqs {

/// What a merge brought.
struct MergeResult {
  std::int64_t newRuns = 0;
  std::int64_t points = 0; ///< (policy, window) that were not there before; the exact model's not counted
};

/// Appends to `out` (made where missing) every row of `in` that it lacks. Runs of one study with one study key become one
/// run: its policies by their index, each window of the exact model once; all other runs are copied, once by their uuid. A
/// merged run has ended "finished" where all its parts have. Doing it again, or after it was killed, adds what is still
/// missing. Throws what RunReader and RunStore throw, and, before anything is written, Usage where runs of one key do not
/// mean the same: another policy at the same index, or an exact model whose NLL differs by more than rounding.
MergeResult mergeStores(const std::filesystem::path &out, std::span<const std::filesystem::path> in);

} // namespace xqs

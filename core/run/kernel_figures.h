// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "instruments.h"
#include "store/records.h"

#include <cstdint>
#include <span>
#include <vector>

namespace xqs {

/// What launches of a traced step and kernels of the same step, counted one by one (RangeBy::Kernel), had of each other.
struct KernelMatch {
  std::int64_t launches = 0; ///< traced, but for copies and fills, which are no kernels
  std::int64_t others = 0;   ///< of them: what was counted another number of times than traced; they got nothing
  std::int64_t missing = 0;  ///< of them: without a figure, of an earlier call either
  std::int64_t extra = 0;    ///< counted, but not as often as traced, or not traced at all
  bool same() const { return others == 0 && extra == 0; } ///< both runs launched the same
};

/// Gives what was counted to the rows of one step. A launch is the k-th of its layer, lane, part and function, in the order
/// in which operations were called: starts and ranges may lie in another, where queues run beside each other. Where a
/// function was not counted as often as it was launched, nobody knows which is which: its rows stay as they are, as those of
/// copies do. `set`: the figures that are given.
KernelMatch addKernelFigures(std::vector<KernelRow> &rows, CounterSet set, std::span<const RangeRecord> ranges);

} // namespace xqs

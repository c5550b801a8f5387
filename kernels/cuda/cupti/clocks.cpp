// SPDX-License-Identifier: Apache-2.0
#include "clocks.h"

#include <chrono>
#include <limits>

namespace xqs::cuda::cupti {

std::int64_t steadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

CUptiResult readClocks(const Library &cupti, ClockPairs &to) {
  std::int64_t shortest = std::numeric_limits<std::int64_t>::max(), theirs = 0, ours = 0;
  for (int i = 0; i < 5; ++i) {
    std::uint64_t time = 0;
    const std::int64_t before = steadyNs();
    if (const CUptiResult result = cupti.cuptiGetTimestamp.pointer(&time); result != CUPTI_SUCCESS) return result;
    const std::int64_t took = steadyNs() - before;
    if (took < shortest) shortest = took, theirs = static_cast<std::int64_t>(time), ours = before + took / 2;
  }
  to.add(theirs, ours);
  return CUPTI_SUCCESS;
}

} // namespace xqs::cuda::cupti

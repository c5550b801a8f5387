// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "memory_controller.h"

namespace xqs {

/// What this machine lets this process count, found by trying, and the sentences that say so.
struct PerfStatus {
  std::vector<PerfEvent> thread;        ///< of the threads that compute; empty: none can be counted
  std::vector<MemoryController> memory; ///< empty: bytes cannot be counted, or a test has not read back what was moved
  InstrumentStatus counters, sampling;
};

/// Opens every counter once. Where memory controllers can be counted, copies 128 MiB past the caches, up to three times, and
/// believes them where one copy reads back within 3 %, read and written: other processes' traffic, which they count too,
/// only ever adds, and the least disturbed copy says whether units and channels are right.
PerfStatus findPerfStatus(const PerfSystem &system);

/// Counters of `memory`, counting from now on.
void addMemory(PerfCounters &counters, const PerfSystem &system, const std::vector<MemoryController> &memory);

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/timeline.h"

#include <cstdint>
#include <string>
#include <vector>

namespace xqs {

/// All launches of one function in one traced step.
struct KernelSum {
  std::string function; ///< the operation, where nobody says which functions ran
  std::int64_t launches = 0, nanoseconds = 0;
  double share = 0; ///< of all launches' time; queues that run beside each other count both
  /// From shapes, of whole operations: they stand on the function that the operation launches first.
  double countedBytes = 0, countedFlops = 0;
  std::int64_t operationNs = 0; ///< of all launches of these operations
  /// What the microscope says, of the launches that it has measured; NaN: not one, or a counter that the device has not.
  std::int64_t measured = 0, measuredNs = 0; ///< launches; their time in the traced step
  double measuredRead = 0, measuredWrite = 0, cacheAccesses = 0, cacheMisses = 0, tensorInstructions = 0;
  double cacheHitRate = 0; ///< weighted with accesses

  double countedRate() const; ///< bytes a second; NaN: none counted
  double measuredBytes() const { return measuredRead + measuredWrite; }
  double measuredRate() const; ///< bytes of the microscope over the time in the traced step; NaN: not measured
};

/// Of one step, the function that took most of its time first.
std::vector<KernelSum> kernelSums(const StepKernels &step);

/// The microscope has measured this launch: any figure but the hit rate, which is counted by itself.
bool isMeasured(const KernelRow &row);

} // namespace xqs

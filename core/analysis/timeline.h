// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "store/records.h"

#include <map>
#include <vector>

/// What the launches of one traced step say together.
namespace xqs {

/// The rows of one step in the order of their start; into the rows that were given.
using StepKernels = std::vector<const KernelRow *>;
StepKernels stepKernels(const std::vector<KernelRow> &rows, std::int64_t policy, std::int64_t context, std::int64_t batch);

/// From the first launch's start to the last one's end, ns.
std::int64_t stepLength(const StepKernels &step);

/// Where the time went: launches of one part of a step (Tag::op), all layers and queues.
struct PartTime {
  std::string part;
  std::int64_t nanoseconds = 0;
  double share = 0;        ///< of all launches' time; queues that run beside each other count both
  double countedBytes = 0; ///< from shapes
};
/// In the order of their first launch.
std::vector<PartTime> partTimes(const StepKernels &step);

/// One operation of a backend, whose launches have one number.
struct OperationTime {
  std::int64_t nanoseconds = 0; ///< of its launches
  std::int64_t launches = 0;
  double countedBytes = 0, countedFlops = 0;
  double bytesPerSecond() const; ///< counted bytes over time; NaN where either is 0
};
std::map<std::int64_t, OperationTime> operationTimes(const StepKernels &step);

/// Launches of one layer that follow each other on the compute queue.
struct LayerSpan {
  std::int64_t layer = -1;
  std::int64_t startNs = 0, endNs = 0;
};
/// In order; what is outside the layers has no span.
std::vector<LayerSpan> layerSpans(const StepKernels &step);

} // namespace xqs

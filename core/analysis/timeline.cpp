// SPDX-License-Identifier: Apache-2.0
#include "analysis/timeline.h"

#include <algorithm>
#include <limits>

namespace xqs {

namespace {
constexpr std::int64_t kComputeQueue = 0; ///< Queue::Compute
}

StepKernels stepKernels(const std::vector<KernelRow> &rows, std::int64_t policy, std::int64_t context, std::int64_t batch) {
  StepKernels step;
  for (const KernelRow &row : rows)
    if (row.policy == policy && row.context == context && row.batch == batch) step.push_back(&row);
  std::stable_sort(step.begin(), step.end(), [](const auto *a, const auto *b) { return a->startNs < b->startNs; });
  return step;
}

std::int64_t stepLength(const StepKernels &step) {
  if (step.empty()) return 0;
  std::int64_t end = 0;
  for (const KernelRow *row : step) end = std::max(end, row->startNs + row->durationNs);
  return end - step.front()->startNs;
}

std::vector<PartTime> partTimes(const StepKernels &step) {
  std::vector<PartTime> parts;
  std::int64_t all = 0;
  for (const KernelRow *row : step) {
    auto part = std::find_if(parts.begin(), parts.end(), [row](const PartTime &p) { return p.part == row->part; });
    if (part == parts.end()) part = parts.insert(part, PartTime{row->part});
    part->nanoseconds += row->durationNs;
    part->countedBytes += row->bytes;
    all += row->durationNs;
  }
  for (PartTime &part : parts) part.share = all > 0 ? static_cast<double>(part.nanoseconds) / static_cast<double>(all) : 0;
  return parts;
}

double OperationTime::bytesPerSecond() const {
  return countedBytes > 0 && nanoseconds > 0 ? countedBytes / static_cast<double>(nanoseconds) * 1e9
                                             : std::numeric_limits<double>::quiet_NaN();
}

std::map<std::int64_t, OperationTime> operationTimes(const StepKernels &step) {
  std::map<std::int64_t, OperationTime> operations;
  for (const KernelRow *row : step) {
    OperationTime &operation = operations[row->call];
    operation.nanoseconds += row->durationNs;
    operation.launches += 1;
    operation.countedBytes += row->bytes;
    operation.countedFlops += row->flops;
  }
  return operations;
}

std::vector<LayerSpan> layerSpans(const StepKernels &step) {
  std::vector<LayerSpan> spans;
  bool goesOn = false;
  for (const KernelRow *row : step) {
    if (row->queue != kComputeQueue) continue;
    const bool same = goesOn && spans.back().layer == row->layer;
    goesOn = row->layer >= 0;
    if (!goesOn) continue;
    if (!same) spans.push_back({row->layer, row->startNs, row->startNs});
    spans.back().endNs = std::max(spans.back().endNs, row->startNs + row->durationNs);
  }
  return spans;
}

} // namespace xqs

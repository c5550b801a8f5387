// SPDX-License-Identifier: Apache-2.0
#include "analysis/kernel_sums.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace xqs {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const std::string &functionOf(const KernelRow &row) { return row.launch.empty() ? row.operation : row.launch; }

double rate(double bytes, std::int64_t nanoseconds) {
  return nanoseconds > 0 ? bytes / static_cast<double>(nanoseconds) * 1e9 : kNaN;
}

/// A sum on the way.
struct Adding {
  KernelSum sum;
  double hits = 0, accesses = 0; ///< of launches whose hit rate is known

  void add(const KernelRow &row, const std::map<std::int64_t, OperationTime> &operations) {
    sum.launches += 1, sum.nanoseconds += row.durationNs;
    sum.countedBytes += row.bytes, sum.countedFlops += row.flops;
    if (row.bytes > 0) sum.operationNs += operations.at(row.call).nanoseconds;
    if (isMeasured(row)) addMeasured(row);
    if (std::isnan(row.cacheHitRate * row.cacheAccesses)) return;
    hits += row.cacheHitRate * row.cacheAccesses, accesses += row.cacheAccesses;
  }
  void addMeasured(const KernelRow &row) {
    sum.measured += 1, sum.measuredNs += row.durationNs;
    sum.measuredRead += row.measuredRead, sum.measuredWrite += row.measuredWrite;
    sum.cacheAccesses += row.cacheAccesses, sum.cacheMisses += row.cacheMisses;
    sum.tensorInstructions += row.tensorInstructions;
  }
  KernelSum done(std::int64_t all) {
    sum.share = all > 0 ? static_cast<double>(sum.nanoseconds) / static_cast<double>(all) : 0;
    sum.cacheHitRate = hits / accesses; // NaN: of none
    if (sum.measured == 0)
      sum.measuredRead = sum.measuredWrite = sum.cacheAccesses = sum.cacheMisses = sum.tensorInstructions = kNaN;
    return std::move(sum);
  }
};

} // namespace

bool isMeasured(const KernelRow &row) {
  const double all[] = {row.measuredSeconds, row.measuredRead, row.measuredWrite,     row.cacheAccesses,
                        row.cacheMisses,     row.cycles,       row.tensorInstructions};
  return std::any_of(std::begin(all), std::end(all), [](double figure) { return !std::isnan(figure); });
}

double KernelSum::countedRate() const { return countedBytes > 0 ? rate(countedBytes, operationNs) : kNaN; }
double KernelSum::measuredRate() const { return rate(measuredBytes(), measuredNs); }

std::vector<KernelSum> kernelSums(const StepKernels &step) {
  const auto operations = operationTimes(step);
  std::map<std::string, Adding> functions;
  std::int64_t all = 0;
  for (const KernelRow *row : step) {
    functions[functionOf(*row)].add(*row, operations);
    all += row->durationNs;
  }
  std::vector<KernelSum> sums;
  for (auto &[function, adding] : functions) {
    adding.sum.function = function;
    sums.push_back(adding.done(all));
  }
  std::ranges::stable_sort(sums, std::ranges::greater{}, &KernelSum::nanoseconds);
  return sums;
}

} // namespace xqs

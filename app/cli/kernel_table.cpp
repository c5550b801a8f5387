// SPDX-License-Identifier: Apache-2.0
#include "kernel_table.h"

#include "analysis/kernel_sums.h"
#include "analysis/traffic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <tuple>

namespace xqs::cli {

namespace {

/// Small figures with more decimals.
std::string figure(double x, const char *after = "") {
  return std::isnan(x) ? "-" : fmt::format("{:.{}f}{}", x, x != 0 && x < 1 ? 4 : 2, after);
}

std::string line(const KernelSum &s) {
  std::string measured = figure(1e-6 * s.measuredBytes());
  if (!std::isnan(s.measuredBytes()) && s.measured < s.launches) measured += fmt::format(" (of {})", s.measured);
  return fmt::format("{:<48.48} {:>8} {:>10.3f} {:>6.1f}% {:>12} {:>21} {:>13} {:>8}\n", s.function, s.launches,
                     1e-6 * static_cast<double>(s.nanoseconds), 100 * s.share,
                     s.countedBytes > 0 ? figure(1e-6 * s.countedBytes) : "-", measured, figure(1e-9 * s.measuredRate()),
                     figure(100 * s.cacheHitRate, "%"));
}

/// The functions that took most of a step's time.
std::string kernelTable(const ProfileResult &r, const StepRow &step) {
  constexpr std::size_t kShown = 10;
  std::string policy;
  for (const PolicyRow &row : r.policies)
    if (row.index == step.policy) policy = row.policy;
  const std::vector<KernelSum> sums = kernelSums(stepKernels(r.kernels, step.policy, step.context, step.batch));
  std::string text =
      fmt::format("\n{}, {} tokens x {}: kernels of a step\n{:<48} {:>8} {:>10} {:>7} {:>12} {:>21} {:>13} {:>8}\n", policy,
                  step.context, step.batch, "function", "launches", "ms", "share", "counted MB", "measured MB",
                  "measured GB/s", "L2 hit");
  for (const KernelSum &sum : std::span(sums).first(std::min(sums.size(), kShown))) text += line(sum);
  if (sums.size() > kShown) text += fmt::format("  and {} functions more\n", sums.size() - kShown);
  return text;
}

} // namespace

std::string kernelTables(const ProfileResult &r) {
  std::map<std::int64_t, const StepRow *> last;
  for (const StepRow &step : r.steps) {
    const StepRow *&known = last[step.policy];
    if (known == nullptr || std::tie(step.context, step.batch) > std::tie(known->context, known->batch)) known = &step;
  }
  std::string text;
  for (const auto &[policy, step] : last) text += kernelTable(r, *step);
  if (std::ranges::none_of(r.kernels, isMeasured))
    for (const InstrumentRow &row : lastInstruments(r.instruments))
      if (row.instrument == instrumentName(Instrument::Counters)) text += "\nNothing was measured: " + row.sentence + "\n";
  return text +
         "\ncounted MB: from shapes, of whole operations, on the function that each launches first. measured MB: by the "
         "device's counters,\nevery kernel by itself; (of N): of N of the launches. measured GB/s: those bytes over "
         "the time that the same launches took\nin the traced step. L2 hit: measured, where the device has that "
         "counter.\n";
}

} // namespace xqs::cli

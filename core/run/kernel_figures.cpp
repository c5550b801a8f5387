// SPDX-License-Identifier: Apache-2.0
#include "run/kernel_figures.h"

#include "analysis/kernel_sums.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>
#include <tuple>

namespace xqs {

namespace {

/// Layer, lane, part, function: the operation, where a backend does not say which functions it runs.
using Place = std::tuple<std::int64_t, std::int64_t, std::string_view, std::string_view>;

Place placeOf(const KernelRow &row) {
  return {row.layer, row.lane, row.part, row.launch.empty() ? row.operation : row.launch};
}
Place placeOf(const RangeRecord &range) { return {range.tag.layer, range.tag.lane, range.tag.op, range.kernel}; }

/// As CUPTI's timeline calls them (kernels/cuda/cupti/activity_records.cpp).
bool isCopy(const KernelRow &row) { return row.launch.starts_with("memcpy") || row.launch == "memset"; }

void give(const CounterFigures &figures, CounterSet set, MeasuredFigures &to) {
  if (set == CounterSet::HitRate) return to.cacheHitRate = figures.cacheHitRate, void();
  to.measuredSeconds = figures.seconds, to.measuredRead = figures.dramRead, to.measuredWrite = figures.dramWrite;
  to.cacheAccesses = figures.cacheAccesses, to.cacheMisses = figures.cacheMisses;
  to.cycles = figures.cycles, to.tensorInstructions = figures.tensorInstructions;
}

bool has(const KernelRow &row, CounterSet set) {
  return set == CounterSet::HitRate ? !std::isnan(row.cacheHitRate) : isMeasured(row);
}

/// Items of each place, in their order.
template <class Item, class Items> std::map<Place, std::vector<Item *>> byPlace(Items &items) {
  std::map<Place, std::vector<Item *>> places;
  for (Item &item : items) places[placeOf(item)].push_back(&item);
  return places;
}

} // namespace

KernelMatch addKernelFigures(std::vector<KernelRow> &rows, CounterSet set, std::span<const RangeRecord> ranges) {
  KernelMatch match;
  auto counted = byPlace<const RangeRecord>(ranges);
  for (auto &[place, launches] : byPlace<KernelRow>(rows)) {
    if (isCopy(*launches.front())) continue;
    match.launches += std::ssize(launches);
    const auto found = counted.extract(place);
    const std::vector<const RangeRecord *> kernels = found ? found.mapped() : std::vector<const RangeRecord *>();
    if (kernels.size() != launches.size()) {
      match.others += std::ssize(launches), match.extra += std::ssize(kernels);
      continue;
    }
    std::ranges::stable_sort(launches, {}, &KernelRow::call);
    for (std::size_t i = 0; i < kernels.size(); ++i) give(kernels[i]->figures, set, *launches[i]);
  }
  for (const auto &[place, kernels] : counted) match.extra += std::ssize(kernels);
  match.missing = std::ranges::count_if(rows, [&](const KernelRow &row) { return !isCopy(row) && !has(row, set); });
  return match;
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "join.h"

#include "launch_name.h"
#include "states.h"

#include <algorithm>
#include <unordered_set>

namespace xqs::cuda::cupti {
namespace {

std::uint64_t callNumber(const Activities &activities, const GraphNodes &nodes, const Activities::Launch &launch) {
  const auto external = activities.externalIds.find(launch.correlation);
  if (external == activities.externalIds.end()) return 0;
  if ((external->second & kStepId) == 0) return external->second;
  return nodes.callOf(external->second & ~kStepId, launch.graphNode);
}

/// A record of nobody where no call has the number.
KernelRecord recordOf(std::span<const KernelRecord> calls, std::uint64_t number) {
  const auto at = std::ranges::lower_bound(calls, number, {}, &KernelRecord::call);
  return at != calls.end() && at->call == number ? *at : KernelRecord{};
}

/// Records are sorted by start. Gives the calls that they are of.
std::unordered_set<std::uint64_t> keepCountsOnFirst(std::vector<KernelRecord> &records) {
  std::unordered_set<std::uint64_t> seen;
  for (KernelRecord &record : records)
    if (record.call != 0 && !seen.insert(record.call).second) record.bytes = record.flops = 0;
  return seen;
}

/// Calls whose launches are missing, and their bytes with them. What moves nothing need not launch anything.
std::int64_t missing(std::span<const KernelRecord> calls, const std::unordered_set<std::uint64_t> &seen) {
  const auto moves = [](const KernelRecord &call) { return call.bytes > 0; };
  const auto lost = [&](const KernelRecord &call) { return moves(call) && !seen.contains(call.call); };
  const std::int64_t missing = std::ranges::count_if(calls, lost);
  if (missing > 0 && missing == std::ranges::count_if(calls, moves)) throw Failure(timelineEmpty());
  return missing;
}

} // namespace

Instruments::Timeline join(const Activities &activities, std::span<const KernelRecord> calls, const GraphNodes &nodes,
                           const ClockPairs &steady) {
  Instruments::Timeline timeline;
  timeline.overheadNs = activities.overheadNs;
  timeline.records.reserve(activities.launches.size());
  std::unordered_map<const std::string *, std::string> names;
  for (const Activities::Launch &launch : activities.launches) {
    std::string &name = names[launch.name];
    if (name.empty()) name = launchName(*launch.name);
    KernelRecord &record = timeline.records.emplace_back(recordOf(calls, callNumber(activities, nodes, launch)));
    record.startNs = steady(static_cast<std::int64_t>(launch.start));
    record.durationNs = static_cast<std::int64_t>(launch.end - launch.start);
    record.launch = name;
  }
  std::ranges::stable_sort(timeline.records, {}, &KernelRecord::startNs);
  const std::int64_t lost = missing(calls, keepCountsOnFirst(timeline.records));
  timeline.dropped = std::max(activities.dropped, lost); // a record that CUPTI dropped may be why a call has none
  return timeline;
}

} // namespace xqs::cuda::cupti

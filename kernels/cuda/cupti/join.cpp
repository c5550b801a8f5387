// SPDX-License-Identifier: Apache-2.0
#include "join.h"

#include "launch_name.h"

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

/// Records are sorted by start.
void keepCountsOnFirst(std::vector<KernelRecord> &records) {
  std::unordered_set<std::uint64_t> seen;
  for (KernelRecord &record : records)
    if (record.call != 0 && !seen.insert(record.call).second) record.bytes = record.flops = 0;
}

} // namespace

Instruments::Timeline join(const Activities &activities, std::span<const KernelRecord> calls, const GraphNodes &nodes,
                           const ClockPairs &steady) {
  Instruments::Timeline timeline;
  timeline.dropped = activities.dropped, timeline.overheadNs = activities.overheadNs;
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
  keepCountsOnFirst(timeline.records);
  return timeline;
}

} // namespace xqs::cuda::cupti

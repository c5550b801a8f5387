// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "activities.h"
#include "clock_pairs.h"
#include "graph_nodes.h"

#include <span>

namespace xqs::cuda::cupti {

/// Every launch with the operation that it belongs to, by start: over the correlation id to the external id, and for
/// launches of graphs over the node. Counted bytes and FLOPs stand on an operation's first launch. What belongs to no
/// operation has none: no tag, call 0. `calls`: those that have run, ascending by number, times empty. One that moved bytes
/// and has no launch was dropped; where that is each of them, throws Failure. `steady`: from CUPTI's clock.
Instruments::Timeline join(const Activities &activities, std::span<const KernelRecord> calls, const GraphNodes &nodes,
                           const ClockPairs &steady);

} // namespace xqs::cuda::cupti

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layout.h"
#include "store/records.h"

namespace xqs {

/// The shape of the model that a run was made on.
inline ModelShape shapeOf(const RunRow &run) { return {run.layers, run.d, run.heads, run.kvHeads, run.dh}; }

} // namespace xqs

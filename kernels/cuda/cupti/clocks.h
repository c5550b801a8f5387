// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "clock_pairs.h"
#include "library.h"

namespace xqs::cuda::cupti {

std::int64_t steadyNs();

/// Adds a reading of CUPTI's clock and of the steady one: the middle of the shortest of a few around CUPTI's.
CUptiResult readClocks(const Library &cupti, ClockPairs &to);

} // namespace xqs::cuda::cupti

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"
#include "store/records.h"

#include <stop_token>
#include <vector>

namespace xqs {

/// Limits of the machine behind a backend, each the best of a few tries, measured with the backend's own operations on
/// blocks that grow until one try takes long enough to be measured: "copy", bytes read and written a second by copies,
/// sums and matrix-vector products of blocks larger than its caches; "matmul", FLOP/s of square matrices, FP32 rows on
/// weights as the backend keeps them; "host-copy", bytes a second from page-locked host memory, where the backend has memory
/// of its own. What there is no memory for is left out. Takes about a second. `run` of the rows is not set. Throws
/// Cancelled.
std::vector<PeakRow> measurePeaks(Backend &backend, const std::stop_token &stop = {});

} // namespace xqs

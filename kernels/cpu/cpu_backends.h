// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"

namespace xqs {

/// The fast CPU backend, `cpu`: BLAS on fixed tiles, SIMD chosen at run time, a thread pool. Agrees with `reference` within
/// rounding; packed codes, scales and zeros agree bit for bit. Same bits for any number of threads.
const XqsBackendModule *cpuBackendModule();

/// The definition, `reference`: plain loops in base x86-64 (or whatever the compiler targets) arithmetic, one fixed
/// summation order per output element, so that decoding, chunks and batches match bit for bit.
const XqsBackendModule *referenceBackendModule();

} // namespace xqs

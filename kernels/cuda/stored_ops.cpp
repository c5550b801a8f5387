// SPDX-License-Identifier: Apache-2.0
// K and V read as the cache holds them.
#include "cuda_backend.h"

namespace xqs::cuda {

bool CudaBackend::attendStored(Queue, const StoredAttention &) { return false; }
bool CudaBackend::rebuildStored(Queue, const StoredSide &, TokenRange, View) { return false; }

} // namespace xqs::cuda

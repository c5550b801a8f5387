// SPDX-License-Identifier: Apache-2.0
#include "cuda_backend.h"

#include "attention_args.h"
#include "device_views.h"

namespace xqs::cuda {

void CudaBackend::attention(Queue, const AttentionArgs &) { unsupported("attention"); }

} // namespace xqs::cuda

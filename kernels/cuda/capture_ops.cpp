// SPDX-License-Identifier: Apache-2.0
#include "cuda_backend.h"

#include "device_views.h"
#include "summary_bins.h"

namespace xqs::cuda {

void CudaBackend::score(Queue, ConstView, ConstView, std::span<const std::int32_t>, std::span<Score>) {
  unsupported("score");
}
void CudaBackend::summarize(Queue, ConstView, Summary &) { unsupported("summarize"); }
void CudaBackend::compare(Queue, ConstView, ConstView, ErrorSums &) { unsupported("compare"); }
void CudaBackend::similarity(Queue, std::span<const ConstView>, std::span<float>) { unsupported("similarity"); }

} // namespace xqs::cuda

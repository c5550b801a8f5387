// SPDX-License-Identifier: Apache-2.0
#include "cuda_backend.h"

#include "device_views.h"
#include "rows.h"

namespace xqs::cuda {

void CudaBackend::embed(Queue, ConstView, std::span<const std::int32_t>, View) { unsupported("embed"); }
void CudaBackend::rmsNorm(Queue, ConstView, ConstView, float, View) { unsupported("rmsNorm"); }
void CudaBackend::rope(Queue, View, Index, Index, std::span<const double>) { unsupported("rope"); }
void CudaBackend::add(Queue, ConstView, ConstView, View) { unsupported("add"); }
void CudaBackend::addRow(Queue, View, ConstView) { unsupported("addRow"); }
void CudaBackend::subtract(Queue, ConstView, ConstView, View) { unsupported("subtract"); }
void CudaBackend::scale(Queue, View, float) { unsupported("scale"); }
void CudaBackend::siluMul(Queue, ConstView, ConstView, View) { unsupported("siluMul"); }

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

// Launches of the row-wise kernels: raw device pointers and sizes, asynchronous on `stream`, errors of the launch thrown.
// Strides count elements from row to row.

#include "packed.h"

#include <cuda_runtime_api.h>

#include <span>

namespace xqs::cuda {

/// Loads this build's code on the current device without launching: cudaSuccess, or why it cannot run there.
cudaError_t probeKernels();

/// to[i, j] = fp16(from[i, j]), saturating. from: [rows, cols] fp32, to: [rows, cols] fp16. `saturated`: a device counter of
/// values that did not fit.
void narrowRows(cudaStream_t stream, const float *from, Index fromStride, Half *to, Index toStride, Index rows, Index cols,
                unsigned long long *saturated);
/// to[i, j] = fp32(from[i, j]), exact. from: [rows, cols] fp16, to: [rows, cols] fp32.
void widenRows(cudaStream_t stream, const Half *from, Index fromStride, float *to, Index toStride, Index rows, Index cols);

} // namespace xqs::cuda

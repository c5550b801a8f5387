// SPDX-License-Identifier: Apache-2.0
#pragma once

// Launches of the row-wise kernels: raw device pointers and sizes, asynchronous on `stream`, errors of the launch thrown.
// Strides count elements from row to row. Nothing here is empty.

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

/// out[i, :] = table[tokens[i], :]. table: [vocab, cols], tokens: host memory, out: [tokens.size(), cols].
void embedRows(cudaStream_t stream, const float *table, Index tableStride, std::span<const std::int32_t> tokens, float *out,
               Index outStride, Index cols);
void embedRows(cudaStream_t stream, const Half *table, Index tableStride, std::span<const std::int32_t> tokens, float *out,
               Index outStride, Index cols);
/// out = x / sqrt(mean(x^2) + eps) * weight. x, out: [rows, cols], may be the same; weight: [cols].
void normalizeRows(cudaStream_t stream, const float *x, Index xStride, const float *weight, float eps, float *out,
                   Index outStride, Index rows, Index cols);
/// Rotates pair j of every head of row r by (firstPosition + r) * frequency[j]. x: [rows, heads * 2 * frequency.size()],
/// frequency: host memory.
void rotateRows(cudaStream_t stream, float *x, Index stride, Index rows, Index heads, Index firstPosition,
                std::span<const double> frequency);

/// Element by element; all [rows, cols], out may be a or b. A stride of 0 repeats a row.
struct ElementwiseArgs {
  const float *a;
  Index aStride;
  const float *b;
  Index bStride;
  float *out;
  Index outStride;
  Index rows, cols;
};
void addRows(cudaStream_t stream, const ElementwiseArgs &args);
void subtractRows(cudaStream_t stream, const ElementwiseArgs &args);
void siluMulRows(cudaStream_t stream, const ElementwiseArgs &args); ///< a * sigmoid(a) * b
void scaleRows(cudaStream_t stream, float *x, Index stride, Index rows, Index cols, float factor);

} // namespace xqs::cuda

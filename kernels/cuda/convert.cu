// SPDX-License-Identifier: Apache-2.0
#include "launch.h"
#include "pack_math.h"
#include "rows.h"

namespace xqs::cuda {
namespace {

/// Launch: one thread an element, rows * cols of them. Moves 6 bytes an element; the counter is touched only by a value that
/// does not fit.
__global__ void narrowKernel(const float *from, Index fromStride, Half *to, Index toStride, Index rows, Index cols,
                             unsigned long long *saturated) {
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= rows * cols) return;
  const Index row = i / cols, col = i - row * cols;
  const float value = from[row * fromStride + col];
  if (beyondHalf(value)) atomicAdd(saturated, 1ull);
  to[row * toStride + col] = narrow(value);
}

/// Launch: one thread an element, rows * cols of them. Moves 6 bytes an element.
__global__ void widenKernel(const Half *from, Index fromStride, float *to, Index toStride, Index rows, Index cols) {
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= rows * cols) return;
  const Index row = i / cols, col = i - row * cols;
  to[row * toStride + col] = widen(from[row * fromStride + col]);
}

} // namespace

cudaError_t probeKernels() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, widenKernel);
}

void narrowRows(cudaStream_t stream, const float *from, Index fromStride, Half *to, Index toStride, Index rows, Index cols,
                unsigned long long *saturated) {
  launch(stream, narrowKernel, blocksFor(rows * cols), kThreads, 0, "convert to fp16 launch", {rows, cols}, from, fromStride,
         to, toStride, rows, cols, saturated);
}

void widenRows(cudaStream_t stream, const Half *from, Index fromStride, float *to, Index toStride, Index rows, Index cols) {
  launch(stream, widenKernel, blocksFor(rows * cols), kThreads, 0, "convert to fp32 launch", {rows, cols}, from, fromStride,
         to, toStride, rows, cols);
}

} // namespace xqs::cuda

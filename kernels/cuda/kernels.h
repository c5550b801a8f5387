// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pack_math.h"

#include <cuda_runtime_api.h>

namespace xqs::cuda {

// Launches of the kernels: raw device pointers and sizes, asynchronous on `stream`, errors of the launch thrown. Strides
// count elements from row to row. `saturated`: a device counter of values that were not finite or did not fit FP16.

/// One thread an element; every size fits a one-dimensional grid.
constexpr int kThreads = 256;
inline unsigned blocksFor(Index threads) { return static_cast<unsigned>((threads + kThreads - 1) / kThreads); }

/// Loads this build's code on the current device without launching: cudaSuccess, or why it cannot run there.
cudaError_t probeKernels();

/// to[i, j] = fp16(from[i, j]), saturating. from: [rows, cols] fp32, to: [rows, cols] fp16.
void narrowRows(cudaStream_t stream, const float *from, Index fromStride, Half *to, Index toStride, Index rows, Index cols,
                unsigned long long *saturated);
/// to[i, j] = fp32(from[i, j]), exact. from: [rows, cols] fp16, to: [rows, cols] fp32.
void widenRows(cudaStream_t stream, const Half *from, Index fromStride, float *to, Index toStride, Index rows, Index cols);

/// out = x W^T (+ out). x: [n, k], w: [m, k], out: [n, m], fp32.
struct MatmulArgs {
  const float *x;
  const float *w;
  float *out;
  Index xStride, wStride, outStride;
  Index n, m, k;
  bool accumulate;
};
void matmulTiled(cudaStream_t stream, const MatmulArgs &args);

/// A packed tensor on the device; layout in core/api/packed.h.
struct PackedPointers {
  PackShape shape;
  std::byte *codes;
  Half *scales;
  Half *zeros;
};
/// Packs x [n, width] fp32 into tokens firstToken ...
void quantizeRows(cudaStream_t stream, const float *x, Index xStride, Index n, const PackedPointers &packed,
                  Index firstToken, unsigned long long *saturated);
/// out [range.size(), width] fp32 = code * scale + zero (+ out).
void dequantizeRows(cudaStream_t stream, const PackedPointers &packed, TokenRange range, float *out, Index outStride,
                    bool accumulate);

} // namespace xqs::cuda

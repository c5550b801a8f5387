// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "packed.h"

#include <cuda_runtime_api.h>

namespace xqs::cuda {

/// out = x W^T (+ out). x: [n, k] fp32, w: [m, k] in `T`, out: [n, m] fp32. Strides count elements from row to row; any
/// stride and alignment. gemv alone knows heads: head h multiplies channels [h k, (h + 1) k) of x with rows from (h /
/// perGroup) m of w on, to channels [h m, (h + 1) m) of out.
template <typename T> struct MatmulArgs {
  const float *x;
  const T *w;
  float *out;
  Index xStride, wStride, outStride;
  Index n, m, k;
  bool accumulate;
  int heads = 1, perGroup = 1;
};

// Each kernel gives a row the same bits whatever stands beside it and however many rows there are.

/// FP32 weights, many rows.
void matmulTiled(cudaStream_t stream, const MatmulArgs<float> &args);

/// A few rows: what the weights' bytes take. Up to kGemvRows rows a lane.
constexpr Index kGemvRows = 8;
void gemv(cudaStream_t stream, const MatmulArgs<float> &args);
void gemv(cudaStream_t stream, const MatmulArgs<Half> &args);

/// x as the tensor cores read it beside FP16 weights: x = high + low, two FP16 matrices [n, k], 0 from k up to `stride`.
struct SplitRows {
  Half *high, *low;
  Index stride;
};
/// Channels of a split row: whole slices of the kernels, and rows that start at multiples of 128 bytes.
constexpr Index splitStride(Index k) { return (k + 63) / 64 * 64; }
/// `saturated`: a device counter of values that did not fit.
void splitRows(cudaStream_t stream, const MatmulArgs<Half> &args, const SplitRows &to, unsigned long long *saturated);

/// How FP16 weights meet many rows; a function of the rows of one lane, never of how many lanes there are.
struct MatmulPlan {
  enum Tile { Narrow, Middle, Wide } tile; ///< rows x columns of `out` a block owns: 32 x 128, 64 x 64, 128 x 128
  int parts;                               ///< that k is cut into
};
MatmulPlan matmulPlan(Index rows, Index m, Index k);
/// Bytes of partial sums: 0 where k is not cut.
Index partialBytes(const MatmulPlan &plan, Index n, Index m);
/// args.x is not read: `x` stands for it.
void matmulHalf(cudaStream_t stream, const MatmulPlan &plan, const SplitRows &x, const MatmulArgs<Half> &args,
                float *partial);

} // namespace xqs::cuda

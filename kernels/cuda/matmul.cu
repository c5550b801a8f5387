// SPDX-License-Identifier: Apache-2.0
#include "matmul.h"

#include "launch.h"

namespace xqs::cuda {
namespace {

constexpr int kTile = 64;  // rows and columns of `out` a block owns
constexpr int kSlice = 16; // channels of k in shared memory at a time
constexpr int kCell = 4;   // a thread owns kCell x kCell outputs
constexpr int kSide = kTile / kCell;
constexpr int kPitch = kTile + 4; // shared rows start in different banks
static_assert(kSide * kSide == kThreads);

using Slice = float[kSlice][kPitch];

/// Rows [first, first + kTile) of `from` [rows, k], channels [k0, k0 + kSlice), transposed into shared memory; 0 outside.
__device__ void loadSlice(Slice &slice, const float *from, Index stride, Index rows, Index first, Index k, Index k0) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kSlice; i += kThreads) {
    const int row = i / kSlice, channel = i % kSlice;
    const bool inside = first + row < rows && k0 + channel < k;
    slice[channel][row] = inside ? from[(first + row) * stride + k0 + channel] : 0.0f;
  }
}

/// Launch: ceil(n / 64) * ceil(m / 64) blocks of 256 threads, 8.5 KB shared memory. A block owns a 64 x 64 tile of `out` and
/// walks k in slices of 16. Reads 4 * k * (n * ceil(m / 64) + m * ceil(n / 64)) bytes, writes 4 * n * m (reads them too
/// where `accumulate`). Every output is one FP32 sum over ascending k with fused multiply-add, whatever n: a row's bits do
/// not depend on the rows beside it.
__global__ void __launch_bounds__(kThreads) matmulKernel(const MatmulArgs<float> a) {
  __shared__ Slice xSlice;
  __shared__ Slice wSlice;
  const Index tilesAcross = (a.m + kTile - 1) / kTile;
  const Index row0 = blockIdx.x / tilesAcross * kTile;
  const Index col0 = blockIdx.x % tilesAcross * kTile;
  const int across = static_cast<int>(threadIdx.x) % kSide * kCell;
  const int down = static_cast<int>(threadIdx.x) / kSide * kCell;

  float sum[kCell][kCell] = {};
  for (Index k0 = 0; k0 < a.k; k0 += kSlice) {
    loadSlice(xSlice, a.x, a.xStride, a.n, row0, a.k, k0);
    loadSlice(wSlice, a.w, a.wStride, a.m, col0, a.k, k0);
    __syncthreads();
    for (int channel = 0; channel < kSlice; ++channel)
      for (int i = 0; i < kCell; ++i)
        for (int j = 0; j < kCell; ++j) sum[i][j] = fmaf(xSlice[channel][down + i], wSlice[channel][across + j], sum[i][j]);
    __syncthreads();
  }

  for (int i = 0; i < kCell; ++i)
    for (int j = 0; j < kCell; ++j) {
      const Index row = row0 + down + i, col = col0 + across + j;
      if (row >= a.n || col >= a.m) continue;
      float &out = a.out[row * a.outStride + col];
      out = a.accumulate ? out + sum[i][j] : sum[i][j];
    }
}

} // namespace

void matmulTiled(cudaStream_t stream, const MatmulArgs<float> &args) {
  const Index blocks = ((args.n + kTile - 1) / kTile) * ((args.m + kTile - 1) / kTile);
  launch(stream, matmulKernel, static_cast<unsigned>(blocks), kThreads, 0, "matmul launch", {args.n, args.m, args.k}, args);
}

} // namespace xqs::cuda

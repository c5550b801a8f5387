// SPDX-License-Identifier: Apache-2.0
// FP16 weights and many rows: tensor cores, FP32 sums. x is cut into two FP16 matrices first, so that it is not rounded.
#include "matmul.h"

#include "launch.h"
#include "ptx.h"

#include <algorithm>

namespace xqs::cuda {
namespace {

constexpr int kOctet16 = 8; // FP16 channels of a 16-byte piece

// Split -------------------------------------------------------------------------------------------------------------------

/// Launch: one thread 8 channels, n * stride / 8 of them. Moves 8 bytes a channel. The counter is touched only by a value
/// that does not fit.
__global__ void splitKernel(const float *x, Index xStride, Index n, Index k, bool wide, SplitRows to,
                            unsigned long long *saturated) {
  const Index octets = to.stride / kOctet16;
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n * octets) return;
  const Index row = i / octets, first = (i - row * octets) * kOctet16;
  const float *const from = x + row * xStride + first;
  float value[kOctet16];
  if (wide && first + kOctet16 <= k) {
    const float4 a = *reinterpret_cast<const float4 *>(from), b = *reinterpret_cast<const float4 *>(from + 4);
    value[0] = a.x, value[1] = a.y, value[2] = a.z, value[3] = a.w;
    value[4] = b.x, value[5] = b.y, value[6] = b.z, value[7] = b.w;
  } else {
    for (int c = 0; c < kOctet16; ++c) value[c] = first + c < k ? from[c] : 0.0f;
  }
  Half2 high[4], low[4];
  int broken = 0;
  for (int p = 0; p < 4; ++p) {
    const SplitHalf even = splitHalf(value[2 * p]), odd = splitHalf(value[2 * p + 1]);
    high[p] = pairOf(even.high, odd.high), low[p] = pairOf(even.low, odd.low);
    broken += (beyondHalf(value[2 * p]) ? 1 : 0) + (beyondHalf(value[2 * p + 1]) ? 1 : 0);
  }
  const Index at = row * to.stride + first;
  *reinterpret_cast<uint4 *>(to.high + at) = make_uint4(high[0], high[1], high[2], high[3]);
  *reinterpret_cast<uint4 *>(to.low + at) = make_uint4(low[0], low[1], low[2], low[3]);
  if (broken > 0) atomicAdd(saturated, static_cast<unsigned long long>(broken));
}

// Product -----------------------------------------------------------------------------------------------------------------

/// A block's tile of `out`: kRows rows of x by kCols rows of W, its warps kDown x kAcross, slices of kSlice channels, of
/// which kStages lie in shared memory.
template <int rows, int cols, int down, int across, int slice, int stages> struct Tile {
  static constexpr int kRows = rows, kCols = cols, kAcross = across, kSlice = slice, kStages = stages;
  static constexpr int kThreadsOf = down * across * kWarp;
  static constexpr int kWarpRows = rows / down, kWarpCols = cols / across;
  static constexpr int kDownMma = kWarpRows / 16, kAcrossMma = kWarpCols / 8;
  static constexpr int kPieces = slice / kOctet16;               // 16-byte pieces of a row of a slice
  static constexpr int kStageHalves = (2 * rows + cols) * slice; // high, low, weights
  static constexpr std::size_t kShared = std::size_t{2} * stages * kStageHalves;
  static_assert(kAcrossMma % 2 == 0);
};
using NarrowTile = Tile<32, 128, 1, 4, 64, 3>; // 72 KB
using MiddleTile = Tile<64, 64, 2, 2, 32, 4>;  // 48 KB
using WideTile = Tile<128, 128, 2, 4, 32, 3>;  // 72 KB: two blocks a multiprocessor from compute capability 8.0 on

/// Where piece `piece` of row `row` of a slice lies, in pieces: the pieces of neighbouring rows are permuted, so that eight
/// rows of one piece (what loadMatrix4 reads at a time) lie in different banks.
template <int kPieces> __device__ inline int placeOf(int row, int piece) {
  static_assert(kPieces == 4 || kPieces == 8);
  return row * kPieces + (piece ^ (row / (8 / kPieces)) % kPieces);
}

struct Operands {
  SplitRows x;
  const Half *w;
  Index wStride;
  Index n, m, k;
  bool wide; ///< rows of W are aligned to 16 bytes
};

/// Starts copying `rows` rows of a slice, pieces of which nothing is left become 0. from: the first row's first channel of
/// the slice; rowsLeft, channelsLeft: of the matrix from there on; wide: pieces are aligned.
template <typename T, int rows>
__device__ inline void copySlice(Half *to, const Half *from, Index stride, Index rowsLeft, Index channelsLeft, bool wide) {
  constexpr int kAtOnce = T::kThreadsOf / T::kPieces; // rows
  static_assert(kAtOnce % 8 == 0 && rows % kAtOnce == 0);
  const int row = static_cast<int>(threadIdx.x) / T::kPieces, piece = static_cast<int>(threadIdx.x) % T::kPieces;
  const Index left = channelsLeft - piece * kOctet16;
  const int used = left >= kOctet16 ? kOctet16 : left > 0 ? static_cast<int>(left) : 0;
  to += placeOf<T::kPieces>(row, piece) * kOctet16;
  from += row * stride + piece * kOctet16;
#pragma unroll
  for (int r = 0; r < rows; r += kAtOnce, from += kAtOnce * stride, to += kAtOnce * T::kSlice) {
    const int inside = row + r < rowsLeft ? used : 0;
    if (wide) {
      copyAsync16(to, from, 2 * inside);
    } else {
      for (int c = 0; c < kOctet16; ++c) to[c] = c < inside ? from[c] : Half{0};
    }
  }
}

/// Channels from k0 on of a block's rows into a stage: high rows, low rows, weight rows.
template <typename T> __device__ inline void loadSlice(Half *stage, const Operands &a, Index row0, Index col0, Index k0) {
  const Index at = row0 * a.x.stride + k0;
  copySlice<T, T::kRows>(stage, a.x.high + at, a.x.stride, a.n - row0, a.k - k0, true);
  copySlice<T, T::kRows>(stage + T::kRows * T::kSlice, a.x.low + at, a.x.stride, a.n - row0, a.k - k0, true);
  copySlice<T, T::kCols>(stage + 2 * T::kRows * T::kSlice, a.w + col0 * a.wStride + k0, a.wStride, a.m - col0, a.k - k0,
                         a.wide);
}

/// sum += the products of one slice; warp (down, across) has kWarpRows x kWarpCols of the tile.
template <typename T>
__device__ void multiplySlice(float (&sum)[T::kDownMma][T::kAcrossMma][4], const Half *stage, int down, int across) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto at = [&](int row, int piece) { return stage + placeOf<T::kPieces>(row, piece) * kOctet16; };
#pragma unroll
  for (int piece = 0; piece < T::kPieces; piece += 2) {
    Half2 w[T::kAcrossMma / 2][4]; // of two tiles of 8 columns each
#pragma unroll
    for (int j = 0; j < T::kAcrossMma / 2; ++j)
      loadMatrix4(w[j], at(2 * T::kRows + across * T::kWarpCols + j * 16 + lane / 16 * 8 + lane % 8, piece + lane / 8 % 2));
#pragma unroll
    for (int i = 0; i < T::kDownMma; ++i) {
      const int row = down * T::kWarpRows + i * 16 + lane % 16;
      Half2 high[4], low[4];
      loadMatrix4(high, at(row, piece + lane / 16));
      loadMatrix4(low, at(T::kRows + row, piece + lane / 16));
#pragma unroll
      for (int j = 0; j < T::kAcrossMma; ++j) {
        const Half2 b[2] = {w[j / 2][j % 2 * 2], w[j / 2][j % 2 * 2 + 1]};
        mma16816(sum[i][j], high, b);
        mma16816(sum[i][j], low, b);
      }
    }
  }
}

/// Launch: ceil(n / kRows) * ceil(m / kCols) x parts blocks of kThreadsOf threads, kShared bytes of shared memory; blocks
/// that read the same weights follow each other. Part p walks its share of k and writes its own matrix at out + p * n * m
/// where there is more than one. Reads 2 k m ceil(n / kRows) + 4 k n ceil(m / kCols) bytes, writes 4 n m a part; 4 n m k
/// FLOP on tensor cores, two a product and part of x. Every output is one FP32 sum in one order, whatever n.
template <typename T> __global__ void __launch_bounds__(T::kThreadsOf, T::kThreadsOf > 128 ? 2 : 3)
    matmulHalfKernel(const Operands a, float *out, Index outStride, bool accumulate) {
  Half *const stages = dynamicShared<Half>();
  const Index tilesDown = ceilDiv(a.n, T::kRows);
  const Index row0 = blockIdx.x % tilesDown * T::kRows, col0 = blockIdx.x / tilesDown * T::kCols;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, down = warp / T::kAcross, across = warp % T::kAcross;
  const Index slices = ceilDiv(a.k, T::kSlice);
  const int first = static_cast<int>(slices * blockIdx.y / gridDim.y);
  const int end = static_cast<int>(slices * (blockIdx.y + 1) / gridDim.y);
  const auto stageOf = [&](int slice) { return stages + slice % T::kStages * T::kStageHalves; };
  const auto load = [&](int slice) {
    if (slice < end) loadSlice<T>(stageOf(slice), a, row0, col0, Index{slice} * T::kSlice);
    commitCopies();
  };

  float sum[T::kDownMma][T::kAcrossMma][4] = {};
  for (int s = 0; s < T::kStages - 1; ++s) load(first + s);
  for (int slice = first; slice < end; ++slice) {
    waitCopies<T::kStages - 2>();
    __syncthreads(); // this slice has arrived, and nobody reads the stage that the next load fills
    load(slice + T::kStages - 1);
    multiplySlice<T>(sum, stageOf(slice), down, across);
  }

  out += blockIdx.y * a.n * a.m; // 0 where k is whole
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int i = 0; i < T::kDownMma; ++i)
#pragma unroll
    for (int j = 0; j < T::kAcrossMma; ++j)
#pragma unroll
      for (int v = 0; v < 4; ++v) {
        const Index row = row0 + down * T::kWarpRows + i * 16 + lane / 4 + v / 2 * 8;
        const Index col = col0 + across * T::kWarpCols + j * 8 + lane % 4 * 2 + v % 2;
        if (row >= a.n || col >= a.m) continue;
        float &to = out[row * outStride + col];
        to = accumulate ? to + sum[i][j][v] : sum[i][j][v];
      }
}

/// Launch: one thread an output, n * m of them. Reads 4 bytes an output and part, writes 4 (reads them too where
/// `accumulate`). Parts are added in their order.
__global__ void addParts(const float *partial, int parts, float *out, Index outStride, Index n, Index m, bool accumulate) {
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n * m) return;
  float sum = 0;
  for (int p = 0; p < parts; ++p) sum += partial[p * n * m + i];
  float &to = out[i / m * outStride + i % m];
  to = accumulate ? to + sum : sum;
}

template <typename T>
void launchTile(cudaStream_t stream, int parts, const Operands &a, float *out, Index outStride, bool accumulate) {
  const Index blocks = ceilDiv(a.n, T::kRows) * ceilDiv(a.m, T::kCols);
  launch(stream, matmulHalfKernel<T>, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(parts)), T::kThreadsOf,
         T::kShared, "matmul launch", {a.n, a.m, a.k}, a, out, outStride, accumulate);
}

} // namespace

void splitRows(cudaStream_t stream, const MatmulArgs<Half> &args, const SplitRows &to, unsigned long long *saturated) {
  const bool wide = reinterpret_cast<std::uintptr_t>(args.x) % 16 == 0 && args.xStride % 4 == 0;
  launch(stream, splitKernel, blocksFor(args.n * to.stride / kOctet16), kThreads, 0, "matmul launch, split",
         {args.n, args.k}, args.x, args.xStride, args.n, args.k, wide, to, saturated);
}

/// k is cut where the tiles alone would not fill a large device (132 multiprocessors), into parts of at least 256 channels.
/// A constant, not the device's size: the bits are the same on every device of an architecture.
MatmulPlan matmulPlan(Index rows, Index m, Index k) {
  constexpr Index kFull = 2 * 132, kLeast = 256, kMost = 16;
  const auto tiles = [&](Index down, Index across) { return ceilDiv(rows, down) * ceilDiv(m, across); };
  const auto plan = [&](MatmulPlan::Tile tile, Index blocks) {
    const Index parts = std::min({kFull / blocks, k / kLeast, kMost});
    return MatmulPlan{tile, static_cast<int>(std::max<Index>(parts, 1))};
  };
  if (rows <= NarrowTile::kRows) return plan(MatmulPlan::Narrow, tiles(NarrowTile::kRows, NarrowTile::kCols));
  const Index wide = tiles(WideTile::kRows, WideTile::kCols);
  if (wide >= kFull / 2) return plan(MatmulPlan::Wide, wide);
  return plan(MatmulPlan::Middle, tiles(MiddleTile::kRows, MiddleTile::kCols));
}

Index partialBytes(const MatmulPlan &plan, Index n, Index m) {
  return plan.parts > 1 ? plan.parts * n * m * Index{sizeof(float)} : 0;
}

void matmulHalf(cudaStream_t stream, const MatmulPlan &plan, const SplitRows &x, const MatmulArgs<Half> &args,
                float *partial) {
  const bool wide = aligned16(args.w, args.wStride * 2);
  const Operands operands{x, args.w, args.wStride, args.n, args.m, args.k, wide};
  const bool whole = plan.parts == 1;
  float *const out = whole ? args.out : partial;
  const Index stride = whole ? args.outStride : args.m;
  const bool accumulate = whole && args.accumulate;
  switch (plan.tile) {
  case MatmulPlan::Narrow: launchTile<NarrowTile>(stream, plan.parts, operands, out, stride, accumulate); break;
  case MatmulPlan::Middle: launchTile<MiddleTile>(stream, plan.parts, operands, out, stride, accumulate); break;
  case MatmulPlan::Wide: launchTile<WideTile>(stream, plan.parts, operands, out, stride, accumulate); break;
  }
  if (whole) return;
  launch(stream, addParts, blocksFor(args.n * args.m), kThreads, 0, "matmul launch, parts", {args.n, args.m}, partial,
         plan.parts, args.out, args.outStride, args.n, args.m, args.accumulate);
}

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#include "rows.h"

#include "host_values.h"
#include "launch.h"
#include "rotation.h"
#include "vector_access.h"

#include <algorithm>
#include <bit>

namespace xqs::cuda {
namespace {

constexpr Index kMostBlocksY = 1024; ///< more rows go in turns; a slice of tokens (embed) never does

/// Blocks of 256 threads over [rows, cols], four columns a thread: as many threads side by side as a row has fours.
struct RowGrid {
  dim3 grid, block;
  RowGrid(Index rows, Index cols) {
    const Index fours = ceilDiv(cols, kFour);
    const auto across = static_cast<unsigned>(std::bit_ceil(static_cast<std::uint64_t>(std::min<Index>(fours, kThreads))));
    block = dim3(across, kThreads / across);
    grid = dim3(static_cast<unsigned>(ceilDiv(fours, block.x)),
                static_cast<unsigned>(std::min(ceilDiv(rows, block.y), kMostBlocksY)));
  }
};

/// Launch: RowGrid; a thread has four columns of every gridDim.y * blockDim.y-th row. Reads 4 bytes an element of a and b,
/// writes 4.
template <typename F> __global__ void __launch_bounds__(kThreads) elementwiseKernel(ElementwiseArgs p, bool wide, F f) {
  const Index col = kFour * (static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x);
  if (col >= p.cols) return;
  for (Index row = static_cast<Index>(blockIdx.y) * blockDim.y + threadIdx.y; row < p.rows;
       row += static_cast<Index>(gridDim.y) * blockDim.y) {
    const Four a = load4(p.a + row * p.aStride, col, p.cols, wide), b = load4(p.b + row * p.bStride, col, p.cols, wide);
    Four result;
    for (int i = 0; i < kFour; ++i) result.at[i] = f(a.at[i], b.at[i]);
    store4(p.out + row * p.outStride, col, p.cols, wide, result);
  }
}

struct Add {
  __device__ float operator()(float a, float b) const { return plus(a, b); }
};
struct Subtract {
  __device__ float operator()(float a, float b) const { return minus(a, b); }
};
struct Scale {
  float factor;
  __device__ float operator()(float a, float) const { return multiply(a, factor); }
};
/// 4 FLOPs and an exponential an element.
struct SiluMul {
  __device__ float operator()(float a, float b) const { return multiply(divide(a, plus(1.0f, expf(-a))), b); }
};

template <typename F> void elementwise(cudaStream_t stream, ElementwiseArgs p, const char *what, F f) {
  if (p.aStride == p.cols && p.bStride == p.cols && p.outStride == p.cols) p.cols *= p.rows, p.rows = 1;
  const bool wide = areFours(p.a, p.aStride, p.rows, p.cols) && areFours(p.b, p.bStride, p.rows, p.cols) &&
                    areFours(p.out, p.outStride, p.rows, p.cols);
  const RowGrid g(p.rows, p.cols);
  launch(stream, elementwiseKernel<F>, g.grid, g.block, 0, what, {p.rows, p.cols}, p, wide, f);
}

static_assert(HostValues<std::int32_t>::kMost <= kMostBlocksY);

/// Launch: RowGrid over [count, cols]. Reads sizeof(T) bytes an element, writes 4.
template <typename T> __global__ void __launch_bounds__(kThreads)
    embedKernel(const T *table, Index tableStride, HostValues<std::int32_t> tokens, Index count, float *out, Index outStride,
                Index cols, bool wideTable, bool wideOut) {
  const Index col = kFour * (static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x);
  const Index row = static_cast<Index>(blockIdx.y) * blockDim.y + threadIdx.y;
  if (col >= cols || row >= count) return;
  store4(out + row * outStride, col, cols, wideOut, load4(table + tokens.at[row] * tableStride, col, cols, wideTable));
}

template <typename T> void embed(cudaStream_t stream, const T *table, Index tableStride,
                                 std::span<const std::int32_t> tokens, float *out, Index outStride, Index cols) {
  const bool wideTable = areFours(table, tableStride, 2, cols);
  const bool wideOut = areFours(out, outStride, static_cast<Index>(tokens.size()), cols);
  inParts(tokens, [&](const HostValues<std::int32_t> &part, Index first, Index count) {
    const RowGrid g(count, cols);
    launch(stream, embedKernel<T>, g.grid, g.block, 0, "embed launch", {count, cols}, table, tableStride, part, count,
           out + first * outStride, outStride, cols, wideTable, wideOut);
  });
}

constexpr int kHeldFours = 4; ///< of a row, in the registers of one thread of rmsNorm

__device__ float squares(const Four &v, float sum) {
  for (int i = 0; i < kFour; ++i) sum += v.at[i] * v.at[i];
  return sum;
}
__device__ Four normalized(const Four &v, float inverse, const Four &weight) {
  Four result;
  for (int i = 0; i < kFour; ++i) result.at[i] = v.at[i] * inverse * weight.at[i];
  return result;
}

/// Launch: a block a row, of ceil(cols / 8) threads, in whole warps, at most 1024: so many by `cols` alone, and with them
/// the order of the sum. Thread t has fours t, t + threads, ..; four of them stay in registers, so that rows of up to 16384
/// columns are read once and longer ones' rest comes twice, from L2. Reads 4 bytes an element and the weights, writes 4;
/// 4 FLOPs an element.
__global__ void __launch_bounds__(1024) rmsNormKernel(const float *x, Index xStride, const float *weight, float eps,
                                                      float *out, Index outStride, Index cols, bool wide) {
  __shared__ float partial[kWarp];
  const float *in = x + blockIdx.x * xStride;
  float *to = out + blockIdx.x * outStride;
  const Index first = static_cast<Index>(kFour) * threadIdx.x, step = static_cast<Index>(kFour) * blockDim.x;
  const Index beyond = first + kHeldFours * step;
  Four held[kHeldFours];
#pragma unroll
  for (int k = 0; k < kHeldFours; ++k) held[k] = load4(in, first + k * step, cols, wide);
  float sum = 0;
#pragma unroll
  for (int k = 0; k < kHeldFours; ++k) sum = squares(held[k], sum);
  for (Index col = beyond; col < cols; col += step) sum = squares(load4(in, col, cols, wide), sum);

  const float inverse = 1.0f / sqrtf(blockSum(sum, partial) / static_cast<float>(cols) + eps);
#pragma unroll
  for (int k = 0; k < kHeldFours; ++k) {
    const Index col = first + k * step;
    store4(to, col, cols, wide, normalized(held[k], inverse, load4(weight, col, cols, wide)));
  }
  for (Index col = beyond; col < cols; col += step)
    store4(to, col, cols, wide, normalized(load4(in, col, cols, wide), inverse, load4(weight, col, cols, wide)));
}

constexpr int kHeldPairs = 4; ///< of rope, in the registers of one thread

__device__ float2 loadPair(const float *at, bool wide) {
  return wide ? *reinterpret_cast<const float2 *>(at) : make_float2(at[0], at[1]);
}
__device__ void storePair(float *at, bool wide, float2 pair) {
  if (wide)
    *reinterpret_cast<float2 *>(at) = pair;
  else
    at[0] = pair.x, at[1] = pair.y;
}

/// Launch: ceil(heads * pairs / 1024) blocks of 256 threads a row. A block forms the rotation of each of `pairs` pairs once,
/// in shared memory (8 bytes a pair, at most 480), while its 1024 pairs of channels are on their way. Columns [2 firstPair,
/// 2 (firstPair + pairs)) of every head are rotated, heads are 2 headPairs apart. Reads and writes 4 bytes an element; 3
/// FLOPs an element. `wide`: pairs may be moved whole.
__global__ void __launch_bounds__(kThreads)
    ropeKernel(float *x, Index stride, int heads, Index firstPosition, HostValues<double> frequency, int firstPair,
               int pairs, int headPairs, bool wide) {
  __shared__ float2 rotations[HostValues<double>::kMost];
  const int first = static_cast<int>(blockIdx.y * kHeldPairs * kThreads + threadIdx.x), end = heads * pairs;
  float *row = x + blockIdx.x * stride + 2 * firstPair;
  float *at[kHeldPairs];
  float2 held[kHeldPairs];
#pragma unroll
  for (int k = 0; k < kHeldPairs; ++k) {
    const int i = first + k * kThreads, head = i / pairs;
    at[k] = row + 2 * (static_cast<Index>(head) * headPairs + i - head * pairs);
    if (i < end) held[k] = loadPair(at[k], wide);
  }
  for (int j = static_cast<int>(threadIdx.x); j < pairs; j += kThreads)
    rotations[j] = rotation(firstPosition + blockIdx.x, frequency.at[j]);
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kHeldPairs; ++k) {
    const int i = first + k * kThreads;
    if (i < end) storePair(at[k], wide, rotate(held[k], rotations[i % pairs]));
  }
}

} // namespace

void embedRows(cudaStream_t stream, const float *table, Index tableStride, std::span<const std::int32_t> tokens, float *out,
               Index outStride, Index cols) {
  embed(stream, table, tableStride, tokens, out, outStride, cols);
}
void embedRows(cudaStream_t stream, const Half *table, Index tableStride, std::span<const std::int32_t> tokens, float *out,
               Index outStride, Index cols) {
  embed(stream, table, tableStride, tokens, out, outStride, cols);
}

void normalizeRows(cudaStream_t stream, const float *x, Index xStride, const float *weight, float eps, float *out,
                   Index outStride, Index rows, Index cols) {
  const Index warps = std::clamp<Index>(ceilDiv(cols, 2 * kFour * kWarp), 1, kWarp);
  const bool wide =
      areFours(x, xStride, rows, cols) && areFours(out, outStride, rows, cols) && areFours(weight, cols, 1, cols);
  launch(stream, rmsNormKernel, static_cast<unsigned>(rows), static_cast<unsigned>(warps * kWarp), 0, "rmsNorm launch",
         {rows, cols}, x, xStride, weight, eps, out, outStride, cols, wide);
}

void rotateRows(cudaStream_t stream, float *x, Index stride, Index rows, Index heads, Index firstPosition,
                std::span<const double> frequency) {
  const bool wide = reinterpret_cast<std::uintptr_t>(x) % sizeof(float2) == 0 && (rows == 1 || stride % 2 == 0);
  inParts(frequency, [&](const HostValues<double> &part, Index first, Index pairs) {
    const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(ceilDiv(heads * pairs, kHeldPairs * kThreads)));
    launch(stream, ropeKernel, grid, kThreads, 0, "rope launch", {rows, heads, pairs}, x, stride, static_cast<int>(heads),
           firstPosition, part, static_cast<int>(first), static_cast<int>(pairs), static_cast<int>(frequency.size()), wide);
  });
}

void addRows(cudaStream_t stream, const ElementwiseArgs &args) { elementwise(stream, args, "add launch", Add{}); }
void subtractRows(cudaStream_t stream, const ElementwiseArgs &args) {
  elementwise(stream, args, "subtract launch", Subtract{});
}
void siluMulRows(cudaStream_t stream, const ElementwiseArgs &args) {
  elementwise(stream, args, "siluMul launch", SiluMul{});
}
void scaleRows(cudaStream_t stream, float *x, Index stride, Index rows, Index cols, float factor) {
  elementwise(stream, {x, stride, x, stride, x, stride, rows, cols}, "scale launch", Scale{factor});
}

} // namespace xqs::cuda

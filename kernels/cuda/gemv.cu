// SPDX-License-Identifier: Apache-2.0
// Products with a few rows: bound by the bytes of the weights.
#include "matmul.h"

#include "launch.h"
#include "ptx.h"

namespace xqs::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kBlock = kWarps * kWarp;

// FP16 weights ------------------------------------------------------------------------------------------------------------

constexpr int kOutputs = 16;                       // rows of W a block owns
constexpr int kGroup = 8;                          // rows of x in one mma
constexpr int kOctets = 4;                         // of channels of a W row that a lane has under way
constexpr int kChannels = 8;                       // of an octet: one 16-byte load of weights
constexpr int kQuad = 4;                           // lanes that share a row
constexpr int kStep = kOctets * kQuad * kChannels; // channels a warp walks at a time

/// Channels [c, c + 8) of a row; 0 from k on. kWide: the row is aligned to 16 bytes and k a multiple of 8.
template <bool kWide> __device__ inline uint4 loadOctet(const Half *row, int c, int k) {
  uint4 octet = {0, 0, 0, 0};
  if constexpr (kWide) {
    if (c < k) octet = __ldg(reinterpret_cast<const uint4 *>(row + c));
  } else {
    const auto at = [&](int i) { return i < k ? row[i] : Half{0}; };
    octet.x = pairOf(at(c), at(c + 1)), octet.y = pairOf(at(c + 2), at(c + 3));
    octet.z = pairOf(at(c + 4), at(c + 5)), octet.w = pairOf(at(c + 6), at(c + 7));
  }
  return octet;
}
template <bool kWide> __device__ inline void loadOctet(float (&to)[kChannels], const float *row, int c, int k) {
  if constexpr (kWide) {
    float4 half[2] = {};
    if (c < k) half[0] = __ldg(reinterpret_cast<const float4 *>(row + c));
    if (c < k) half[1] = __ldg(reinterpret_cast<const float4 *>(row + c + 4));
    for (int i = 0; i < 2; ++i)
      to[4 * i] = half[i].x, to[4 * i + 1] = half[i].y, to[4 * i + 2] = half[i].z, to[4 * i + 3] = half[i].w;
  } else {
    for (int i = 0; i < kChannels; ++i) to[i] = c + i < k ? row[c + i] : 0.0f;
  }
}
__device__ inline void widenOctet(float (&to)[kChannels], const uint4 &octet) {
  const Half2 pairs[4] = {octet.x, octet.y, octet.z, octet.w};
  for (int i = 0; i < 4; ++i)
    to[2 * i] = widen(static_cast<Half>(pairs[i] & 0xffffu)), to[2 * i + 1] = widen(static_cast<Half>(pairs[i] >> 16));
}

/// Operands of the head that a block works for: blockIdx.y.
template <typename T> __device__ inline MatmulArgs<T> ofHead(MatmulArgs<T> a) {
  const Index head = blockIdx.y;
  a.x += head * a.k, a.out += head * a.m, a.w += head / a.perGroup * a.m * a.wStride;
  return a;
}

/// Launch, a head: ceil(m / 16) * ceil(n / (8 kGroups)) blocks of 256 threads, 4 kGroups KB shared memory. A block owns 16
/// outputs of 8 kGroups rows of x; its 8 warps take k in turns of 128 channels and their sums are added in the warps' order.
/// Reads 2 m k bytes of weights, once for the 8 kGroups rows (further blocks over the same weights follow at once and find
/// them in L2), and 4 n k bytes of x a block from L1 and L2; writes 4 n m.
///
/// W is the left operand of the tensor cores and x the right one, both as TF32: an FP16 weight is one, x is cut into two of
/// 11 bits each. So x keeps 22 bits over the whole range of FP32, and up to eight rows cost what one costs. mma sums over
/// its 8 channels in any assignment that both operands share: lane (g, t) takes channels 8 t .. 8 t + 7 of 32, as they lie.
template <int kGroups, bool kWide> __global__ void __launch_bounds__(kBlock, 2) gemvHalfKernel(const MatmulArgs<Half> all) {
  const MatmulArgs<Half> a = ofHead(all);
  __shared__ float partial[kWarps][kGroups * kGroup][kOutputs];
  constexpr int kRows = kGroups * kGroup;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int g = lane / kQuad, t = lane % kQuad;
  const Index passes = ceilDiv(a.n, kRows);
  const Index row0 = blockIdx.x % passes * kRows, col0 = blockIdx.x / passes * kOutputs;
  // Beyond the last row of W or x the last one is read again; its sums are not stored.
  const auto rowOf = [](auto *first, Index stride, Index row, Index rows) {
    return first + (row < rows ? row : rows - 1) * stride;
  };
  const Half *const upper = rowOf(a.w, a.wStride, col0 + g, a.m), *const lower = rowOf(a.w, a.wStride, col0 + g + 8, a.m);
  const float *x[kGroups];
  for (int i = 0; i < kGroups; ++i) x[i] = rowOf(a.x, a.xStride, row0 + i * kGroup + g, a.n);

  const int k = static_cast<int>(a.k);
  float high[kGroups][4] = {}, low[kGroups][4] = {};
  constexpr int kAtOnce = kGroups == 1 ? kOctets : kWide ? kOctets / 2 : 1; // what the registers hold
  for (int k0 = warp * kStep; k0 < k; k0 += kWarps * kStep)
#pragma unroll 1
    for (int c0 = k0 + t * kChannels; c0 < k0 + kStep; c0 += kAtOnce * kQuad * kChannels) {
      uint4 weights[kAtOnce][2];
#pragma unroll
      for (int o = 0; o < kAtOnce; ++o)
        for (int half = 0; half < 2; ++half)
          weights[o][half] = loadOctet<kWide>(half == 0 ? upper : lower, c0 + o * kQuad * kChannels, k);
#pragma unroll
      for (int o = 0; o < kAtOnce; ++o) {
        float w[2][kChannels];
        widenOctet(w[0], weights[o][0]), widenOctet(w[1], weights[o][1]);
#pragma unroll
        for (int i = 0; i < kGroups; ++i) {
          float value[kChannels];
          loadOctet<kWide>(value, x[i], c0 + o * kQuad * kChannels, k);
#pragma unroll
          for (int c = 0; c < kChannels; c += 2) {
            const SplitTf32 even = splitTf32(value[c]), odd = splitTf32(value[c + 1]);
            const float left[4] = {w[0][c], w[1][c], w[0][c + 1], w[1][c + 1]};
            mma1688(high[i], left, {even.high, odd.high});
            mma1688(low[i], left, {even.low, odd.low});
          }
        }
      }
    }

  for (int i = 0; i < kGroups; ++i)
    for (int j = 0; j < 4; ++j) partial[warp][i * kGroup + 2 * t + j % 2][g + j / 2 * 8] = high[i][j] + low[i][j];
  __syncthreads();
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kOutputs; i += kBlock) {
    const Index row = row0 + i / kOutputs, col = col0 + i % kOutputs;
    if (row >= a.n || col >= a.m) continue;
    float total = 0;
    for (int p = 0; p < kWarps; ++p) total += partial[p][i / kOutputs][i % kOutputs];
    float &out = a.out[row * a.outStride + col];
    out = a.accumulate ? out + total : total;
  }
}

dim3 gridOf(Index blocks, int heads) { return dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(heads)); }

template <int kGroups> void launchHalf(cudaStream_t stream, const MatmulArgs<Half> &a) {
  const bool wide = a.k % kChannels == 0 && aligned16(a.w, a.wStride * 2) && aligned16(a.x, a.xStride * 4);
  const Index blocks = ceilDiv(a.m, kOutputs) * ceilDiv(a.n, kGroups * kGroup);
  launch(stream, wide ? gemvHalfKernel<kGroups, true> : gemvHalfKernel<kGroups, false>, gridOf(blocks, a.heads), kBlock, 0,
         "gemv launch", {a.n, a.m, a.k}, a);
}

// FP32 weights ------------------------------------------------------------------------------------------------------------

/// Launch, a head: ceil(m / 8) * ceil(n / 8) blocks of 256 threads. A warp owns one output of 8 rows of x; lane l sums
/// channels l, l + 32, .. with fused multiply-add, then the warp in one order. Reads 4 m k bytes of weights, once for 8
/// rows, and x a warp from L1 and L2.
__global__ void __launch_bounds__(kBlock) gemvFloatKernel(const MatmulArgs<float> all) {
  const MatmulArgs<float> a = ofHead(all);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const Index passes = ceilDiv(a.n, kGroup);
  const Index row0 = blockIdx.x % passes * kGroup, col = blockIdx.x / passes * kWarps + warp;
  if (col >= a.m) return; // a whole warp
  const Index rows = a.n - row0;
  const float *const w = a.w + col * a.wStride, *const x = a.x + row0 * a.xStride;

  float sum[kGroup] = {};
#pragma unroll 4
  for (Index c = lane; c < a.k; c += kWarp) {
    const float weight = __ldg(w + c);
#pragma unroll
    for (int r = 0; r < kGroup; ++r)
      if (r < rows) sum[r] = fmaf(weight, __ldg(x + r * a.xStride + c), sum[r]);
  }
#pragma unroll
  for (int r = 0; r < kGroup; ++r) {
    const float total = warpSum(sum[r]);
    if (lane != 0 || r >= rows) continue;
    float &out = a.out[(row0 + r) * a.outStride + col];
    out = a.accumulate ? out + total : total;
  }
}

} // namespace

/// The number of groups changes what a block owns, never a row's bits.
void gemv(cudaStream_t stream, const MatmulArgs<Half> &args) {
  if (args.n <= kGroup) return launchHalf<1>(stream, args);
  if (args.n <= 2 * kGroup) return launchHalf<2>(stream, args);
  launchHalf<4>(stream, args);
}

void gemv(cudaStream_t stream, const MatmulArgs<float> &args) {
  const Index blocks = ceilDiv(args.m, kWarps) * ceilDiv(args.n, kGroup);
  launch(stream, gemvFloatKernel, gridOf(blocks, args.heads), kBlock, 0, "gemv launch", {args.n, args.m, args.k}, args);
}

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

// The instructions that C++ has no word for, one function each: tensor cores, asynchronous copies, bit selection. Elsewhere
// than on a device (tests/emulator) the same functions are plain C++.

#include "pack_math.h"

#include <cuda_runtime.h>

#include <bit>

#if !defined(__CUDACC__)
#include "cuda_emulated_ptx.h"
#endif

namespace xqs::cuda {

/// Two FP16 values in one register, the lower channel in the low half.
using Half2 = std::uint32_t;

#if defined(__CUDACC__)

/// d += a b for one 16 x 8 tile, k = 16. FP16 operands, FP32 sums. Lane l: g = l / 4, t = l % 4.
///   a (row-major 16 x 16): a[0] = (g, 2t..), a[1] = (g + 8, 2t..), a[2] = (g, 2t + 8..), a[3] = (g + 8, 2t + 8..)
///   b (16 x 8): b[0] = (k = 2t.., n = g), b[1] = (k = 2t + 8.., n = g)
///   d (16 x 8): d[0], d[1] = (g, 2t), (g, 2t + 1); d[2], d[3] = (g + 8, 2t), (g + 8, 2t + 1)
__device__ inline void mma16816(float (&d)[4], const Half2 (&a)[4], const Half2 (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else // Turing: k = 8 at a time
  for (int i = 0; i < 2; ++i)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
#endif
}

/// d += a b for one 16 x 8 tile, k = 8. TF32 operands (FP32 whose last 13 bits are 0), FP32 sums. Lane l: g = l / 4, t = l
/// % 4.
///   a (row-major 16 x 8): a[0] = (g, t), a[1] = (g + 8, t), a[2] = (g, t + 4), a[3] = (g + 8, t + 4)
///   b (8 x 8): b[0] = (k = t, n = g), b[1] = (k = t + 4, n = g)
///   d: as above
__device__ inline void mma1688(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
                 "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#else // Turing has no TF32: the same sums from shuffled operands
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
#pragma unroll 1 // the callers' loops are unrolled: with this one ptxas would take hours
  for (int k = 0; k < 8; ++k) {
    const int from = k % 4;
    const float upper = __shfl_sync(0xffffffffu, k < 4 ? a[0] : a[2], g * 4 + from);
    const float lower = __shfl_sync(0xffffffffu, k < 4 ? a[1] : a[3], g * 4 + from);
    const float left = __shfl_sync(0xffffffffu, k < 4 ? b[0] : b[1], 2 * t * 4 + from);
    const float right = __shfl_sync(0xffffffffu, k < 4 ? b[0] : b[1], (2 * t + 1) * 4 + from);
    d[0] = fmaf(upper, left, d[0]), d[1] = fmaf(upper, right, d[1]);
    d[2] = fmaf(lower, left, d[2]), d[3] = fmaf(lower, right, d[3]);
  }
#endif
}

/// Four 8 x 8 FP16 matrices from shared memory: lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, aligned)
/// and gets elements (l / 4, 2 (l % 4)..) of matrix i in r[i].
__device__ inline void loadMatrix4(Half2 (&r)[4], const Half *row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// Copies 16 bytes to shared memory in the background; bytes from `used` on become 0. Both addresses are aligned to 16.
__device__ inline void copyAsync16(void *shared, const void *global, int used = 16) {
#if __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(used) : "memory");
#else // Turing copies at once
  uint4 value = {0, 0, 0, 0};
  if (used == 16)
    value = *static_cast<const uint4 *>(global);
  else
    for (int i = 0; i < used; ++i)
      reinterpret_cast<unsigned char *>(&value)[i] = static_cast<const unsigned char *>(global)[i];
  *static_cast<uint4 *>(shared) = value;
#endif
}
/// Ends a group of copies; `waitCopies<n>` returns when all but the last n groups of this thread have arrived.
__device__ inline void commitCopies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int kLeft> __device__ inline void waitCopies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

/// (a & b) | c, one instruction.
__device__ inline std::uint32_t andOr(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}

/// x rounded to 11 significant bits, ties away from zero.
__device__ inline float roundToTf32(float x) { return __uint_as_float((__float_as_uint(x) + 0x1000u) & 0xffffe000u); }

/// x without what TF32 has no bits for.
__device__ inline float cutToTf32(float x) { return __uint_as_float(__float_as_uint(x) & 0xffffe000u); }

/// a - b, both halves, exact for small integers.
__device__ inline Half2 subtractHalf2(Half2 a, Half2 b) {
  Half2 result;
  asm("sub.f16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
  return result;
}
/// a * b + c, both halves, rounded once.
__device__ inline Half2 fmaHalf2(Half2 a, Half2 b, Half2 c) {
  Half2 result;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}

#endif

__device__ inline Half2 pairOf(Half low, Half high) { return static_cast<Half2>(low) | static_cast<Half2>(high) << 16; }

/// x = high + low with 22 bits of x in the two: how FP32 rows meet FP16 weights on tensor cores. Below 2^-14 the low part
/// loses bits, to 2^-25 at worst; values beyond FP16 saturate.
struct SplitHalf {
  Half high, low;
};
__device__ inline SplitHalf splitHalf(float x) {
  const Half high = narrow(x);
  return {high, narrow(minus(x, widen(high)))};
}

/// x = high + low within 2^-22 |x|, both TF32, over the whole range of FP32 (an infinity becomes NaN): how FP32 meets tensor
/// cores. `high` is rounded to 11 bits, what is left has 12, of which `low` keeps 11.
struct SplitTf32 {
  float high, low;
};
__device__ inline SplitTf32 splitTf32(float x) {
  const float high = roundToTf32(x);
  return {high, cutToTf32(minus(x, high))};
}

} // namespace xqs::cuda

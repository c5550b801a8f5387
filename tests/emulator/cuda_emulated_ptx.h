// SPDX-License-Identifier: Apache-2.0
#pragma once

// What kernels/cuda/ptx.h does with single instructions, for the emulator. Layouts: PTX ISA 8.x, 9.7.14 (mma.m16n8k16
// and m16n8k8), 9.7.14.5.15 (ldmatrix).

#include "half.h"

#include <cuda_runtime.h>

namespace xqs::cuda {

namespace emulated {
inline float part(std::uint32_t pair, int i) { return toFloat(static_cast<Half>(pair >> (16 * i))); }
inline const std::byte *slot(const std::byte *slots, int lane) {
  return slots + static_cast<std::size_t>(lane) * emulator::kSlotBytes;
}
} // namespace emulated

namespace emulated {
/// What both products share: every lane gives its operands, d[i] of lane (g, t) sums k products of row g (+ 8) and column
/// 2 t (+ 1). left(operands, lower half of the rows, k), right(operands, k): which register holds which k; a lane holds
/// kPerLane neighbours.
template <int kDepth, int kPerLane, typename Operands, typename Left, typename Right>
void multiply(float (&d)[4], const Operands &own, const Left &left, const Right &right) {
  const std::byte *slots = emulator::exchange(0xffffffffu, &own, sizeof own);
  const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, t = lane % 4;
  const auto of = [&](int from) -> const Operands & { return *reinterpret_cast<const Operands *>(slot(slots, from)); };
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + i % 2;
    float sum = d[i];
    for (int k = 0; k < kDepth; ++k) {
      const int holder = k % (4 * kPerLane) / kPerLane;
      sum += left(of(g * 4 + holder), i / 2, k) * right(of(column * 4 + holder), k);
    }
    d[i] = sum;
  }
}
} // namespace emulated

/// Every lane widens its own operands.
inline void mma16816(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  struct Operands {
    float a[4][2], b[2][2];
  } own;
  for (int i = 0; i < 8; ++i) own.a[i / 2][i % 2] = emulated::part(a[i / 2], i % 2);
  for (int i = 0; i < 4; ++i) own.b[i / 2][i % 2] = emulated::part(b[i / 2], i % 2);
  emulated::multiply<16, 2>(
      d, own, [](const Operands &o, int lower, int k) { return o.a[lower + k / 8 * 2][k % 2]; },
      [](const Operands &o, int k) { return o.b[k / 8][k % 2]; });
}

inline float roundToTf32(float x) { return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x1000u) & 0xffffe000u); }
inline float cutToTf32(float x) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xffffe000u); }
inline void mma1688(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
  struct Operands {
    float a[4], b[2];
  } own{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  for (const float v : {a[0], a[1], a[2], a[3], b[0], b[1]})
    if (cutToTf32(v) != v && v == v) std::abort(); // not TF32
  emulated::multiply<8, 1>(
      d, own, [](const Operands &o, int lower, int k) { return o.a[lower + k / 4 * 2]; },
      [](const Operands &o, int k) { return o.b[k / 4]; });
}

inline void loadMatrix4(std::uint32_t (&r)[4], const Half *row) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) std::abort(); // the instruction faults
  const std::byte *slots = emulator::exchange(0xffffffffu, &row, sizeof row);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int i = 0; i < 4; ++i) {
    const Half *from;
    std::memcpy(&from, emulated::slot(slots, 8 * i + lane / 4), sizeof from);
    std::memcpy(&r[i], from + 2 * (lane % 4), sizeof r[i]);
  }
}

/// Nothing arrives before it is waited for.
inline void copyAsync16(void *shared, const void *global, int used = 16) {
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0 || reinterpret_cast<std::uintptr_t>(global) % 16 != 0) std::abort();
  emulator::copyAsync(shared, global, 16, static_cast<std::size_t>(used));
}
inline void commitCopies() { emulator::commitCopies(); }
template <int kLeft> inline void waitCopies() { emulator::waitCopies(kLeft); }

inline std::uint32_t andOr(std::uint32_t a, std::uint32_t b, std::uint32_t c) { return (a & b) | c; }
inline std::uint32_t subtractHalf2(std::uint32_t a, std::uint32_t b) {
  const auto part = [&](int i) { return toHalf(emulated::part(a, i) - emulated::part(b, i)); };
  return static_cast<std::uint32_t>(part(0)) | static_cast<std::uint32_t>(part(1)) << 16;
}
/// The product of two FP16 values is exact in FP32, the sum in double.
inline std::uint32_t fmaHalf2(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const auto part = [&](int i) {
    return toHalf(
        static_cast<float>(static_cast<double>(emulated::part(a, i)) * emulated::part(b, i) + emulated::part(c, i)));
  };
  return static_cast<std::uint32_t>(part(0)) | static_cast<std::uint32_t>(part(1)) << 16;
}

} // namespace xqs::cuda

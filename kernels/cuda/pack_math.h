// SPDX-License-Identifier: Apache-2.0
#pragma once

// What one thread of a packing kernel computes: indices, bits and rounding of the packed cache (layout: core/api/packed.h,
// arithmetic: `Backend::quantize`). Host code too, so that tests run these very functions at odd sizes without a GPU.

#include "packed.h"

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define XQS_HD __host__ __device__
#else
#define XQS_HD
#endif

namespace xqs::cuda {

/// Whether rows begin at whole 16 bytes.
inline bool aligned16(const void *data, Index strideBytes) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && strideBytes % 16 == 0;
}
XQS_HD constexpr Index ceilDiv(Index a, Index b) { return (a + b - 1) / b; }

/// Codes that fill whole bytes at every width of code: the unit one thread packs, so no two threads share a byte.
constexpr int kOctet = 8;

/// A packed tensor's geometry, resolved once on the host so that a thread only indexes.
struct PackShape {
  Index width = 0;
  Index group = 0;
  Index segment = 0;          ///< channels after which groups restart; `width` where they never do
  Index groupsPerSegment = 0; ///< of a whole segment
  Index groupsPerRow = 0;
  Index octetsPerRow = 0;
  Index rowBytes = 0;
  int bits = 0;
  bool perChannel = false; ///< Axis::Channel
};

inline PackShape packShape(const QuantFormat &format, Index width) {
  PackShape shape;
  shape.width = width;
  shape.group = format.group;
  shape.segment = format.segment > 0 && format.segment < width ? format.segment : width;
  shape.groupsPerSegment = (shape.segment + format.group - 1) / format.group;
  shape.groupsPerRow = format.groupsPerRow(width);
  shape.octetsPerRow = (width + kOctet - 1) / kOctet;
  shape.rowBytes = format.codeBytesPerRow(width);
  shape.bits = format.bits;
  shape.perChannel = format.axis == Axis::Channel;
  return shape;
}

// Indices -----------------------------------------------------------------------------------------------------------------

/// Channels [begin, end) of one group of a token.
struct ChannelRange {
  Index begin;
  Index end;
};

/// Axis::Token: the channels of group `g` of a row. The last group of a segment, and the last segment, may be shorter.
XQS_HD inline ChannelRange groupChannels(const PackShape &shape, Index g) {
  const Index segment = g / shape.groupsPerSegment;
  const Index begin = segment * shape.segment + (g - segment * shape.groupsPerSegment) * shape.group;
  Index end = begin + shape.group;
  const Index segmentEnd = (segment + 1) * shape.segment;
  if (end > segmentEnd) end = segmentEnd;
  if (end > shape.width) end = shape.width;
  return {begin, end};
}

/// Where scale and zero of (token, channel) lie.
XQS_HD inline Index scaleIndex(const PackShape &shape, Index token, Index channel) {
  if (shape.perChannel) return token / shape.group * shape.width + channel;
  const Index segment = channel / shape.segment;
  const Index group = segment * shape.groupsPerSegment + (channel - segment * shape.segment) / shape.group;
  return token * shape.groupsPerRow + group;
}

// Bits --------------------------------------------------------------------------------------------------------------------

/// Codes in octet `octet` of a row: 8, fewer in the last one.
XQS_HD inline int octetCodes(const PackShape &shape, Index octet) {
  const Index rest = shape.width - octet * kOctet;
  return rest < kOctet ? static_cast<int>(rest) : kOctet;
}

/// The bytes of octet `octet` of a row: `bits`, fewer in the last one.
XQS_HD inline int octetBytes(const PackShape &shape, Index octet) { return (octetCodes(shape, octet) * shape.bits + 7) / 8; }

/// One access of sizeof(T) bytes where an octet has that many and lies at a multiple of them.
template <typename T> XQS_HD inline bool isOne(const std::byte *at, int bytes) {
  return bytes == static_cast<int>(sizeof(T)) && reinterpret_cast<std::uintptr_t>(at) % sizeof(T) == 0;
}

/// Writes the low `count * bits` bits of `word` to the bytes of octet `octet`; bits beyond the row's last code become 0.
XQS_HD inline void storeOctet(const PackShape &shape, std::byte *row, Index octet, std::uint64_t word) {
  const int bytes = octetBytes(shape, octet);
  std::byte *const at = row + octet * shape.bits;
  if (isOne<std::uint16_t>(at, bytes))
    *reinterpret_cast<std::uint16_t *>(at) = static_cast<std::uint16_t>(word);
  else if (isOne<std::uint32_t>(at, bytes))
    *reinterpret_cast<std::uint32_t *>(at) = static_cast<std::uint32_t>(word);
  else if (isOne<std::uint64_t>(at, bytes))
    *reinterpret_cast<std::uint64_t *>(at) = word;
  else
    for (int i = 0; i < bytes; ++i) at[i] = static_cast<std::byte>((word >> (8 * i)) & 0xffu);
}
/// The bits of octet `octet`, code i at i * bits.
XQS_HD inline std::uint64_t loadOctet(const PackShape &shape, const std::byte *row, Index octet) {
  const int bytes = octetBytes(shape, octet);
  const std::byte *const at = row + octet * shape.bits;
  if (isOne<std::uint16_t>(at, bytes)) return *reinterpret_cast<const std::uint16_t *>(at);
  if (isOne<std::uint32_t>(at, bytes)) return *reinterpret_cast<const std::uint32_t *>(at);
  if (isOne<std::uint64_t>(at, bytes)) return *reinterpret_cast<const std::uint64_t *>(at);
  std::uint64_t word = 0;
  for (int i = 0; i < bytes; ++i) word |= static_cast<std::uint64_t>(at[i]) << (8 * i);
  return word;
}

// Arithmetic: single IEEE operations, never contracted
// ----------------------------------------------------------------------

#if defined(__CUDA_ARCH__)
#define XQS_DEVICE_OR_HOST(device, host) return device
#else
#define XQS_DEVICE_OR_HOST(device, host) return host
#endif
XQS_HD inline float divide(float a, float b) { XQS_DEVICE_OR_HOST(__fdiv_rn(a, b), a / b); }
XQS_HD inline float multiply(float a, float b) { XQS_DEVICE_OR_HOST(__fmul_rn(a, b), a * b); }
XQS_HD inline float plus(float a, float b) { XQS_DEVICE_OR_HOST(__fadd_rn(a, b), a + b); }
XQS_HD inline float fused(float a, float b, float c) { XQS_DEVICE_OR_HOST(__fmaf_rn(a, b, c), std::fma(a, b, c)); }
XQS_HD inline float minus(float a, float b) { XQS_DEVICE_OR_HOST(__fsub_rn(a, b), a - b); }
XQS_HD inline float roundHalfEven(float v) { XQS_DEVICE_OR_HOST(rintf(v), std::rint(v)); }
XQS_HD inline float widen(Half h) { XQS_DEVICE_OR_HOST(__half2float(__ushort_as_half(h)), toFloat(h)); }
XQS_HD inline bool beyondHalf(float v) { return v > kHalfMax || v < -kHalfMax || v != v; } // = saturates(v)
/// Rounds to nearest even; saturates to +-65504; NaN stays NaN: `toHalf` bit for bit.
XQS_HD inline Half narrow(float v) {
#if defined(__CUDA_ARCH__)
  if (v != v) return __float_as_int(v) < 0 ? 0xfe00u : 0x7e00u;
  return __half_as_ushort(__float2half_rn(fminf(fmaxf(v, -kHalfMax), kHalfMax)));
#else
  return toHalf(v);
#endif
}
/// What the quantizer reads for x: NaN is 0, infinities are the largest FP32, so that a broken value spoils its group alone.
XQS_HD inline bool isFinite(float x) { return x >= -FLT_MAX && x <= FLT_MAX; }
XQS_HD inline float finite(float x) {
  if (x != x) return 0.0f;
  return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
}

/// Minimum and maximum of a group of finite values; merging in any order gives the same values (which of -0 and +0 it gives
/// does not matter, see scaleAndZero).
struct Extremes {
  float min;
  float max;
};
XQS_HD inline Extremes merge(Extremes a, Extremes b) {
  return {b.min < a.min ? b.min : a.min, b.max > a.max ? b.max : a.max};
}

struct ScaleZero {
  Half scale;
  Half zero;
  int saturated; ///< how many of the two did not fit FP16
};
/// Adding 0 turns -0 into +0: the bits do not depend on the order in which equal values were compared.
XQS_HD inline ScaleZero scaleAndZero(Extremes e, int bits) {
  const float min = plus(e.min, 0.0f), max = plus(e.max, 0.0f);
  const float scale = divide(minus(max, min), static_cast<float>((1 << bits) - 1));
  return {narrow(scale), narrow(min), (beyondHalf(scale) ? 1 : 0) + (beyondHalf(min) ? 1 : 0)};
}

/// Code of `x` under scale and zero as stored. A scale of 0 gives 0.
XQS_HD inline std::uint32_t quantizeValue(float x, Half scale, Half zero, int bits) {
  const float step = widen(scale);
  if (step == 0.0f) return 0;
  const float levels = static_cast<float>((1 << bits) - 1);
  const float code = roundHalfEven(divide(minus(finite(x), widen(zero)), step));
  return static_cast<std::uint32_t>(code < 0.0f ? 0.0f : code < levels ? code : levels);
}

XQS_HD inline float dequantizeValue(std::uint32_t code, Half scale, Half zero) {
  return plus(multiply(static_cast<float>(code), widen(scale)), widen(zero));
}

/// 2^23: added to a value in [0, 2^22], it rounds it half to even and leaves the integer in the low bits of the sum.
constexpr float kWholes = 8388608.0f;
XQS_HD inline std::uint32_t bitsOf(float v) {
  XQS_DEVICE_OR_HOST(static_cast<std::uint32_t>(__float_as_int(v)), std::bit_cast<std::uint32_t>(v));
}
XQS_HD inline float floatOf(std::uint32_t bits) {
  XQS_DEVICE_OR_HOST(__int_as_float(static_cast<int>(bits)), std::bit_cast<float>(bits));
}

/// What the values of one group are quantized with, resolved once: the same codes as quantizeValue without its division and
/// its conversions. The quotient is corrected twice by its exact remainder, which rounds it correctly (Markstein, IBM J.
/// Res. Dev. 34, 1990: the reciprocal is, and an FP16 step has no mantissa of ones only).
struct GroupCoder {
  float zero, step, inverse, levels;
};
XQS_HD inline GroupCoder groupCoder(Half scale, Half zero, int bits) {
  const float step = widen(scale);
  if (step == 0.0f) return {widen(zero), 0.0f, 0.0f, 0.0f};
  return {widen(zero), step, divide(1.0f, step), static_cast<float>((1 << bits) - 1)};
}
XQS_HD inline std::uint32_t codeOf(float x, const GroupCoder &c) {
  const float a = minus(finite(x), c.zero);
  float quotient = multiply(a, c.inverse);
  quotient = fused(fused(-quotient, c.step, a), c.inverse, quotient);
  quotient = fused(fused(-quotient, c.step, a), c.inverse, quotient);
  const float code = quotient < 0.0f ? 0.0f : quotient < c.levels ? quotient : c.levels;
  return bitsOf(plus(code, kWholes)) & 0xffu;
}

#undef XQS_DEVICE_OR_HOST

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd_pack.cpp"
#include "simd_pack.h"

#include "quant_groups.h"

#include <bit>
#include <cstring>

#include <hwy/foreach_target.h> // must come before highway.h

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace xqs::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using D16 = hn::Rebind<std::uint16_t, DF>;
using D8 = hn::Rebind<std::uint8_t, DF>;

HWY_INLINE Index lanesOf() { return static_cast<Index>(hn::Lanes(DF())); }

HWY_INLINE VF finiteOf(VF x) {
  const DF d;
  const VF limit = hn::Set(d, FLT_MAX);
  const VF number = hn::IfThenElseZero(hn::Eq(x, x), x);
  return hn::Min(hn::Max(number, hn::Neg(limit)), limit);
}
HWY_INLINE Index brokenIn(VF x) {
  const DF d;
  const auto good = hn::Le(hn::Abs(x), hn::Set(d, FLT_MAX));
  return hn::AllTrue(d, good) ? 0 : lanesOf() - static_cast<Index>(hn::CountTrue(d, good));
}

Range range(const float *x, Index n) {
  const DF d;
  float min = finite(x[0]), max = min;
  Index broken = 0, i = 0;
  if (n >= lanesOf()) {
    VF lo = finiteOf(hn::LoadU(d, x)), hi = lo;
    for (; i + lanesOf() <= n; i += lanesOf()) {
      const VF v = hn::LoadU(d, x + i), f = finiteOf(v);
      broken += brokenIn(v);
      lo = hn::Min(lo, f);
      hi = hn::Max(hi, f);
    }
    min = hn::GetLane(hn::MinOfLanes(d, lo));
    max = hn::GetLane(hn::MaxOfLanes(d, hi));
  }
  for (; i < n; ++i) {
    const float f = finite(x[i]);
    broken += isFinite(x[i]) ? 0 : 1;
    min = f < min ? f : min;
    max = f > max ? f : max;
  }
  return {min, max, broken};
}

Index rangeColumns(const float *x, Index n, float *min, float *max) {
  const DF d;
  Index broken = 0, i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const VF v = hn::LoadU(d, x + i), f = finiteOf(v);
    broken += brokenIn(v);
    hn::StoreU(hn::Min(hn::LoadU(d, min + i), f), d, min + i);
    hn::StoreU(hn::Max(hn::LoadU(d, max + i), f), d, max + i);
  }
  for (; i < n; ++i) {
    const float f = finite(x[i]);
    broken += isFinite(x[i]) ? 0 : 1;
    min[i] = f < min[i] ? f : min[i];
    max[i] = f > max[i] ? f : max[i];
  }
  return broken;
}

/// Clamping before rounding gives the same code, and keeps the conversion in range.
HWY_INLINE hn::Vec<DI> encodeOf(VF x, VF scale, VF zero, VF levels) {
  const DF d;
  const VF q = hn::Div(hn::Sub(finiteOf(x), zero), scale);
  const VF clamped = hn::Min(hn::Max(q, hn::Zero(d)), levels);
  return hn::NearestInt(hn::IfThenElse(hn::Eq(scale, hn::Zero(d)), hn::Zero(d), clamped));
}
HWY_INLINE std::uint8_t encodeOne(float x, float scale, float zero, int levels) {
  const DF d;
  const auto code = encodeOf(hn::Set(d, x), hn::Set(d, scale), hn::Set(d, zero), hn::Set(d, static_cast<float>(levels)));
  return static_cast<std::uint8_t>(hn::GetLane(code));
}

void encode(const float *x, Index n, float scale, float zero, int levels, std::uint8_t *codes) {
  const DF d;
  const VF s = hn::Set(d, scale), z = hn::Set(d, zero), top = hn::Set(d, static_cast<float>(levels));
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf())
    hn::StoreU(hn::DemoteTo(D8(), encodeOf(hn::LoadU(d, x + i), s, z, top)), D8(), codes + i);
  for (; i < n; ++i) codes[i] = encodeOne(x[i], scale, zero, levels);
}

void encodeColumns(const float *x, Index n, const float *scale, const float *zero, int levels, std::uint8_t *codes) {
  const DF d;
  const VF top = hn::Set(d, static_cast<float>(levels));
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const auto code = encodeOf(hn::LoadU(d, x + i), hn::LoadU(d, scale + i), hn::LoadU(d, zero + i), top);
    hn::StoreU(hn::DemoteTo(D8(), code), D8(), codes + i);
  }
  for (; i < n; ++i) codes[i] = encodeOne(x[i], scale[i], zero[i], levels);
}

HWY_INLINE VF decodeOf(const std::uint8_t *codes, VF scale, VF zero) {
  const DF d;
  const VF code = hn::ConvertTo(d, hn::PromoteTo(DI(), hn::LoadU(D8(), codes)));
  return hn::Add(hn::Mul(code, scale), zero);
}

void decode(const std::uint8_t *codes, Index n, float scale, float zero, bool accumulate, float *out) {
  const DF d;
  const VF s = hn::Set(d, scale), z = hn::Set(d, zero);
  Index i = 0;
  if (accumulate)
    for (; i + lanesOf() <= n; i += lanesOf())
      hn::StoreU(hn::Add(hn::LoadU(d, out + i), decodeOf(codes + i, s, z)), d, out + i);
  else
    for (; i + lanesOf() <= n; i += lanesOf()) hn::StoreU(decodeOf(codes + i, s, z), d, out + i);
  for (; i < n; ++i) {
    const float value = static_cast<float>(codes[i]) * scale + zero;
    out[i] = accumulate ? out[i] + value : value;
  }
}

void decodeColumns(const std::uint8_t *codes, Index n, const float *scale, const float *zero, bool accumulate, float *out) {
  const DF d;
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const VF value = decodeOf(codes + i, hn::LoadU(d, scale + i), hn::LoadU(d, zero + i));
    hn::StoreU(accumulate ? hn::Add(hn::LoadU(d, out + i), value) : value, d, out + i);
  }
  for (; i < n; ++i) {
    const float value = static_cast<float>(codes[i]) * scale[i] + zero[i];
    out[i] = accumulate ? out[i] + value : value;
  }
}

/// half.h's toHalf on 32-bit lanes. Highway's own conversion differs from set to set in what it does with NaN and overflow.
Index toHalf(const float *x, Index n, Half *out) {
  const DF d;
  const DU du;
  const DI di;
  Index saturated = 0, i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const VF v = hn::LoadU(d, x + i);
    const auto bits = hn::BitCast(du, v);
    const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000u));
    const auto magnitude = hn::And(bits, hn::Set(du, 0x7fffffffu));
    const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1u));
    const auto rounded = hn::Add(magnitude, hn::Add(odd, hn::Set(du, 0xfffu)));
    const auto normal = hn::ShiftRight<13>(hn::Sub(rounded, hn::Set(du, 0x38000000u)));
    const VF size = hn::BitCast(d, magnitude);
    // Lanes that are not subnormal are replaced by 0 first: the conversion must stay in range.
    const auto small = hn::Lt(size, hn::Set(d, 0x1p-14f));
    const VF units = hn::Mul(hn::IfThenElseZero(small, size), hn::Set(d, 0x1p24f));
    const auto subnormal = hn::BitCast(du, hn::NearestInt(units));
    auto half = hn::IfThenElse(hn::RebindMask(du, small), subnormal, normal);
    const auto fits = hn::Le(size, hn::Set(d, kHalfMax));
    if (!hn::AllTrue(d, fits)) {
      saturated += lanesOf() - static_cast<Index>(hn::CountTrue(d, fits));
      half = hn::IfThenElse(hn::RebindMask(du, fits), half, hn::Set(du, 0x7bffu));
      half = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), hn::Set(du, 0x7e00u), half);
    }
    hn::StoreU(hn::DemoteTo(D16(), hn::BitCast(di, hn::Or(half, sign))), D16(), out + i);
  }
  for (; i < n; ++i) {
    saturated += saturates(x[i]) ? 1 : 0;
    out[i] = ::xqs::toHalf(x[i]);
  }
  return saturated;
}

/// Shifted into place, an FP16 is an FP32 whose exponent is 112 too small: one exact multiplication repairs normal and
/// subnormal numbers alike.
void toFloat(const Half *x, Index n, float *out) {
  const DF d;
  const DU du;
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const auto bits = hn::PromoteTo(du, hn::LoadU(D16(), x + i));
    const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000u)));
    const auto shifted = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7fffu)));
    const VF number = hn::Mul(hn::BitCast(d, shifted), hn::Set(d, 0x1p112f));
    const auto special = hn::Ge(hn::BitCast(d, shifted), hn::BitCast(d, hn::Set(du, 0x0f800000u))); // exponent 31
    const VF infinite = hn::BitCast(d, hn::Or(shifted, hn::Set(du, 0x7f800000u)));
    const VF size = hn::IfThenElse(special, infinite, number);
    hn::StoreU(hn::BitCast(d, hn::Or(hn::BitCast(du, size), sign)), d, out + i);
  }
  for (; i < n; ++i) out[i] = ::xqs::toFloat(x[i]);
}

} // namespace xqs::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xqs::simd {
HWY_EXPORT(range);
HWY_EXPORT(encode);
HWY_EXPORT(rangeColumns);
HWY_EXPORT(encodeColumns);
HWY_EXPORT(decode);
HWY_EXPORT(decodeColumns);
HWY_EXPORT(toHalf);
HWY_EXPORT(toFloat);

Range range(const float *x, Index n) { return HWY_DYNAMIC_DISPATCH(range)(x, n); }
void encode(const float *x, Index n, float scale, float zero, int levels, std::uint8_t *codes) {
  if (scale == 0)
    std::memset(codes, 0, static_cast<std::size_t>(n));
  else
    HWY_DYNAMIC_DISPATCH(encode)(x, n, scale, zero, levels, codes);
}
Index rangeColumns(const float *x, Index n, float *min, float *max) {
  return HWY_DYNAMIC_DISPATCH(rangeColumns)(x, n, min, max);
}
void encodeColumns(const float *x, Index n, const float *scale, const float *zero, int levels, std::uint8_t *codes) {
  HWY_DYNAMIC_DISPATCH(encodeColumns)(x, n, scale, zero, levels, codes);
}
void decode(const std::uint8_t *codes, Index n, float scale, float zero, bool accumulate, float *out) {
  HWY_DYNAMIC_DISPATCH(decode)(codes, n, scale, zero, accumulate, out);
}
void decodeColumns(const std::uint8_t *codes, Index n, const float *scale, const float *zero, bool accumulate, float *out) {
  HWY_DYNAMIC_DISPATCH(decodeColumns)(codes, n, scale, zero, accumulate, out);
}
Index toHalf(const float *x, Index n, Half *out) { return HWY_DYNAMIC_DISPATCH(toHalf)(x, n, out); }
void toFloat(const Half *x, Index n, float *out) { HWY_DYNAMIC_DISPATCH(toFloat)(x, n, out); }

namespace {

static_assert(std::endian::native == std::endian::little, "packed rows are little-endian bit streams");

// Eight codes are eight bytes of a word; neighbours are joined until all of their bits are side by side, and back.
// Lanes holds the masks of the steps.
template <int kBits> struct Lanes {
  static constexpr std::uint64_t kCode = (1u << kBits) - 1u;
  static constexpr std::uint64_t kOne = 0x0101010101010101u * kCode;                         // 8 fields of kBits
  static constexpr std::uint64_t kTwo = 0x0001000100010001u * ((kCode << kBits) | kCode);    // 4 of 2 kBits
  static constexpr std::uint64_t kFour = 0x0000000100000001u * ((1ull << (4 * kBits)) - 1u); // 2 of 4 kBits
};

template <int kBits> std::uint64_t join(std::uint64_t bytes) {
  using L = Lanes<kBits>;
  std::uint64_t x = bytes & L::kOne;
  x = (x | (x >> (8 - kBits))) & L::kTwo;
  x = (x | (x >> (16 - 2 * kBits))) & L::kFour;
  return (x | (x >> (32 - 4 * kBits))) & ((1ull << (8 * kBits)) - 1u);
}

template <int kBits> std::uint64_t split(std::uint64_t joined) {
  using L = Lanes<kBits>;
  std::uint64_t x = joined;
  x = (x | (x << (32 - 4 * kBits))) & L::kFour;
  x = (x | (x << (16 - 2 * kBits))) & L::kTwo;
  return (x | (x << (8 - kBits))) & L::kOne;
}

template <int kBits> void pack(const std::uint8_t *codes, Index n, std::byte *row) {
  constexpr int kWord = kBits == 3 ? 4 : kBits; // bytes moved at once: the fourth belongs to the next eight codes
  Index i = 0;
  for (; i + (kWord == kBits ? 8 : 16) <= n; i += 8) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, codes + i, 8);
    const std::uint64_t joined = join<kBits>(bytes);
    std::memcpy(row + i / 8 * kBits, &joined, kWord);
  }
  if (i == n) return;
  std::memset(row + i / 8 * kBits, 0, static_cast<std::size_t>(((n - i) * kBits + 7) / 8));
  for (; i < n; ++i) writeCode(row, i, kBits, codes[i]);
}

template <int kBits> void unpack(const std::byte *row, Index n, std::uint8_t *codes) {
  constexpr int kWord = kBits == 3 ? 4 : kBits;
  Index i = 0;
  for (; i + (kWord == kBits ? 8 : 16) <= n; i += 8) {
    std::uint64_t joined = 0;
    std::memcpy(&joined, row + i / 8 * kBits, kWord);
    const std::uint64_t bytes = split<kBits>(joined & ((1ull << (8 * kBits)) - 1u));
    std::memcpy(codes + i, &bytes, 8);
  }
  for (; i < n; ++i) codes[i] = static_cast<std::uint8_t>(readCode(row, i, kBits));
}

} // namespace

void packCodes(const std::uint8_t *codes, Index n, int bits, std::byte *row) {
  switch (bits) {
  case 2: return pack<2>(codes, n, row);
  case 3: return pack<3>(codes, n, row);
  case 4: return pack<4>(codes, n, row);
  default: std::memcpy(row, codes, static_cast<std::size_t>(n));
  }
}

void unpackCodes(const std::byte *row, Index n, int bits, std::uint8_t *codes) {
  switch (bits) {
  case 2: return unpack<2>(row, n, codes);
  case 3: return unpack<3>(row, n, codes);
  case 4: return unpack<4>(row, n, codes);
  default: std::memcpy(codes, row, static_cast<std::size_t>(n));
  }
}

} // namespace xqs::simd
#endif

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

namespace xqs {

/// IEEE 754 binary16 as a bit pattern. Storage only: all arithmetic is FP32.
using Half = std::uint16_t;

constexpr float kHalfMax = 65504.0f;

/// Exact widening.
constexpr float toFloat(Half h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t exponent = (h >> 10) & 0x1fu;
  const std::uint32_t mantissa = h & 0x3ffu;
  if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

/// Rounds to nearest, ties to even. Values beyond FP16 saturate to +-65504 (method.md 2: the caller counts them, see
/// `saturates`); NaN stays NaN.
constexpr Half toHalf(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<Half>(sign | 0x7e00u);
  if (magnitude >= 0x477fe001u) return static_cast<Half>(sign | 0x7bffu); // above 65504: saturate
  if (magnitude < 0x38800000u) {                                          // below 2^-14: subnormal
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;       // exact, in units of 2^-24
    const std::uint32_t whole = static_cast<std::uint32_t>(scaled);
    const float rest = scaled - static_cast<float>(whole);
    const std::uint32_t up = rest > 0.5f || (rest == 0.5f && (whole & 1u) != 0) ? 1u : 0u;
    return static_cast<Half>(sign | (whole + up));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<Half>(sign | ((rounded - 0x38000000u) >> 13));
}

/// True where `toHalf` cannot hold the value: the run records a problem.
constexpr bool saturates(float value) { return value > kHalfMax || value < -kHalfMax || value != value; }

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace xqs {

/// splitmix64's output function (Steele, Lea, Flood, OOPSLA 2014): a hash of a counter, equal on every platform.
inline constexpr std::uint64_t kMixStep = 0x9e3779b97f4a7c15u; ///< of its counter
constexpr std::uint64_t mix(std::uint64_t x) {
  x += kMixStep;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// Mean 0, deviation 1, from the bits of one hash: the sum of four 16-bit uniforms, an exact integer, and one rounding.
constexpr float nearNormal(std::uint64_t bits) {
  std::int32_t sum = -2 * 65535;
  for (int i = 0; i < 4; ++i) sum += static_cast<std::int32_t>(bits >> (16 * i) & 0xffff);
  return static_cast<float>(sum) * 2.6428998e-05f; // 1 / sqrt(4 (2^32 - 1) / 12)
}

/// A stream of numbers that follow from a seed by integer arithmetic alone, so that a seed means the same everywhere (the
/// standard library's distributions differ from one library to the next). Not for secrets.
class Random {
public:
  explicit Random(std::uint64_t seed) : m_state(mix(seed)) {}

  std::uint64_t next() { return mix(m_state += kMixStep); }
  /// Uniform in [0, n), n > 0: numbers of the last incomplete block of n are drawn again.
  std::uint64_t below(std::uint64_t n) {
    const std::uint64_t reject = (0 - n) % n; // 2^64 mod n
    std::uint64_t value = next();
    while (value < reject) value = next();
    return value % n;
  }
  /// Uniform in [0, 1), a multiple of 2^-53.
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

private:
  std::uint64_t m_state;
};

} // namespace xqs

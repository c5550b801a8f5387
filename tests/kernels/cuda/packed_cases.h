// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "packed.h"

#include <cmath>
#include <iterator>
#include <limits>
#include <ostream>
#include <random>
#include <vector>

namespace xqs::test {

/// One shape of a packed tensor; host tests and GPU tests go through the same list.
struct PackedCase {
  QuantFormat format;
  Index tokens;
  Index width;
  friend std::ostream &operator<<(std::ostream &out, const PackedCase &c) {
    return out << c.tokens << " x " << c.width << ", " << c.format.bits << " bits, group " << c.format.group
               << (c.format.axis == Axis::Token ? " per token" : " per channel") << ", segment " << c.format.segment;
  }
};

/// Widths around the byte, the octet, the warp and the group; groups and segments that end inside a byte.
inline std::vector<PackedCase> packedCases() {
  std::vector<PackedCase> cases;
  for (const int bits : {2, 3, 4, 8}) {
    for (const Index width : {1, 5, 8, 31, 33, 127, 128, 129, 192, 576})
      for (const Index group : {1, 5, 32, 128}) {
        for (const Index segment : {0, 7, 64}) cases.push_back({{bits, group, Axis::Token, segment}, 3, width});
        cases.push_back({{bits, group, Axis::Channel, 0}, 2 * group, width});
      }
    cases.push_back({{bits, 128, Axis::Token, 0}, 129, 129});
  }
  return cases;
}

/// [rows, cols] fp32 over many magnitudes, with constant stretches, zeros of both signs, values beyond FP16, subnormals,
/// infinities and NaN in between.
inline std::vector<float> awkwardValues(Index rows, Index cols, unsigned seed) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kSpecial[] = {0.0f,
                                -0.0f,
                                65504.0f,
                                65520.0f,
                                -1e6f,
                                1e-7f,
                                -3e-41f,
                                kInfinity,
                                -kInfinity,
                                std::numeric_limits<float>::quiet_NaN(),
                                std::numeric_limits<float>::max()};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  float scale = 1, constant = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const unsigned dice = random() % 512;
    if (dice < 4) scale = std::ldexp(1.0f, static_cast<int>(random() % 30) - 15);
    if (dice == 4) constant = constant == 0 ? normal(random) : 0.0f;
    values[i] = dice == 5 ? kSpecial[random() % std::size(kSpecial)] : constant != 0 ? constant : scale * normal(random);
  }
  return values;
}

/// Memory of a packed tensor on the host, filled with a pattern so that what is not written shows.
struct HostPacked {
  explicit HostPacked(const PackedCase &c)
      : shape(c), codes(static_cast<std::size_t>(c.tokens * c.format.codeBytesPerRow(c.width)), std::byte{0xa5}),
        scales(static_cast<std::size_t>(c.format.scaleCount(c.tokens, c.width)), Half{0xa5a5}), zeros(scales) {}
  PackedView view() { return {shape.format, codes.data(), scales.data(), zeros.data(), shape.tokens, shape.width}; }
  PackedCase shape;
  std::vector<std::byte> codes;
  std::vector<Half> scales, zeros;
};

} // namespace xqs::test

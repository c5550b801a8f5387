// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "error.h"
#include "packed.h"

#include <algorithm>
#include <cfloat>

namespace xqs {

/// What one group of codes shares, rounded as stored.
struct GroupScale {
  float scale = 0;
  float zero = 0;
  Half scaleBits = 0;
  Half zeroBits = 0;
  int saturated = 0; ///< how many of the two did not fit FP16
};

/// scale = fp16((max - min) / levels), zero = fp16(min) (method.md 2). Adding 0 makes a minimum of -0 a +0, so that the bits
/// do not depend on the order in which equal values were compared.
inline GroupScale groupScale(float min, float max, int levels) {
  const float scale = (max - min) / static_cast<float>(levels), zero = min + 0.0f;
  GroupScale g;
  g.scaleBits = toHalf(scale);
  g.zeroBits = toHalf(zero);
  g.scale = toFloat(g.scaleBits);
  g.zero = toFloat(g.zeroBits);
  g.saturated = (saturates(scale) ? 1 : 0) + (saturates(zero) ? 1 : 0);
  return g;
}

/// What the quantizer reads for x (docs of `Backend::quantize`).
inline float finite(float x) { return x != x ? 0.0f : std::clamp(x, -FLT_MAX, FLT_MAX); }
inline bool isFinite(float x) { return x >= -FLT_MAX && x <= FLT_MAX; }

/// fn(group, begin, end): the channels [begin, end) of every group of one token, in order.
template <typename Fn> void forEachGroup(const QuantFormat &format, Index width, const Fn &fn) {
  const Index segment = format.segment > 0 && format.segment < width ? format.segment : width;
  Index group = 0;
  for (Index s = 0; s < width; s += segment) {
    const Index segmentEnd = std::min(width, s + segment);
    for (Index begin = s; begin < segmentEnd; begin += format.group)
      fn(group++, begin, std::min(segmentEnd, begin + format.group));
  }
}

/// Code `c` of a row of packed codes: bits [c * bits, (c + 1) * bits) of a little-endian stream.
inline unsigned readCode(const std::byte *row, Index c, int bits) {
  const Index bit = c * bits, shift = bit % 8;
  unsigned value = std::to_integer<unsigned>(row[bit / 8]) >> shift;
  if (shift + bits > 8) value |= std::to_integer<unsigned>(row[bit / 8 + 1]) << (8 - shift);
  return value & ((1u << bits) - 1u);
}
/// The row must have been zeroed.
inline void writeCode(std::byte *row, Index c, int bits, unsigned code) {
  const Index bit = c * bits, shift = bit % 8;
  row[bit / 8] |= static_cast<std::byte>(code << shift);
  if (shift + bits > 8) row[bit / 8 + 1] |= static_cast<std::byte>(code >> (8 - shift));
}

/// What every packed operation requires of its view.
inline void checkPacked(const PackedView &p) {
  XQS_ASSERT(p.format.bits == 2 || p.format.bits == 3 || p.format.bits == 4 || p.format.bits == 8);
  XQS_ASSERT(p.format.group > 0 && p.width > 0 && p.codes != nullptr && p.scales != nullptr && p.zeros != nullptr);
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "packed.h"

/// Packed codes and their scales, read straight from the text of packed.h.
namespace xqs::test {

/// The code of one element, bit by bit.
inline unsigned codeAt(const PackedView &p, Index row, Index channel) {
  unsigned code = 0;
  for (int bit = 0; bit < p.format.bits; ++bit) {
    const Index at = channel * p.format.bits + bit;
    code |= (std::to_integer<unsigned>(p.codes[row * p.rowBytes() + at / 8]) >> (at % 8) & 1u) << bit;
  }
  return code;
}

/// Where an element's scale and zero stand.
inline Index scaleIndex(const QuantFormat &f, Index width, Index row, Index channel) {
  if (f.axis == Axis::Channel) return row / f.group * width + channel;
  const Index segment = f.segment > 0 && f.segment < width ? f.segment : width;
  return row * f.groupsPerRow(width) + channel / segment * ((segment + f.group - 1) / f.group) + channel % segment / f.group;
}

} // namespace xqs::test

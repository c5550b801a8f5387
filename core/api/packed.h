// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensor.h"

namespace xqs {

/// Along what a group of elements that share a scale and a zero point runs (method.md 2).
enum class Axis : std::uint8_t {
  Token,   ///< per-token: `group` consecutive channels of one token
  Channel, ///< per-channel: `group` consecutive tokens of one channel
};

/// Asymmetric uniform quantization: q = clamp(round_half_even((x - zero) / scale), 0, 2^bits - 1), x^ = q * scale + zero in
/// FP32, with scale = fp16((max - min) / (2^bits - 1)) and zero = fp16(min) as stored. A scale of 0 decodes to zero
/// (constant group). arXiv 2508.10395 sec. 3.1; rules of exact rounding: docs of `Backend::quantize`.
struct QuantFormat {
  int bits = 4;            ///< 2, 3, 4 or 8
  Index group = 128;       ///< elements that share a scale and a zero
  Axis axis = Axis::Token; ///< Token or Channel
  Index segment = 0;       ///< Axis::Token: groups restart every `segment` channels (KIVI: at every head); 0 = never

  friend constexpr bool operator==(const QuantFormat &, const QuantFormat &) = default;

  /// Groups in one token of `width` channels; the last group of a segment may be shorter.
  constexpr Index groupsPerRow(Index width) const {
    const Index s = segment > 0 && segment < width ? segment : width;
    const Index whole = (width / s) * ((s + group - 1) / group);
    const Index rest = width % s;
    return whole + (rest + group - 1) / group;
  }
  /// Bytes of the codes of one token.
  constexpr Index codeBytesPerRow(Index width) const { return (width * bits + 7) / 8; }
  /// Scale/zero pairs of `tokens` tokens (Axis::Channel: complete groups only).
  constexpr Index scaleCount(Index tokens, Index width) const {
    return axis == Axis::Token ? tokens * groupsPerRow(width) : (tokens / group) * width;
  }
};

/// A packed tensor [rows = tokens, width = channels], non-owning.
/// Layout. Codes lie along the channels of one token whatever the axis: a row is a little-endian bit stream, code c in bits
/// [c * bits, (c + 1) * bits), so eight codes fill exactly `bits` bytes (3 bits: 32 codes in 3 words) and a row takes
/// ceil(width * bits / 8) bytes. The axis only decides how scales and zeros are indexed:
///   Axis::Token    scales[token * groupsPerRow + group of the channel]
///   Axis::Channel  scales[(token / group) * width + channel]
/// Why: a range of tokens is rebuilt by reading whole rows, with unit-stride scales in the per-channel case.
struct PackedView {
  QuantFormat format;
  std::byte *codes = nullptr;
  Half *scales = nullptr;
  Half *zeros = nullptr;
  Index rows = 0;
  Index width = 0;

  constexpr Index rowBytes() const { return format.codeBytesPerRow(width); }
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensor.h"

namespace xqs::simd {

/// The quantizer's inner loops. All give exactly the bits of the reference on every instruction set: true divisions, no
/// fused multiply-add, FP16 rounding as in half.h.

struct Range {
  float min, max;
  Index broken; ///< values that are not finite
};
/// Smallest and largest of n > 0 values, read as `finite` reads them.
Range range(const float *x, Index n);
/// code = clamp(rint((x - zero) / scale), 0, levels); scale 0 gives 0.
void encode(const float *x, Index n, float scale, float zero, int levels, std::uint8_t *codes);
/// The same with one min, max, scale, zero a channel (Axis::Channel). rangeColumns folds one more row into min and max and
/// returns the number of values that are not finite.
Index rangeColumns(const float *x, Index n, float *min, float *max);
void encodeColumns(const float *x, Index n, const float *scale, const float *zero, int levels, std::uint8_t *codes);

/// Bytes to packed bits and back (packed.h); n codes from the start of a row.
void packCodes(const std::uint8_t *codes, Index n, int bits, std::byte *row);
void unpackCodes(const std::byte *row, Index n, int bits, std::uint8_t *codes);

/// out = code * scale + zero (added to out where `accumulate`).
void decode(const std::uint8_t *codes, Index n, float scale, float zero, bool accumulate, float *out);
void decodeColumns(const std::uint8_t *codes, Index n, const float *scale, const float *zero, bool accumulate, float *out);

/// Storage conversion; toHalf returns how many values did not fit.
Index toHalf(const float *x, Index n, Half *out);
void toFloat(const Half *x, Index n, float *out);

} // namespace xqs::simd

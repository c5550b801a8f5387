// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_check.h"
#include "quantize.h"
#include "views.h"

namespace xqs::cuda {

// Views as the launches take them.

inline const float *floats(ConstView v) { return reinterpret_cast<const float *>(v.data); }
inline float *floats(View v) { return reinterpret_cast<float *>(v.data); }
inline const Half *halves(ConstView v) { return reinterpret_cast<const Half *>(v.data); }
inline Half *halves(View v) { return reinterpret_cast<Half *>(v.data); }

inline PackedPointers pointersOf(const PackedView &p) { return {packShape(p.format, p.width), p.codes, p.scales, p.zeros}; }

/// What every packed operation requires of its view.
inline void checkPacked(const PackedView &p) {
  const int bits = p.format.bits;
  XQS_ASSERT(bits == 2 || bits == 3 || bits == 4 || bits == 8);
  XQS_ASSERT(p.format.group > 0 && p.width > 0 && p.codes != nullptr && p.scales != nullptr && p.zeros != nullptr);
}

/// One past the last byte a view touches.
inline const std::byte *endOf(ConstView v) { return v.data + ((v.rows - 1) * v.stride + v.cols) * sizeOf(v.type); }
inline bool overlap(ConstView a, ConstView b) { return a.data < endOf(b) && b.data < endOf(a); }

/// Rows of one view to another of the same type and shape that it does not overlap.
inline void copyRows(cudaStream_t stream, ConstView from, View to) {
  const auto pitch = [](ConstView v) {
    // A single row may be wider than its stride says: the pitch of a copy must hold the row.
    return static_cast<std::size_t>((v.rows == 1 ? v.cols : v.stride) * sizeOf(v.type));
  };
  check(cudaMemcpy2DAsync(to.data, pitch(to), from.data, pitch(from),
                          static_cast<std::size_t>(from.cols * sizeOf(from.type)), static_cast<std::size_t>(from.rows),
                          cudaMemcpyDefault, stream),
        "cudaMemcpy2DAsync", {from.rows, from.cols});
}

} // namespace xqs::cuda

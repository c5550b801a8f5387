// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"

namespace xqs {

/// Bytes a view covers, for traces.
inline double bytesOf(const ConstView &v) { return static_cast<double>(v.rows * v.cols * sizeOf(v.type)); }
inline double elements(const ConstView &v) { return static_cast<double>(v.rows * v.cols); }
inline bool sameShape(const ConstView &a, const ConstView &b) { return a.rows == b.rows && a.cols == b.cols; }
inline bool isF32(const ConstView &v) { return v.type == DType::F32; }

/// Bytes of codes, scales and zeros of `rows` packed rows, for traces.
inline double packedBytes(const PackedView &p, Index rows) {
  return static_cast<double>(rows * p.rowBytes() + p.format.scaleCount(rows, p.width) * 4);
}

} // namespace xqs

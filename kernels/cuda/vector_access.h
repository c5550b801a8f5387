// SPDX-License-Identifier: Apache-2.0
#pragma once

// Rows read and written four neighbouring elements at a time: 16 bytes where a launch may, else one by one. Which elements a
// thread has is the same in both, so a row's bits do not depend on where it lies.

#include "pack_math.h"

#include <cuda_runtime.h>

namespace xqs::cuda {

constexpr int kFour = 4;
struct Four {
  float at[kFour];
};

/// Whether every row starts at a multiple of four elements' bytes. A stride does not matter where there is one row.
template <typename T> bool alignedToFour(const T *data, Index stride, Index rows) {
  return reinterpret_cast<std::uintptr_t>(data) % (kFour * sizeof(T)) == 0 && (rows == 1 || stride % kFour == 0);
}

/// Elements [col, col + 4) of a row of `cols`; 0 beyond its end. `wide`: alignedToFour.
__device__ inline Four load4(const float *row, Index col, Index cols, bool wide) {
  if (wide && col + kFour <= cols) {
    const float4 v = *reinterpret_cast<const float4 *>(row + col);
    return {{v.x, v.y, v.z, v.w}};
  }
  Four v{};
  for (int i = 0; i < kFour; ++i)
    if (col + i < cols) v.at[i] = row[col + i];
  return v;
}
__device__ inline Four load4(const Half *row, Index col, Index cols, bool wide) {
  if (wide && col + kFour <= cols) {
    const uint2 v = *reinterpret_cast<const uint2 *>(row + col);
    return {{widen(static_cast<Half>(v.x)), widen(static_cast<Half>(v.x >> 16)), widen(static_cast<Half>(v.y)),
             widen(static_cast<Half>(v.y >> 16))}};
  }
  Four v{};
  for (int i = 0; i < kFour; ++i)
    if (col + i < cols) v.at[i] = widen(row[col + i]);
  return v;
}
__device__ inline void store4(float *row, Index col, Index cols, bool wide, const Four &v) {
  if (wide && col + kFour <= cols) {
    *reinterpret_cast<float4 *>(row + col) = make_float4(v.at[0], v.at[1], v.at[2], v.at[3]);
    return;
  }
  for (int i = 0; i < kFour; ++i)
    if (col + i < cols) row[col + i] = v.at[i];
}

} // namespace xqs::cuda

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

/// Whether rows of `cols` elements are aligned fours. A stride does not matter where there is one row.
template <typename T> bool areFours(const T *data, Index stride, Index rows, Index cols) {
  return reinterpret_cast<std::uintptr_t>(data) % (kFour * sizeof(T)) == 0 && cols % kFour == 0 &&
         (rows == 1 || stride % kFour == 0);
}

/// Elements [col, col + 4) of a row of `cols`; 0 beyond its end. `wide`: areFours.
__device__ inline Four load4(const float *row, Index col, Index cols, bool wide) {
  Four v{};
  if (wide) {
    if (col >= cols) return v;
    const float4 four = *reinterpret_cast<const float4 *>(row + col);
    return {{four.x, four.y, four.z, four.w}};
  }
  for (int i = 0; i < kFour; ++i)
    if (col + i < cols) v.at[i] = row[col + i];
  return v;
}
__device__ inline Four load4(const Half *row, Index col, Index cols, bool wide) {
  Four v{};
  if (wide) {
    if (col >= cols) return v;
    const uint2 four = *reinterpret_cast<const uint2 *>(row + col);
    return {{widen(static_cast<Half>(four.x)), widen(static_cast<Half>(four.x >> 16)), widen(static_cast<Half>(four.y)),
             widen(static_cast<Half>(four.y >> 16))}};
  }
  for (int i = 0; i < kFour; ++i)
    if (col + i < cols) v.at[i] = widen(row[col + i]);
  return v;
}
__device__ inline void store4(float *row, Index col, Index cols, bool wide, const Four &v) {
  if (wide) {
    if (col < cols) *reinterpret_cast<float4 *>(row + col) = make_float4(v.at[0], v.at[1], v.at[2], v.at[3]);
    return;
  }
  for (int i = 0; i < kFour; ++i)
    if (col + i < cols) row[col + i] = v.at[i];
}

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

// The rotation of one pair of channels (`Backend::rope`), for every kernel that rotates. Host code too, so that a test
// checks it without a GPU.

#include "pack_math.h"

#include <cuda_runtime.h>

namespace xqs::cuda {

/// Cosine and sine of position * frequency. The angle is formed in FP64, as by the reference, and brought to half turns in
/// [-1, 1] there: five FP64 operations, also where the GPU has few units for them. The rest is FP32. Errors, in radians:
/// angle * 2^-52 of the reduction (below 2^-32 up to an angle of 2^20) and pi * 2^-25 of the rounding to FP32; on the device
/// also one unit in the last place of sincospif.
XQS_HD inline float2 rotation(Index position, double frequency) {
  constexpr double kInversePi = 0x1.45f306dc9c883p-2;
  const double halfTurns = static_cast<double>(position) * frequency * kInversePi;
  const float reduced = static_cast<float>(halfTurns - 2 * rint(halfTurns / 2));
  float2 result;
#if defined(__CUDA_ARCH__)
  sincospif(reduced, &result.y, &result.x);
#else
  const double angle = static_cast<double>(reduced) / kInversePi;
  result.x = static_cast<float>(std::cos(angle));
  result.y = static_cast<float>(std::sin(angle));
#endif
  return result;
}

/// The pair (x, y) rotated by `by` = (cosine, sine).
XQS_HD inline float2 rotate(float2 pair, float2 by) {
  return {pair.x * by.x - pair.y * by.y, pair.x * by.y + pair.y * by.x};
}

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pack_math.h"

#include <cuda_runtime_api.h>

namespace xqs::cuda {

/// A packed tensor on the device; layout in core/api/packed.h.
struct PackedPointers {
  PackShape shape;
  std::byte *codes;
  Half *scales;
  Half *zeros;
};
/// Packs x [n, width] fp32 into tokens firstToken ... `saturated`: a device counter of values that were not finite or did
/// not fit FP16.
void quantizeRows(cudaStream_t stream, const float *x, Index xStride, Index n, const PackedPointers &packed,
                  Index firstToken, unsigned long long *saturated);
/// out [range.size(), width] fp32 = code * scale + zero (+ out).
void dequantizeRows(cudaStream_t stream, const PackedPointers &packed, TokenRange range, float *out, Index outStride,
                    bool accumulate);

} // namespace xqs::cuda

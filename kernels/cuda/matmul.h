// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "packed.h"

#include <cuda_runtime_api.h>

namespace xqs::cuda {

/// out = x W^T (+ out). x: [n, k] fp32, w: [m, k] fp32, out: [n, m] fp32. Strides count elements from row to row.
struct MatmulArgs {
  const float *x;
  const float *w;
  float *out;
  Index xStride, wStride, outStride;
  Index n, m, k;
  bool accumulate;
};
void matmulTiled(cudaStream_t stream, const MatmulArgs &args);

} // namespace xqs::cuda

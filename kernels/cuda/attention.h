// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensor.h"

#include <cuda_runtime_api.h>

namespace xqs::cuda {

/// K or V of a chunk of tokens, fp32; meaning: AttentionSide. Token j of the chunk (0 is its first) is row j of `stored` or
/// row j - exactShift of `exact`.
struct AttentionRows {
  const float *stored, *exact;
  Index storedStride, exactStride;
  Index exactShift;
  Index block, window; ///< ExactFrom; both 0: `exact` is never read
  int heads, width;
  bool aligned; ///< every head's rows of both sides start at multiples of 16 bytes
};

/// Causal attention of n queries over one chunk of tokens; meaning: AttentionArgs.
struct AttentionChunk {
  const float *q;
  float *out;
  float *running; ///< [n, 2 heads], read where `more`, written where not `last`
  Index qStride, outStride, runningStride;
  bool qAligned, outAligned;
  AttentionRows k, v;
  Index n, heads;
  Index firstQuery, first, tokens;
  float scale;
  bool more;                            ///< `out` and `running` hold what earlier chunks gave
  bool last;                            ///< divides by the sum of weights
  const float *runningBefore = nullptr; ///< set by `attend`: where `running` is read
  Index runningBeforeStride = 0;
};

/// Bytes of scratch that `attend` takes.
Index attentionScratch(const AttentionChunk &chunk);
void attend(cudaStream_t stream, AttentionChunk chunk, float *scratch);

} // namespace xqs::cuda

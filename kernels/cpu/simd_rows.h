// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensor.h"

namespace xqs::simd {

/// SIMD kernels on plain rows of FP32, compiled for several instruction sets and chosen at run time (Highway). Each is
/// called on pieces cut by shape alone; on one machine the same piece gives the same bits.

/// The instruction set in use, for people: "AVX3", "AVX2", ...
const char *targetName();

/// out = x / sqrt(mean(x^2) + eps) * weight over n values; out may be x.
void rmsNorm(const float *x, const float *weight, Index n, float eps, float *out);
/// out = gate * sigmoid(gate) * up over n values; out may be either input.
void siluMul(const float *gate, const float *up, Index n, float *out);
/// out[r, o] = x[r, :] . w[o, :] (+ out) for few rows r: every w is read once. Strides in elements.
struct FewRows {
  const float *x;
  Index xStride, rows, k;
  const float *w;
  Index wStride, outputs;
  float *out;
  Index outStride;
  bool accumulate;
};
void matmulFewRows(const FewRows &args);

/// Running softmax of one query (arXiv 2205.14135): `max` and `sum` of exp(score - max) so far.
struct Softmax {
  float max, sum;
};
/// Turns the n scores of a tile into weights exp(score - max) in place and updates `state`; returns what everything
/// accumulated under the old maximum has to be multiplied by. NaN in, NaN out. n > 0.
float softmaxTile(float *scores, Index n, Softmax &state);
/// out = x * factor over n values; out may be x.
void scale(const float *x, float factor, Index n, float *out);

} // namespace xqs::simd

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"

namespace xqs::simd {

/// Softmax of one row of logits.
struct RowSoftmax {
  float max = 0;
  std::int32_t top = 0; ///< lowest id of the maximum
  double sum = 0;       ///< of exp(x - max); NaN where the row holds one
};
RowSoftmax rowSoftmax(const float *x, Index n);
/// Sum of exp(exact - max) * (exact - policy): the part of KL(exact || policy) that needs both rows.
double weightedDifference(const float *exact, float max, const float *policy, Index n);

/// Sums of one row (FP64); sumAbs[c] += |x[c]|.
struct RowSums {
  double sum = 0;
  float min, max; ///< lowered and raised; NaN is passed over
};
void rowSums(const float *x, Index n, RowSums &sums, double *sumAbs);
double rowDeviationSquares(const float *x, Index n, double mean);
/// Bin of every value as `Bins` cuts them, -1 for NaN.
void rowBins(const float *x, Index n, float low, float perUnit, std::int32_t *bins);
void rowErrors(const float *exact, const float *approx, Index n, ErrorSums &sums);
double rowSquares(const float *x, Index n);

} // namespace xqs::simd

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cpu/support.h"

namespace xqs::test {

/// One row of logits in double precision, with the rounding that FP32 exponentials allow; tests of every backend expect
/// scores from here.
struct ExactRow {
  double max = -INFINITY, sum = 0, sumError = 0; ///< sum of exp(x - max) and its error
  std::int32_t top = 0;
  ExactRow(const float *x, Index n) {
    for (Index c = 0; c < n; ++c)
      if (double(x[c]) > max) max = x[c], top = static_cast<std::int32_t>(c);
    for (Index c = 0; c < n; ++c) {
      const double e = std::exp(double(x[c]) - max);
      sum += e;
      sumError += e * error(x[c]);
    }
  }
  /// Relative error of exp(x - max): the difference is rounded, exp errs by 2 units in the last place, and what is below
  /// exp(-87) may become 0.
  double error(float x) const { return kEps * (4 + std::fabs(double(x) - max)); }
};

/// nll = log(sum) - (x[t] - max): the error of log is that of the sum, the difference and the result are rounded.
inline void checkNll(Bound &nll, float actual, const ExactRow &q, float targetLogit) {
  const double gap = double(targetLogit) - q.max, expected = std::log(q.sum) - gap;
  nll.check(actual, expected, 1.01 * (q.sumError / q.sum + kEps * (std::fabs(gap) + std::fabs(expected))));
}

/// kl = sum e (x - y) / sum - (max - max') - (log sum - log sum'): each term by its own rule, the result is rounded.
inline void checkKl(Bound &kl, float actual, const float *exact, const float *logits, Index vocab, const ExactRow &p,
                    const ExactRow &q) {
  double sum = 0, size = 0, error = 0;
  for (Index c = 0; c < vocab; ++c) {
    const double x = exact[c], d = x - double(logits[c]), e = std::exp(x - p.max);
    sum += e * d;
    size += e * std::fabs(d);
    error += e * std::fabs(d) * (p.error(exact[c]) + kEps);
  }
  const double divergence = sum / p.sum - (p.max - q.max) - (std::log(p.sum) - std::log(q.sum));
  kl.check(actual, divergence,
           1.01 *
               ((error + size * p.sumError / p.sum) / p.sum + p.sumError / p.sum + q.sumError / q.sum + kEps * divergence));
}

} // namespace xqs::test

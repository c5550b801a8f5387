// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

/// How certain a mean over windows is. The unit is the window: tokens inside one are correlated, so an interval made from
/// tokens would be too small.
namespace xqs {

/// A mean with its 95 % interval; same unit as the values.
struct Estimate {
  double mean = 0;          ///< NaN without values
  double standardError = 0; ///< sd / sqrt(count); NaN below two values
  double low = 0, high = 0; ///< NaN below two values
  std::int64_t count = 0;   ///< windows
};

/// Two-sided 95 % quantile of Student's t: P(|T| <= t) = 0.95 for `degrees` >= 1 degrees of freedom. Found by bisection of
/// the closed forms of Abramowitz and Stegun 26.7.3 (odd) and 26.7.4 (even); exact to 1e-12 of its value up to 1000 degrees.
double studentT95(std::int64_t degrees);

/// P(|T| <= t) with `degrees` >= 1 degrees of freedom, t >= 0 (Abramowitz and Stegun 26.7.3, 26.7.4).
double studentTProbability(double t, std::int64_t degrees);

/// Mean and interval: Student's t below 20 values, 1.96 standard errors from 20 on. A value that is not finite makes the
/// mean NaN or infinite and the interval NaN: it is shown, not left out.
Estimate meanOf(std::span<const double> values);

/// Of the differences a[i] - b[i], both of the same windows in the same order.
Estimate paired(std::span<const double> a, std::span<const double> b);

/// The mean with a percentile bootstrap interval: the 2.5 and 97.5 % quantiles of the means of `resamples` draws of as many
/// values with replacement (Efron and Tibshirani 1993, ch. 13). It asks for no normal distribution, but is too narrow below
/// about 10 values, where Student's t is the safer one. The same seed gives the same interval on every machine.
/// `standardError` as in meanOf.
Estimate bootstrapMean(std::span<const double> values, std::uint64_t seed, std::int64_t resamples = 10000);

/// Whether zero cannot be told from the mean: it lies in the interval, or there is no interval.
bool touchesZero(const Estimate &e);

/// The value below which `fraction` of the values lies, linear between neighbours: position fraction * (n - 1) from 0.
/// `sorted`: ascending, at least one; fraction in [0, 1].
double quantile(std::span<const double> sorted, double fraction);
/// The same of values in any order; NaN without any.
double quantileOf(std::vector<double> values, double fraction);

/// An estimate mapped by exp: from a mean difference of NLL (nats a token) to a ratio of perplexities. `standardError` stays
/// in nats.
Estimate expOf(const Estimate &logarithm);

} // namespace xqs

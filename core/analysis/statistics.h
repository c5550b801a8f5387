// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

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

/// The same, mapped by exp: from a mean difference of NLL (nats a token) to a ratio of perplexities. `standardError` stays
/// in nats.
Estimate expOf(const Estimate &logarithm);

} // namespace xqs

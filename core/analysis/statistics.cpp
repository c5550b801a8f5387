// SPDX-License-Identifier: Apache-2.0
#include "statistics.h"

#include "error.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace xqs {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kNormalFrom = 20; ///< windows from which the normal quantile is used
constexpr double kNormal95 = 1.96;

} // namespace

double studentTProbability(double t, std::int64_t degrees) {
  XQS_ASSERT(degrees >= 1 && t >= 0);
  const double nu = static_cast<double>(degrees);
  const double theta = std::atan(t / std::sqrt(nu)), cosine = std::cos(theta), sine = std::sin(theta);
  const bool odd = degrees % 2 != 0;
  // The terms are cos^k with the products of odd over even numbers (or the reverse) below k; the sum ends at k = degrees
  // - 2.
  double term = odd ? cosine : 1, sum = 0;
  for (std::int64_t k = odd ? 1 : 0; k <= degrees - 2; k += 2) {
    sum += term;
    term *= cosine * cosine * static_cast<double>(k + 1) / static_cast<double>(k + 2);
  }
  return odd ? 2 / std::numbers::pi * (theta + sine * sum) : sine * sum;
}

double studentT95(std::int64_t degrees) {
  double low = 0, high = 16; // 12.7 at one degree is the largest
  while (high - low > 1e-13 * high) {
    const double middle = (low + high) / 2;
    if (middle == low || middle == high) break;
    (studentTProbability(middle, degrees) < 0.95 ? low : high) = middle;
  }
  return (low + high) / 2;
}

Estimate meanOf(std::span<const double> values) {
  Estimate e{kNaN, kNaN, kNaN, kNaN, static_cast<std::int64_t>(values.size())};
  if (values.empty()) return e;
  const double n = static_cast<double>(values.size());
  double sum = 0;
  for (const double v : values) sum += v;
  e.mean = sum / n;
  if (values.size() < 2 || !std::isfinite(e.mean)) return e;
  double squares = 0;
  for (const double v : values) squares += (v - e.mean) * (v - e.mean);
  e.standardError = std::sqrt(squares / (n - 1) / n);
  const double reach = (e.count < kNormalFrom ? studentT95(e.count - 1) : kNormal95) * e.standardError;
  e.low = e.mean - reach, e.high = e.mean + reach;
  return e;
}

Estimate expOf(const Estimate &logarithm) {
  return {std::exp(logarithm.mean), logarithm.standardError, std::exp(logarithm.low), std::exp(logarithm.high),
          logarithm.count};
}

} // namespace xqs

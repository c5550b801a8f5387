// SPDX-License-Identifier: Apache-2.0
#include "statistics.h"

#include "error.h"
#include "model/random.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

namespace xqs {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kNormalFrom = 20; ///< windows from which the normal quantile is used
constexpr double kNormal95 = 1.96;

/// splitmix64: the standard library's distributions differ between implementations.
class SplitMix64 {
public:
  explicit SplitMix64(std::uint64_t seed) : m_state(seed) {}
  /// In [0, n), n < 2^32. The bias of the multiplication, n / 2^32, is far below what resampling resolves.
  std::uint64_t below(std::uint64_t n) { return (mix(std::exchange(m_state, m_state + kMixStep)) >> 32) * n >> 32; }

private:
  std::uint64_t m_state;
};

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

Estimate paired(std::span<const double> a, std::span<const double> b) {
  XQS_ASSERT(a.size() == b.size());
  std::vector<double> differences(a.size());
  std::transform(a.begin(), a.end(), b.begin(), differences.begin(), std::minus<>());
  return meanOf(differences);
}

Estimate bootstrapMean(std::span<const double> values, std::uint64_t seed, std::int64_t resamples) {
  XQS_ASSERT(resamples >= 1);
  Estimate e = meanOf(values);
  if (std::isnan(e.low)) return e; // too few values, or not finite ones
  SplitMix64 random(seed);
  std::vector<double> means(static_cast<std::size_t>(resamples));
  for (double &mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[random.below(values.size())];
    mean = sum / static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  e.low = quantile(means, 0.025), e.high = quantile(means, 0.975);
  return e;
}

bool touchesZero(const Estimate &e) { return !(e.low > 0 || e.high < 0); }

double quantile(std::span<const double> sorted, double fraction) {
  XQS_ASSERT(!sorted.empty() && fraction >= 0 && fraction <= 1);
  const double position = fraction * static_cast<double>(sorted.size() - 1);
  const auto index = static_cast<std::size_t>(position);
  const double part = position - static_cast<double>(index);
  if (part == 0) return sorted[index]; // also the last one; and 0 * infinity is not asked for
  return (1 - part) * sorted[index] + part * sorted[index + 1];
}

double quantileOf(std::vector<double> values, double fraction) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  return quantile(values, fraction);
}

Estimate expOf(const Estimate &logarithm) {
  return {std::exp(logarithm.mean), logarithm.standardError, std::exp(logarithm.low), std::exp(logarithm.high),
          logarithm.count};
}

} // namespace xqs

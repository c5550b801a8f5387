// SPDX-License-Identifier: Apache-2.0
#include "token_statistics.h"

#include "error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace xqs {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> toDoubles(std::span<const float> values) { return {values.begin(), values.end()}; }

WithError meanWithError(std::span<const double> values) {
  const Estimate e = meanOf(values);
  return {e.mean, e.standardError};
}

Distribution distributionOf(std::vector<double> values) {
  Distribution d{kNaN, kNaN, {}};
  d.percentiles.fill(kNaN);
  if (values.empty() || std::any_of(values.begin(), values.end(), [](double v) { return std::isnan(v); })) return d;
  std::sort(values.begin(), values.end());
  d.min = values.front(), d.max = values.back();
  for (std::size_t i = 0; i < d.percentiles.size(); ++i)
    d.percentiles[i] = quantile(values, Distribution::kPercents[i] / 100);
  return d;
}

/// sd(scaleA a - scaleB b) / sqrt(n): the error of a difference with the covariance in it. From the differences themselves,
/// because var a + var b - 2 cov cancels to nothing where the two models are close.
double errorOfDifference(std::span<const double> a, double scaleA, std::span<const double> b, double scaleB) {
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = scaleA * a[i] - scaleB * b[i];
  return meanOf(differences).standardError;
}

double correlationOf(std::span<const double> a, double meanA, std::span<const double> b, double meanB) {
  double aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - meanA, y = b[i] - meanB;
    aa += x * x, bb += y * y, ab += x * y;
  }
  return ab / (std::sqrt(aa) * std::sqrt(bb));
}

void fillPerplexity(TokenStatistics &s, const TokenScores &scores) {
  const std::vector<double> nll = toDoubles(scores.nll), exact = toDoubles(scores.exactNll);
  const WithError log = meanWithError(nll), exactLog = meanWithError(exact);
  s.ppl.value = std::exp(log.value), s.ppl.error = s.ppl.value * log.error;
  s.exactPpl.value = std::exp(exactLog.value), s.exactPpl.error = s.exactPpl.value * exactLog.error;
  s.correlation = correlationOf(nll, log.value, exact, exactLog.value);
  s.logRatio = {log.value - exactLog.value, errorOfDifference(nll, 1, exact, 1)};
  s.ratio.value = std::exp(s.logRatio.value), s.ratio.error = s.ratio.value * s.logRatio.error;
  s.difference = {s.ppl.value - s.exactPpl.value, errorOfDifference(nll, s.ppl.value, exact, s.exactPpl.value)};
}

void fillDelta(TokenStatistics &s, const TokenScores &scores) {
  std::vector<double> delta(scores.nll.size()), squares(scores.nll.size());
  for (std::size_t i = 0; i < delta.size(); ++i) {
    delta[i] = 100 * (std::exp(-static_cast<double>(scores.nll[i])) - std::exp(-static_cast<double>(scores.exactNll[i])));
    squares[i] = delta[i] * delta[i];
  }
  s.deltaPercent = meanWithError(delta);
  const WithError square = meanWithError(squares);
  const double rms = std::sqrt(square.value);
  s.deltaRmsPercent = {rms, rms == 0 ? 0 : square.error / (2 * rms)};
  s.deltaDistributionPercent = distributionOf(std::move(delta));
}

void fillSameTop(TokenStatistics &s, std::span<const std::uint8_t> sameTop) {
  const double count = static_cast<double>(sameTop.size());
  const double share =
      static_cast<double>(sameTop.size() - static_cast<std::size_t>(std::ranges::count(sameTop, 0))) / count;
  s.sameTopPercent = {100 * share, 100 * std::sqrt(share * (1 - share) / (count - 1))};
}

TokenStatistics noStatistics(std::int64_t count) {
  TokenStatistics s;
  s.count = count;
  for (WithError *figure : {&s.ppl, &s.exactPpl, &s.logRatio, &s.ratio, &s.difference, &s.kl, &s.deltaPercent,
                            &s.deltaRmsPercent, &s.sameTopPercent})
    *figure = {kNaN, kNaN};
  s.correlation = kNaN;
  s.klDistribution = s.deltaDistributionPercent = distributionOf({});
  return s;
}

} // namespace

TokenStatistics tokenStatistics(const TokenScores &scores) {
  const std::size_t count = scores.nll.size();
  if (scores.exactNll.size() != count || scores.kl.size() != count || scores.sameTop.size() != count)
    throw Error(Code::Usage, fmt::format("token statistics need as many exact NLL ({}), NLL ({}), KL ({}) and top-1 ({}) "
                                         "scores: give those of the same positions",
                                         scores.exactNll.size(), count, scores.kl.size(), scores.sameTop.size()));
  TokenStatistics s = noStatistics(static_cast<std::int64_t>(count));
  s.enough = s.count >= TokenStatistics::kLeast;
  if (!s.enough) return s;
  fillPerplexity(s, scores);
  std::vector<double> kl = toDoubles(scores.kl);
  s.kl = meanWithError(kl);
  s.klDistribution = distributionOf(std::move(kl));
  fillDelta(s, scores);
  fillSameTop(s, scores.sameTop);
  return s;
}

std::vector<PositionBin> klByPosition(std::span<const std::span<const float>> windows, std::int64_t bins) {
  if (bins < 1) throw Error(Code::Usage, fmt::format("KL by position needs at least one bin, not {}", bins));
  if (windows.empty()) return {};
  const auto positions = static_cast<std::int64_t>(windows.front().size());
  for (const auto &window : windows)
    if (static_cast<std::int64_t>(window.size()) != positions)
      throw Error(Code::Usage, fmt::format("KL by position needs windows of one length, not of {} and {} positions: compare "
                                           "window lengths in separate runs",
                                           positions, window.size()));
  bins = std::min(bins, positions);
  std::vector<PositionBin> result;
  std::vector<double> means(windows.size());
  for (std::int64_t bin = 0; bin < bins; ++bin) {
    PositionBin part{bin * positions / bins, (bin + 1) * positions / bins, {}};
    for (std::size_t w = 0; w < windows.size(); ++w) {
      double sum = 0;
      for (std::int64_t i = part.begin; i < part.end; ++i) sum += windows[w][static_cast<std::size_t>(i)];
      means[w] = sum / static_cast<double>(part.end - part.begin);
    }
    part.kl = meanOf(means);
    result.push_back(part);
  }
  return result;
}

} // namespace xqs

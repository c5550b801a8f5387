// SPDX-License-Identifier: Apache-2.0
#include "analysis/token_statistics.h"
#include "error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

using namespace xqs;

namespace {

/// Scores of equal length; what a test does not care about is the exact model's own.
struct Scores {
  std::vector<float> exactNll, nll, kl;
  std::vector<std::uint8_t> sameTop;
  explicit Scores(std::size_t count) : exactNll(count, 1), nll(count, 1), kl(count, 0), sameTop(count, 1) {}
  TokenStatistics statistics() const { return tokenStatistics({exactNll, nll, kl, sameTop}); }
};

void expectNear(const WithError &figure, double value, double error, double relative = 1e-6) {
  EXPECT_NEAR(figure.value, value, relative * std::abs(value) + 1e-12);
  EXPECT_NEAR(figure.error, error, relative * error + 1e-12);
}

} // namespace

TEST(TokenStatistics, UncorrelatedModelsByHand) {
  // Policy 1, 1, 3, 3 and exact 1, 3, 1, 3: means 2, variances 1 (over n), covariance 0; errors are sqrt(variance / 99).
  Scores scores(100);
  for (std::size_t i = 0; i < 100; ++i) scores.nll[i] = i % 4 < 2 ? 1 : 3, scores.exactNll[i] = i % 2 == 0 ? 1 : 3;
  const TokenStatistics s = scores.statistics();
  const double e2 = std::exp(2.0), error = std::sqrt(1 / 99.0);
  EXPECT_TRUE(s.enough);
  EXPECT_EQ(s.count, 100);
  expectNear(s.ppl, e2, e2 * error), expectNear(s.exactPpl, e2, e2 * error);
  EXPECT_NEAR(s.correlation, 0, 1e-12);
  expectNear(s.logRatio, 0, std::sqrt(2.0) * error), expectNear(s.ratio, 1, std::sqrt(2.0) * error);
  expectNear(s.difference, 0, std::sqrt(2.0) * e2 * error);
}

TEST(TokenStatistics, TheCovarianceSharpensTheDifference) {
  // Exact 1, 2; policy 1.5, 3 at the same positions: variances 1/4 and 9/16, covariance 3/8, that is correlation 1.
  Scores scores(100);
  for (std::size_t i = 0; i < 100; ++i) scores.exactNll[i] = i % 2 == 0 ? 1 : 2, scores.nll[i] = 1.5f * scores.exactNll[i];
  const TokenStatistics s = scores.statistics();
  const double ppl = std::exp(2.25), exact = std::exp(1.5), unit = std::sqrt(1 / 99.0);
  EXPECT_NEAR(s.correlation, 1, 1e-12);
  expectNear(s.logRatio, 0.75, 0.25 * unit); // sqrt(1/4 + 9/16 - 2 * 3/8)
  expectNear(s.ratio, ppl / exact, ppl / exact * 0.25 * unit);
  expectNear(s.difference, ppl - exact, (0.75 * ppl - 0.5 * exact) * unit);
}

TEST(TokenStatistics, AnOffsetThatIsTheSameEverywhereIsCertain) {
  Scores scores(1000);
  for (std::size_t i = 0; i < 1000; ++i)
    scores.exactNll[i] = static_cast<float>(i % 8), scores.nll[i] = scores.exactNll[i] + 0.25f;
  const TokenStatistics s = scores.statistics();
  EXPECT_EQ(s.logRatio.value, 0.25);
  EXPECT_EQ(s.logRatio.error, 0);
  EXPECT_GT(s.ppl.error, 0);
}

TEST(TokenStatistics, PercentilesOfAhundredAndOneSteps) {
  Scores scores(101);
  for (std::size_t i = 0; i < 101; ++i) scores.kl[i] = static_cast<float>((i * 37) % 101); // 0 ... 100, mixed
  const TokenStatistics s = scores.statistics();
  expectNear(s.kl, 50, std::sqrt(850 / 100.0)); // (n^2 - 1) / 12 = 850
  for (std::size_t i = 0; i < Distribution::kPercents.size(); ++i)
    EXPECT_NEAR(s.klDistribution.percentiles[i], Distribution::kPercents[i], 1e-9);
  EXPECT_EQ(s.klDistribution.min, 0);
  EXPECT_EQ(s.klDistribution.max, 100);
}

TEST(TokenStatistics, ProbabilityOfTheNextTokenInPercent) {
  // Exact 1/2 everywhere; policy 1/4 at a quarter of the positions, 3/4 at another: deltas -25, +25 and 0 %.
  Scores scores(400);
  for (std::size_t i = 0; i < 400; ++i) {
    scores.exactNll[i] = std::log(2.0f);
    scores.nll[i] = -std::log(i % 4 == 0 ? 0.25f : i % 4 == 1 ? 0.75f : 0.5f);
    scores.sameTop[i] = i % 4 == 0 ? 0 : 1;
  }
  const TokenStatistics s = scores.statistics();
  EXPECT_NEAR(s.deltaPercent.value, 0, 1e-5);
  EXPECT_NEAR(s.deltaPercent.error, 25 * std::sqrt(0.5 / 399), 1e-5);
  expectNear(s.deltaRmsPercent, 25 * std::sqrt(0.5), 0.5 / (25 * std::sqrt(0.5)) * 312.5 / std::sqrt(399.0), 1e-5);
  EXPECT_NEAR(s.deltaDistributionPercent.max, 25, 1e-5);
  EXPECT_NEAR(s.deltaDistributionPercent.min, -25, 1e-5);
  EXPECT_NEAR(s.deltaDistributionPercent.percentiles[5], 0, 1e-5);
  expectNear(s.sameTopPercent, 75, 100 * std::sqrt(0.75 * 0.25 / 399));
}

TEST(TokenStatistics, TheExactModelAgainstItselfIsAllZero) {
  const TokenStatistics s = Scores(100).statistics();
  expectNear(s.ratio, 1, 0), expectNear(s.kl, 0, 0), expectNear(s.deltaRmsPercent, 0, 0),
      expectNear(s.sameTopPercent, 100, 0);
  EXPECT_TRUE(std::isnan(s.correlation)); // of a constant
}

TEST(TokenStatistics, FewPositionsGiveNone) {
  const TokenStatistics few = Scores(99).statistics(), none = Scores(0).statistics();
  EXPECT_FALSE(few.enough || none.enough);
  EXPECT_EQ(few.count, 99);
  EXPECT_TRUE(std::isnan(few.ppl.value) && std::isnan(few.sameTopPercent.value) && std::isnan(few.klDistribution.max));
}

TEST(TokenStatistics, ABrokenPositionIsShown) {
  Scores scores(100);
  scores.kl[7] = std::numeric_limits<float>::quiet_NaN();
  TokenStatistics s = scores.statistics();
  EXPECT_TRUE(std::isnan(s.kl.value) && std::isnan(s.klDistribution.percentiles[5]));
  EXPECT_EQ(s.ratio.value, 1);
  scores.kl[7] = std::numeric_limits<float>::infinity();
  s = scores.statistics();
  EXPECT_TRUE(std::isinf(s.kl.value) && std::isinf(s.klDistribution.max));
  EXPECT_EQ(s.klDistribution.percentiles[5], 0); // the median does not feel it
}

TEST(TokenStatistics, ArraysOfDifferentPositionsAreRefused) {
  Scores scores(100);
  scores.kl.pop_back();
  EXPECT_THROW(scores.statistics(), Error);
}

TEST(TokenStatistics, KlByPositionIsOverWindows) {
  const std::vector<float> a = {1, 3, 10, 10, 5, 6, 7}, b = {3, 5, 20, 20, 5, 6, 7};
  const std::vector<std::span<const float>> windows = {a, b};
  const auto bins = klByPosition(windows, 3);
  ASSERT_EQ(bins.size(), 3u);
  EXPECT_EQ(bins[0].begin, 0);
  EXPECT_EQ(bins[1].begin, bins[0].end);
  EXPECT_EQ(bins[2].end, 7);
  EXPECT_EQ(bins[0].kl.mean, 3);          // of 2 and 4
  EXPECT_EQ(bins[0].kl.standardError, 1); // sqrt(2) / sqrt(2)
  EXPECT_EQ(bins[1].kl.mean, 15);
  EXPECT_EQ(bins[2].kl.standardError, 0);
  EXPECT_EQ(klByPosition(windows, 50).size(), 7u); // one position a bin at least
  EXPECT_TRUE(klByPosition({}, 4).empty());
  EXPECT_THROW(klByPosition(windows, 0), Error);
  const std::vector<std::span<const float>> uneven = {a, std::span(b).first(6)};
  EXPECT_THROW(klByPosition(uneven, 3), Error);
}

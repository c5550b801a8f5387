// SPDX-License-Identifier: Apache-2.0
#include "analysis/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

using namespace xqs;

TEST(Statistics, StudentQuantilesEqualThePrintedTable) {
  // Two-sided 95 %, Abramowitz and Stegun table 26.10 and Fisher and Yates, three decimals.
  const std::pair<int, double> table[] = {{1, 12.706}, {2, 4.303},  {3, 3.182},  {4, 2.776},  {5, 2.571},   {6, 2.447},
                                          {7, 2.365},  {8, 2.306},  {9, 2.262},  {10, 2.228}, {11, 2.201},  {12, 2.179},
                                          {15, 2.131}, {18, 2.101}, {19, 2.093}, {30, 2.042}, {120, 1.980}, {1000, 1.962}};
  for (const auto &[degrees, t] : table) EXPECT_NEAR(studentT95(degrees), t, 5.1e-4) << degrees;
}

TEST(Statistics, StudentProbabilitiesEqualTheClosedForms) {
  EXPECT_NEAR(studentTProbability(1, 1), 0.5, 1e-15);                         // Cauchy: 2/pi atan 1
  EXPECT_NEAR(studentTProbability(std::sqrt(2.0), 2), std::sqrt(0.5), 1e-15); // t / sqrt(2 + t^2)
  EXPECT_EQ(studentTProbability(0, 7), 0);
}

TEST(Statistics, FourValuesByHand) {
  // Mean 2.5, squares 5, sd sqrt(5/3), se sqrt(5/12) = 0.645497; t(3) = 3.182446.
  const Estimate e = meanOf(std::vector<double>{1, 2, 3, 4});
  EXPECT_DOUBLE_EQ(e.mean, 2.5);
  EXPECT_NEAR(e.standardError, 0.6454972244, 1e-10);
  EXPECT_NEAR(e.high, 2.5 + 3.182446305 * 0.6454972244, 1e-8);
  EXPECT_NEAR(e.low, 2.5 - 3.182446305 * 0.6454972244, 1e-8);
  const Estimate ratio = expOf(e);
  EXPECT_DOUBLE_EQ(ratio.mean, std::exp(2.5));
  EXPECT_DOUBLE_EQ(ratio.low, std::exp(e.low));
}

TEST(Statistics, TheNormalQuantileIsUsedFromTwentyWindowsOn) {
  std::vector<double> values(19, 0.0);
  values[0] = 1;
  Estimate e = meanOf(values);
  EXPECT_NEAR((e.high - e.mean) / e.standardError, 2.101, 5e-4);
  values.push_back(0);
  e = meanOf(values);
  EXPECT_DOUBLE_EQ((e.high - e.mean) / e.standardError, 1.96);
}

TEST(Statistics, OneValueHasNoIntervalAndNothingIsHidden) {
  const Estimate one = meanOf(std::vector<double>{0.5});
  EXPECT_EQ(one.mean, 0.5);
  EXPECT_TRUE(std::isnan(one.low) && std::isnan(one.high) && std::isnan(one.standardError));
  EXPECT_TRUE(std::isnan(meanOf({}).mean));
  const Estimate infinite = meanOf(std::vector<double>{1, std::numeric_limits<double>::infinity()});
  EXPECT_TRUE(std::isinf(infinite.mean) && std::isnan(infinite.high));
}

TEST(Statistics, PairedValuesCancelWhatTheyShare) {
  const std::vector<double> a = {1.1, 5.3, 9.2}, b = {1, 5, 9};
  const Estimate e = paired(a, b);
  EXPECT_NEAR(e.mean, 0.2, 1e-15);
  EXPECT_NEAR(e.standardError, 0.1 / std::sqrt(3.0), 1e-15);
  EXPECT_LT(e.standardError, meanOf(a).standardError / 10);
}

TEST(Statistics, AnIntervalWithoutZeroIsADifference) {
  EXPECT_FALSE(touchesZero({1, 0.1, 0.8, 1.2, 5}));
  EXPECT_FALSE(touchesZero({-1, 0.1, -1.2, -0.8, 5}));
  EXPECT_TRUE(touchesZero({0.1, 0.1, -0.1, 0.3, 5}));
  EXPECT_TRUE(touchesZero({0.1, 0.1, 0, 0.2, 5}));
  EXPECT_TRUE(touchesZero(meanOf(std::vector<double>{7}))); // no interval
}

TEST(Statistics, QuantilesLieBetweenNeighbours) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> values = {0, 10, 20, 40, infinity};
  EXPECT_EQ(quantile(values, 0), 0);
  EXPECT_EQ(quantile(values, 0.5), 20);
  EXPECT_EQ(quantile(values, 0.625), 30);
  EXPECT_EQ(quantile(values, 0.75), 40); // exactly there: the infinite neighbour has no part in it
  EXPECT_EQ(quantile(values, 1), infinity);
  EXPECT_EQ(quantile(std::vector<double>{3}, 0.3), 3);
}

TEST(Statistics, TheBootstrapOfCoinsIsBinomial) {
  // Half of 100 values are 1: means of resamples are Binomial(100, 1/2) / 100, whose 2.5 and 97.5 % points are 0.40 and
  // 0.60.
  std::vector<double> values(100, 0.0);
  std::fill_n(values.begin(), 50, 1.0);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Estimate e = bootstrapMean(values, seed);
    EXPECT_NEAR(e.low, 0.40, 0.0101) << seed;
    EXPECT_NEAR(e.high, 0.60, 0.0101) << seed;
    EXPECT_EQ(e.mean, 0.5);
  }
}

TEST(Statistics, TheBootstrapFollowsASkewAndRepeats) {
  std::vector<double> values;
  for (int i = 1; i <= 40; ++i) values.push_back(-std::log(i / 41.0)); // exponential
  values.push_back(30);
  const Estimate e = bootstrapMean(values, 1), again = bootstrapMean(values, 1), other = bootstrapMean(values, 2);
  EXPECT_GT(e.high - e.mean, 1.2 * (e.mean - e.low));
  EXPECT_TRUE(e.low == again.low && e.high == again.high);
  EXPECT_NE(e.low, other.low);
  EXPECT_NEAR(e.low, other.low, 0.05 * (e.high - e.low));
}

TEST(Statistics, TheBootstrapOfLittleOrBrokenData) {
  const Estimate constant = bootstrapMean(std::vector<double>{2, 2, 2}, 1);
  EXPECT_TRUE(constant.low == 2 && constant.high == 2);
  EXPECT_TRUE(std::isnan(bootstrapMean(std::vector<double>{2}, 1).low));
  EXPECT_TRUE(std::isnan(bootstrapMean({}, 1).mean));
  EXPECT_TRUE(std::isnan(bootstrapMean(std::vector<double>{1, std::nan(""), 2}, 1).high));
}

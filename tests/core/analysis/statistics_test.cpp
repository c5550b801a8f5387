// SPDX-License-Identifier: Apache-2.0
#include "analysis/statistics.h"

#include <gtest/gtest.h>

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

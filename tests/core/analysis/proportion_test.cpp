// SPDX-License-Identifier: Apache-2.0
#include "analysis/proportion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

namespace xqs {
namespace {

TEST(Wilson, ItsEndsAreTheProbabilitiesThatTheShareIs196DeviationsFrom) {
  const double z2 = std::pow(1.959963984540054, 2);
  for (const auto &[count, of] : {std::pair{8, 10}, {1, 10}, {500, 1000}, {1, 2}, {997, 1000}}) {
    const Proportion p = wilson(count, of);
    EXPECT_EQ(p.share, static_cast<double>(count) / of);
    EXPECT_LT(p.low, p.share);
    EXPECT_LT(p.share, p.high);
    for (const double end : {p.low, p.high})
      EXPECT_NEAR(std::pow(p.share - end, 2), z2 * end * (1 - end) / of, 1e-12) << count << " of " << of;
  }
  EXPECT_EQ(wilson(0, 10).low, 0);
  EXPECT_NEAR(wilson(0, 10).high, z2 / (10 + z2), 1e-12);
  EXPECT_NEAR(wilson(10, 10).low, 10 / (10 + z2), 1e-12);
  EXPECT_EQ(wilson(10, 10).high, 1);
}

TEST(Wilson, NothingAskedSaysNothing) {
  const Proportion p = wilson(0, 0);
  EXPECT_TRUE(std::isnan(p.share));
  EXPECT_EQ(p.low, 0);
  EXPECT_EQ(p.high, 1);
}

} // namespace
} // namespace xqs

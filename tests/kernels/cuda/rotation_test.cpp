// SPDX-License-Identifier: Apache-2.0
#include "rotation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

using namespace xqs;

/// Derivatives of sine and cosine are at most 1, so the reduced angle's error (pi 2^-25 + angle 2^-52) is theirs, to which
/// the rounding of the result (2^-25 below 1) is added; `angle` itself is one rounded product in both.
TEST(Rotation, IsThatOfTheAngleInDoublePrecision) {
  double worst = 0;
  for (const Index position : {0, 1, 2, 1000, 4095, 131071, 1048575})
    for (const Index dh : {2, 64, 128, 512})
      for (Index j = 0; j < dh / 2; ++j)
        for (const double base : {1e4, 5e5}) {
          const double frequency = std::pow(base, -2.0 * static_cast<double>(j) / static_cast<double>(dh));
          const double angle = static_cast<double>(position) * frequency;
          const float2 r = cuda::rotation(position, frequency);
          const double bound = 3.15 * 0x1p-25 + angle * 0x1p-52 + 0x1p-25;
          worst = std::max({worst, std::abs(r.x - std::cos(angle)) / bound, std::abs(r.y - std::sin(angle)) / bound});
        }
  EXPECT_LE(worst, 1);
  EXPECT_GT(worst, 0.1) << "a bound that nothing comes near proves little";
}

TEST(Rotation, OfNothingIsExact) {
  const float2 r = cuda::rotation(0, 1.0), pair = cuda::rotate({3, -5}, r);
  EXPECT_EQ(r.x, 1.0f);
  EXPECT_EQ(r.y, 0.0f);
  EXPECT_EQ(pair.x, 3.0f);
  EXPECT_EQ(pair.y, -5.0f);
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/color_map.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

namespace xqs {
namespace {

TEST(ColorMap, EndsAndClamping) {
  const ColorMap &map = ColorMap::sequential();
  EXPECT_EQ(map.color(0, 0, 1), map.at(0));
  EXPECT_EQ(map.color(1, 0, 1), map.at(255));
  EXPECT_EQ(map.color(-7, 0, 1), map.at(0));
  EXPECT_EQ(map.color(7, 0, 1), map.at(255));
  EXPECT_EQ(map.at(0), qRgb(0x44, 0x01, 0x54));
  EXPECT_EQ(qAlpha(map.color(std::nan(""), 0, 1)), 0);
  EXPECT_EQ(map.color(3, 3, 3), map.at(128)); // one value only: the middle
}

TEST(ColorMap, SequentialRisesInLightnessEverywhere) {
  const ColorMap &map = ColorMap::sequential();
  for (int i = 1; i < ColorMap::kSize; ++i)
    EXPECT_GT(perceivedLightness(map.at(i)), perceivedLightness(map.at(i - 1)) - 2e-3) << i; // 8-bit colours: nearly
  EXPECT_GT(perceivedLightness(map.at(255)) - perceivedLightness(map.at(0)), 0.5);
}

TEST(ColorMap, DivergingIsNeutralInTheMiddleAndApartAtTheEnds) {
  for (bool dark : {false, true}) {
    const ColorMap &map = ColorMap::diverging(dark);
    const QRgb middle = map.at(127);
    EXPECT_LT(std::max({qRed(middle), qGreen(middle), qBlue(middle)}) -
                  std::min({qRed(middle), qGreen(middle), qBlue(middle)}),
              12);
    EXPECT_GT(qBlue(map.at(0)), qRed(map.at(0)));
    EXPECT_GT(qRed(map.at(255)), qBlue(map.at(255)));
    for (int i = 0; i < 128; ++i) // both arms have the same lightness, so neither sign looks larger
      EXPECT_NEAR(perceivedLightness(map.at(i)), perceivedLightness(map.at(255 - i)), 0.09)
          << i << (dark ? " dark" : " light");
  }
}

TEST(ColorMap, TextOnAnyColourIsReadable) {
  for (const ColorMap *map : {&ColorMap::sequential(), &ColorMap::diverging(false), &ColorMap::diverging(true)})
    for (QRgb color : map->table())
      EXPECT_GT(std::abs(perceivedLightness(readableOn(color)) - perceivedLightness(color)), 0.35);
}

} // namespace
} // namespace xqs

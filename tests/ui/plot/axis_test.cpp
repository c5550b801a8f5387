// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/axis.h"

#include <QStringList>

#include <gmock/gmock.h>

#include <cmath>

namespace xqs {
namespace {

QStringList labels(const std::vector<Tick> &list) {
  QStringList result;
  for (const Tick &tick : list)
    if (!tick.label.isEmpty()) result << tick.label;
  return result;
}

TEST(Axis, LinearMapsEndsAndMiddle) {
  const Axis axis(Scale::Linear, {10, 30}, 100, 300);
  EXPECT_DOUBLE_EQ(axis.toPixel(10), 100);
  EXPECT_DOUBLE_EQ(axis.toPixel(20), 200);
  EXPECT_DOUBLE_EQ(axis.toPixel(30), 300);
  EXPECT_DOUBLE_EQ(axis.toPixel(40), 400); // not clamped
  EXPECT_DOUBLE_EQ(axis.toPixelClamped(40), 300);
  EXPECT_DOUBLE_EQ(axis.toValue(250), 25);
}

TEST(Axis, LogMapsDecadesEvenlyAndUpwards) {
  const Axis axis(Scale::Log, {0.1, 10}, 400, 0); // a y axis
  EXPECT_DOUBLE_EQ(axis.toPixel(0.1), 400);
  EXPECT_NEAR(axis.toPixel(1), 200, 1e-9);
  EXPECT_NEAR(axis.toPixel(10), 0, 1e-9);
  EXPECT_NEAR(axis.toValue(100), std::sqrt(10.0), 1e-9);
  EXPECT_DOUBLE_EQ(axis.toPixel(0), 400); // has no place: the begin
  EXPECT_DOUBLE_EQ(axis.toPixel(-3), 400);
  EXPECT_TRUE(std::isnan(axis.toPixel(std::nan(""))));
}

TEST(Axis, RoundTrip) {
  for (Scale scale : {Scale::Linear, Scale::Log}) {
    const Axis axis(scale, {0.05, 1.2}, 50, 700);
    for (double v : {0.05, 0.0781, 0.1406, 0.2656, 0.5, 1.0, 1.2}) EXPECT_NEAR(axis.toValue(axis.toPixel(v)), v, 1e-12);
  }
}

TEST(Axis, DegenerateRangesAreUsable) {
  for (const Range &range : {Range{}, Range{3, 3}, Range{0, 0}, Range{-2, -2}, Range{-5, 5}})
    for (Scale scale : {Scale::Linear, Scale::Log}) {
      const Axis axis(scale, range, 0, 100);
      EXPECT_TRUE(std::isfinite(axis.toPixel(1))) << range.min << ".." << range.max;
      EXPECT_LT(axis.range().min, axis.range().max);
    }
}

TEST(Ticks, LinearAreOneTwoFive) {
  EXPECT_EQ(labels(ticks(Scale::Linear, {0, 1}, 5)), (QStringList{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(labels(ticks(Scale::Linear, {-0.5, 29.5}, 6)), (QStringList{"0", "5", "10", "15", "20", "25"}));
  EXPECT_EQ(labels(ticks(Scale::Linear, {0, 1.2e6}, 4)), (QStringList{"0", "0.5M", "1.0M"}));
}

TEST(Ticks, IntegerAxesHaveNoFractions) {
  EXPECT_EQ(labels(integerTicks({-0.5, 2.5}, 10)), (QStringList{"0", "1", "2"}));
  EXPECT_EQ(labels(integerTicks({-0.5, 0.5}, 10)), (QStringList{"0"}));
}

TEST(Ticks, LogLabelsDependOnTheSpan) {
  EXPECT_EQ(labels(ticks(Scale::Log, {0.09, 1.1}, 8)), (QStringList{"0.1", "0.15", "0.2", "0.3", "0.5", "0.7", "1"}));
  EXPECT_EQ(labels(ticks(Scale::Log, {0.09, 1.1}, 5)), (QStringList{"0.1", "0.2", "0.5", "1"}));
  EXPECT_EQ(labels(ticks(Scale::Log, {0.98, 1.12}, 5)), (QStringList{"1.00", "1.05", "1.10"}));
  EXPECT_EQ(labels(ticks(Scale::Log, {1e-3, 1e3}, 8)), (QStringList{"0.001", "0.01", "0.1", "1", "10", "100", "1000"}));
  const auto many = ticks(Scale::Log, {1, 1e12}, 5);
  EXPECT_LE(labels(many).size(), 6);
  EXPECT_GE(labels(many).size(), 3);
}

TEST(Ticks, LieInsideTheRange) {
  for (const Range &range :
       {Range{0.97, 4.1}, Range{0.013, 0.7}, Range{11.2, 46578}, Range{0.0011, 0.0013}, Range{5, 5.0001}})
    for (Scale scale : {Scale::Linear, Scale::Log})
      for (int wanted : {2, 4, 8, 12}) {
        const auto list = ticks(scale, range, wanted);
        EXPECT_GE(labels(list).size(), 1) << range.min << ".." << range.max << " wanted " << wanted;
        EXPECT_LE(labels(list).size(), wanted + 2);
        for (const Tick &tick : list) {
          EXPECT_GE(tick.value, range.min * (1 - 1e-6));
          EXPECT_LE(tick.value, range.max * (1 + 1e-6));
        }
      }
}

TEST(Ranges, NiceEndsAreTicks) {
  EXPECT_EQ(niceRange({0.13, 0.97}, Scale::Linear), (Range{0, 1}));
  EXPECT_EQ(niceRange({0.02, 3}, Scale::Log), (Range{0.01, 10}));
  EXPECT_EQ(niceRange({}, Scale::Linear), (Range{0, 1}));
  const Range single = niceRange({5, 5}, Scale::Linear);
  EXPECT_LT(single.min, 5);
  EXPECT_GT(single.max, 5);
}

TEST(Ranges, IncludeIgnoresWhatIsNotFinite) {
  Range range;
  range.include(std::nan(""));
  range.include(INFINITY);
  EXPECT_TRUE(range.empty());
  range.include(2);
  EXPECT_EQ(range, (Range{2, 2}));
}

} // namespace
} // namespace xqs

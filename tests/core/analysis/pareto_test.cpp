// SPDX-License-Identifier: Apache-2.0
#include "analysis/pareto.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

using namespace xqs;

namespace {

/// Policies of one run, each with a size and its KL of every window.
struct Plane {
  std::vector<PolicyRow> policies;
  std::vector<WindowRow> windows;

  void add(double relativeSize, const std::vector<double> &kl, std::int64_t firstWindow = 0) {
    PolicyRow policy;
    policy.run = 1, policy.index = static_cast<std::int64_t>(policies.size()), policy.relativeSize = relativeSize;
    policies.push_back(policy);
    for (std::size_t i = 0; i < kl.size(); ++i) {
      WindowRow row;
      row.run = 1, row.policy = policy.index, row.window = firstWindow + static_cast<std::int64_t>(i);
      row.meanKl = kl[i], row.meanNll = 10 - kl[i]; // the reverse order in NLL
      windows.push_back(row);
    }
  }
  std::vector<CurvePoint> points() {
    for (int w = 0; w < 20; ++w) {
      WindowRow exact;
      exact.run = 1, exact.window = w, exact.meanNll = 3;
      windows.push_back(exact);
    }
    return curvePoints(policies, windows);
  }
};

std::vector<int> fronts(const std::vector<Standing> &standings) {
  std::vector<int> result;
  for (const Standing &s : standings) result.push_back(s.front);
  return result;
}

std::vector<int> possibles(const std::vector<Standing> &standings) {
  std::vector<int> result;
  for (const Standing &s : standings) result.push_back(s.possible);
  return result;
}

} // namespace

TEST(Pareto, APointIsStruckOnlyWhereAnotherIsCertainlyBetter) {
  Plane plane;
  plane.add(0.10, {0.50, 0.70, 0.60});    // 0: the smallest
  plane.add(0.20, {0.10, 0.30, 0.20});    // 1: better
  plane.add(0.30, {0.15, 0.36, 0.25});    // 2: larger than 1 and worse in every window by about the same
  plane.add(0.25, {0.05, 0.26, 0.44});    // 3: larger than 1 and worse in the mean, but not in every window
  plane.add(0.20, {0.10, 0.30, 0.20});    // 4: the same as 1
  plane.add(0.40, {0.099, 0.299, 0.199}); // 5: better by very little, at double the size
  plane.add(0.21, {0.10, 0.30, 0.20});    // 6: as good as 1, larger
  const auto points = plane.points();
  const auto standings = paretoFront(points, plane.windows, Quality::Kl);
  EXPECT_EQ(fronts(standings), (std::vector<int>{1, 1, 0, 0, 1, 1, 0}));
  EXPECT_EQ(possibles(standings), (std::vector<int>{1, 1, 0, 1, 1, 1, 1}));
  // By NLL, here the reverse of KL, the smallest point is also the best and nothing beats it.
  EXPECT_EQ(fronts(paretoFront(points, plane.windows, Quality::Nll)), (std::vector<int>{1, 0, 0, 0, 0, 0, 0}));
}

TEST(Pareto, OneWindowProvesNothing) {
  Plane plane;
  plane.add(0.1, {0.1});
  plane.add(0.2, {0.9});
  const auto standings = paretoFront(plane.points(), plane.windows, Quality::Kl);
  EXPECT_EQ(fronts(standings), (std::vector<int>{1, 0}));
  EXPECT_EQ(possibles(standings), (std::vector<int>{1, 1}));
}

TEST(Pareto, PointsWithoutFiguresOrWithoutCommonWindowsDoNotCompete) {
  Plane plane;
  plane.add(0.1, {0.1, std::nan("")});
  plane.add(0.2, {0.5, 0.6});
  plane.add(0.3, {0.9, 0.9}, 10); // other windows
  plane.add(0.1, {});
  const auto standings = paretoFront(plane.points(), plane.windows, Quality::Kl);
  EXPECT_EQ(fronts(standings), (std::vector<int>{0, 1, 1, 0}));
  EXPECT_EQ(possibles(standings), (std::vector<int>{0, 1, 1, 0}));
  EXPECT_TRUE(paretoFront({}, {}, Quality::Kl).empty());
}

TEST(Pareto, TheFrontFallsAndEveryOtherPointLiesBehindIt) {
  std::mt19937 random(3);
  Plane plane;
  for (int i = 0; i < 80; ++i) {
    std::vector<double> kl(6);
    for (double &value : kl) value = static_cast<double>(random() % 64) / 64; // exact sums
    plane.add(static_cast<double>(random() % 40) / 40, kl);
  }
  const auto points = plane.points();
  const auto standings = paretoFront(points, plane.windows, Quality::Kl);
  const auto inFront = [&](std::size_t a, std::size_t b) { // a beats b
    const bool noWorse = points[a].relativeSize <= points[b].relativeSize && points[a].kl.mean <= points[b].kl.mean;
    return noWorse && (points[a].relativeSize < points[b].relativeSize || points[a].kl.mean < points[b].kl.mean);
  };
  for (std::size_t i = 0; i < points.size(); ++i) {
    bool behind = false;
    for (std::size_t f = 0; f < points.size(); ++f) behind = behind || (standings[f].front && inFront(f, i));
    EXPECT_NE(behind, standings[i].front) << i;
    EXPECT_TRUE(standings[i].possible || !standings[i].front);
  }
}

TEST(Pareto, TheBestForItsBytesAndWhatCannotBeToldFromIt) {
  Plane plane;
  plane.add(0.10, {0.50, 0.70, 0.60});
  plane.add(0.20, {0.10, 0.30, 0.20});
  plane.add(0.20, {0.09, 0.30, 0.23}); // not distinguishable
  plane.add(0.15, {0.20, 0.41, 0.30}); // worse by about 0.1 everywhere
  plane.add(0.40, {0.01, 0.02, 0.01}); // too large
  plane.add(0.18, {0.10, 0.30, 0.20}); // the same as 1, smaller
  const auto points = plane.points();
  const auto best = bestWithin(points, plane.windows, Quality::Kl, 0.2);
  ASSERT_TRUE(best);
  EXPECT_EQ(best->best, 5u);
  EXPECT_EQ(best->ties, (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(bestWithin(points, plane.windows, Quality::Kl, 1)->best, 4u);
  EXPECT_EQ(bestWithin(points, plane.windows, Quality::Kl, 0.1)->best, 0u);
  EXPECT_FALSE(bestWithin(points, plane.windows, Quality::Kl, 0.09));
}

// SPDX-License-Identifier: Apache-2.0
#include "pareto.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace xqs {
namespace {

/// Each point's window rows, in the order of points.
std::vector<std::vector<WindowRow>> rowsOf(const std::vector<CurvePoint> &points, const std::vector<WindowRow> &windows) {
  std::map<std::pair<RowId, std::int64_t>, std::vector<WindowRow>> byPolicy;
  for (const WindowRow &row : windows) byPolicy[{row.run, row.policy}].push_back(row);
  std::vector<std::vector<WindowRow>> result;
  for (const CurvePoint &point : points) result.push_back(byPolicy[{point.run, point.policyIndex}]);
  return result;
}

double meanQuality(const CurvePoint &point, Quality quality) {
  return quality == Quality::Kl ? point.kl.mean : point.nllDifference.mean;
}

} // namespace

std::vector<Standing> paretoFront(const std::vector<CurvePoint> &points, const std::vector<WindowRow> &windows,
                                  Quality quality) {
  const auto rows = rowsOf(points, windows);
  std::vector<Standing> standings(points.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!std::isfinite(meanQuality(points[i], quality))) continue;
    standings[i] = {true, true};
    for (std::size_t other = 0; other < points.size(); ++other) {
      const bool noLarger = points[other].relativeSize <= points[i].relativeSize;
      if (other == i || !noLarger || !std::isfinite(meanQuality(points[other], quality))) continue;
      const Estimate better = windowDifference(rows[other], rows[i], quality);
      const bool smaller = points[other].relativeSize < points[i].relativeSize;
      if (better.mean < 0 || (better.mean == 0 && smaller)) standings[i].front = false;
      if (better.high < 0) standings[i].possible = false;
    }
  }
  return standings;
}

std::optional<BestPoint> bestWithin(const std::vector<CurvePoint> &points, const std::vector<WindowRow> &windows,
                                    Quality quality, double relativeSizeLimit) {
  std::vector<std::size_t> fitting;
  for (std::size_t i = 0; i < points.size(); ++i)
    if (points[i].relativeSize <= relativeSizeLimit && std::isfinite(meanQuality(points[i], quality))) fitting.push_back(i);
  if (fitting.empty()) return {};
  const auto rank = [&](std::size_t i) { return std::pair(meanQuality(points[i], quality), points[i].relativeSize); };
  BestPoint result;
  result.best = *std::ranges::min_element(fitting, {}, rank);
  const auto rows = rowsOf(points, windows);
  for (const std::size_t i : fitting)
    if (i != result.best && touchesZero(windowDifference(rows[i], rows[result.best], quality))) result.ties.push_back(i);
  return result;
}

} // namespace xqs

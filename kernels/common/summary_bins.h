// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace xqs {

/// Cuts [histogramMin, histogramMax] into Summary::kBins even bins; values beyond the ends fall into the end bins, NaN into
/// none. FP32, so that every backend counts the same.
struct Bins {
  float low, perUnit;
  explicit Bins(const Summary &s)
      : low(s.histogramMin),
        perUnit(s.histogramMax > s.histogramMin ? static_cast<float>(Summary::kBins) / (s.histogramMax - s.histogramMin)
                                                : 0) {}
  /// -1 for NaN.
  int operator()(float x) const {
    const float bin = (x - low) * perUnit;
    if (bin != bin) return -1;
    return static_cast<int>(std::clamp(bin, 0.0f, static_cast<float>(Summary::kBins - 1)));
  }
};

/// Fills topChannel, topMeanAbs from sums of |x| a channel: largest first, lowest channel on ties.
inline void fillTopChannels(const std::vector<double> &sumAbs, Index rows, Summary &s) {
  std::vector<std::int32_t> order(sumAbs.size());
  std::iota(order.begin(), order.end(), 0);
  const std::size_t kept = std::min<std::size_t>(Summary::kTopChannels, order.size());
  const auto larger = [&](std::int32_t a, std::int32_t b) {
    const double x = sumAbs[static_cast<std::size_t>(a)], y = sumAbs[static_cast<std::size_t>(b)];
    const bool xNan = x != x, yNan = y != y; // a NaN sorts first: it is what there is to see
    if (xNan != yNan) return xNan;
    return x > y || (!(x < y) && a < b);
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(), larger);
  s.topChannel.fill(-1);
  s.topMeanAbs.fill(0);
  for (std::size_t i = 0; i < kept; ++i) {
    s.topChannel[i] = order[i];
    s.topMeanAbs[i] = static_cast<float>(sumAbs[static_cast<std::size_t>(order[i])] / static_cast<double>(rows));
  }
}

} // namespace xqs

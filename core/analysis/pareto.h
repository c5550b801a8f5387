// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "compare.h"

#include <optional>
#include <vector>

/// Which policies are worth their bytes. Size is `CurvePoint::relativeSize`; quality is KL or NLL, compared pair by pair
/// over the windows that both points have. All points' runs must be such that `differingFields` is empty.
namespace xqs {

/// How a point stands among the others. front implies possible.
struct Standing {
  bool front = false;    ///< no other point is at least as good in both size and mean quality and better in one
  bool possible = false; ///< no other point is *certainly* better: none that is no larger has a quality difference whose
                         ///< 95 % interval lies below zero
};

/// One entry a point. `windows`: rows of the points' runs, others are ignored. A point whose mean is not finite is neither
/// on the front nor possible and beats nobody.
std::vector<Standing> paretoFront(const std::vector<CurvePoint> &points, const std::vector<WindowRow> &windows,
                                  Quality quality);

/// The best of what fits.
struct BestPoint {
  std::size_t best = 0;          ///< index of the point with the lowest mean quality; equal means: the smallest size
  std::vector<std::size_t> ties; ///< ascending: others that fit whose paired difference to it touches zero
};

/// Among the points with relativeSize <= limit; none where none with a finite mean fits. Points should have the same
/// windows.
std::optional<BestPoint> bestWithin(const std::vector<CurvePoint> &points, const std::vector<WindowRow> &windows,
                                    Quality quality, double relativeSizeLimit);

} // namespace xqs

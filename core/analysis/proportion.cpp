// SPDX-License-Identifier: Apache-2.0
#include "analysis/proportion.h"

#include "error.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace xqs {

Proportion wilson(std::int64_t count, std::int64_t of) {
  XQS_ASSERT(count >= 0 && count <= of);
  if (of == 0) return {0, 0, std::numeric_limits<double>::quiet_NaN(), 0, 1};
  constexpr double kNormal95 = 1.959963984540054;
  const auto n = static_cast<double>(of);
  const double share = static_cast<double>(count) / n, z2 = kNormal95 * kNormal95 / n;
  const double centre = (share + z2 / 2) / (1 + z2);
  const double reach = kNormal95 / (1 + z2) * std::sqrt(share * (1 - share) / n + z2 / (4 * n));
  // Exact at the ends, where rounding would leave them.
  return {count, of, share, count == 0 ? 0 : std::max(0.0, centre - reach), count == of ? 1 : std::min(1.0, centre + reach)};
}

} // namespace xqs

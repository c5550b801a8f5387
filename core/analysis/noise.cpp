// SPDX-License-Identifier: Apache-2.0
#include "noise.h"

#include <cmath>

namespace xqs {

NoiseFloor noiseFloor(const std::vector<NoiseRow> &rows) {
  double nll = 0, kl = 0;
  for (const NoiseRow &row : rows) {
    nll += row.nllDifference * row.nllDifference;
    kl += row.klDifference * row.klDifference;
  }
  const auto count = static_cast<double>(rows.size());
  return {std::sqrt(nll / count), std::sqrt(kl / count), rows.size()};
}

} // namespace xqs

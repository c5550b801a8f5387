// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "store/records.h"

#include <vector>

namespace xqs {

/// How far figures of one window move where nothing that means anything changes: root mean square over policies and windows
/// of the measured differences (findings.md 7). NaN without rows.
struct NoiseFloor {
  double nllNats = 0, klNats = 0;
  std::size_t count = 0; ///< rows
};
NoiseFloor noiseFloor(const std::vector<NoiseRow> &rows);

} // namespace xqs

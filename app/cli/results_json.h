// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/statistics.h"

#include <nlohmann/json.hpp>

namespace xqs::cli {

/// A mean with its 95 % interval; null bounds below two windows.
inline nlohmann::json estimateJson(const Estimate &e) {
  return {{"mean", e.mean}, {"low", e.low}, {"high", e.high}, {"windows", e.count}};
}

} // namespace xqs::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/compare.h"
#include "analysis/sensitivity.h"

#include <string>
#include <vector>

namespace xqs::cli {

/// Evaluations of a store.
struct StoredSet {
  RowSet rows;
  std::vector<NoiseRow> noise;
};

/// "F.xqs" or "F.xqs#run": all of them, or one. Throws Usage where there is none, and what reading throws.
StoredSet readSet(const std::string &argument);
/// The file that such an argument names.
std::string storeOf(const std::string &argument);

/// The one matrix of isolated sensitivity that the argument names. Throws Usage where there is none, or several.
SensitivityMatrix readMatrix(const std::string &argument);

} // namespace xqs::cli

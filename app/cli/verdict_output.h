// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/verdict.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace xqs::cli {

/// What was judged, a table, sentences and the legend.
std::string verdictText(const Judge &judge, const Verdict &verdict);
/// Who is fastest over contexts and batches, and who of those that rebuild.
std::string mapText(const Judge &judge);
nlohmann::json verdictJson(const Judge &judge, const Verdict &verdict, bool map);

} // namespace xqs::cli

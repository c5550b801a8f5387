// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/evaluate.h"
#include "run/runner.h"

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace xqs {

/// Below tables with columns "store" and "rebuild" (cacheWork).
inline constexpr std::string_view kWorkLegend = "store, rebuild: million multiply-adds, all layers, to store a new token "
                                                "once and to rebuild K and V of a cached one each "
                                                "time they are read\n";

/// `xqscope-cli eval --json`: {"exact": {mean_nll, ppl}, "policies": [...]}, values a window; ppl = exp(mean of window
/// means). Format bytes, and the sizes made from them, are those of state `all` whatever the run's state, as tables print
/// them; the allocated bytes, and the store's ledger, are the run's own (a residual of `stream` counts there).
nlohmann::json evalJson(const RunResult &result);
/// The same for people: one line a policy.
std::string evalTable(const RunResult &result);

/// The exact model's tensors of one stretch of tokens, without logits.
std::unique_ptr<ExactTrace> traceExact(const Model &model, std::span<const TokenId> tokens, std::stop_token stop = {});

/// What `xqscope-cli layers` finds on one window: the open loop of each policy (state all), how alike the layers are, and
/// how well weights predict K's outlier channels (method.md 8).
struct LayersResult {
  static constexpr std::array<int, 4> kTopK = {1, 2, 4, 8};
  static constexpr std::array<Site, 4> kSites = {Site::X, Site::Residual, Site::K, Site::V};
  std::vector<std::string> policies;            ///< canonical
  std::vector<std::vector<LayerError>> errors;  ///< [policy][layer]
  std::array<std::vector<float>, 4> similarity; ///< by kSites, L * L
  Index layers = 0;
  OutlierPrediction outliers; ///< by kTopK
};
/// `report`, where given, gets "3 of 17: xquant:bits=4". Throws Cancelled.
LayersResult runLayers(Session &session, std::span<const TokenId> tokens, std::span<const PolicySpec> policies,
                       const std::function<void(const std::string &)> &report = {}, std::stop_token stop = {});
nlohmann::json layersJson(const LayersResult &result);
std::string layersTable(const LayersResult &result);

} // namespace xqs

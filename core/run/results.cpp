// SPDX-License-Identifier: Apache-2.0
#include "run/results.h"

#include "analysis/run_shape.h"
#include "cache/work.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace xqs {

namespace {

using nlohmann::json;

/// One policy's windows in order (-1: the exact model).
struct Series {
  std::vector<double> meanNll, meanKl, top1;
  double seconds = 0;
  double ppl() const { return std::exp(mean(meanNll)); }
  static double mean(const std::vector<double> &values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  }
};

Series seriesOf(const RunResult &result, std::int64_t policy) {
  Series series;
  for (const WindowRow &row : result.windows) {
    if (row.policy != policy) continue;
    series.meanNll.push_back(row.meanNll);
    series.meanKl.push_back(row.meanKl);
    series.top1.push_back(row.top1);
    series.seconds += row.seconds;
  }
  return series;
}

json matrix(const std::vector<float> &values, Index n) {
  json rows = json::array();
  for (Index i = 0; i < n; ++i) rows.push_back(std::vector<float>(values.begin() + i * n, values.begin() + (i + 1) * n));
  return rows;
}

double neighbourMean(const std::vector<float> &values, Index n) {
  double sum = 0;
  for (Index i = 0; i + 1 < n; ++i) sum += values[static_cast<std::size_t>(i * n + i + 1)];
  return n > 1 ? sum / static_cast<double>(n - 1) : 1;
}

/// Keys of `similarity` in the JSON of `layers`, by LayersResult::kSites.
constexpr std::array<const char *, 4> kSimilarityNames = {"post_norm", "residual", "k_pre_rope", "v"};

} // namespace

json evalJson(const RunResult &result) {
  const Series exact = seriesOf(result, -1);
  const ModelShape shape = shapeOf(result.run);
  json policies = json::array();
  for (const PolicyRow &row : result.policies) {
    const Series series = seriesOf(result, row.index);
    const PolicySpec policy = PolicySpec::parse(row.policy);
    const PolicyRow format = describePolicy(policy, shape, result.run.window, State::All, row.index);
    const CacheWork work = cacheWork(policy, shape);
    policies.push_back({{"policy", row.policy},
                        {"mean_nll", series.meanNll},
                        {"ppl", series.ppl()},
                        {"kl_mean", series.meanKl},
                        {"top1", series.top1},
                        {"format_bytes_per_window", format.formatBytes},
                        {"allocated_bytes", row.allocatedBytes},
                        {"bits_per_element", format.bitsPerElement},
                        {"relative_size", format.relativeSize},
                        {"relative_size_mha", format.relativeSizeMha},
                        {"store_macs_per_token", work.storeMacs},
                        {"rebuild_macs_per_token", work.rebuildMacs},
                        {"seconds", series.seconds}});
    for (const NoiseRow &noise : result.noise)
      if (noise.policy == row.index)
        policies.back()["noise_floor"] = {
            {"window", noise.window}, {"nll", std::abs(noise.nllDifference)}, {"kl", std::abs(noise.klDifference)}};
  }
  return {{"exact", {{"mean_nll", exact.meanNll}, {"ppl", exact.ppl()}}}, {"policies", policies}};
}

std::string evalTable(const RunResult &result) {
  const Series exact = seriesOf(result, -1);
  std::string text = fmt::format("{}\n{}\nexact model: ppl {:.4f}\n\n", result.run.title, result.run.protocol, exact.ppl());
  text += fmt::format("{:>10} {:>8} {:>9} {:>9} {:>10} {:>7} {:>8} {:>8} {:>8}  policy\n", "size", "as MHA", "ppl",
                      "/ exact", "KL, nats", "top-1", "store", "rebuild", "seconds");
  const ModelShape shape = shapeOf(result.run);
  std::string floors, open;
  for (const PolicyRow &row : result.policies) {
    const Series s = seriesOf(result, row.index);
    const CacheWork work = cacheWork(PolicySpec::parse(row.policy), shape);
    text += fmt::format("{:>10.4f} {:>8.4f} {:>9.3f} {:>9.4f} {:>10.6f} {:>6.2f}% {:>8.2f} {:>8.2f} {:>8.2f}  {}\n",
                        row.relativeSize, row.relativeSizeMha, s.ppl(), s.ppl() / exact.ppl(), Series::mean(s.meanKl),
                        100 * Series::mean(s.top1), static_cast<double>(work.storeMacs) / 1e6,
                        static_cast<double>(work.rebuildMacs) / 1e6, s.seconds, row.policy);
    if (row.residual > 0)
      open += fmt::format("{:>9.0f}% of the bytes of {}\n",
                          100 * static_cast<double>(row.residual) / static_cast<double>(row.formatBytes), row.policy);
    for (const NoiseRow &noise : result.noise)
      if (noise.policy == row.index)
        floors += fmt::format("{:>38.6f} {:>10.6f} {:>35}{}\n", std::abs(noise.nllDifference), std::abs(noise.klDifference),
                              "", row.policy);
  }
  if (!open.empty())
    text += fmt::format("\nFP16 rows, of groups that the window does not fill or of a residual, are\n{}", open);
  if (!floors.empty())
    text += fmt::format("\nnoise floor: NLL and KL of the first window move so far where nothing that means anything "
                        "changes, nats\n{}",
                        floors);
  return fmt::format("{}\nsize: cache bytes / the model's FP16 KV cache, scales and zeros included\n{}", text, kWorkLegend);
}

std::unique_ptr<ExactTrace> traceExact(const Model &model, std::span<const TokenId> tokens, std::stop_token stop) {
  const auto count = static_cast<Index>(tokens.size());
  auto trace = std::make_unique<ExactTrace>(model, count);
  const auto cache = makeExactCache(model, {count, count, State::All});
  Engine engine(model);
  Lane lane;
  lane.cache = cache.get(), lane.trace = trace.get();
  engine.step(std::span(&lane, 1), tokens, std::move(stop));
  return trace;
}

LayersResult runLayers(Session &session, std::span<const TokenId> tokens, std::span<const PolicySpec> policies,
                       const std::function<void(const std::string &)> &report, std::stop_token stop) {
  const Model &model = session.model();
  LayersResult result;
  result.layers = model.shape().layers;
  for (const PolicySpec &policy : policies) // settings that do not fit the model are told before anything is computed
    cacheLayout(policy, model.shape());
  if (report) report("exact model");
  const auto trace = traceExact(model, tokens, stop);
  for (std::size_t i = 0; i < policies.size(); ++i) {
    if (report) report(fmt::format("{} of {}: {}", i + 1, policies.size(), policies[i].canonical()));
    const auto method = session.method(policies[i], stop);
    result.policies.push_back(policies[i].canonical());
    result.errors.push_back(openLoop(*method, *trace, State::All, {}, stop));
  }
  for (std::size_t i = 0; i < LayersResult::kSites.size(); ++i)
    result.similarity[i] = layerSimilarity(*trace, model, LayersResult::kSites[i]);
  session.calibration().setStop(stop);
  result.outliers = outlierPrediction(model, session.calibration(), *trace, LayersResult::kTopK);
  session.calibration().setStop({});
  return result;
}

json layersJson(const LayersResult &result) {
  json policies = json::array();
  for (std::size_t i = 0; i < result.policies.size(); ++i) {
    json k = json::array(), v = json::array();
    for (const LayerError &error : result.errors[i]) {
      k.push_back(error.k);
      v.push_back(error.v);
    }
    policies.push_back({{"policy", result.policies[i]}, {"k_rel_error", k}, {"v_rel_error", v}});
  }
  json similarity = json::object(), hits = json::object();
  for (std::size_t i = 0; i < kSimilarityNames.size(); ++i)
    similarity[kSimilarityNames[i]] = matrix(result.similarity[i], result.layers);
  for (std::size_t i = 0; i < LayersResult::kTopK.size(); ++i)
    hits[std::to_string(LayersResult::kTopK[i])] = result.outliers.hitRatePercent[i];
  return {{"policies", policies},
          {"similarity", similarity},
          {"outlier_hit_rate_percent", hits},
          {"layers_with_latent_channel_0_largest", result.outliers.layersWithLatentChannel0Largest}};
}

std::string layersTable(const LayersResult &result) {
  std::string text = "Open loop: every layer gets the exact model's X. Relative error of K (after RoPE) / V\n\n";
  for (std::size_t i = 0; i < result.policies.size(); ++i) {
    text += result.policies[i] + "\n";
    for (std::size_t layer = 0; layer < result.errors[i].size(); ++layer)
      text += fmt::format("  layer {:>3}: {:.5f} / {:.5f}\n", layer, result.errors[i][layer].k, result.errors[i][layer].v);
  }
  text += "\nMean cosine between neighbouring layers\n";
  for (std::size_t i = 0; i < kSimilarityNames.size(); ++i)
    text += fmt::format("  {:<10} {:.4f}\n", kSimilarityNames[i], neighbourMean(result.similarity[i], result.layers));
  text += "\nK's largest channel among the k predicted from the weights alone\n";
  for (std::size_t i = 0; i < LayersResult::kTopK.size(); ++i)
    text += fmt::format("  k = {}: {:.2f} % of layers\n", LayersResult::kTopK[i], result.outliers.hitRatePercent[i]);
  return text + fmt::format("Channel 0 of X Uk is the largest in {} of {} layers\n",
                            result.outliers.layersWithLatentChannel0Largest, result.layers);
}

} // namespace xqs

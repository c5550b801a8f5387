// SPDX-License-Identifier: Apache-2.0
#include "evidence.h"

#include "cache/policy.h"
#include "curve.h"
#include "model/shapes.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>

namespace xqs {
namespace {

bool isGenerated(const RunRow &run) { return run.weightTypes.starts_with("generated"); }

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// The policy that a row of a table was measured with: table 1 has no first layers of more bits, table 4 three (the
/// default).
std::string canonicalOf(const PublishedRow &row) {
  if (row.method == "fp16") return "fp16";
  if (row.label != fmt::format("{}-{}", methodTitle(row.method), row.bits)) return {}; // with outlier channels, say
  const PolicySpec policy = PolicySpec::parse(fmt::format("{}:bits={}", row.method, row.bits));
  return (row.table.ends_with("-1") ? policy.with("first_layers", "0") : policy).canonical();
}

/// Without what the paper leaves open, so that every reading of it counts.
std::string asPublished(const PolicySpec &policy) {
  if (!policy.has("accumulator")) return policy.canonical();
  return policy.with("accumulator", "fp32").with("base", "full").canonical();
}

bool isRegistered(const std::string &method) {
  return std::ranges::any_of(methodRegistry(), [&](const MethodInfo &info) { return info.name == method; });
}

} // namespace

Quality Evidence::qualityOf(const std::string &policy) const {
  const auto found = qualities.find(policy);
  return found == qualities.end() ? Quality{} : found->second;
}

const Evidence::Step *Evidence::stepOf(const std::string &policy, std::int64_t context, std::int64_t batch) const {
  const Step *result = nullptr; // measured again: the later one
  for (const Step &step : steps)
    if (step.policy == policy && step.row.context == context && step.row.batch == batch) result = &step;
  return result;
}

bool ModelSize::sameAs(const ModelSize &o) const {
  return layers == o.layers && d == o.d && heads == o.heads && kvHeads == o.kvHeads && dh == o.dh && ffn == o.ffn &&
         vocab == o.vocab;
}

ModelSize sizeOf(const ModelConfig &config) {
  const ModelShape &s = config.shape;
  return {config.name, s.layers,   s.d,          s.heads,           s.kvHeads,
          s.dh,        config.ffn, config.vocab, config.tiedOutput, !config.ropeFrequency.empty()};
}

ModelSize sizeOf(const RunRow &run) {
  ModelSize size{run.model, run.layers, run.d, run.heads, run.kvHeads, run.dh, run.ffn, run.vocab, false, true};
  for (const ModelSize &known : builtInModels())
    if (known.sameAs(size)) size.tiedOutput = known.tiedOutput;
  return size;
}

std::vector<ModelSize> builtInModels() {
  std::vector<ModelSize> models;
  for (const BuiltInShape &shape : builtInShapes()) {
    models.push_back(sizeOf(shapeConfig(shape)));
    models.back().name = shape.name;
  }
  return models;
}

void addQualities(Evidence &evidence, const RunRows &run, const ModelSize &model) {
  if (run.run.kind != "eval" || isGenerated(run.run) || !model.sameAs(sizeOf(run.run))) return;
  for (const CurvePoint &point : curvePoints(run.policies, run.windows)) {
    if (point.windows.empty()) continue;
    evidence.qualities[point.policy] = {Basis::Measured, point.kl.mean, point.ratio.mean, run.run.title};
  }
}

void addPublished(Evidence &evidence, std::span<const std::string> policies, const ModelSize &model,
                  std::span<const PublishedRow> published) {
  const std::vector<ModelSize> known = builtInModels();
  const auto shape = std::ranges::find_if(known, [&](const ModelSize &m) { return m.sameAs(model); });
  if (shape == known.end()) return;
  for (const PublishedRow &row : published) {
    if (!lower(row.model).starts_with(shape->name) || row.dataset != "wikitext2" || std::isnan(row.ratio) ||
        !isRegistered(row.method))
      continue;
    const std::string canonical = canonicalOf(row);
    for (const std::string &policy : policies)
      if (asPublished(PolicySpec::parse(policy)) == canonical)
        evidence.qualities.try_emplace(policy, Quality{Basis::Published, std::nan(""), row.ratio,
                                                       fmt::format("{} on WikiText-2, arXiv 2508.10395", row.model)});
  }
}

void addSteps(Evidence &evidence, const RunRows &run, const ModelSize &model) {
  if (run.run.kind != "profile" || !model.sameAs(sizeOf(run.run))) return;
  const nlohmann::json request = nlohmann::json::parse(run.run.spec, nullptr, false);
  const bool inHost = request.is_object() && request.contains("placement") && request["placement"] == "host";
  for (const StepRow &step : run.steps)
    for (const PolicyRow &policy : run.policies)
      if (policy.index == step.policy) evidence.steps.push_back({policy.policy, inHost, step});
}

} // namespace xqs

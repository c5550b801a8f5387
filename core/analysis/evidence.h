// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/published.h"
#include "store/records.h"

#include <cmath>
#include <map>
#include <span>
#include <string>
#include <vector>

/// What rows say of policies on one model: their quality, and how long their steps took.
namespace xqs {

struct ModelConfig;

/// What a verdict needs of a model. This header and verdict.h are light, so that views can include them: policies are
/// canonical strings.
struct ModelSize {
  std::string name;
  std::int64_t layers = 0, d = 0, heads = 0, kvHeads = 0, dh = 0, ffn = 0, vocab = 0;
  bool tiedOutput = false, rope = true;
  bool mha() const { return heads == kvHeads; }
  bool sameAs(const ModelSize &o) const; ///< in its widths and depth
};
ModelSize sizeOf(const ModelConfig &config);
/// Of a run's model. What rows do not hold (RoPE, tied embeddings) comes from the built-in shape like it; else RoPE is there
/// and nothing is tied.
ModelSize sizeOf(const RunRow &run);
/// The built-in shapes (model/shapes.h).
std::vector<ModelSize> builtInModels();

/// Where a figure comes from. No figure of time, bytes or quality is shown without it.
enum class Basis : std::uint8_t {
  Measured,  ///< by a clock, by counters, or by scoring a text
  Counted,   ///< bytes and FLOPs from shapes
  Predicted, ///< times from counted bytes and FLOPs
  Published, ///< printed in a paper
  Unknown
};
constexpr const char *basisName(Basis b) {
  constexpr const char *kNames[] = {"measured", "counted", "predicted", "published", "unknown"};
  return kNames[static_cast<std::size_t>(b)];
}

/// Rows of one run, wherever they were read; not owned.
struct RunRows {
  const RunRow &run;
  const std::vector<PolicyRow> &policies;
  const std::vector<WindowRow> &windows;
  const std::vector<StepRow> &steps;
  const std::vector<TrafficRow> &traffic;
  const std::vector<PeakRow> &peaks;
};

/// How far a policy is from the exact model.
struct Quality {
  Basis basis = Basis::Unknown; ///< Measured, Published or Unknown
  double kl = std::nan("");     ///< nats a token; NaN: not measured
  double ratio = std::nan("");  ///< perplexity over the exact model's (published: over FP16's)
  std::string of;               ///< model, text and protocol; only qualities of the same may be compared
  /// What is compared, smaller is better: KL in nats, where it was measured, else the logarithm of the ratio.
  double damage() const { return std::isnan(kl) ? std::log(ratio) : kl; }
};

struct Evidence {
  struct Step {
    std::string policy;  ///< canonical
    bool inHost = false; ///< the profile kept its caches in the host's memory
    StepRow row;
  };
  std::map<std::string, Quality> qualities; ///< by canonical policy
  std::vector<Step> steps;
  /// Unknown where there is none.
  Quality qualityOf(const std::string &policy) const;
  /// Null where that point was not measured.
  const Step *stepOf(const std::string &policy, std::int64_t context, std::int64_t batch) const;
};

/// Adds the qualities that an eval run measured on this model; a later run's replace earlier ones. Models of random numbers
/// have none.
void addQualities(Evidence &evidence, const RunRows &run, const ModelSize &model);
/// Adds published figures (WikiText-2) of the policies, where their settings and the model are those of a table and nothing
/// was measured.
void addPublished(Evidence &evidence, std::span<const std::string> policies, const ModelSize &model,
                  std::span<const PublishedRow> published);
/// Adds the steps of a profile run of this model.
void addSteps(Evidence &evidence, const RunRows &run, const ModelSize &model);

} // namespace xqs

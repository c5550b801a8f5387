// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/decode_steps.h"
#include "run/memory_fit.h"

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace xqs {

/// How long a step of decoding takes on a built-in shape.
struct DecodeSettings {
  std::string shape;
  Index layers = 0; ///< how many of the shape's; 0: all
  Index context = 32768;
  Index batch = 4;
  Index steps = 16; ///< that are timed
  Index warmUp = 2;
  Index traced = 2; ///< steps whose operations are timed one by one, after the others
  std::uint64_t seed = 1;
  DecodeForm form = DecodeForm::Fused;
  Placement placement = Placement::Device; ///< of the caches
  bool statistics = false;                 ///< also what summaries of X in every layer cost a step
  DecodePoint point() const {
    return {context, batch, warmUp + steps + traced + (statistics ? 2 * steps : 0), form, placement, seed};
  }
};

/// What is counted of one policy at one depth. A step is one token of every sequence, with its logits and without sampling.
struct DecodeFigures {
  double stepSeconds = 0;     ///< median
  double tokensPerSecond = 0; ///< of all sequences together
  CacheBytes cache;           ///< of one sequence of `context` tokens
  Index weightBytes = 0;      ///< the model's and those of the policy's own maps
  /// What a step reads at least: weights once (of the embedding the tokens' rows alone), every sequence's cache once.
  Index countedBytes = 0;
  double countedRate() const { return static_cast<double>(countedBytes) / stepSeconds; } ///< bytes/s
};

struct DecodeResult {
  struct Operation {
    std::string name;              ///< "attend"; see Tag
    double seconds = 0, bytes = 0; ///< of a step, all layers and sequences
  };
  std::string policy;                        ///< canonical
  DecodeFigures measured;                    ///< of the layers that ran; its cache is the filled one's ledger
  CacheBytes predicted;                      ///< `footprint` of the same
  std::vector<double> stepSeconds;           ///< each timed step, in order
  std::optional<double> statisticsCost;      ///< of the layers' time, from steps with and without them in turns
  double lowSeconds = 0, highSeconds = 0;    ///< quartiles of stepSeconds
  std::vector<Operation> operations;         ///< where a traced step's time went, in order of their first call
  std::vector<std::string> attentionKernels; ///< what attention was made of: says which form ran
  DecodeFigures scaled;                      ///< of all layers: what layers take and hold, times their number; logits once
  double share(const std::string &operation) const; ///< of a traced step's time
};

/// Of several policies, the one that needs most.
DecodeMemory decodeMemory(const DecodeSettings &settings, std::span<const PolicySpec> policies, DType weightType);

/// One loaded shape. The policies to compare are known beforehand, so that memory is checked before any of it is taken.
class DecodeBench {
public:
  /// `fraction` 0..1 of what `text` says.
  using Progress = std::function<void(double fraction, const std::string &text)>;
  /// Loads the shape. Throws Usage (no such shape, a policy that does not fit it), OutOfMemory naming what is needed and
  /// what is free, Cancelled.
  DecodeBench(const DecodeSettings &settings, std::vector<PolicySpec> policies, Backend &backend, Progress progress = {},
              std::stop_token stop = {});

  const ModelConfig &config() const { return model().config(); }
  const std::vector<PolicySpec> &policies() const { return m_policies; }
  /// Throws Cancelled.
  DecodeResult run(const PolicySpec &policy);

private:
  struct Times {
    std::vector<double> layers, logits; ///< seconds, each timed step
  };
  const Model &model() const { return m_shape->model(); }
  Times timeSteps(DecodeSequences &sequences);
  double statisticsCost(DecodeSequences &sequences);
  void traceSteps(DecodeSequences &sequences, DecodeResult &result);
  DecodeFigures figures(const PolicySpec &policy, const ModelConfig &config, const CacheBytes &cache, double seconds) const;
  void report(double fraction, const std::string &text) const;

  DecodeSettings m_settings;
  std::vector<PolicySpec> m_policies;
  Backend &m_backend;
  Progress m_progress;
  std::stop_token m_stop;
  std::unique_ptr<LoadedShape> m_shape;
};

} // namespace xqs

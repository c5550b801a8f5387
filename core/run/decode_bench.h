// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/cache.h"
#include "calibrate/calibration.h"
#include "engine/engine.h"
#include "model/shapes.h"
#include "run/memory_fit.h"

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace xqs {

/// How long a step of decoding takes over caches that hold a long text: a built-in shape, `batch` sequences of `context`
/// random tokens each, filled without a forward pass. A setting of how caches are made or read is a line here and one in
/// decode_bench.cpp (cacheSize, Sequences).
struct DecodeSettings {
  std::string shape;
  Index layers = 0; ///< how many of the shape's; 0: all
  Index context = 32768;
  Index batch = 4;
  Index steps = 16; ///< that are timed
  Index warmUp = 2;
  Index traced = 2; ///< steps whose operations are timed one by one, after the others
  std::uint64_t seed = 1;
  /// Where K and V come to be. Separate: all rows in memory, before attention reads them. The others absorb V where that is
  /// cheaper; K comes by chunks of kAttendTokens, inside attention, or a layer ahead on a queue of its own.
  enum class Form : std::uint8_t { Separate, Chunked, Fused, Pipelined } form = Form::Fused;
  Placement placement = Placement::Device; ///< of the caches
  bool statistics = false;                 ///< also what summaries of X in every layer cost a step
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

/// Bytes of the maps that a policy keeps besides (latents, conditioning), FP32.
Index mapBytes(const PolicySpec &spec, const ModelShape &shape);

/// What a bench holds at once, in bytes; of several policies, the one that needs most.
struct DecodeMemory {
  std::string policy; ///< canonical
  Index weights = 0, maps = 0, caches = 0, working = 0;
  Index host = 0; ///< caches that lie in the host's memory; `caches` are then what is copied of them at a time
  Index total() const { return weights + maps + caches + working; }
};
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

  const ModelConfig &config() const { return m_model->config(); }
  const std::vector<PolicySpec> &policies() const { return m_policies; }
  /// Throws Cancelled.
  DecodeResult run(const PolicySpec &policy);

private:
  struct Times {
    std::vector<double> layers, logits; ///< seconds, each timed step
  };
  class Sequences;
  Times timeSteps(Sequences &sequences);
  double statisticsCost(Sequences &sequences);
  void traceSteps(Sequences &sequences, DecodeResult &result);
  DecodeFigures figures(const PolicySpec &policy, const ModelConfig &config, const CacheBytes &cache, double seconds) const;
  void report(double fraction, const std::string &text) const;

  DecodeSettings m_settings;
  std::vector<PolicySpec> m_policies;
  Backend &m_backend;
  Progress m_progress;
  std::stop_token m_stop;
  std::unique_ptr<Model> m_model;
  std::unique_ptr<Calibration> m_calibration;
};

} // namespace xqs

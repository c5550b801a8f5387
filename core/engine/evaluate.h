// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "calibrate/calibration.h"
#include "engine/engine.h"

#include <functional>
#include <memory>

namespace xqs {

/// Which positions of a window count (baselines.md 11). Paper: all T-1 predictions. LlamaPerplexity: the second half only,
/// positions T/2 .. T-2, and the first token overwritten by the BOS where the vocabulary adds one.
enum class Protocol : std::uint8_t { Paper, LlamaPerplexity };
Protocol parseProtocol(std::string_view text); ///< "paper" or "llama-perplexity"; throws Usage
constexpr const char *protocolName(Protocol p) { return p == Protocol::Paper ? "paper" : "llama-perplexity"; }
/// First position of a window that is scored.
constexpr Index firstScored(Protocol p, Index window) { return p == Protocol::Paper ? 0 : window / 2; }

/// Scores position by position, from firstScored on. Nats.
struct PositionScores {
  std::vector<float> nll, kl;
  std::vector<std::uint8_t> sameTop; ///< 1: the argmax is the exact model's
};

/// Teacher-forced scores of one window: position t predicts token t + 1. Nats a token.
struct WindowScore {
  Index tokens = 0; ///< scored positions
  double meanNll = 0;
  double meanKl = 0; ///< mean KL(exact || policy); 0 for the exact model
  double top1 = 1;   ///< agreement of the argmax with the exact model
  double seconds = 0;
};

/// Scores one window at a time: the exact pass once, then policies in groups of lanes, each against the exact logits.
class WindowEvaluator {
public:
  static constexpr Index kLogitRows = 128; ///< positions scored at a time: vocab * 128 floats of logits, twice

  WindowEvaluator(const Model &model, State state, Protocol protocol = Protocol::Paper)
      : m_model(model), m_engine(model), m_state(state), m_protocol(protocol) {}

  /// Runs the exact model over the window and keeps its final hidden states; fills `trace` where given.
  WindowScore exact(std::span<const TokenId> tokens, ExactTrace *trace = nullptr, std::stop_token stop = {});
  const PositionScores &exactPositions() const { return m_exactPositions; }

  /// What one policy's pass gave; `cache` still holds the window (captures, ledger).
  struct Result {
    WindowScore score;
    PositionScores positions;
    std::unique_ptr<Cache> cache;
    std::int64_t saturated = 0; ///< values that did not fit FP16, of the whole group of lanes
    Index firstLayer = 0;       ///< layers before it were taken from another pass: `cache` lacks them
  };
  /// Runs the policies side by side over the same window. Layers that store FP16 KV in all of them, from the first one on,
  /// are computed once a window and taken from there, bit for bit (plans of one quantized layer cost a quarter less then),
  /// unless `visit` or a perturbation asks for all. `visit(method, layer, cache)`, where given, is called after each layer's
  /// advance: closed-loop captures.
  using Visit = std::function<void(std::size_t method, Index layer, const Cache &)>;
  struct Options {
    Visit visit;
    std::stop_token stop;
    float perturbation = 0; ///< see Lane
    std::uint64_t seed = 1;
  };
  std::vector<Result> run(std::span<const Method *const> methods, const Options &options);
  std::vector<Result> run(std::span<const Method *const> methods, const Visit &visit = {}, std::stop_token stop = {}) {
    return run(methods, Options{visit, std::move(stop), 0, 1});
  }

private:
  struct Scored {
    WindowScore score;
    PositionScores positions;
  };
  /// The rows of FP16 layers before layer `first`, of this window: computed as far as they are not there yet, by `method`,
  /// which stores those layers so.
  ConstView sharedResidual(const Method &method, Index first, std::stop_token stop);
  /// Scores of the last step's lanes against the exact model; lanes = 0: of the exact model itself.
  std::vector<Scored> scoreLanes(Index lanes, std::stop_token stop);

  const Model &m_model;
  Engine m_engine;
  State m_state;
  Protocol m_protocol;
  std::vector<TokenId> m_tokens;
  PositionScores m_exactPositions;
  Buffer m_exactHidden, m_exactLogits, m_logits;
  /// Of layers that store FP16 KV, in this window: the rows before layer i + 1, and how many values up to there did not fit.
  struct SharedLayer {
    Buffer residual;
    std::int64_t saturated = 0;
  };
  std::vector<SharedLayer> m_shared;
};

/// Channel statistics of the exact model over the windows of a calibration text. Throws Cancelled.
Activations measureActivations(const Model &model, std::span<const TokenId> tokens, Index window, std::stop_token stop = {});

/// Relative Frobenius errors of one layer; x is NaN where the method rebuilds no X.
struct LayerError {
  double k = 0, v = 0, x = 0;
};

/// Errors of what `cache` rebuilds of one layer against the exact tensors, over the trace's tokens.
LayerError layerError(const Cache &cache, Index layer, const ExactTrace &trace, const Model &model);

/// The open loop (method.md 4, findings.md 7): every layer of a fresh cache gets the exact model's rows of `trace`; a CL
/// accumulator runs over the layers on exact X. Errors of K (after RoPE) and V over the whole window, a value a layer.
/// `visit(layer, cache)`, where given, is called after each layer's advance, for captures.
std::vector<LayerError> openLoop(const Method &method, const ExactTrace &trace, State state,
                                 const std::function<void(Index, const Cache &)> &visit = {}, std::stop_token stop = {});

/// Weight-only prediction of K's outlier channels (method.md 8): truth is the channel of K (before RoPE) with the largest
/// mean |x| over the trace; predicted are the k largest |entries| of the first row of Bk^T. Percent of layers that hit, a
/// value each of `ks`; and in how many layers channel 0 of X Uk has the largest mean |x|.
struct OutlierPrediction {
  std::vector<double> hitRatePercent;
  Index layersWithLatentChannel0Largest = 0;
};
OutlierPrediction outlierPrediction(const Model &model, Calibration &calibration, const ExactTrace &trace,
                                    std::span<const int> ks);

/// Mean over tokens of the cosine between two layers' rows: L * L, row-major. Site::X (post-norm), Residual, K (before
/// RoPE), V.
std::vector<float> layerSimilarity(const ExactTrace &trace, const Model &model, Site site);

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "analysis/hardware.h"
#include "cache/layer_plan.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

/// What a step of decoding costs: from shapes and plans, no measurement. A step is one token of every sequence.
namespace xqs {

/// How attention with one query uses K and V that are images of stored rows X^ (AttendForm). Rebuilt: both are made.
/// AbsorbedV: out_h = (p_h X^) Wv_h, exact. AbsorbedKv: K too, (q_h Wk_h) X^^T, exact only without RoPE.
enum class RebuildForm : std::uint8_t { Rebuilt, AbsorbedV, AbsorbedKv };

/// What a step does with the cache of one layer of one sequence.
struct LayerCost {
  double cacheBytes = 0;       ///< read: codes, scales, FP16 channels and tokens (format bits, State::Stream)
  double accumulatorBytes = 0; ///< of a chain's running sum: read and written
  double rebuildFlops = 0;     ///< products with the maps that give K and V (and a chain's X) back
  double attentionFlops = 0;   ///< of queries with keys, and of weights with values
  double tileFlops = 0;        ///< the same, queries padded to whole tiles: what matrix instructions take
  double bytes() const { return cacheBytes + accumulatorBytes; }
  double flops() const { return rebuildFlops + attentionFlops; } ///< as a trace counts them
  double tensorFlops() const { return rebuildFlops + tileFlops; }
};

/// Of a layer whose cache holds `tokens` tokens. Multiply-add = 2 FLOPs; unpacking, RoPE and the softmax are not counted.
LayerCost layerCost(const LayerPlan &plan, const ModelShape &shape, Index tokens, RebuildForm form, Index tileRows = 16);

/// Seconds of one part on a roofline: the larger of what its bytes and what its FLOPs take, at reached rates.
double rooflineSeconds(const Hardware &hardware, double bytes, double flops);

/// Where a step's time goes on one machine. Bytes and FLOPs are counted, times are predicted; of all sequences together.
struct StepPrediction {
  double weightBytes = 0, weightFlops = 0; ///< model and maps, read once
  LayerCost cache;                         ///< all layers and sequences
  double seconds = 0;                      ///< part behind part: weights of a layer, then its cache
  double cacheSeconds = 0;                 ///< of that, caches
  /// If rebuilding were hidden perfectly under the loading of weights: K of the past tokens needs nothing of the step, so
  /// that the next layer's can be rebuilt while this layer's weights stream.
  double hiddenSeconds = 0;
  double hostSeconds = std::nan(""); ///< all caches in the host's memory, copied a layer ahead; NaN: the link is not known
  /// That the link takes for the part of the caches that is beyond the device's memory, in every step; 0: everything fits,
  /// or the memory's size is not known; NaN: the link is not known.
  double spillSeconds = 0;
  double memoryBytes = 0; ///< weights, maps and what caches allocate, in the device's memory
  double bytes() const { return weightBytes + cache.bytes(); }
  double flops() const { return weightFlops + cache.flops(); }
  /// Of a step whose caches lie on the device as far as they fit; what does not is copied under everything else.
  double stepSeconds() const { return withSpill(seconds); }
  double hiddenStepSeconds() const { return withSpill(hiddenSeconds); }
  /// Whether all of it is in the machine's memory; none where its size is not known.
  std::optional<bool> fits(const Hardware &hardware) const;

private:
  double withSpill(double time) const { return std::isnan(spillSeconds) ? spillSeconds : std::max(time, spillSeconds); }
};

/// The costs of one policy on one model: plans are made once, for many points.
class StepModel {
public:
  /// `weights`: type of the model's matrices. Throws Usage where the settings do not fit the shape.
  StepModel(const PolicySpec &policy, const ModelConfig &config, DType weights = DType::F16);
  /// Each of `batch` caches holds `context` tokens.
  StepPrediction predict(const Hardware &hardware, Index context, Index batch) const;
  /// What the engine takes: V absorbed, K too where there is no RoPE.
  RebuildForm form() const { return m_form; }
  const ModelConfig &config() const { return m_config; }
  const CacheLayout &layout() const { return m_layout; }

private:
  struct Part {
    double bytes = 0, flops = 0; ///< flops: a token
  };
  Part layerWeights(const LayerPlan &plan) const;
  Part otherWeights() const;

  ModelConfig m_config;
  DType m_weights;
  std::vector<LayerPlan> m_plans;
  CacheLayout m_layout;
  RebuildForm m_form;
};

/// The closed formulas of arXiv 2508.10395 sec. 3.4 for one layer, as printed: K and V rebuilt, e bits an element without
/// scales, weights of 12 d^2 (MHA) or 13 d^2 + 2 (d/g)^2 (GQA) elements. l tokens, P = ridge point.
struct PaperFormulas {
  double d = 0, g = 1; ///< hidden size, query heads a KV head
  explicit PaperFormulas(const ModelShape &shape);
  bool mha() const { return g == 1; }

  double kvReadBytes(double l, double e) const { return 2 * e / 8 * l * d / g; }                        ///< KV quantization
  double readBytes(double l, double e) const { return (mha() ? 1 : 2) * e / 8 * l * d / g; }            ///< XQuant
  double rebuildFlops(double l) const { return 4 * l * (d / g) * (d / g); }                             ///< XQuant
  double chainFlops(double l) const { return mha() ? rebuildFlops(l) + 2 * l * d : 8 * l * d / g * d; } ///< XQuant-CL
  double accumulatorBytes(double l, double eb) const { return 2 * eb / 8 * l * d; } ///< XQuant-CL, read and written
  double weightBytes() const { return mha() ? 24 * d * d : 26 * d * d + 4 * (d / g) * (d / g); }

  /// What the formula for GQA says of the bytes that are read: the paper's line has (e/8) l d/g, one of the two latents;
  /// both are read.
  enum class GqaLine : std::uint8_t { Printed, BothLatents };
  /// The longest context that can be rebuilt before FLOPs are the limit, where rebuilding overlaps with loading the weights:
  /// FLOPs(l) = P (bytes(l) + weights). Infinite where FLOPs never are. MHA has one formula, whatever the line.
  double longestContext(double e, double ridge, GqaLine line) const;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layer_group.h"

#include <memory>
#include <string>

namespace xqs {

/// How attention uses rows of which K and V are linear images. Rebuilt: K and V are made. Absorbed: the map goes to the
/// other side of the sum, out_h = (p_h X^) Wv_h (exact with RoPE) and, in a model without RoPE, q_h K^T = (q_h Wk_h) X^^T.
/// Auto: the cheaper one, where the backend may reorder sums; else rebuilt.
enum class AttendForm : std::uint8_t { Auto, Rebuilt, Absorbed };

/// Where a decoding step's K comes to be, where the backend can choose. Fused: inside attention, which reads the stored rows
/// (Backend::attendStored). Chunks: in memory, kAttendTokens tokens at a time. Ahead: K of the past tokens of a layer on the
/// rebuild queue, while the layer before computes; for layers whose K is an image of stored rows, else Fused.
enum class Rebuild : std::uint8_t { Fused, Chunks, Ahead };

/// The packed memory of one sequence under one method. Mutable, not thread-safe. Per step, per layer in order:
///   beginStep; for each layer { append, advance, rebuild or attend }; endStep.
class Cache {
public:
  /// `groups` cover the layers in order; groupOf[layer] is the group that has it.
  Cache(const Model &model, const CacheSize &size, std::vector<std::unique_ptr<LayerGroup>> groups,
        std::vector<std::size_t> groupOf);

  /// True where this layer stores K or V themselves: only then the engine computes them.
  bool needsKv(Index layer) const { return group(layer).needsKv(); }
  /// Tokens [firstToken, firstToken + count) come next; firstToken == tokens(), count <= maxStep.
  void beginStep(Index firstToken, Index count);
  /// What can be done for a layer before its rows are known: copies from the host's memory, K of the past tokens. Called
  /// once a layer and step, before its append, at best a layer early.
  void prefetch(Index layer);
  /// Stores the step's rows of one layer; packs what a query of this step already reads packed.
  void append(Index layer, const LayerInput &input);
  /// The only thing that moves a cross-layer accumulator: once a layer, after append.
  void advance(Index layer) { group(layer).advance(layer, step()); }
  /// K (after RoPE) or V of tokens `range` from packed bytes alone: out [range.size(), dkv] fp32. Version::Exact: tokens
  /// from exactBegin(layer, side) on. Const, idempotent.
  void rebuild(Index layer, Side side, Version version, TokenRange range, View out) const;
  /// First token that Version::Exact has in this step.
  Index exactBegin(Index layer, Side side) const { return group(layer).exactBegin(layer, side); }
  /// From which token on a query reads Version::Exact (never in State::All).
  ExactFrom exactFrom(Index layer, Side side) const { return group(layer).exactFrom(layer, side); }
  /// Attention of the step's queries q [n, H * dh] (after RoPE) over all tokens so far: out [n, H * dh]. Goes through the
  /// tokens in chunks of kAttendTokens, so that never more of K and V is rebuilt at a time.
  void attend(Index layer, ConstView q, View out) const;
  /// Closes complete groups; the step's tokens are in the cache.
  void endStep();

  /// The stored form of a captured site for the tokens `range`, where this method has one: out [range.size(), width].
  bool reconstruct(Index layer, Site site, TokenRange range, View out) const {
    return group(layer).reconstruct(layer, site, range, out);
  }
  CacheBytes bytes() const;

  /// Whether the cache can be cut to its first `tokens` tokens and be bit for bit what they alone would have left. Always to
  /// 0, and to any length where nothing is ever open (XQuant on X, low rank); where per-channel groups have closed, to whole
  /// groups or inside the open one; where a window of FP16 tokens has moved on, not at all.
  bool canTruncate(Index tokens) const;
  /// Forgets all tokens from `tokens` on; between steps. Throws Usage, naming the nearest lengths that are possible.
  void truncate(Index tokens);
  /// All memory that the tokens lie in, between steps, in an order that depends on policy and model alone; see PackedTensor.
  void visitState(const StateVisitor &visit) const;
  /// Gives an empty cache `tokens` tokens, whose state `fill` writes into the buffers that it is called with.
  void restore(Index tokens, const StateVisitor &fill);

  void setAttendForm(AttendForm form) { m_form = form; }
  void setRebuild(Rebuild rebuild) { m_rebuild = rebuild; }
  /// Tokens that Rebuild::Chunks and steps of several queries rebuild at a time; other cuts round otherwise.
  void setChunk(Index tokens) { m_chunk = tokens; }

  Index tokens() const { return m_tokens; } ///< tokens in closed steps
  Index stepFirst() const { return m_tokens; }
  Index stepEnd() const { return m_tokens + m_stepCount; }

  static constexpr Index kAttendTokens = 512;

private:
  const LayerGroup &group(Index layer) const { return *m_groups[m_groupOf[static_cast<std::size_t>(layer)]]; }
  LayerGroup &group(Index layer) { return *m_groups[m_groupOf[static_cast<std::size_t>(layer)]]; }
  TokenRange step() const { return {stepFirst(), stepEnd()}; }
  bool absorbs(Index layer, Side side, Index queries) const;
  AttentionSide side(Index layer, Side side, TokenRange chunk, bool absorbed, std::vector<Buffer> &scratch) const;
  bool attendStored(Index layer, ConstView q, View out, bool absorbK, bool absorbV) const;
  std::optional<StoredSide> storedSide(Index layer, Side side, bool absorbed) const;
  void rebuildAhead(Index layer);
  void endStage(Index layer);
  ConstView absorbedQueries(Index layer, ConstView q, Buffer &buffer) const;
  void unabsorb(Index layer, ConstView sums, View out) const;

  const Model &m_model;
  CacheSize m_size;
  std::vector<std::unique_ptr<LayerGroup>> m_groups;
  std::vector<std::size_t> m_groupOf;
  AttendForm m_form = AttendForm::Auto;
  Rebuild m_rebuild = Rebuild::Fused;
  Index m_chunk = kAttendTokens;
  Stage m_stage;
  struct Ahead {
    Index layer = -1; ///< whose past K lies in `k`; < 0: none
    Buffer k;         ///< FP16
    Event ready;
  };
  /// What was fetched for a layer lies in slot Stage::halfOf(layer) until the next but one takes it.
  struct Fetched {
    Index layer = -1;
    Event ready;
  };
  std::array<Fetched, Stage::kHalves> m_fetched;
  std::array<Ahead, Stage::kHalves> m_ahead;
  Index m_tokens = 0;
  Index m_stepCount = 0;
};

/// A policy prepared for one model: immutable, shared by its caches. Must not outlive the model.
class Method {
public:
  Method(const PolicySpec &spec, const Model &model, Calibration &calibration);
  const PolicySpec &spec() const { return m_spec; }
  const Model &model() const { return m_model; }
  const PreparedLayer &layer(Index i) const { return m_layers[static_cast<std::size_t>(i)]; }
  std::unique_ptr<Cache> makeCache(const CacheSize &size) const;

private:
  PolicySpec m_spec;
  const Model &m_model;
  std::vector<PreparedLayer> m_layers;
};

/// The exact model's cache: K (after RoPE) and V in FP32, nothing compressed, counted as activations.
std::unique_ptr<Cache> makeExactCache(const Model &model, const CacheSize &size);

/// Prepares a policy for a model: decompositions come from `calibration`, which keeps them on disk.
std::unique_ptr<Method> prepareMethod(const PolicySpec &spec, const Model &model, Calibration &calibration);

} // namespace xqs

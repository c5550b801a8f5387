// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/cache.h"
#include "model/model.h"

#include <functional>
#include <span>
#include <stop_token>
#include <vector>

namespace xqs {

/// The exact model's tensors of one step, every layer: what captures, similarity and the open loop read. FP32 on the
/// backend.
class ExactTrace {
public:
  ExactTrace(const Model &model, Index tokens);
  Index tokens() const { return m_tokens; }
  View residual(Index layer) const; ///< [n, d] before the attention norm
  View normed(Index layer) const;   ///< [n, d] post-norm X
  View k(Index layer) const;        ///< [n, dkv] before RoPE
  View kRope(Index layer) const;    ///< [n, dkv] after RoPE
  View v(Index layer) const;        ///< [n, dkv]
  LayerInput input(Index layer) const;

private:
  View part(Index layer, Index offset, Index width) const;

  const Model &m_model;
  Index m_tokens;
  std::vector<Buffer> m_layers; ///< one a layer: residual, normed, k, kRope, v behind each other
};

/// One sequence advancing under one cache. The exact model is a lane too: its cache keeps FP32 K, V (`makeExactCache`).
struct Lane {
  Cache *cache = nullptr;
  ExactTrace *trace = nullptr; ///< filled with the first tokens that this lane computes, where given
  /// Called after each layer's advance, where given: the only moment at which every method can rebuild that layer.
  std::function<void(Index layer, const Cache &)> visit;
  /// This lane's own tokens, as many as the step's; empty: the step's. Lanes need not hold equally many tokens.
  std::span<const TokenId> tokens;
  /// Embedded rows are multiplied by 1 + perturbation * u, u uniform in [-1, 1) from `seed`: what rounding of another order
  /// of summation would do, for the noise floor (findings: 1e-6).
  float perturbation = 0;
  std::uint64_t seed = 1;
  /// Of X of every layer in this step, where given ([layers], ranges as `Backend::summarize` takes them): valid after sync.
  std::vector<Summary> *statistics = nullptr;
};

/// The layers that a step goes through; a step of fewer than all begins with rows that an earlier step had, or ends before
/// the hidden states.
struct LayerRange {
  Index first = 0;
  Index last = -1;    ///< not included; < 0: the model's end
  ConstView residual; ///< [n, d] that every lane has before layer `first` > 0
  /// Called with lane 0's rows [n, d] before each layer after `first`, and behind the last one; may be empty.
  std::function<void(Index layer, ConstView residual)> reached;
};

/// The forward pass, once, for prefill and decode. All lanes advance through the layers together by equally many tokens:
/// their rows lie behind each other in one activation matrix, so one tile of weights serves all lanes. Not thread-safe.
class Engine {
public:
  explicit Engine(const Model &model) : m_model(model) {}

  /// Feeds `tokens` (or a lane's own) at positions cache->tokens().. to every lane and leaves the normed final hidden
  /// states. Checks `stop` once a layer; throws Cancelled (the lanes' caches are then in the middle of a step and must be
  /// dropped). Of the layers that `range` leaves out nothing is in the caches.
  void step(std::span<const Lane> lanes, std::span<const TokenId> tokens, std::stop_token stop = {},
            const LayerRange &range = {});

  /// After step: normed final hidden states of one lane [n, d], valid until the next step.
  View hidden(Index lane) const;
  /// logits[n, vocab] = hidden Wout^T for rows [begin, begin + out.rows) of `hidden`.
  void logits(ConstView hidden, View out) const;

private:
  void reserve(Index lanes, Index tokens);
  /// Rows of `lanes` lanes from `lane` on.
  View rows(const Buffer &buffer, Index lane, Index lanes, Index width) const;
  void attentionBlock(std::span<const Lane> lanes, Index layer);
  void embed(const Lane &lane, std::span<const TokenId> tokens, View out);
  void computeKv(Index lane, Index layer, Index first, LayerInput &input);
  void keep(const ExactTrace &trace, Index layer, const LayerInput &input);
  void feedForwardBlock(Index lanes, Index layer);

  const Model &m_model;
  Index m_lanes = 0, m_tokens = 0;
  Buffer m_residual, m_normed, m_q, m_k, m_kRope, m_v, m_attended, m_gate, m_up, m_hidden;
};

} // namespace xqs

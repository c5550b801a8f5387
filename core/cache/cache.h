// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layout.h"
#include "model/model.h"

#include <memory>
#include <string>

namespace xqs {

/// What a layer offers to be stored: rows of the tokens of this step.
struct LayerInput {
  ConstView residual; ///< [n, d] the residual stream before the attention norm
  ConstView normed;   ///< [n, d] post-norm X (method.md 1)
  ConstView k;        ///< [n, dkv] before RoPE; empty unless `Method::needsKv(layer)`
  ConstView kRope;    ///< [n, dkv] after RoPE; likewise
  ConstView v;        ///< [n, dkv]; likewise
};

enum class Side : std::uint8_t { K, V };

/// What can be captured and compared with its reconstruction.
enum class Site : std::uint8_t { X, Residual, Delta, LatentK, LatentV, K, V };
constexpr int kSites = 7;
const char *siteName(Site site); ///< "x", "residual", "delta", "latent_k", "latent_v", "k", "v"

/// The packed memory of one sequence under one method. Mutable, not thread-safe. Per step, per layer in order:
///   beginStep; for each layer { prefetch, append, advance, rebuild or attend }; endStep.
class Cache {
public:
  virtual ~Cache() = default;

  /// True where this layer stores K or V themselves: only then the engine computes them.
  virtual bool needsKv(Index layer) const = 0;
  /// Tokens [firstToken, firstToken + count) come next; firstToken == tokens().
  void beginStep(Index firstToken, Index count);
  /// Work on past tokens that may overlap with the layer before: host copies, rebuilding ahead. Optional.
  virtual void prefetch(Index /*layer*/) {}
  /// Stores the step's rows of one layer; packs what a query of this step already reads packed.
  virtual void append(Index layer, const LayerInput &input) = 0;
  /// The only thing that moves a cross-layer accumulator: once a layer, after append.
  virtual void advance(Index /*layer*/) {}
  /// K (after RoPE) or V of tokens `range` from packed bytes alone: out [range.size(), dkv] fp32. Version::Exact: tokens
  /// from exactBegin(layer, side) on. Const, idempotent.
  virtual void rebuild(Index layer, Side side, Version version, TokenRange range, View out) const = 0;
  /// First token that Version::Exact has in this step.
  virtual Index exactBegin(Index layer, Side side) const = 0;
  /// From which token on a query reads Version::Exact (never in State::All).
  virtual ExactFrom exactFrom(Index layer, Side side) const = 0;
  /// Attention of the step's queries q [n, H * dh] (after RoPE) over all tokens so far: out [n, H * dh]. Default: rebuild
  /// into scratch, then Backend::attention; overridden where K or V need not be rebuilt.
  virtual void attend(Index layer, ConstView q, View out) const;
  /// Closes complete groups; the step's tokens are in the cache.
  virtual void endStep() = 0;

  /// The stored form of a captured site for the tokens `range`, where this method has one: out [range.size(), width].
  virtual bool reconstruct(Index /*layer*/, Site /*site*/, TokenRange /*range*/, View /*out*/) const { return false; }
  virtual CacheBytes bytes() const = 0;

  Index tokens() const { return m_tokens; } ///< tokens in closed steps
  Index stepFirst() const { return m_tokens; }
  Index stepEnd() const { return m_tokens + m_stepCount; }

protected:
  explicit Cache(const Model &model, const CacheSize &size) : m_model(model), m_size(size) {}
  AttentionArgs attentionArgs(ConstView q, View out) const; ///< all but the two sides
  void finishStep() { m_tokens += m_stepCount, m_stepCount = 0; }

  const Model &m_model;
  CacheSize m_size;
  Index m_tokens = 0;
  Index m_stepCount = 0;
};

/// A policy prepared for one model: immutable, shared by its caches. Must not outlive the model.
class Method {
public:
  virtual ~Method() = default;
  const PolicySpec &spec() const { return m_spec; }
  const Model &model() const { return m_model; }
  const CacheLayout &layout() const { return m_layout; }
  virtual std::unique_ptr<Cache> makeCache(const CacheSize &size) const = 0;

protected:
  Method(const PolicySpec &spec, const Model &model)
      : m_spec(spec), m_model(model), m_layout(spec.method().layout(spec, model.shape())) {}

private:
  PolicySpec m_spec;
  const Model &m_model;
  CacheLayout m_layout;
};

/// The exact model's cache: K (after RoPE) and V in FP32, nothing compressed, counted as activations.
std::unique_ptr<Cache> makeExactCache(const Model &model, const CacheSize &size);

/// Prepares a policy for a model: decompositions come from `calibration`, which keeps them on disk.
std::unique_ptr<Method> prepareMethod(const PolicySpec &spec, const Model &model, Calibration &calibration);

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layer_maps.h"
#include "cache/packed_tensor.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace xqs {

/// What a layer offers to be stored: rows of the tokens of this step.
struct LayerInput {
  ConstView residual; ///< [n, d] the residual stream before the attention norm
  ConstView normed;   ///< [n, d] post-norm X (method.md 1)
  ConstView k;        ///< [n, dkv] before RoPE; empty unless `Cache::needsKv(layer)`
  ConstView kRope;    ///< [n, dkv] after RoPE; likewise
  ConstView v;        ///< [n, dkv]; likewise
};

/// Layers of a cache that are stored together: one by itself, or the run of a cross-layer chain. What a cache does with a
/// layer it asks of that layer's group; calls come in the order that `Cache` documents.
class LayerGroup {
public:
  explicit LayerGroup(const Model &model) : m_model(model), m_backend(model.backend()) {}
  virtual ~LayerGroup() = default;

  virtual bool needsKv() const = 0;
  virtual void append(Index layer, TokenRange step, const LayerInput &input) = 0;
  virtual void advance(Index /*layer*/, TokenRange /*step*/) {}
  virtual void endStep(Index tokens) = 0;
  virtual CacheBytes bytes(Index tokens) const = 0;

  // Between steps, see PackedTensor. What `visitState` shows is everything: sums of chains are made anew in every step.
  virtual void visitState(const StateVisitor &visit) const = 0;
  virtual bool canTruncate(Index tokens) const = 0;
  virtual void resize(Index tokens) = 0;

  /// Rows that K or V of a layer is `map` of, out [range.size(), rowWidth]; K before RoPE where ropeAfter.
  virtual void rows(Index layer, Side side, Version version, TokenRange range, View out) const = 0;
  virtual Index rowWidth(Index layer, Side side) const = 0;
  virtual const AffineMap &map(Index layer, Side side) const = 0;
  virtual bool ropeAfter(Index layer) const = 0;
  /// K or V itself, before RoPE where ropeAfter; default: rows through map.
  virtual void image(Index layer, Side side, Version version, TokenRange range, View out) const;

  /// The rows of K or V where they lie, all tokens of a step of one; without map, bias, rotation. Empty: they are made.
  virtual std::optional<StoredSide> stored(Index /*layer*/, Side /*side*/) const { return std::nullopt; }
  /// The tensors of a layer: what a cache in the host's memory copies to the device.
  virtual std::span<PackedTensor> tensors(Index /*layer*/) { return {}; }
  /// True where a layer's past rows need no other layer: they can be read before the layer's turn.
  virtual bool independent() const { return false; }

  virtual Index exactBegin(Index layer, Side side) const = 0;
  virtual ExactFrom exactFrom(Index layer, Side side) const = 0;
  virtual bool reconstruct(Index /*layer*/, Site /*site*/, TokenRange /*range*/, View /*out*/) const { return false; }

protected:
  /// FP32 scratch [rows, cols] that lives as long as `buffer`.
  View makeRows(Buffer &buffer, Index rows, Index cols) const {
    buffer = m_backend.allocate(rows * cols * sizeOf(DType::F32), Purpose::Scratch);
    return buffer.f32(rows, cols);
  }
  const Model &m_model;
  Backend &m_backend;
};

/// A group whose whole state is packed tensors.
class TensorGroup : public LayerGroup {
public:
  using LayerGroup::LayerGroup;
  CacheBytes bytes(Index tokens) const override {
    CacheBytes sum;
    for (const PackedTensor &t : m_tensors) sum += t.bytes(tokens);
    return sum;
  }
  void visitState(const StateVisitor &visit) const override {
    for (const PackedTensor &t : m_tensors) t.visitState(visit);
  }
  bool canTruncate(Index tokens) const override {
    return std::all_of(m_tensors.begin(), m_tensors.end(), [&](const PackedTensor &t) { return t.canTruncate(tokens); });
  }
  void resize(Index tokens) override {
    for (PackedTensor &t : m_tensors) t.resize(tokens);
  }

protected:
  std::vector<PackedTensor> m_tensors;
};

/// The exact model's K (after RoPE) and V in FP32, all layers; nothing compressed, counted as activations.
std::unique_ptr<LayerGroup> makeExactGroup(const Model &model, const CacheSize &size);
/// One layer that depends on no other.
std::unique_ptr<LayerGroup> makeStoredLayer(const Model &model, const PreparedLayer &layer, const CacheSize &size);
/// Layers [first, first + links.size()) of a chain; links[0] is its base.
std::unique_ptr<LayerGroup> makeChain(const Model &model, std::span<const PreparedLayer> links, Index first,
                                      const CacheSize &size);

} // namespace xqs

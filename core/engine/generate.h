// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/engine.h"
#include "engine/sampler.h"

#include <functional>
#include <memory>

namespace xqs {

/// Token-by-token generation from one prompt under several caches side by side, each a lane that grows by itself and goes
/// its own way from where its tokens differ. Every query reads what decoding reads (State::Stream).
class Generator {
public:
  struct Sequence {
    const Method *method = nullptr; ///< null: the exact model
    std::unique_ptr<Cache> cache;
    std::vector<TokenId> tokens; ///< after the prompt
    bool ended = false;          ///< its last token ends a text or a turn
    float perturbation = 0;      ///< see Lane
    double logProbability = 0;   ///< nats: what the model itself, before sampling, gave its last token
  };
  /// What a lane starts from.
  struct Start {
    const Method *method = nullptr;    ///< null: the exact model
    std::unique_ptr<Cache> cache = {}; ///< State::Stream, with tokens in it that the prompt comes after; null: an empty one
    float perturbation = 0;
    Placement placement = Placement::Device; ///< of the empty cache of a method
  };

  /// How much of the prompt all lanes have been fed.
  using Fed = std::function<void(Index tokens)>;
  /// Feeds the prompt to every lane, kPromptTokens at a time, and draws its first token. Throws Usage where the prompt is
  /// empty or longer than what is left of the model's context, Cancelled.
  Generator(const Model &model, std::vector<Start> lanes, std::span<const TokenId> prompt, const SamplerSettings &sampling,
            std::stop_token stop = {}, const Fed &fed = {});
  Generator(const Model &model, std::span<const Method *const> methods, std::span<const TokenId> prompt,
            const SamplerSettings &sampling, std::stop_token stop = {});

  /// One more token for every lane that has not ended; false where there is none left, or the context is full.
  bool step(std::stop_token stop = {});
  const std::vector<Sequence> &sequences() const { return m_sequences; }
  /// A lane that has told what it was for: it gets no more tokens.
  void end(std::size_t lane) { m_sequences[lane].ended = true; }

  static constexpr Index kPromptTokens = 256;

private:
  static Lane laneOf(const Sequence &sequence);
  void draw(std::span<const std::size_t> lanes, Index row);

  const Model &m_model;
  Engine m_engine;
  std::vector<Sequence> m_sequences;
  std::vector<Sampler> m_samplers; ///< one a lane, the same seed: equal logits give equal tokens
  Buffer m_logits;
};

/// Perturbation of the copy of the exact model that shows the noise floor: what another order of summation would do.
constexpr float kNoisePerturbation = 1e-6f;

/// First place at which two token lists differ; the shorter one's length where it is the beginning of the other.
Index firstDivergence(std::span<const TokenId> a, std::span<const TokenId> b);

} // namespace xqs

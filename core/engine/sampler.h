// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/random.h"
#include "model/tokenizer.h"

#include "tensor.h"

#include <span>
#include <vector>

namespace xqs {

/// How the next token is chosen. Filters work in the order of Hugging Face's generate(): temperature, then top-k, then top-p
/// on what top-k left, its probabilities adding up to 1.
struct SamplerSettings {
  double temperature = 0; ///< 0: greedy, the filters and the seed are not used; else logits are divided by it
  Index topK = 0;         ///< only the k most probable tokens; 0: off
  double topP = 1;        ///< only the fewest most probable tokens that have this probability together; 1: off
  std::uint64_t seed = 1;

  /// Throws Usage naming the setting, its value and the range.
  void validate() const;
};

/// Draws tokens. The ids follow from settings and logits on every machine: own generator, own exponential, FP64 sums in a
/// fixed order. Among equal logits the lowest id comes first: for greedy, at the limits of top-k and top-p, and in the sum.
class Sampler {
public:
  /// Throws what `validate` throws.
  explicit Sampler(const SamplerSettings &settings);

  const SamplerSettings &settings() const { return m_settings; }
  /// logits: [vocab] fp32, in, at least one. Throws Unsupported where one is NaN or infinite.
  TokenId next(std::span<const float> logits);

private:
  std::size_t filter(std::span<const float> logits);
  double weight(std::size_t place) const { return m_weights[static_cast<std::size_t>(m_ids[place])]; }

  SamplerSettings m_settings;
  Random m_random;
  std::vector<TokenId> m_ids;    ///< candidates, in the order of the sum
  std::vector<double> m_weights; ///< by id: exp((logit - largest) / temperature)
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model_reader.h"

namespace xqs {

/// A seeded random model of the Llama shape, for tests, lessons and shapes no file is at hand for. A location is
/// "synthetic:" with comma-separated settings, all optional, as in "synthetic:layers=4,d=64,heads=4,kv_heads=2,residual=1".
/// Each weight follows from (seed, kind, layer, element) by integer arithmetic of our own: equal on every platform.
/// Matrices are near-normal with deviations that keep activations near 1 and give logits a deviation of about 2.5; a few
/// channels of the norm weights are 6 to 12 times the others, as in trained models (arXiv 2508.10395 quantizes against
/// them).
class SyntheticReader final : public ModelReader {
public:
  /// Throws Usage naming the setting and listing the valid ones.
  explicit SyntheticReader(const std::string &location);

  const ModelConfig &config() const override { return m_config; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return m_tokenizer; }
  const std::string &hash() const override { return m_hash; } ///< SHA-256 of all settings, defaults written out
  void read(Weight weight, Index layer, std::span<float> out) const override;

  static bool matches(const std::string &location) { return location.starts_with("synthetic:") || location == "synthetic"; }

private:
  ModelConfig m_config;
  std::uint64_t m_seed = 0;
  std::shared_ptr<const Tokenizer> m_tokenizer;
  std::string m_hash;
};

} // namespace xqs

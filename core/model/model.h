// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model_reader.h"

#include "backend.h"

#include <functional>
#include <stop_token>

namespace xqs {

/// Weights of one layer on a backend, each [outputs, inputs]: matrices in the backend's weightType(), vectors FP32.
struct LayerWeights {
  ConstView attentionNorm; ///< [1, d]
  ConstView wq;            ///< [H * dh, d]
  ConstView wk;            ///< [dkv, d]
  ConstView wv;            ///< [dkv, d]
  ConstView wo;            ///< [d, H * dh]
  ConstView ffnNorm;       ///< [1, d]
  ConstView wGate;         ///< [ffn, d]
  ConstView wUp;           ///< [ffn, d]
  ConstView wDown;         ///< [d, ffn]
};

/// Config, weights on a backend, tokenizer. Immutable after loading; must not outlive its backend.
class Model {
public:
  using Progress = std::function<void(double fraction)>;
  /// Reads and dequantizes all weights. Throws Cancelled, OutOfMemory and what `openModel` throws.
  static std::unique_ptr<Model> load(const ModelReader &reader, Backend &backend, const Progress &progress = {},
                                     std::stop_token stop = {});

  const ModelConfig &config() const { return m_config; }
  const ModelShape &shape() const { return m_config.shape; }
  const std::string &hash() const { return m_hash; }
  const Tokenizer &tokenizer() const { return *m_tokenizer; }
  Backend &backend() const { return *m_backend; }
  const LayerWeights &layer(Index i) const { return m_layers[static_cast<std::size_t>(i)]; }
  ConstView tokenEmbedding() const { return m_tokenEmbedding; } ///< [vocab, d]
  ConstView outputNorm() const { return m_outputNorm; }         ///< [1, d]
  ConstView output() const { return m_output; }                 ///< [vocab, d]; the embedding where tied
  Index parameters() const { return m_parameters; }
  /// RoPE of x [n, heads * dh] at positions first.., in place; nothing in a model without positions.
  void rope(Queue queue, View x, Index heads, Index first) const {
    if (!m_config.ropeFrequency.empty()) m_backend->rope(queue, x, heads, first, m_config.ropeFrequency);
  }

private:
  Model() = default;
  ModelConfig m_config;
  std::string m_hash;
  std::shared_ptr<const Tokenizer> m_tokenizer;
  Backend *m_backend = nullptr;
  std::vector<Buffer> m_buffers;
  std::vector<LayerWeights> m_layers;
  ConstView m_tokenEmbedding, m_outputNorm, m_output;
  Index m_parameters = 0;
};

} // namespace xqs

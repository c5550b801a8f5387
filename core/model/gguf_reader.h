// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gguf_file.h"
#include "model_reader.h"
#include "weights.h"

#include <array>
#include <mutex>

namespace xqs {

/// A Llama-family model ("llama" architecture) out of a GGUF file. What would change the computation and is not implemented
/// (biases, experts, sliding windows, partial rotary embeddings, unknown settings) is refused by name, never ignored.
/// Wq and Wk stay as the file has them: rows permuted inside each head for RoPE on adjacent pairs.
class GgufReader final : public ModelReader {
public:
  /// Throws what `GgufFile` and `openGgufTokenizer` throw, BadFile for missing keys and wrong shapes, Unsupported.
  explicit GgufReader(const std::string &path);

  const ModelConfig &config() const override { return m_config; }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return m_tokenizer; }
  const std::string &hash() const override;
  /// Throws Unreadable where the file shrank, BadFile naming the tensor where a rebuilt value is not finite. Safe to call
  /// from several threads.
  void read(Weight weight, Index layer, std::span<float> out) const override;

private:
  using LayerTensors = std::array<const GgufTensor *, kWeightKinds>;
  void refuseForeignSettings() const;
  void readShape();
  void readRope();
  void bindTensors();
  const GgufTensor *bind(Weight weight, const std::string &name);
  void summarizeTypes();
  Index required(const char *key, Index most) const;
  Index optional(const char *key, Index otherwise, Index most) const;

  GgufFile m_file;
  ModelConfig m_config;
  std::shared_ptr<const Tokenizer> m_tokenizer;
  LayerTensors m_global{};
  std::vector<LayerTensors> m_layers;
  mutable std::once_flag m_hashOnce;
  mutable std::string m_hash;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tokenizer.h"

#include "error.h"
#include "tensor.h"

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace xqs {

/// What a method's cost depends on.
struct ModelShape {
  Index layers = 0;
  Index d = 0;       ///< hidden size
  Index heads = 0;   ///< H
  Index kvHeads = 0; ///< Hkv
  Index dh = 0;      ///< head size
  Index dkv() const { return kvHeads * dh; }
  bool mha() const { return heads == kvHeads; }
};

/// Everything about a Llama-family model but its numbers.
struct ModelConfig {
  std::string architecture; ///< "llama"
  std::string name;         ///< the file's own name for the model
  std::string weightTypes;  ///< for people, e.g. "Q4_1 (210), F32 (61)"
  ModelShape shape;
  Index ffn = 0;
  Index vocab = 0;
  Index contextLength = 0; ///< trained for; longer windows are refused
  float rmsEps = 1e-5f;
  double ropeBase = 10000;
  std::vector<double> ropeFrequency; ///< dh / 2 angular frequencies, scaling applied: base^(-2j/dh) / factor_j;
                                     ///< empty: no RoPE
  bool tiedOutput = false;
  std::string chatTemplate;   ///< Jinja, as the file has it (see chat_template.h); empty: none
  float residualStrength = 1; ///< synthetic models only: x + strength * f(x) becomes strength * x + f(x)
  bool layersAlike = false;   ///< built-in shapes only: every layer has the first one's numbers
};

enum class Weight : std::uint8_t {
  TokenEmbedding, ///< [vocab, d]
  OutputNorm,     ///< [1, d]
  Output,         ///< [vocab, d]; not read where tied
  AttentionNorm,  ///< [1, d], as the others below one a layer
  Wq,             ///< [H * dh, d]
  Wk,             ///< [dkv, d]
  Wv,             ///< [dkv, d]
  Wo,             ///< [d, H * dh]
  FfnNorm,        ///< [1, d]
  WGate,          ///< [ffn, d]
  WUp,            ///< [ffn, d]
  WDown,          ///< [d, ffn]
};

/// A source of weights: one class a file format, listed in `modelFormats()` (formats.cpp). Opening validates everything that
/// the config and the tokenizer need and every tensor's extent; a file that opens can be read without further surprises.
class ModelReader {
public:
  virtual ~ModelReader() = default;
  virtual const ModelConfig &config() const = 0;
  virtual std::shared_ptr<const Tokenizer> tokenizer() const = 0;
  /// Hex SHA-256 of what defines the model (the file's bytes; the synthetic model's parameters). Computed once.
  virtual const std::string &hash() const = 0;
  /// Dequantizes one weight to row-major FP32 [rows, cols] (rows = outputs). `layer` < 0 for the model-wide ones.
  virtual void read(Weight weight, Index layer, std::span<float> out) const = 0;
};

struct ModelFormat {
  const char *name;        ///< "gguf"
  const char *description; ///< for `info`
  bool (*matches)(const std::string &location);
  std::unique_ptr<ModelReader> (*open)(const std::string &location);
};

/// One line a format, asked in order; the last takes everything.
std::span<const ModelFormat> modelFormats();
/// Opens a GGUF file, a "synthetic:..." or a "shape:..." description. Throws NotFound, Unreadable, BadFile, Unsupported with
/// file, tensor or key, byte offset and remedy.
std::unique_ptr<ModelReader> openModel(const std::string &location);

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace xqs {

using TokenId = std::int32_t;

/// Text to token ids and back. Immutable and safe to share between threads.
class Tokenizer {
public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0; ///< "gpt2", "smollm", "llama-bpe", "qwen2", "spm", "bytes"
  virtual TokenId vocabSize() const = 0;
  /// Ids of a whole text, a BOS first only where the vocabulary asks for one (baselines.md 11). Special tokens inside the
  /// text are text. Any bytes are accepted; invalid UTF-8 is encoded byte by byte.
  virtual std::vector<TokenId> encode(std::string_view text) const = 0;
  virtual std::string decode(TokenId id) const = 0; ///< the token's bytes
};

} // namespace xqs

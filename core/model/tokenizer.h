// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "special_tokens.h"

#include <string>
#include <string_view>
#include <vector>

namespace xqs {

/// Text to token ids and back. Immutable and safe to share between threads.
class Tokenizer {
public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0; ///< "gpt2", "smollm", "llama-bpe", "qwen2", "spm", "bytes"
  virtual TokenId vocabSize() const = 0;
  /// Ids of a whole text, a BOS first only where the vocabulary asks for one (baselines.md 11). Special tokens inside the
  /// text are text. Any bytes are accepted; invalid UTF-8 is encoded byte by byte.
  std::vector<TokenId> encode(std::string_view text) const;
  /// Ids of a text in which control and user-defined tokens are spelled, such as a rendered chat: each becomes its id (at
  /// one place the longest), what lies between is encoded as `encode` does. A BOS only where the text spells one.
  std::vector<TokenId> encodeWithSpecials(std::string_view text) const;
  virtual std::string decode(TokenId id) const = 0; ///< the token's bytes; a special token's spelling
  /// Whether `encode` puts a space before a text, which is no part of the text when it is decoded.
  virtual bool addsSpacePrefix() const { return false; }
  const SpecialTokens &specials() const { return m_specials; }

protected:
  explicit Tokenizer(SpecialTokens specials) : m_specials(std::move(specials)) {}
  /// Appends the ids of a text without special tokens. `afterSpecial`: a special token lies before it.
  virtual void encodeText(std::string_view text, bool afterSpecial, std::vector<TokenId> &ids) const = 0;

private:
  SpecialTokens m_specials;
};

} // namespace xqs

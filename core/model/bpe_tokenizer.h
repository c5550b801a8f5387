// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pre_tokenizer.h"
#include "tokenizer.h"
#include "vocabulary.h"

#include <array>
#include <string_view>
#include <unordered_map>

namespace xqs {

/// Byte-level byte-pair encoding as GPT-2 introduced it: a pre-tokenizer cuts text into words; the bytes of a word are
/// symbols; the adjacent pair of the lowest rank is merged (the leftmost among equals) until no pair is in the list.
/// In the vocabulary each byte is spelled as one visible character (GPT-2's bytes_to_unicode).
class BpeTokenizer final : public Tokenizer {
public:
  /// merges: "left right" in order of rank, spelled as the tokens are. Throws BadFile (without the file's name) where a
  /// merge names an unknown token or a byte can be encoded neither by a token nor by the unknown token.
  BpeTokenizer(const PreTokenizerSpec &spec, Vocabulary vocabulary, const std::vector<std::string_view> &merges);

  std::string name() const override { return m_preTokenizer.spec().name; }
  TokenId vocabSize() const override { return static_cast<TokenId>(m_bytes.size()); }
  std::string decode(TokenId id) const override;

private:
  struct Merge {
    std::int32_t rank;
    TokenId result;
  };
  void encodeText(std::string_view text, bool afterSpecial, std::vector<TokenId> &ids) const override;
  void addMerges(const std::vector<std::string_view> &merges);
  const Merge *merge(TokenId left, TokenId right) const;
  void encodeWord(std::string_view word, std::vector<TokenId> &out) const;

  PreTokenizer m_preTokenizer;
  std::vector<std::string> m_bytes;                      ///< by id: the bytes that a token stands for
  std::unordered_map<std::string_view, TokenId> m_words; ///< normal tokens by their bytes (views of m_bytes)
  std::unordered_map<std::uint64_t, Merge> m_merges;     ///< by left id and right id
  std::array<TokenId, 256> m_byteToken{};                ///< -1 where a byte has no token
  std::optional<TokenId> m_unknown;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tokenizer.h"
#include "vocabulary.h"

#include <array>
#include <string_view>
#include <unordered_map>

namespace xqs {

/// SentencePiece's BPE as Llama 1 and 2 use it (arXiv 1808.06226): spaces become U+2581; the characters of the whole text
/// are symbols; the adjacent pair whose concatenation is the token of the highest score is merged (the leftmost among
/// equals) until no concatenation is a token. A character that is no token becomes its bytes' tokens <0x00>..<0xFF>, else
/// the unknown token (one a run of such characters). No other normalization: Llama's is the identity.
class SpmTokenizer final : public Tokenizer {
public:
  /// addSpacePrefix: a space is put before a text that is not empty. Of a text with special tokens, also before what follows
  /// one and begins with no white space: Llama 2 was trained on turns that were encoded one by one, and where a template
  /// spells the space (Mistral's) there is one, not two. Throws BadFile (without the file's name) where neither
  /// byte tokens nor an unknown token exist.
  SpmTokenizer(Vocabulary vocabulary, bool addSpacePrefix);

  std::string name() const override { return "spm"; }
  TokenId vocabSize() const override { return static_cast<TokenId>(m_bytes.size()); }
  std::string decode(TokenId id) const override;
  bool addsSpacePrefix() const override { return m_addSpacePrefix; }

private:
  void encodeText(std::string_view text, bool afterSpecial, std::vector<TokenId> &ids) const override;
  void mergeInto(const std::string &escaped, std::vector<TokenId> &ids) const;

  std::vector<std::string> m_pieces;                      ///< by id, as the file spells them
  std::vector<std::string> m_bytes;                       ///< by id: what `decode` gives
  std::vector<float> m_scores;                            ///< by id
  std::unordered_map<std::string_view, TokenId> m_normal; ///< normal tokens by spelling (views of m_pieces)
  std::array<TokenId, 256> m_byteToken{};                 ///< -1 where there is none
  std::optional<TokenId> m_unknown;
  bool m_addSpacePrefix;
};

} // namespace xqs

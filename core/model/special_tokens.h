// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vocabulary.h"

#include <array>
#include <string_view>

namespace xqs {

/// What a vocabulary reserves beside the tokens that text is made of. An empty one: all tokens are Normal.
class SpecialTokens {
public:
  SpecialTokens() = default;
  explicit SpecialTokens(const Vocabulary &vocabulary);

  TokenType type(TokenId id) const;
  std::optional<TokenId> bos() const { return m_bos; } ///< whether `encode` adds it or not
  bool addsBos() const { return m_addsBos; }
  std::optional<TokenId> eos() const { return m_eos; }
  /// Ids after which nothing more is generated, ascending: EOS and EOT as the file names them, and the control tokens with
  /// the usual spellings of either (such as <|im_end|>, which many files do not name).
  const std::vector<TokenId> &endTokens() const { return m_end; }
  bool ends(TokenId id) const;

  struct Match {
    std::size_t begin, bytes; ///< bytes 0: none was found
    TokenId id;
  };
  /// The first control or user-defined token spelled in `text` at byte `from` or later; of several at one place the longest.
  Match find(std::string_view text, std::size_t from) const;

private:
  struct Spelling {
    std::string text;
    TokenId id;
  };
  std::vector<TokenType> m_types;
  std::optional<TokenId> m_bos, m_eos;
  bool m_addsBos = false;
  std::vector<TokenId> m_end;
  std::array<std::vector<Spelling>, 256> m_spellings; ///< by first byte, longest first
};

} // namespace xqs

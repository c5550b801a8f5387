// SPDX-License-Identifier: Apache-2.0
#include "tokenizer.h"

namespace xqs {

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  std::vector<TokenId> ids;
  if (m_specials.addsBos()) ids.push_back(*m_specials.bos());
  encodeText(text, false, ids);
  return ids;
}

std::vector<TokenId> Tokenizer::encodeWithSpecials(std::string_view text) const {
  std::vector<TokenId> ids;
  std::size_t at = 0;
  for (;;) {
    const SpecialTokens::Match special = m_specials.find(text, at);
    if (special.begin > at) encodeText(text.substr(at, special.begin - at), at > 0, ids);
    if (special.bytes == 0) return ids;
    ids.push_back(special.id);
    at = special.begin + special.bytes;
  }
}

} // namespace xqs

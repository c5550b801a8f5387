// SPDX-License-Identifier: Apache-2.0
#include "text_stream.h"

#include "utf8.h"

namespace xqs {

TextStream::TextStream(const Tokenizer &tokenizer, bool startsText)
    : m_tokenizer(tokenizer), m_startsText(startsText), m_dropSpace(startsText && tokenizer.addsSpacePrefix()) {}

std::string TextStream::push(TokenId id) {
  if (m_tokenizer.specials().type(id) == TokenType::Control) {
    std::string rest = take(true);
    m_dropSpace = m_tokenizer.addsSpacePrefix(); // what follows a special token was encoded as a text of its own
    return rest;
  }
  const std::string bytes = m_tokenizer.decode(id);
  const bool drop = m_dropSpace && bytes.starts_with(' ');
  if (!bytes.empty()) m_dropSpace = false;
  m_bytes.append(bytes, drop ? 1 : 0);
  return take(false);
}

std::string TextStream::finish() {
  std::string rest = take(true);
  m_dropSpace = m_startsText && m_tokenizer.addsSpacePrefix();
  return rest;
}

/// The waiting bytes as characters; a start of a character at their end stays unless `all`.
std::string TextStream::take(bool all) {
  std::string text;
  std::string_view bytes = m_bytes;
  while (!bytes.empty()) {
    const Utf8Start start = utf8Start(bytes);
    const bool complete = start.length > 0 && start.bytes == start.length;
    if (!complete && start.length > 0 && start.bytes == bytes.size() && !all) break;
    text += complete ? bytes.substr(0, start.bytes) : "\xef\xbf\xbd";
    bytes.remove_prefix(std::max<std::size_t>(1, start.bytes));
  }
  m_bytes.erase(0, m_bytes.size() - bytes.size());
  return text;
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "utf8.h"

namespace xqs {

Utf8Start utf8Start(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return {0, 0};
  const unsigned char lead = at(0);
  if (lead < 0x80) return {1, 1};
  if (lead < 0xc2 || lead > 0xf4) return {0, 0};
  const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (text.size() < 2 || at(1) < low || at(1) > high) return {1, length};
  std::size_t bytes = 2;
  while (bytes < length && bytes < text.size() && (at(bytes) & 0xc0) == 0x80) ++bytes;
  return {bytes, length};
}

std::size_t utf8Length(std::string_view text) {
  const Utf8Start start = utf8Start(text);
  return start.bytes == start.length ? start.length : 0;
}

std::string printable(std::string_view text, std::size_t maxBytes) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8Length(text);
    const bool control = length == 1 && (text[0] < 0x20 || text[0] == 0x7f);
    const std::string_view next = length == 0 || control ? std::string_view("?") : text.substr(0, length);
    if (out.size() + next.size() > maxBytes) return out + "...";
    out += next;
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

} // namespace xqs

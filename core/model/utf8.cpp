// SPDX-License-Identifier: Apache-2.0
#include "utf8.h"

#include "error.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

namespace xqs {
namespace {

/// valid: UTF-8.
void appendNfc(std::string &out, std::string_view valid) {
  if (std::ranges::all_of(valid, [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    out += valid;
    return;
  }
  utf8proc_uint8_t *bytes = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(valid.data()), static_cast<utf8proc_ssize_t>(valid.size()),
                   &bytes, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void *)> owned(bytes, std::free);
  if (size == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  XQS_ASSERT(size >= 0); // it refuses nothing else in valid UTF-8
  out.append(reinterpret_cast<const char *>(bytes), static_cast<std::size_t>(size));
}

} // namespace

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

// Line by line: a line feed composes with nothing, and working memory stays small.
std::string nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t begin = 0, at = 0;
  const auto flush = [&] { appendNfc(out, text.substr(begin, at - begin)); };
  while (at < text.size()) {
    const std::size_t length = utf8Length(text.substr(at));
    if (length == 0) {
      flush();
      out += text[at];
      begin = ++at;
    } else if ((at += length), text[at - 1] == '\n') {
      flush();
      begin = at;
    }
  }
  flush();
  return out;
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

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace xqs {

/// How much of a well-formed character (Unicode 14, table 3-7) a text starts with: `bytes` of the `length` that its first
/// byte announces; both 0 where no character starts so. Complete where the two are equal.
struct Utf8Start {
  std::size_t bytes, length;
};
Utf8Start utf8Start(std::string_view text);

/// Bytes of the well-formed UTF-8 character that `text` starts with (Unicode 14, table 3-7: no surrogates, no overlong
/// forms), 0 where there is none.
std::size_t utf8Length(std::string_view text);

/// The text in Unicode normalization form C (Unicode Standard Annex 15). Bytes that are not UTF-8 stay as they are; the text
/// before and after one is normalized as if it stood alone.
std::string nfc(std::string_view text);

/// Text of a foreign file made fit for a message or a JSON string: control characters and bytes that are not UTF-8 become
/// '?'; more than `maxBytes` bytes are cut to "...".
std::string printable(std::string_view text, std::size_t maxBytes = 80);

} // namespace xqs

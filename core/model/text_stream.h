// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tokenizer.h"

namespace xqs {

/// Turns tokens into text while they come. A token may end inside a character: its bytes wait for the rest. Bytes that
/// belong to no character become U+FFFD, one for each longest start of a character (Unicode 14, section 3.9). Control tokens
/// are no text; user-defined ones are.
class TextStream {
public:
  /// startsText: the tokens are a text from its beginning, so the space that the tokenizer put before it is dropped; else
  /// they go on after a prompt. The tokenizer must outlive the stream.
  TextStream(const Tokenizer &tokenizer, bool startsText);

  /// The characters that this token completes, valid UTF-8; often empty, sometimes several.
  std::string push(TokenId id);
  /// What was still waiting for its rest; the stream is as new after it.
  std::string finish();

private:
  std::string take(bool all);

  const Tokenizer &m_tokenizer;
  bool m_startsText;
  bool m_dropSpace; ///< the next byte may be the prefix
  std::string m_bytes;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/bpe_tokenizer.h"
#include "model/spm_tokenizer.h"
#include "support/model_files.h"

#include <string>
#include <utility>
#include <vector>

namespace xqs::test {

using ExtraToken = std::pair<const char *, TokenType>;

inline void append(Vocabulary &v, const std::vector<ExtraToken> &tokens) {
  for (const auto &[text, type] : tokens) {
    v.tokens.emplace_back(text);
    v.types.push_back(type);
  }
}

/// The 256 bytes as ids 0..255, then the given tokens from 256 on.
inline Vocabulary byteLevel(const std::vector<ExtraToken> &more) {
  Vocabulary v;
  for (int byte = 0; byte < 256; ++byte) v.tokens.push_back(spelledByte(byte));
  v.types.assign(256, TokenType::Normal);
  append(v, more);
  return v;
}
inline BpeTokenizer bpe(const Vocabulary &v) { return BpeTokenizer(*findPreTokenizer("gpt-2"), v, {}); }

/// As Llama 2 has them: <unk> 0, <s> 1, </s> 2, the bytes (id 3 + byte), then the given tokens from 259 on.
inline Vocabulary llama2(const std::vector<ExtraToken> &more) {
  Vocabulary v;
  append(v, {{"<unk>", TokenType::Unknown}, {"<s>", TokenType::Control}, {"</s>", TokenType::Control}});
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", static_cast<unsigned>(byte));
    append(v, {{text, TokenType::Byte}});
  }
  append(v, more);
  v.scores.assign(v.tokens.size(), 0);
  v.unknown = 0, v.bos = 1, v.eos = 2;
  return v;
}

} // namespace xqs::test

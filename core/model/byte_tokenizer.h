// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tokenizer.h"

namespace xqs {

/// One token a byte: id = byte % vocab. For synthetic models, without special tokens; decoding gives the byte back where the
/// vocabulary has 256 tokens.
class ByteTokenizer final : public Tokenizer {
public:
  explicit ByteTokenizer(TokenId vocab) : Tokenizer({}), m_vocab(vocab) {}

  std::string name() const override { return "bytes"; }
  TokenId vocabSize() const override { return m_vocab; }
  std::string decode(TokenId id) const override { return std::string(1, static_cast<char>(id & 0xff)); }

private:
  void encodeText(std::string_view text, bool, std::vector<TokenId> &ids) const override {
    ids.reserve(ids.size() + text.size());
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c) % m_vocab);
  }

  TokenId m_vocab;
};

} // namespace xqs

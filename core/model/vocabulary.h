// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace xqs {

using TokenId = std::int32_t;

/// What a token is, as numbered in GGUF's `tokenizer.ggml.token_type`. Only Normal tokens come out of text; Byte tokens
/// stand for bytes that no Normal token holds.
enum class TokenType : std::uint8_t { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

/// A vocabulary as a model file lists it; the index is the id.
struct Vocabulary {
  std::vector<std::string> tokens; ///< as the file spells them: byte-encoded (BPE), with U+2581 for spaces (SentencePiece)
  std::vector<TokenType> types;    ///< same length
  std::vector<float> scores;       ///< same length; SentencePiece only: higher merges first
  std::optional<TokenId> unknown;  ///< stands for what cannot be encoded
  std::optional<TokenId> bos;      ///< begins a text
  bool addBos = true;              ///< whether `encode` puts it first
  std::optional<TokenId> eos{};    ///< ends a text
  std::optional<TokenId> eot{};    ///< ends a turn of a chat
};

} // namespace xqs

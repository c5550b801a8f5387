// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tokenizer.h"

#include <span>

namespace xqs {

enum class Role : std::uint8_t { System, User, Assistant };

struct ChatMessage {
  Role role;
  std::string content;
};

/// Where a family puts the system message.
enum class SystemPlace : std::uint8_t {
  Own,       ///< in a block of its own, first
  FirstUser, ///< at the beginning of the first user message
  LastUser,  ///< at the beginning of the last message, which must be the user's; nowhere else is it read
  None,      ///< the template refuses one
};

/// A way in which instruction-tuned models spell a chat: one line of the table in chat_template.cpp. A file's Jinja template
/// is recognized by what is in its text, never executed. The texts are fmt patterns: {text} is the message's content,
/// {trimmed} the same without white space at both ends, {bos} and {eos} are the spellings of the model's tokens.
struct ChatFamily {
  const char *name;          ///< "chatml", "llama-3", ...
  const char *marks[3];      ///< recognized where each of these is in the template and ...
  const char *foreign;       ///< ... this is not; nullptr: no condition
  const char *defaultSystem; ///< used where the chat has no system message, where not empty, it has to be in the template;
                             ///< nullptr: none
  SystemPlace place;
  const char *begin; ///< before everything
  const char *system, *user, *assistant;
  const char *generation; ///< asks for the assistant's next message
};

std::span<const ChatFamily> chatFamilies();
/// The first family whose marks are in a file's template. Throws Unsupported where the template is missing or not known; the
/// message says what to do instead.
const ChatFamily &recognizeChat(std::string_view jinja);

/// The chat as a text for `Tokenizer::encodeWithSpecials`: a BOS is spelled where the template has one. Special tokens
/// spelled inside a message's content become special tokens too, as everywhere. Throws Usage unless there is an optional
/// system message and then user and assistant in turns, beginning with the user.
std::string renderChat(const ChatFamily &family, const Tokenizer &tokenizer, std::span<const ChatMessage> messages,
                       bool addGenerationPrompt = true);

/// What comes after the text of an assistant's reply: what closes it, the user's next message and what asks for the next
/// reply. A system message stands before all of this.
std::string renderNextTurn(const ChatFamily &family, const Tokenizer &tokenizer, std::string_view message);

} // namespace xqs

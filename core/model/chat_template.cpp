// SPDX-License-Identifier: Apache-2.0
// Sources: `chat_template` in the tokenizer_config.json of the models named in the table.
#include "chat_template.h"

#include "error.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace xqs {
namespace {

constexpr const char *kImSystem = "<|im_start|>system\n{text}<|im_end|>\n";
constexpr const char *kImUser = "<|im_start|>user\n{text}<|im_end|>\n";
constexpr const char *kImAssistant = "<|im_start|>assistant\n{text}<|im_end|>\n";
constexpr const char *kImNext = "<|im_start|>assistant\n";
constexpr const char *kHeadSystem = "<|start_header_id|>system<|end_header_id|>\n\n{trimmed}<|eot_id|>";
// The template of Llama 3.1 has this date where none is given; a fixed one keeps runs comparable.
constexpr const char *kHeadDatedSystem = "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
                                         "2023\nToday Date: 26 Jul 2024\n\n{trimmed}<|eot_id|>";
constexpr const char *kHeadUser = "<|start_header_id|>user<|end_header_id|>\n\n{trimmed}<|eot_id|>";
constexpr const char *kHeadAssistant = "<|start_header_id|>assistant<|end_header_id|>\n\n{trimmed}<|eot_id|>";
constexpr const char *kHeadNext = "<|start_header_id|>assistant<|end_header_id|>\n\n";

using enum SystemPlace;

// Asked in order: what is more special comes first. clang-format would make ten lines of each.
// clang-format off
constexpr ChatFamily kFamilies[] = {
    // SmolLM2-Instruct; Qwen2.5-Instruct; Qwen2-Instruct; OpenHermes 2.5, Yi-Chat, SmolLM-Instruct
    {"chatml-smollm2", {"<|im_start|>"}, nullptr, "You are a helpful AI assistant named SmolLM, trained by Hugging Face", Own, "", kImSystem, kImUser, kImAssistant, kImNext},
    {"chatml-qwen2.5", {"<|im_start|>"}, nullptr, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", Own, "", kImSystem, kImUser, kImAssistant, kImNext},
    {"chatml-qwen2", {"<|im_start|>"}, nullptr, "You are a helpful assistant.", Own, "", kImSystem, kImUser, kImAssistant, kImNext},
    {"chatml", {"'<|im_start|>' + message", "<|im_end|>"}, "<|im_start|>system", nullptr, Own, "", kImSystem, kImUser, kImAssistant, kImNext},
    // Llama 3.1, 3.2 Instruct; Llama 3 Instruct
    {"llama-3.1", {"<|start_header_id|>", "Cutting Knowledge Date: December 2023", "26 Jul 2024"}, nullptr, "", Own, "{bos}", kHeadDatedSystem, kHeadUser, kHeadAssistant, kHeadNext},
    {"llama-3", {"<|start_header_id|>", "<|eot_id|>", "| trim"}, "<|start_header_id|>system", nullptr, Own, "{bos}", kHeadSystem, kHeadUser, kHeadAssistant, kHeadNext},
    // Llama 2 Chat
    {"llama-2", {"bos_token + '[INST] '", "<<SYS>>", ".strip()"}, nullptr, nullptr, FirstUser, "", "<<SYS>>\n{text}\n<</SYS>>\n\n", "{bos}[INST] {trimmed} [/INST]", " {trimmed} {eos}", ""},
    // Mistral 7B Instruct v0.3; v0.1 and v0.2 as revised; v0.2 as first published
    {"mistral-v3", {"[AVAILABLE_TOOLS]", "\"[INST] \" + system_message", "message[\"content\"]|trim + eos_token"}, nullptr, nullptr, LastUser, "{bos}", "{text}\n\n", "[INST] {text}[/INST]", " {trimmed}{eos}", ""},
    {"mistral-v1", {"' [INST] ' + system_message", "' ' + message['content'] + eos_token"}, nullptr, nullptr, FirstUser, "{bos}", "{text}\n\n", " [INST] {text} [/INST]", " {text}{eos}", ""},
    {"mistral", {"'[INST] ' + message['content'] + ' [/INST]'", "{{ message['content'] + eos_token}}"}, nullptr, nullptr, None, "{bos}", "", "[INST] {text} [/INST]", "{text}{eos}", ""},
    // TinyLlama 1.1B Chat, Zephyr 7B
    {"zephyr", {"'<|user|>\n' + message['content'] + eos_token", "'<|assistant|>'"}, nullptr, nullptr, Own, "", "<|system|>\n{text}{eos}\n", "<|user|>\n{text}{eos}\n", "<|assistant|>\n{text}{eos}\n", "<|assistant|>\n"},
};
// clang-format on

bool recognizes(const ChatFamily &family, std::string_view jinja) {
  const auto has = [&](std::string_view text) { return jinja.find(text) != jinja.npos; };
  if (family.foreign != nullptr && has(family.foreign)) return false;
  if (family.defaultSystem != nullptr && *family.defaultSystem != 0) { // a whole line, as Jinja's escape or as it is
    const std::string line = fmt::format("\n{}<", family.defaultSystem);
    if (!has(line) && !has("\\n" + line.substr(1))) return false;
  }
  return std::ranges::all_of(family.marks, [&](const char *mark) { return mark == nullptr || has(mark); });
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kWhite = " \t\n\v\f\r";
  const std::size_t begin = text.find_first_not_of(kWhite);
  return begin == text.npos ? std::string_view() : text.substr(begin, text.find_last_not_of(kWhite) + 1 - begin);
}

void checkTurns(const ChatFamily &family, std::span<const ChatMessage> messages, bool system) {
  const std::span<const ChatMessage> turns = messages.subspan(system ? 1 : 0);
  if (turns.empty()) throw Error(Code::Usage, "a chat needs a message of the user");
  for (std::size_t i = 0; i < turns.size(); ++i)
    if (turns[i].role != (i % 2 == 0 ? Role::User : Role::Assistant))
      throw Error(Code::Usage,
                  fmt::format("message {} of the chat has the wrong role: an optional system message comes first, "
                              "then user and assistant in turns",
                              i + (system ? 2 : 1)));
  if (system && family.place == None)
    throw Error(Code::Usage, fmt::format("the chat template '{}' has no place for a system message: say it in the first "
                                         "message of the user",
                                         family.name));
}

} // namespace

std::span<const ChatFamily> chatFamilies() { return kFamilies; }

const ChatFamily &recognizeChat(std::string_view jinja) {
  for (const ChatFamily &family : kFamilies)
    if (recognizes(family, jinja)) return family;
  std::string known;
  for (const ChatFamily &family : kFamilies) known += fmt::format("{}{}", known.empty() ? "" : ", ", family.name);
  throw Error(Code::Unsupported,
              fmt::format("the model {} ('tokenizer.chat_template'): use --raw (in the window: plain text) to continue the "
                          "prompt as it is, its special tokens spelled out, or a model with one of: {}",
                          jinja.empty() ? "has no chat template" : "has a chat template that is not known", known));
}

std::string renderChat(const ChatFamily &family, const Tokenizer &tokenizer, std::span<const ChatMessage> messages,
                       bool addGenerationPrompt) {
  const bool given = !messages.empty() && messages[0].role == Role::System;
  checkTurns(family, messages, given);
  const SpecialTokens &specials = tokenizer.specials();
  const std::string bos = specials.bos() ? tokenizer.decode(*specials.bos()) : "";
  const std::string eos = specials.eos() ? tokenizer.decode(*specials.eos()) : "";
  const auto fill = [&](const char *pattern, std::string_view text) {
    return fmt::format(fmt::runtime(pattern), fmt::arg("text", text), fmt::arg("trimmed", trim(text)), fmt::arg("bos", bos),
                       fmt::arg("eos", eos));
  };
  std::string system;
  if (given || family.defaultSystem != nullptr)
    system = fill(family.system, given ? std::string_view(messages[0].content) : family.defaultSystem);

  std::string out = fill(family.begin, "");
  if (family.place == Own) out += std::exchange(system, "");
  for (std::size_t i = given ? 1 : 0; i < messages.size(); ++i) {
    const bool user = messages[i].role == Role::User;
    const bool here = family.place == LastUser ? i + 1 == messages.size() : user; // the first of the user's takes it
    out +=
        fill(user ? family.user : family.assistant, (here && user ? std::exchange(system, "") : "") + messages[i].content);
  }
  if (addGenerationPrompt) out += fill(family.generation, "");
  return out;
}

std::string renderNextTurn(const ChatFamily &family, const Tokenizer &tokenizer, std::string_view message) {
  constexpr std::string_view kReply = "REPLY";
  std::vector<ChatMessage> chat = {{Role::User, ""}, {Role::Assistant, std::string(kReply)}};
  const std::string before = renderChat(family, tokenizer, chat, false);
  chat.push_back({Role::User, std::string(message)});
  const std::string whole = renderChat(family, tokenizer, chat);
  XQS_ASSERT(whole.starts_with(before)); // no family spells earlier turns anew
  return whole.substr(before.rfind(kReply) + kReply.size());
}

} // namespace xqs

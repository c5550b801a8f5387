// SPDX-License-Identifier: Apache-2.0
// Expected texts: what the published templates give for the same messages, in Hugging Face's Jinja settings.
#include "model/chat_template.h"

#include "error.h"
#include "model/model_reader.h"
#include "support/default_model.h"
#include "support/vocabularies.h"

#include <gmock/gmock.h>

namespace xqs {
namespace {

using testing::HasSubstr;
using enum TokenType;

std::string family(std::string_view jinja) {
  try {
    return recognizeChat(jinja).name;
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::Unsupported);
    return error.what();
  }
}

const ChatFamily &named(std::string_view name) {
  for (const ChatFamily &f : chatFamilies())
    if (f.name == name) return f;
  throw std::out_of_range(std::string(name));
}

/// A system message (if asked for), two turns and a question, with white space to trim; tokens <s> and </s>.
std::string render(const char *name, bool system, bool next = true) {
  const SpmTokenizer t(test::llama2({}), true);
  std::vector<ChatMessage> messages;
  if (system) messages.push_back({Role::System, " Be brief. "});
  messages.push_back({Role::User, " Hi\n"});
  messages.push_back({Role::Assistant, " Hello! "});
  messages.push_back({Role::User, "Who?"});
  return renderChat(named(name), t, messages, next);
}

TEST(ChatTemplate, chatml) {
  const std::string turns = "<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\n Hello! <|im_end|>\n"
                            "<|im_start|>user\nWho?<|im_end|>\n";
  const std::string next = "<|im_start|>assistant\n";
  const std::string system = "<|im_start|>system\n Be brief. <|im_end|>\n";
  for (const char *name : {"chatml", "chatml-smollm2", "chatml-qwen2", "chatml-qwen2.5"}) {
    EXPECT_EQ(render(name, true), system + turns + next);
    EXPECT_EQ(render(name, true, false), system + turns);
  }
  EXPECT_EQ(render("chatml", false), turns + next);
  const auto withDefault = [&](const std::string &text) {
    return "<|im_start|>system\n" + text + "<|im_end|>\n" + turns + next;
  };
  EXPECT_EQ(render("chatml-smollm2", false),
            withDefault("You are a helpful AI assistant named SmolLM, trained by Hugging Face"));
  EXPECT_EQ(render("chatml-qwen2", false), withDefault("You are a helpful assistant."));
  EXPECT_EQ(render("chatml-qwen2.5", false),
            withDefault("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."));
}

TEST(ChatTemplate, llama3) {
  const std::string turns = "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                            "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
                            "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>";
  const std::string next = "<|start_header_id|>assistant<|end_header_id|>\n\n";
  const std::string system = "<|start_header_id|>system<|end_header_id|>\n\n";
  const std::string dates = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  EXPECT_EQ(render("llama-3", true), "<s>" + system + "Be brief.<|eot_id|>" + turns + next);
  EXPECT_EQ(render("llama-3", false), "<s>" + turns + next);
  EXPECT_EQ(render("llama-3", false, false), "<s>" + turns);
  EXPECT_EQ(render("llama-3.1", true), "<s>" + system + dates + "Be brief.<|eot_id|>" + turns + next);
  EXPECT_EQ(render("llama-3.1", false), "<s>" + system + dates + "<|eot_id|>" + turns + next);
}

TEST(ChatTemplate, llama2) {
  EXPECT_EQ(render("llama-2", true),
            "<s>[INST] <<SYS>>\n Be brief. \n<</SYS>>\n\n Hi [/INST] Hello! </s><s>[INST] Who? [/INST]");
  EXPECT_EQ(render("llama-2", false), "<s>[INST] Hi [/INST] Hello! </s><s>[INST] Who? [/INST]");
}

TEST(ChatTemplate, mistral) {
  EXPECT_EQ(render("mistral-v1", true), "<s> [INST]  Be brief. \n\n Hi\n [/INST]  Hello! </s> [INST] Who? [/INST]");
  EXPECT_EQ(render("mistral-v1", false), "<s> [INST]  Hi\n [/INST]  Hello! </s> [INST] Who? [/INST]");
  EXPECT_EQ(render("mistral-v3", true), "<s>[INST]  Hi\n[/INST] Hello!</s>[INST]  Be brief. \n\nWho?[/INST]");
  EXPECT_EQ(render("mistral-v3", false), "<s>[INST]  Hi\n[/INST] Hello!</s>[INST] Who?[/INST]");
  EXPECT_EQ(render("mistral", false), "<s>[INST]  Hi\n [/INST] Hello! </s>[INST] Who? [/INST]");
  EXPECT_THROW(render("mistral", true), Error);
}

TEST(ChatTemplate, zephyr) {
  EXPECT_EQ(render("zephyr", true), "<|system|>\n Be brief. </s>\n<|user|>\n Hi\n</s>\n<|assistant|>\n Hello! </s>\n"
                                    "<|user|>\nWho?</s>\n<|assistant|>\n");
}

// The decisive parts of the published templates.
TEST(ChatTemplate, recognized) {
  const std::string each = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}";
  const auto first = [](const std::string &text) {
    return "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n" + text + "<|im_end|>\n' }}";
  };
  EXPECT_EQ(family("{% for message in messages %}" + each), "chatml");
  EXPECT_EQ(family("{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' }}"), "chatml");
  EXPECT_EQ(family(first("You are a helpful AI assistant named SmolLM, trained by Hugging Face") + each), "chatml-smollm2");
  EXPECT_EQ(family(first("You are a helpful assistant.") + each), "chatml-qwen2");
  EXPECT_EQ(family("{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
                   "<|im_end|>\\n' }}{{- '<|im_start|>' + message.role }}"),
            "chatml-qwen2.5");
  EXPECT_EQ(
      family("{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | "
             "trim + '<|eot_id|>' %}"),
      "llama-3");
  EXPECT_EQ(family("{%- set date_string = \"26 Jul 2024\" %}{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}"
                   "{{- \"Cutting Knowledge Date: December 2023\\n\" }}"),
            "llama-3.1");
  EXPECT_EQ(
      family("{% set content = '<<SYS>>\\n' + system_message %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"),
      "llama-2");
  EXPECT_EQ(family("{{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}"
                   "{{- ' ' + message['content'] + eos_token}}"),
            "mistral-v1");
  EXPECT_EQ(family("{{- \"[AVAILABLE_TOOLS] [\" }}{{- \"[INST] \" + system_message + \"\\n\\n\" + message[\"content\"] }}"
                   "{{- \" \" + message[\"content\"]|trim + eos_token}}"),
            "mistral-v3");
  EXPECT_EQ(family("{{ '[INST] ' + message['content'] + ' [/INST]' }}{{ message['content'] + eos_token}}"), "mistral");
  EXPECT_EQ(family("{{ '<|user|>\n' + message['content'] + eos_token }}{{ '<|assistant|>' }}"), "zephyr");
}

TEST(ChatTemplate, whatIsNotKnownIsRefusedWithTheWayOut) {
  EXPECT_THAT(family(""), AllOf(HasSubstr("has no chat template"), HasSubstr("--raw"), HasSubstr("llama-2")));
  // Another default system prompt, Phi-4's separator, Gemma, Llama 2 spelled otherwise, DeepSeek.
  for (const char *jinja :
       {"{{ '<|im_start|>system\nYou are Dolphin. You are a helpful assistant.<|im_end|>\n' }}{{'<|im_start|>' + "
        "message['role']}}",
        "{{'<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>'}}", "{{ '<start_of_turn>' + role + '\n' }}",
        "{{ '[INST] <<SYS>>\n' + message['content'] }}", "{{ 'User: ' + message['content'] }}", "x"})
    EXPECT_THAT(family(jinja), AllOf(HasSubstr("not known"), HasSubstr("--raw"))) << jinja;
}

TEST(ChatTemplate, turnsAreChecked) {
  const SpmTokenizer t(test::llama2({}), true);
  const ChatMessage system{Role::System, "s"}, user{Role::User, "u"}, assistant{Role::Assistant, "a"};
  const std::vector<ChatMessage> wrong[] = {{}, {system}, {assistant}, {user, user}, {user, system}, {system, assistant}};
  for (const auto &messages : wrong) {
    try {
      renderChat(named("chatml"), t, messages);
      ADD_FAILURE() << messages.size() << " messages were accepted";
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), Code::Usage);
    }
  }
}

TEST(ChatTemplate, braceInAMessageIsText) {
  const SpmTokenizer t(test::llama2({}), true);
  const ChatMessage message{Role::User, "{bos} {} {{text}} {"};
  EXPECT_EQ(renderChat(named("mistral-v3"), t, {&message, 1}), "<s>[INST] {bos} {} {{text}} {[/INST]");
}

TEST(ChatTemplate, theNextTurnIsWhatTheWholeChatGoesOnWith) {
  const SpmTokenizer t(test::llama2({}), true);
  for (const ChatFamily &chat : chatFamilies()) {
    const std::vector<ChatMessage> messages = {{Role::User, "Hi"}, {Role::Assistant, "Hello!"}, {Role::User, "Who?"}};
    const std::string next = renderNextTurn(chat, t, "Who?"), whole = renderChat(chat, t, messages);
    EXPECT_TRUE(whole.ends_with("Hello!" + next)) << chat.name << ": " << next;
  }
  EXPECT_EQ(renderNextTurn(named("chatml-smollm2"), t, "Who?"),
            "<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(renderNextTurn(named("llama-2"), t, "Who?"), " </s><s>[INST] Who? [/INST]");
}

TEST(ChatTemplate, smolLm2) {
  XQS_NEED_MODEL(path);
  const auto reader = openModel(path);
  const ChatFamily &chat = recognizeChat(reader->config().chatTemplate);
  EXPECT_STREQ(chat.name, "chatml-smollm2");
  const ChatMessage message{Role::User, "Hi"};
  const Tokenizer &t = *reader->tokenizer();
  const std::vector<TokenId> ids = t.encodeWithSpecials(renderChat(chat, t, {&message, 1}));
  EXPECT_EQ(std::ranges::count(ids, 1), 3); // <|im_start|> of system, user and assistant
  EXPECT_EQ(std::ranges::count(ids, 2), 2); // <|im_end|>
  EXPECT_EQ(ids.front(), 1);
  std::string back;
  for (const TokenId id : ids) back += t.decode(id);
  EXPECT_EQ(back, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                  "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

} // namespace
} // namespace xqs

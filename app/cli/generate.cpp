// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "engine/generate.h"
#include "model/chat_template.h"
#include "model/input_file.h"
#include "model/text_stream.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <chrono>

namespace xqs::cli {

namespace {

constexpr std::size_t kMaxPromptBytes = 16 << 20;

struct Options {
  SessionOptions session;
  std::vector<std::string> policies;
  std::string prompt, promptFile, system;
  SamplerSettings sampling;
  Index tokens = 128;
  bool raw = false, json = false;
};

std::vector<TokenId> promptTokens(const Options &options, const Model &model) {
  const std::string text =
      options.promptFile.empty() ? options.prompt : readRegularFile(options.promptFile, "prompt", kMaxPromptBytes);
  if (options.raw) return model.tokenizer().encode(text);
  std::vector<ChatMessage> chat;
  if (!options.system.empty()) chat.push_back({Role::System, options.system});
  chat.push_back({Role::User, text});
  const ChatFamily &family = recognizeChat(model.config().chatTemplate);
  return model.tokenizer().encodeWithSpecials(renderChat(family, model.tokenizer(), chat));
}

std::string textOf(const Generator::Sequence &sequence, const Tokenizer &tokenizer) {
  TextStream stream(tokenizer, false);
  std::string text;
  for (const TokenId token : sequence.tokens) text += stream.push(token);
  return text + stream.finish();
}

void generate(const Options &options) {
  const std::stop_token stop = interrupted();
  options.sampling.validate();
  ProgressLine line;
  const auto session = openSession(options.session, line);
  const Model &model = session->model();
  const std::vector<TokenId> prompt = promptTokens(options, model);
  std::vector<std::shared_ptr<const Method>> methods;
  for (const PolicySpec &policy : parsePolicies(options.policies)) methods.push_back(session->method(policy, stop));
  std::vector<const Method *> lanes = {nullptr}; // the exact model goes along: what the others are compared with
  for (const auto &method : methods) lanes.push_back(method.get());

  const auto start = std::chrono::steady_clock::now();
  Generator generator(model, lanes, prompt, options.sampling, stop);
  for (Index count = 1; count < options.tokens && generator.step(stop); ++count)
    line.show(static_cast<double>(count) / static_cast<double>(options.tokens), "generating");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  nlohmann::json rows = nlohmann::json::array();
  std::string table = fmt::format("prompt of {} tokens; {:.1f} s for all lanes together\n", prompt.size(), seconds);
  const auto &exact = generator.sequences().front();
  for (const Generator::Sequence &s : generator.sequences()) {
    const CacheBytes bytes = s.cache->bytes();
    const std::string name = s.method != nullptr ? s.method->spec().canonical() : "exact model (FP32 KV)";
    const std::string text = textOf(s, model.tokenizer());
    const Index same = firstDivergence(exact.tokens, s.tokens);
    rows.push_back({{"policy", s.method != nullptr ? nlohmann::json(name) : nlohmann::json()},
                    {"tokens", s.tokens},
                    {"text", text},
                    {"ended", s.ended},
                    {"same_as_exact", same},
                    {"cache_tokens", s.cache->tokens()},
                    {"format_bytes", bytes.formatBytes()},
                    {"allocated_bytes", bytes.allocated},
                    {"accumulator_bytes", bytes.accumulator}});
    table += fmt::format("\n== {}\n", name);
    if (s.method != nullptr)
      table += fmt::format("   {} bytes of cache for {} tokens; the first {} of {} tokens are the exact model's\n",
                           bytes.formatBytes(), s.cache->tokens(), same, s.tokens.size());
    table += text + "\n";
  }
  if (options.json)
    printJson({{"prompt_tokens", prompt.size()}, {"seconds", seconds}, {"sequences", rows}});
  else
    print(table);
}

} // namespace

void addGenerate(CLI::App &app) {
  const auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand("generate", "Decode token by token under cache policies, beside the exact model");
  addSessionOptions(*command, options->session);
  addCalibrationOptions(*command, options->session.calibration);
  auto *prompt = command->add_option("--prompt", options->prompt, "what to say to the model")->type_name("TEXT");
  auto *file = command->add_option("--prompt-file", options->promptFile, "the same from a file")->type_name("F");
  prompt->excludes(file);
  command->add_option("--system", options->system, "system message; else the chat template's own")->type_name("TEXT");
  command->add_flag("--raw", options->raw, "the prompt as it is, without the model's chat template");
  command->add_option("--tokens", options->tokens, "at most so many")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--temperature", options->sampling.temperature, "0: greedy")->type_name("T")->capture_default_str();
  command->add_option("--top-k", options->sampling.topK, "only the k most probable tokens; 0: off")
      ->type_name("K")
      ->capture_default_str();
  command->add_option("--top-p", options->sampling.topP, "only the fewest with this probability together; 1: off")
      ->type_name("P")
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "of the draws")->type_name("N")->capture_default_str();
  command->add_option("--policy", options->policies, "a cache method with its settings, see below; may be repeated")
      ->type_name("SPEC")
      ->required()
      ->allow_extra_args(false);
  command->add_flag("--json", options->json, "one JSON object instead of a table");
  command->footer(policyHelp() + "\n" + exitCodeHelp());
  command->callback([options] {
    if (options->prompt.empty() && options->promptFile.empty())
      throw Error(Code::Usage, "generate needs --prompt TEXT or --prompt-file F");
    generate(*options);
  });
}

} // namespace xqs::cli

// SPDX-License-Identifier: Apache-2.0
#include "kept_cache.h"

#include "model/chat_template.h"
#include "model/input_file.h"
#include "model/text_stream.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <optional>

namespace xqs::cli {

namespace {

constexpr std::size_t kMaxPromptBytes = 16 << 20;

struct Options {
  SessionOptions session;
  std::vector<std::string> policies;
  std::string prompt, promptFile, system;
  KeptCacheOptions cache;
  SamplerSettings sampling;
  Index tokens = 128;
  bool raw = false, json = false, noiseFloor = true;
  bool hasPrompt() const { return !prompt.empty() || !promptFile.empty(); }
};

std::string promptText(const Options &options) {
  return options.promptFile.empty() ? options.prompt : readRegularFile(options.promptFile, "prompt", kMaxPromptBytes);
}

std::vector<TokenId> promptTokens(const Options &options, const Model &model) {
  const std::string text = promptText(options);
  if (options.raw) return model.tokenizer().encode(text);
  std::vector<ChatMessage> chat;
  if (!options.system.empty()) chat.push_back({Role::System, options.system});
  chat.push_back({Role::User, text});
  const ChatFamily &family = recognizeChat(model.config().chatTemplate);
  return model.tokenizer().encodeWithSpecials(renderChat(family, model.tokenizer(), chat));
}

/// What is fed after a kept cache: the token that was drawn last, then the prompt, where there is one, as the next turn.
std::vector<TokenId> nextTokens(const Options &options, const KeptCache &kept, const Model &model) {
  const Tokenizer &tokenizer = model.tokenizer();
  std::vector<TokenId> feed = kept.next(), turn;
  if (!options.hasPrompt()) {
    if (feed.empty()) throw Error(Code::Usage, "--cache-keep leaves no token to go on with: give --prompt");
    return feed;
  }
  if (options.raw) {
    turn = tokenizer.encode(promptText(options));
    if (tokenizer.specials().addsBos() && !turn.empty()) turn.erase(turn.begin()); // that stands at a text's start
  } else {
    const std::string text = renderNextTurn(recognizeChat(model.config().chatTemplate), tokenizer, promptText(options));
    turn = tokenizer.encodeWithSpecials(text);
    const auto ends = [&](TokenId token) { return tokenizer.specials().ends(token); };
    const std::vector<TokenId> &last = feed.empty() ? kept.tokens() : feed;
    const auto end = std::find_if(turn.begin(), turn.end(), ends);
    if (!last.empty() && ends(last.back()) && end != turn.end()) turn.erase(turn.begin(), end + 1); // the reply is closed
  }
  feed.insert(feed.end(), turn.begin(), turn.end());
  return feed;
}

std::string textOf(std::span<const TokenId> tokens, const Tokenizer &tokenizer) {
  TextStream stream(tokenizer, false);
  std::string text;
  for (const TokenId token : tokens) text += stream.push(token);
  return text + stream.finish();
}

/// The same for people and for programs.
struct Report {
  nlohmann::json json;
  std::string table;
};

/// `exact`: the exact model's sequence; null where it did not run.
void add(Report &report, const Generator::Sequence &s, const Generator::Sequence *exact, const Tokenizer &tokenizer) {
  const Index same = exact != nullptr ? firstDivergence(exact->tokens, s.tokens) : 0;
  if (s.perturbation != 0) {
    report.json["noise_floor"] = {{"perturbation", s.perturbation}, {"tokens", s.tokens.size()}, {"same_as_exact", same}};
    report.table += fmt::format("\n== noise floor: the exact model, its embeddings moved by 1e-6\n"
                                "   the first {} of {} tokens are the exact model's; a policy that parts later is not told "
                                "apart from rounding\n",
                                same, s.tokens.size());
    return;
  }
  const CacheBytes bytes = s.cache->bytes();
  const std::string name = s.method != nullptr ? s.method->spec().canonical() : "exact model (FP32 KV)";
  const std::string text = textOf(s.tokens, tokenizer);
  nlohmann::json row = {{"policy", s.method != nullptr ? nlohmann::json(name) : nlohmann::json()},
                        {"tokens", s.tokens},
                        {"text", text},
                        {"ended", s.ended},
                        {"cache_tokens", s.cache->tokens()},
                        {"format_bytes", bytes.formatBytes()},
                        {"allocated_bytes", bytes.allocated},
                        {"accumulator_bytes", bytes.accumulator}};
  if (exact != nullptr) row["same_as_exact"] = same;
  report.json["sequences"].push_back(std::move(row));
  report.table += fmt::format("\n== {}\n", name);
  if (s.method != nullptr) {
    const std::string agreement =
        exact != nullptr ? fmt::format("; the first {} of {} tokens are the exact model's", same, s.tokens.size()) : "";
    report.table += fmt::format("   {} bytes of cache for {} tokens{}\n", bytes.formatBytes(), s.cache->tokens(), agreement);
  }
  report.table += text + "\n";
}

void generate(const Options &options) {
  const std::stop_token stop = interrupted();
  options.sampling.validate();
  std::vector<PolicySpec> policies = parsePolicies(options.policies);
  std::optional<KeptCache> kept;
  if (!options.cache.load.empty()) {
    kept.emplace(options.cache);
    if (policies.empty()) policies.push_back(kept->policy());
  }
  ProgressLine line;
  const auto session = openSession(options.session, line);
  const Model &model = session->model();
  std::vector<std::shared_ptr<const Method>> methods;
  for (const PolicySpec &policy : policies) methods.push_back(session->method(policy, stop));

  const std::vector<TokenId> feed = kept ? nextTokens(options, *kept, model) : promptTokens(options, model);
  std::vector<Generator::Start> lanes;
  if (!kept) lanes.push_back({}); // the exact model goes along: what the others are compared with
  for (const auto &method : methods)
    lanes.push_back({method.get(), kept ? kept->load(*session, *method, std::ssize(feed)) : nullptr, 0});
  if (!kept && options.noiseFloor) lanes.push_back({nullptr, nullptr, kNoisePerturbation});

  const auto start = std::chrono::steady_clock::now();
  Generator generator(model, std::move(lanes), feed, options.sampling, stop);
  for (Index count = 1; count < options.tokens && generator.step(stop); ++count)
    line.show(static_cast<double>(count) / static_cast<double>(options.tokens), "generating");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  Report report;
  report.json = {{"prompt_tokens", feed.size()}, {"seconds", seconds}, {"sequences", nlohmann::json::array()}};
  report.table = fmt::format("prompt of {} tokens; {:.1f} s for all lanes together\n", feed.size(), seconds);
  if (kept) {
    report.json["loaded_tokens"] = kept->tokens().size();
    report.table = fmt::format("{} tokens from {} without prefill, {} fed after them; {:.1f} s\n", kept->tokens().size(),
                               options.cache.load, feed.size(), seconds);
  }
  const auto &sequences = generator.sequences();
  for (const Generator::Sequence &s : sequences) add(report, s, kept ? nullptr : &sequences.front(), model.tokenizer());
  if (!options.cache.save.empty()) {
    const Generator::Sequence &s = sequences[kept ? 0 : 1];
    std::vector<TokenId> before = kept ? kept->tokens() : std::vector<TokenId>();
    before.insert(before.end(), feed.begin(), feed.end());
    const std::uint64_t bytes = keepCache(options.cache.save, *session, s, std::move(before));
    report.json["saved"] = {{"tokens", s.cache->tokens()}, {"bytes", bytes}};
    report.table += fmt::format("\n{} tokens kept in {} ({} bytes)\n", s.cache->tokens(), options.cache.save, bytes);
  }
  if (options.json)
    printJson(report.json);
  else
    print(report.table);
}

void check(const Options &options) {
  const bool loading = !options.cache.load.empty();
  if (!options.hasPrompt() && !loading)
    throw Error(Code::Usage, "generate needs --prompt TEXT or --prompt-file F, or --cache-load F");
  if (options.policies.empty() && !loading) throw Error(Code::Usage, "generate needs --policy SPEC, or --cache-load F");
  if (loading && !options.system.empty())
    throw Error(Code::Usage, "--system stands at the beginning of a chat, which --cache-load has behind it");
  checkKeptCacheOptions(options.cache, options.policies.size());
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
      ->allow_extra_args(false);
  command->add_flag("--noise-floor,!--no-noise-floor", options->noiseFloor,
                    "a copy of the exact model, embeddings moved by 1e-6: how long it agrees with itself (default: on)");
  addKeptCacheOptions(*command, options->cache);
  command->add_flag("--json", options->json, "one JSON object instead of a table");
  command->footer(policyHelp() + "\n" + exitCodeHelp());
  command->callback([options] {
    check(*options);
    generate(*options);
  });
}

} // namespace xqs::cli

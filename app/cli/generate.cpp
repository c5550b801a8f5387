// SPDX-License-Identifier: Apache-2.0
#include "cli.h"

#include "model/input_file.h"
#include "run/generation.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <optional>

namespace xqs::cli {

namespace {

constexpr std::size_t kMaxPromptBytes = 16 << 20;

struct Options {
  SessionOptions session;
  std::vector<std::string> policies;
  std::string promptFile, store;
  GenerationRequest request;
  bool json = false;
};

std::string textOf(const Generator::Sequence &sequence, const Tokenizer &tokenizer) {
  TextStream stream(tokenizer, false);
  std::string text;
  for (const TokenId token : sequence.tokens) text += stream.push(token);
  return text + stream.finish();
}

/// The exact model goes along: what the others are compared with. With a noise floor every lane once more behind them.
std::vector<Generator::Start> lanesOf(const std::vector<std::shared_ptr<const Method>> &methods, bool noiseFloor) {
  std::vector<Generator::Start> lanes;
  for (const float perturbation : {0.0f, kNoisePerturbation}) {
    if (perturbation != 0 && !noiseFloor) break;
    lanes.push_back({nullptr, nullptr, perturbation});
    for (const auto &method : methods) lanes.push_back({method.get(), nullptr, perturbation});
  }
  return lanes;
}

/// Draws the request's tokens, recorded where there is a recorder; gives the seconds for all lanes together.
double draw(Generator &generator, Index tokens, GenerationRecorder *recorder, ProgressLine &line,
            const std::stop_token &stop) {
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [start] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  if (recorder != nullptr) recorder->record(generator, 0);
  for (Index count = 1; count < tokens && generator.step(stop); ++count) {
    if (recorder != nullptr) recorder->record(generator, seconds());
    line.show(static_cast<double>(count) / static_cast<double>(tokens), "generating");
  }
  return seconds();
}

void show(const Options &options, const Generator &generator, const Model &model, std::size_t promptTokens, double seconds) {
  nlohmann::json rows = nlohmann::json::array();
  std::string table = fmt::format("prompt of {} tokens; then {:.1f} s for all lanes together\n", promptTokens, seconds);
  const auto &lanes = generator.sequences();
  const std::size_t columns = options.policies.size() + 1;
  for (std::size_t i = 0; i < columns; ++i) {
    const Generator::Sequence &s = lanes[i];
    const CacheBytes bytes = s.cache->bytes();
    const std::string name = s.method != nullptr ? s.method->spec().canonical() : "exact model (FP32 KV)";
    const std::string text = textOf(s, model.tokenizer());
    const Index same = firstDivergence(lanes.front().tokens, s.tokens);
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
    if (lanes.size() > columns) {
      const Index floor = firstDivergence(s.tokens, lanes[columns + i].tokens);
      rows.back()["same_as_perturbed"] = floor;
      table += fmt::format(
          "   noise floor: the first {} of {} tokens stay the same where embedded rows are perturbed by {:.0e}\n", floor,
          s.tokens.size(), static_cast<double>(kNoisePerturbation));
    }
    table += text + "\n";
  }
  if (options.json)
    printJson({{"prompt_tokens", promptTokens}, {"seconds", seconds}, {"sequences", rows}});
  else
    print(table);
}

void generate(Options options) {
  const std::stop_token stop = interrupted();
  GenerationRequest &request = options.request;
  request.sampling.validate();
  if (!options.promptFile.empty()) request.prompt = readRegularFile(options.promptFile, "prompt", kMaxPromptBytes);
  request.policies = parsePolicies(options.policies);
  ProgressLine line;
  const auto session = openSession(options.session, line);
  const Model &model = session->model();
  const std::vector<TokenId> prompt = promptTokens(request, model);
  std::vector<std::shared_ptr<const Method>> methods;
  for (const PolicySpec &policy : request.policies) methods.push_back(session->method(policy, stop));
  std::optional<RunStore> store;
  std::optional<GenerationRecorder> recorder;
  if (!options.store.empty()) recorder.emplace(*session, request, prompt, store.emplace(options.store));
  try {
    Generator generator(model, lanesOf(methods, request.noiseFloor), prompt, request.sampling, stop);
    const double seconds = draw(generator, request.tokens, recorder ? &*recorder : nullptr, line, stop);
    if (recorder) recorder->end("finished", "");
    if (store) store->close();
    show(options, generator, model, prompt.size(), seconds);
  } catch (const Error &error) {
    if (recorder && error.code() != Code::StoreUnwritable)
      recorder->end(error.code() == Code::Cancelled ? "cancelled" : "failed", error.what());
    throw;
  }
}

} // namespace

void addGenerate(CLI::App &app) {
  const auto options = std::make_shared<Options>();
  options->request.noiseFloor = false; // it doubles the work
  CLI::App *command = app.add_subcommand("generate", "Decode token by token under cache policies, beside the exact model");
  addSessionOptions(*command, options->session);
  addCalibrationOptions(*command, options->session.calibration);
  auto *prompt = command->add_option("--prompt", options->request.prompt, "what to say to the model")->type_name("TEXT");
  auto *file = command->add_option("--prompt-file", options->promptFile, "the same from a file")->type_name("F");
  prompt->excludes(file);
  command->add_option("--system", options->request.system, "system message; else the chat template's own")
      ->type_name("TEXT");
  command->add_flag("--raw", options->request.raw, "the prompt as it is, without the model's chat template");
  command->add_option("--tokens", options->request.tokens, "at most so many")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--temperature", options->request.sampling.temperature, "0: greedy")
      ->type_name("T")
      ->capture_default_str();
  command->add_option("--top-k", options->request.sampling.topK, "only the k most probable tokens; 0: off")
      ->type_name("K")
      ->capture_default_str();
  command->add_option("--top-p", options->request.sampling.topP, "only the fewest with this probability together; 1: off")
      ->type_name("P")
      ->capture_default_str();
  command->add_option("--seed", options->request.sampling.seed, "of the draws")->type_name("N")->capture_default_str();
  command->add_option("--policy", options->policies, "a cache method with its settings, see below; may be repeated")
      ->type_name("SPEC")
      ->required()
      ->allow_extra_args(false);
  command->add_flag("--noise-floor", options->request.noiseFloor,
                    "every lane once more with embedded rows perturbed: where its own text parts from itself");
  command->add_option("--store", options->store, "record every token, to be opened in the window")->type_name("F.xqs");
  command->add_flag("--json", options->json, "one JSON object instead of a table");
  command->footer(policyHelp() + "\n" + exitCodeHelp());
  command->callback([options] {
    if (options->request.prompt.empty() && options->promptFile.empty())
      throw Error(Code::Usage, "generate needs --prompt TEXT or --prompt-file F");
    generate(*options);
  });
}

} // namespace xqs::cli

// SPDX-License-Identifier: Apache-2.0
#include "kept_cache.h"

#include "model/chat_template.h"
#include "model/input_file.h"
#include "run/decode_steps.h"
#include "run/generation.h"
#include "run/memory_fit.h"

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
  std::string promptFile, store, placement = "device";
  GenerationRequest request;
  KeptCacheOptions cache;
  bool json = false;
  bool hasPrompt() const { return !request.prompt.empty() || !promptFile.empty(); }
};

/// What is fed after a kept cache: the token that was drawn last, then the prompt, where there is one, as the next turn.
std::vector<TokenId> nextTokens(const Options &options, const KeptCache &kept, const Model &model) {
  const Tokenizer &tokenizer = model.tokenizer();
  const std::string &prompt = options.request.prompt;
  std::vector<TokenId> feed = kept.next(), turn;
  if (!options.hasPrompt()) {
    if (feed.empty()) throw Error(Code::Usage, "--cache-keep leaves no token to go on with: give --prompt");
    return feed;
  }
  if (options.request.raw) {
    turn = tokenizer.encode(prompt);
    if (tokenizer.specials().addsBos() && !turn.empty()) turn.erase(turn.begin()); // that stands at a text's start
  } else {
    turn = tokenizer.encodeWithSpecials(renderNextTurn(recognizeChat(model.config().chatTemplate), tokenizer, prompt));
    const auto ends = [&](TokenId token) { return tokenizer.specials().ends(token); };
    std::vector<TokenId> before = kept.tokens();
    before.insert(before.end(), feed.begin(), feed.end());
    // What closes a reply stands first; what of it and after it is there already is not said again.
    const auto end = std::find_if(turn.begin(), turn.end(), ends);
    auto said = end != turn.end() && ends(before.back()) ? end + 1 : turn.begin();
    for (auto to = turn.end(); to > end; --to)
      if (to - turn.begin() <= std::ssize(before) && std::equal(turn.begin(), to, before.end() - (to - turn.begin()))) {
        said = std::max(said, to);
        break;
      }
    turn.erase(turn.begin(), said);
  }
  feed.insert(feed.end(), turn.begin(), turn.end());
  return feed;
}

/// After a kept cache: its lane alone.
std::vector<Generator::Start> lanesAfter(const KeptCache &kept, const std::vector<std::shared_ptr<const Method>> &methods,
                                         const Session &session, std::size_t fed, Placement placement) {
  std::vector<Generator::Start> lanes;
  for (const auto &method : methods)
    lanes.push_back({method.get(), kept.load(session, *method, static_cast<Index>(fed), placement), 0});
  return lanes;
}

/// Draws the request's tokens, recorded where there is a recorder; gives the seconds for all lanes together.
double draw(Generator &generator, Index tokens, GenerationRecorder *recorder, ProgressLine &line,
            const std::stop_token &stop) {
  if (recorder != nullptr) recorder->record(generator, 0);
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [start] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  for (Index count = 1; count < tokens && generator.step(stop); ++count) {
    if (recorder != nullptr) recorder->record(generator, seconds());
    line.show(static_cast<double>(count) / static_cast<double>(tokens), "generating");
  }
  return seconds();
}

std::string textOf(const Generator::Sequence &sequence, const Tokenizer &tokenizer) {
  TextStream stream(tokenizer, false);
  std::string text;
  for (const TokenId token : sequence.tokens) text += stream.push(token);
  return text + stream.finish();
}

/// The same for people and for programs.
struct Report {
  nlohmann::json json;
  std::string table;
};

/// `exact`, `twin`: the exact model's sequence and this one's perturbed copy; null where they did not run.
void add(Report &report, const Generator::Sequence &s, const Generator::Sequence *exact, const Generator::Sequence *twin,
         const Model &model) {
  const Tokenizer &tokenizer = model.tokenizer();
  const CacheBytes bytes = s.cache->bytes();
  const std::string name = s.method != nullptr ? s.method->spec().canonical() : "exact model (FP32 KV)";
  const std::string text = textOf(s, tokenizer);
  nlohmann::json row = {{"policy", s.method != nullptr ? nlohmann::json(name) : nlohmann::json()},
                        {"tokens", s.tokens},
                        {"text", text},
                        {"ended", s.ended},
                        {"cache_tokens", s.cache->tokens()},
                        {"format_bytes", bytes.formatBytes()},
                        {"allocated_bytes", bytes.allocated},
                        {"accumulator_bytes", bytes.accumulator}};
  report.table += fmt::format("\n== {}\n", name);
  if (s.method != nullptr) {
    const Index fp16 = fp16KvBytes(model.shape(), s.cache->tokens());
    const double relative = static_cast<double>(bytes.formatBytes()) / static_cast<double>(fp16);
    row["relative_size"] = relative;
    report.table += fmt::format(
        "   {} bytes of cache for {} tokens, {:.1f} % of FP16{}\n", bytes.formatBytes(), s.cache->tokens(), 100 * relative,
        relative > 0.99 && name != "fp16" ? ": its groups are not full yet, or its residual is longer" : "");
  }
  if (exact != nullptr) {
    const Index same = firstDivergence(exact->tokens, s.tokens);
    row["same_as_exact"] = same;
    if (exact != &s)
      report.table += fmt::format("   the first {} of {} tokens are the exact model's\n", same, s.tokens.size());
  }
  if (twin != nullptr) {
    const Index floor = firstDivergence(s.tokens, twin->tokens);
    row["same_as_perturbed"] = floor;
    report.table +=
        fmt::format("   noise floor: the first {} of {} tokens stay the same where embedded rows are perturbed by {:.0e}\n",
                    floor, s.tokens.size(), static_cast<double>(kNoisePerturbation));
  }
  report.table += text + "\n";
  report.json["sequences"].push_back(std::move(row));
}

/// What the whole device moved while tokens were drawn, or why nobody knows.
void addTraffic(Report &report, const GenerationTraffic &traffic) {
  const SampledTraffic &t = traffic.sampled();
  nlohmann::json json = {{"measured", t.samples > 0}, {"samples", t.samples}, {"times_lost", traffic.lost()}};
  std::string why = traffic.whyNot(), line = "memory traffic";
  if (t.samples > 0) {
    json["read_mean"] = t.meanRead(), json["read_peak"] = t.peakRead; // bytes a second
    json["write_mean"] = t.meanWrite(), json["write_peak"] = t.peakWrite;
    line += " " + t.text();
  } else if (why.empty()) {
    why = "the text was over before the first sample; draw more --tokens, or sample more often (--sampling-us)";
  }
  if (!why.empty()) line += (t.samples > 0 ? "; then no more: " : " was not measured: ") + why, json["reason"] = why;
  if (traffic.lost() > 0) line += fmt::format("; times that samples were lost: {}", traffic.lost());
  report.json["traffic"] = std::move(json);
  report.table += "\n" + line + "\n";
}

void show(const Options &options, const Report &report) { options.json ? printJson(report.json) : print(report.table); }

void generate(Options options) {
  const std::stop_token stop = interrupted();
  GenerationRequest &request = options.request;
  request.sampling.validate();
  request.placement = parsePlacement(options.placement);
  if (!options.promptFile.empty()) request.prompt = readRegularFile(options.promptFile, "prompt", kMaxPromptBytes);
  request.policies = parsePolicies(options.policies);
  std::optional<KeptCache> kept;
  if (!options.cache.load.empty()) {
    kept.emplace(options.cache);
    if (request.policies.empty()) request.policies.push_back(kept->policy());
  }
  ProgressLine line;
  const auto session = openSession(options.session, line);
  const Model &model = session->model();
  const std::vector<TokenId> feed = kept ? nextTokens(options, *kept, model) : promptTokens(request, model);
  requireGeneration(*session, request, std::ssize(feed) + (kept ? std::ssize(kept->tokens()) : 0));
  std::vector<std::shared_ptr<const Method>> methods;
  for (const PolicySpec &policy : request.policies) methods.push_back(session->method(policy, stop));
  std::optional<RunStore> store;
  std::optional<GenerationRecorder> recorder;
  if (!options.store.empty()) recorder.emplace(*session, request, feed, store.emplace(options.store));

  std::optional<Generator> generator;
  double seconds = 0;
  try {
    generator.emplace(
        model, kept ? lanesAfter(*kept, methods, *session, feed.size(), request.placement) : freshLanes(methods, request),
        feed, request.sampling, stop);
    seconds = draw(*generator, request.tokens, recorder ? &*recorder : nullptr, line, stop);
  } catch (const Error &error) {
    if (recorder && error.code() != Code::StoreUnwritable)
      recorder->end(error.code() == Code::Cancelled ? "cancelled" : "failed", error.what());
    throw;
  }
  if (recorder) recorder->end("finished", "");
  if (store) store->close();

  Report report;
  report.json = {{"prompt_tokens", feed.size()},
                 {"seconds", seconds},
                 {"placement", options.placement},
                 {"sequences", nlohmann::json::array()}};
  report.table = fmt::format("prompt of {} tokens; then {:.1f} s for all lanes together\n", feed.size(), seconds);
  if (kept) {
    report.json["loaded_tokens"] = kept->tokens().size();
    report.table = fmt::format("{} tokens from {} without prefill, {} fed after them; {:.1f} s\n", kept->tokens().size(),
                               options.cache.load, feed.size(), seconds);
  }
  const auto &lanes = generator->sequences();
  const std::size_t columns = methods.size() + (kept ? 0 : 1);
  for (std::size_t i = 0; i < columns; ++i)
    add(report, lanes[i], kept ? nullptr : &lanes.front(), lanes.size() > columns ? &lanes[columns + i] : nullptr, model);
  if (!options.cache.save.empty()) {
    const Generator::Sequence &s = lanes[kept ? 0 : 1];
    std::vector<TokenId> before = kept ? kept->tokens() : std::vector<TokenId>();
    before.insert(before.end(), feed.begin(), feed.end());
    const std::uint64_t bytes = keepCache(options.cache.save, *session, s, std::move(before));
    report.json["saved"] = {{"tokens", s.cache->tokens()}, {"bytes", bytes}};
    report.table += fmt::format("\n{} tokens kept in {} ({} bytes)\n", s.cache->tokens(), options.cache.save, bytes);
  }
  if (recorder && recorder->traffic().wanted()) addTraffic(report, recorder->traffic());
  show(options, report);
}

void check(const Options &options) {
  const bool loading = !options.cache.load.empty();
  if (!options.hasPrompt() && !loading)
    throw Error(Code::Usage, "generate needs --prompt TEXT or --prompt-file F, or --cache-load F");
  if (options.policies.empty() && !loading) throw Error(Code::Usage, "generate needs --policy SPEC, or --cache-load F");
  if (loading && !options.request.system.empty())
    throw Error(Code::Usage, "--system stands at the beginning of a chat, which --cache-load has behind it");
  if (loading && (!options.store.empty() || options.request.noiseFloor))
    throw Error(Code::Usage, "--store and --noise-floor need a generation from its first token, not --cache-load");
  if (options.request.samplingMicroseconds > 0 && options.store.empty())
    throw Error(Code::Usage, "--sampling-us records samples of the memory traffic: give --store F.xqs, where they go");
  checkKeptCacheOptions(options.cache, options.policies.size());
}

} // namespace

void addGenerate(const Command &app) {
  const auto options = std::make_shared<Options>();
  options->request.noiseFloor = false; // it doubles the work
  const Command command = app.add("generate", "Decode token by token under cache policies, beside the exact model");
  addModelOptions(command, options->session);
  GenerationRequest &request = options->request;
  Option prompt = command.option("--prompt", request.prompt, "TEXT", "what to say to the model");
  const Option file = command.option("--prompt-file", options->promptFile, "F", "the same from a file");
  prompt.excludes(file);
  command.option("--system", request.system, "TEXT", "system message; else the chat template's own");
  command.flag("--raw", request.raw, "the prompt as it is, without the model's chat template");
  command.option("--tokens", request.tokens, "N", "at most so many").shown().range(1, 1 << 20);
  command.option("--temperature", request.sampling.temperature, "T", "0: greedy").shown();
  command.option("--top-k", request.sampling.topK, "K", "only the k most probable tokens; 0: off").shown();
  command.option("--top-p", request.sampling.topP, "P", "only the fewest with this probability together; 1: off").shown();
  command.option("--seed", request.sampling.seed, "N", "of the draws").shown();
  addPolicyOption(command, options->policies);
  command.option("--placement", options->placement, "NAME", "of the policies' caches: device, host (copied layer by layer)")
      .shown();
  command.flag("--noise-floor", request.noiseFloor,
               "every lane once more with embedded rows perturbed: where its own text parts from itself");
  addKeptCacheOptions(command, options->cache);
  command.option("--store", options->store, "F.xqs", "record every token, to be opened in the window");
  command
      .option("--sampling-us", request.samplingMicroseconds, "N",
              "sample the whole device's memory traffic every N microseconds, into the store; 25 or more; 0: not")
      .shown()
      .range(0, 1'000'000);
  command.flag("--json", options->json, "one JSON object instead of a table");
  command.does([options] {
    check(*options);
    generate(*options);
  });
}

} // namespace xqs::cli

// SPDX-License-Identifier: Apache-2.0
#include "run/generation.h"

#include "engine/seconds.h"
#include "model/sha256.h"
#include "run/machine.h"
#include "run/memory_fit.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace xqs {

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char *kStopped = "stopped before the end; the tokens that were drawn are in the store";

std::string samplingSentence(const SamplerSettings &s) {
  if (s.temperature == 0) return "greedy";
  std::string text = fmt::format("temperature {}", s.temperature);
  if (s.topK > 0) text += fmt::format(", top-k {}", s.topK);
  if (s.topP < 1) text += fmt::format(", top-p {}", s.topP);
  return text + fmt::format(", seed {}", s.seed);
}

RunRow describeGeneration(const Session &session, const GenerationRequest &request, std::span<const TokenId> prompt) {
  Experiment experiment;
  experiment.window = std::ssize(prompt), experiment.state = State::Stream;
  experiment.seed = static_cast<std::int64_t>(request.sampling.seed);
  experiment.policies = request.policies;
  RunRow row = describeRun(session, experiment, 0, "generate");
  const std::string sampling = samplingSentence(request.sampling);
  row.title = fmt::format("{}, text generated after {} tokens, {}", row.model, prompt.size(), sampling);
  row.text = request.raw ? "prompt" : "prompt in the model's chat template";
  row.textHash = sha256Hex(std::as_bytes(std::span(request.prompt)));
  row.textTokens = std::ssize(prompt), row.tokensHash = sha256Hex(std::as_bytes(prompt));
  row.studyKey.clear();
  row.protocol = fmt::format(
      "At most {} tokens one by one after a prompt of {}, {}; each policy goes its own way from where its tokens differ; a "
      "query reads what decoding reads: the newest tokens exact{}{}.",
      request.tokens, prompt.size(), sampling,
      request.placement == Placement::Host ? "; the policies' caches lie in the host's memory" : "",
      request.noiseFloor ? fmt::format(". Noise floor: the same policy with embedded rows perturbed by {:.0e}",
                                       static_cast<double>(kNoisePerturbation))
                         : "");
  GenerationRequest recorded = request;
  recorded.model = session.options().model; // what is recorded is what runs
  row.spec = toJson(recorded).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return row;
}

} // namespace

GenerationRecorder::GenerationRecorder(Session &session, const GenerationRequest &request, std::span<const TokenId> prompt,
                                       RunStore &store)
    : m_session(session), m_store(store), m_tokens(static_cast<std::size_t>(request.tokens)),
      m_traffic(session.backend(), request.samplingMicroseconds), m_started(Clock::now()) {
  std::vector<Record> rows;
  std::set<std::string> names;
  for (const PolicySpec &policy : request.policies) {
    if (!names.insert(policy.canonical()).second)
      throw Error(Code::Usage, fmt::format("policy '{}' is there twice; give every policy once", policy.canonical()));
    rows.emplace_back(describePolicy(policy, session.model().shape(), std::ssize(prompt) + request.tokens, State::Stream,
                                     std::ssize(rows)));
  }
  session.backend().takeSaturated(); // what came before is not ours
  m_run = store.beginRun(describeGeneration(session, request, prompt));
  for (Record &policy : rows) std::get<PolicyRow>(policy).run = m_run;
  m_traffic.begin(m_run, rows);
  store.append(std::move(rows));
}

void GenerationRecorder::findColumns(const Generator &generator) {
  const auto &lanes = generator.sequences();
  std::int64_t policies = 0;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    if (lanes[i].perturbation != 0) continue;
    const auto twin = std::find_if(lanes.begin(), lanes.end(), [&](const Generator::Sequence &other) {
      return other.method == lanes[i].method && other.perturbation != 0;
    });
    m_columns.push_back({i, lanes[i].method == nullptr ? -1 : policies++, twin == lanes.end() ? -1 : twin - lanes.begin(),
                         TextStream(m_session.model().tokenizer(), false)});
  }
  XQS_ASSERT(!m_columns.empty() && m_columns.front().policy == -1);
}

GeneratedRow GenerationRecorder::nextRow(Generator &generator, Column &column) const {
  const auto &lanes = generator.sequences();
  const Generator::Sequence &lane = lanes[column.lane];
  const std::size_t step = column.known++;
  XQS_ASSERT(lane.tokens.size() == column.known);
  const auto same = [&](std::size_t other) {
    return step < lanes[other].tokens.size() && lanes[other].tokens[step] == lane.tokens[step];
  };
  GeneratedRow row;
  row.run = m_run, row.policy = column.policy, row.step = static_cast<std::int64_t>(step);
  row.token = lane.tokens[step], row.ends = lane.ended, row.logProbability = lane.logProbability;
  row.text = column.text.push(lane.tokens[step]);
  column.sameAsExact = column.sameAsExact && same(m_columns.front().lane);
  row.sameAsExact = column.sameAsExact;
  row.cacheTokens = lane.cache->tokens();
  const CacheBytes bytes = lane.cache->bytes();
  row.formatBytes =
      lane.method != nullptr ? bytes.formatBytes() : fp16KvBytes(m_session.model().shape(), lane.cache->tokens());
  row.allocatedBytes = bytes.allocated, row.accumulatorBytes = bytes.accumulator;
  const bool last =
      lane.ended || column.known == m_tokens || lane.cache->tokens() == m_session.model().config().contextLength;
  if (last) row.text += column.text.finish();
  if (column.twin < 0) return row;
  const auto twin = static_cast<std::size_t>(column.twin);
  column.sameAsPerturbed = column.sameAsPerturbed && same(twin);
  row.sameAsPerturbed = column.sameAsPerturbed;
  if (last || !column.sameAsPerturbed) generator.end(twin);
  return row;
}

void GenerationRecorder::record(Generator &generator, double seconds) {
  if (m_columns.empty()) findColumns(generator);
  std::vector<Record> rows;
  for (Column &column : m_columns) {
    if (generator.sequences()[column.lane].tokens.size() == column.known) continue; // it has ended
    GeneratedRow row = nextRow(generator, column);
    row.seconds = seconds;
    rows.emplace_back(std::move(row));
  }
  m_traffic.record(std::ssize(generator.sequences()), rows);
  m_store.append(std::move(rows));
}

void GenerationRecorder::end(const std::string &status, const std::string &message) {
  if (const std::int64_t saturated = m_session.backend().takeSaturated(); saturated > 0) {
    ProblemRow problem;
    problem.run = m_run, problem.code = "fp16-saturated";
    problem.text =
        fmt::format("{} values, of all policies together, were beyond FP16 and were stored as +-65504", saturated);
    m_store.append(problem);
  }
  std::vector<Record> rows;
  m_traffic.end(rows);
  RunEndRow row;
  row.run = m_run, row.endedUtc = utcNow(), row.status = status, row.message = message,
  row.seconds = secondsSince(m_started);
  rows.emplace_back(std::move(row));
  m_store.append(std::move(rows));
  m_store.flush();
}

std::vector<Generator::Start> freshLanes(std::span<const std::shared_ptr<const Method>> methods,
                                         const GenerationRequest &request) {
  std::vector<Generator::Start> lanes;
  for (const float perturbation : {0.0f, kNoisePerturbation}) {
    if (perturbation != 0 && !request.noiseFloor) break;
    lanes.push_back({nullptr, nullptr, perturbation});
    for (const auto &method : methods) lanes.push_back({method.get(), nullptr, perturbation, request.placement});
  }
  return lanes;
}

namespace {

/// Draws all tokens; throws Cancelled and what went wrong.
void generateAll(Session &session, const GenerationRequest &request, std::span<const TokenId> prompt,
                 GenerationRecorder &recorder, const RunHooks &hooks) {
  const auto report = [&](Index done, double tokensPerSecond, double secondsLeft, std::string text) {
    if (hooks.progress) hooks.progress({done, request.tokens, tokensPerSecond, secondsLeft, std::move(text)});
  };
  std::vector<std::shared_ptr<const Method>> methods;
  for (const PolicySpec &policy : request.policies) {
    report(0, 0, 0, "preparing " + policy.canonical());
    methods.push_back(session.method(policy, hooks.stop));
  }
  Generator generator(session.model(), freshLanes(methods, request), prompt, request.sampling, hooks.stop, [&](Index fed) {
    report(0, 0, 0, fmt::format("reading the prompt, {} of {} tokens", fed, prompt.size()));
  });
  recorder.record(generator, 0);
  double seconds = 0;
  for (Index count = 1; count < request.tokens; ++count) {
    if (hooks.between) hooks.between();
    if (hooks.stop.stop_requested()) throw Error(Code::Cancelled, kStopped);
    const auto started = Clock::now();
    if (!generator.step(hooks.stop)) break;
    seconds += secondsSince(started);
    recorder.record(generator, seconds);
    const double perToken = seconds / static_cast<double>(count);
    report(count + 1, static_cast<double>(methods.size() + 1) / perToken,
           perToken * static_cast<double>(request.tokens - count - 1),
           fmt::format("token {} of {}", count + 1, request.tokens));
  }
}

} // namespace

void runGeneration(Session &session, const GenerationRequest &request, RunStore &store, const RunHooks &hooks) {
  request.sampling.validate();
  const std::vector<TokenId> prompt = promptTokens(request, session.model());
  requireGeneration(session, request, std::ssize(prompt));
  GenerationRecorder recorder(session, request, prompt, store);
  if (hooks.started) hooks.started(recorder.run());
  const auto endAfter = [&](const char *status, const std::string &message) {
    try {
      recorder.end(status, message);
    } catch (const Error &) { // the store itself is what failed: the first error is the one to tell
    }
  };
  try {
    generateAll(session, request, prompt, recorder, hooks);
    recorder.end("finished", "");
  } catch (const Error &error) {
    const bool cancelled = error.code() == Code::Cancelled;
    const std::string message = cancelled ? kStopped : error.what();
    endAfter(cancelled ? "cancelled" : "failed", message);
    throw Error(error.code(), message);
  } catch (const std::bad_alloc &) {
    const std::string message =
        "not enough memory for this generation; use fewer policies, a shorter prompt or a smaller model";
    endAfter("failed", message);
    throw Error(Code::OutOfMemory, message);
  } catch (const std::exception &error) {
    endAfter("failed", error.what());
    throw;
  }
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "run/task_runner.h"

#include "engine/generate.h"
#include "error.h"

#include <fmt/format.h>

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;
constexpr Index kScoredRows = 128; ///< positions whose logits are held at a time

void requireContext(const Model &model, const char *task, Index tokens) {
  if (tokens > model.config().contextLength)
    throw Error(Code::Usage, fmt::format("the {} task needs {} tokens here, more than the {} that {} was trained for: give "
                                         "shorter lengths",
                                         task, tokens, model.config().contextLength, model.config().name));
}

/// NLL and hits of the tokens from `first` on, each predicted by the position before it.
void score(const Model &model, const Engine &engine, Index lane, std::span<const TokenId> tokens, Index first,
           CopyResult::Lane &into) {
  Backend &backend = model.backend();
  const Index vocab = model.config().vocab, end = std::ssize(tokens);
  const Buffer buffer = backend.allocate(kScoredRows * vocab * sizeOf(DType::F32), Purpose::Activations);
  std::vector<Score> scores(kScoredRows);
  double nll = 0;
  Index right = 0;
  for (Index begin = first; begin < end; begin += kScoredRows) {
    const Index count = std::min(kScoredRows, end - begin);
    const View logits = buffer.f32(count, vocab);
    engine.logits(engine.hidden(lane).rowRange(begin - 1, count), logits);
    const auto targets = tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
    backend.score(kQueue, {}, logits, targets, std::span(scores).first(static_cast<std::size_t>(count)));
    backend.sync(kQueue);
    for (std::size_t i = 0; i < targets.size(); ++i) {
      nll += scores[i].nll;
      right += scores[i].top == targets[i] ? 1 : 0;
    }
  }
  into.nll.push_back(nll / static_cast<double>(end - first));
  into.right.push_back(right);
}

/// Whether each lane's greedy continuation of the prompt is the answer.
std::vector<bool> answers(const Model &model, std::span<const Method *const> lanes, const PasskeyTask &task,
                          const std::stop_token &stop) {
  Generator generator(model, lanes, task.prompt, {}, stop);
  for (std::size_t count = 1; count < task.answer.size() && generator.step(stop); ++count) continue;
  std::vector<bool> found;
  for (const Generator::Sequence &s : generator.sequences())
    found.push_back(firstDivergence(task.answer, s.tokens) == std::ssize(task.answer));
  return found;
}

/// Tells how much is done.
class Steps {
public:
  Steps(const TaskPlan &plan, std::size_t places) : m_plan(plan), m_all(plan.trials * static_cast<Index>(places)) {}
  void one() {
    ++m_done;
    if (m_plan.progress) m_plan.progress(static_cast<double>(m_done) / static_cast<double>(m_all));
  }

private:
  const TaskPlan &m_plan;
  Index m_all, m_done = 0;
};

} // namespace

std::vector<CopyResult> runCopyTask(const Model &model, std::span<const Method *const> methods, const TaskPlan &plan) {
  for (const Index distance : plan.lengths) // before an hour of work ends with a refusal
    requireContext(model, "copy", std::ssize(makeCopyTask(model.tokenizer(), distance, plan.seed).tokens));
  std::vector<CopyResult> results;
  Steps steps(plan, plan.lengths.size());
  Engine engine(model);
  for (const Index distance : plan.lengths) {
    CopyResult &result = results.emplace_back();
    result.distance = distance;
    result.policies.resize(methods.size());
    for (Index trial = 0; trial < plan.trials; ++trial) {
      const CopyTask task = makeCopyTask(model.tokenizer(), distance, plan.seed, static_cast<std::uint64_t>(trial));
      const Index length = std::ssize(task.tokens);
      result.tokens = length - task.firstScored;
      const CacheSize size{length, length, State::Stream};
      std::vector<std::unique_ptr<Cache>> caches;
      caches.push_back(makeExactCache(model, size));
      for (const Method *method : methods) caches.push_back(method->makeCache(size));
      std::vector<Lane> lanes(caches.size());
      for (std::size_t i = 0; i < lanes.size(); ++i) lanes[i].cache = caches[i].get();
      engine.step(lanes, task.tokens, plan.stop);
      for (std::size_t i = 0; i < lanes.size(); ++i)
        score(model, engine, static_cast<Index>(i), task.tokens, task.firstScored,
              i == 0 ? result.exact : result.policies[i - 1]);
      steps.one();
    }
  }
  return results;
}

std::vector<PasskeyResult> runPasskeyTask(const Model &model, std::span<const Method *const> methods, const TaskPlan &plan) {
  for (const Index tokens : plan.lengths) {
    const PasskeyTask task = makePasskeyTask(model.tokenizer(), {tokens, 0.5, plan.seed, 0});
    requireContext(model, "passkey", tokens + std::ssize(task.answer));
  }
  std::vector<PasskeyResult> results;
  Steps steps(plan, plan.lengths.size() * plan.depths.size());
  const Method *const exact = nullptr;
  for (const Index tokens : plan.lengths)
    for (const double depth : plan.depths) {
      PasskeyResult &result = results.emplace_back(PasskeyResult{tokens, depth, plan.trials, 0, {}});
      result.policies.resize(methods.size());
      for (Index trial = 0; trial < plan.trials; ++trial) {
        const PasskeyTask task =
            makePasskeyTask(model.tokenizer(), {tokens, depth, plan.seed, static_cast<std::uint64_t>(trial)});
        if (answers(model, {&exact, 1}, task, plan.stop).front()) {
          ++result.exact;
          const std::vector<bool> found = answers(model, methods, task, plan.stop);
          for (std::size_t i = 0; i < found.size(); ++i) result.policies[i] += found[i] ? 1 : 0;
        }
        steps.one();
      }
    }
  return results;
}

} // namespace xqs

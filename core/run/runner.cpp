// SPDX-License-Identifier: Apache-2.0
#include "run/runner.h"

#include "capture/captures.h"
#include "capture/operations.h"
#include "engine/evaluate.h"
#include "run/machine.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <utility>

namespace xqs {

namespace {

constexpr const char *kStopped = "stopped before the end; windows that were finished are in the store, where one was given";

using Clock = std::chrono::steady_clock;
double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

} // namespace

/// One run in progress.
class Runner::Pass {
public:
  Pass(Session &session, const Experiment &experiment, RunStore *store, const RunHooks &hooks, RunResult &result)
      : m_session(session), m_experiment(experiment), m_store(store), m_hooks(hooks), m_result(result),
        m_evaluator(session.model(), experiment.state) {
    m_progress.total = result.run.windows * (1 + static_cast<Index>(experiment.policies.size()));
    m_emit = [this](Record record) {
      if (m_store != nullptr) m_store->append(std::move(record));
    };
  }
  void execute();

private:
  /// Policies [begin, end) side by side.
  struct Group {
    std::size_t begin, end;
  };

  void prepare(Group group);
  void exactPass(Index window, bool capture);
  void captureExact();
  void scoreGroup(Index window, Group group);
  void openLoops(Index window);
  std::vector<Group> groups(bool first) const;
  void addWindow(std::int64_t policy, Index window, const WindowScore &score);
  void reportSaturated(std::int64_t count, Group group, Index window);
  void problem(std::int64_t policy, Index window, const char *code, std::string text);
  void log(const char *level, std::string text);
  void report(std::string text);
  void advance(Clock::time_point started, Index units);
  void betweenGroups();

  Session &m_session;
  const Experiment &m_experiment;
  RunStore *m_store;
  const RunHooks &m_hooks;
  RunResult &m_result;
  WindowEvaluator m_evaluator;
  std::vector<std::shared_ptr<const Method>> m_methods;
  std::unique_ptr<ExactTrace> m_trace; // of the captured window, while it is worked on
  std::unique_ptr<Captures> m_captures;
  RunProgress m_progress;
  double m_busySeconds = 0;
  bool m_warned = false;
  Emit m_emit;
};

void Runner::Pass::execute() {
  for (const PolicyRow &row : m_result.policies) m_emit(row);
  log("info", fmt::format("{} on {}: {} x {} tokens, {} policies", m_result.run.model, m_result.run.device,
                          m_result.run.windows, m_experiment.window, m_experiment.policies.size()));
  const Index first = m_experiment.firstWindow;
  for (Index window = first; window < first + m_result.run.windows; ++window) {
    const bool capture = m_store != nullptr && m_experiment.captures && window == first;
    exactPass(window, capture);
    for (const Group group : groups(window == first)) {
      betweenGroups();
      prepare(group);
      scoreGroup(window, group);
      if (capture && group.begin == 0) captureExact();
    }
    if (capture) openLoops(window);
  }
}

/// Right before their first window, so that the first point need not wait for all decompositions.
void Runner::Pass::prepare(Group group) {
  for (std::size_t i = m_methods.size(); i < group.end; ++i) {
    report("preparing " + m_experiment.policies[i].canonical());
    m_methods.push_back(m_session.method(m_experiment.policies[i], m_hooks.stop));
  }
  const std::string &warning = m_session.calibration().warning();
  if (!warning.empty() && !std::exchange(m_warned, true)) log("warning", warning);
}

void Runner::Pass::captureExact() {
  const auto started = Clock::now();
  report("distributions and similarity of the exact model");
  m_captures->summarizeExact(m_session.calibration(), m_hooks.stop);
  m_captures->emitExact(m_emit);
  m_captures->emitSimilarity(m_emit);
  m_busySeconds += secondsSince(started);
}

void Runner::Pass::exactPass(Index window, bool capture) {
  const auto started = Clock::now();
  report(fmt::format("window {} of {}, exact model", window - m_experiment.firstWindow + 1, m_result.run.windows));
  const auto tokens = m_session.windowTokens(m_experiment.window, window);
  m_captures.reset();
  m_trace.reset();
  if (capture) m_trace = std::make_unique<ExactTrace>(m_session.model(), m_experiment.window);
  {
    OperationSums sums(m_session.backend(), {-1});
    addWindow(-1, window, m_evaluator.exact(tokens, m_trace.get(), m_hooks.stop));
    sums.emit(m_result.run.id, window, m_emit);
  }
  if (capture) m_captures = std::make_unique<Captures>(m_session.model(), *m_trace, m_result.run.id, window);
  advance(started, 1);
}

void Runner::Pass::scoreGroup(Index window, Group group) {
  const auto started = Clock::now();
  const std::size_t size = group.end - group.begin;
  std::vector<const Method *> methods;
  std::vector<std::int64_t> indices;
  for (std::size_t i = group.begin; i < group.end; ++i) {
    methods.push_back(m_methods[i].get());
    indices.push_back(static_cast<std::int64_t>(i));
  }
  OperationSums sums(m_session.backend(), indices);
  double captureSeconds = 0; // not the policies' time
  WindowEvaluator::Visit visit;
  if (m_captures)
    visit = [&](std::size_t method, Index layer, const Cache &cache) {
      const auto captureStarted = Clock::now();
      sums.pause();
      m_captures->observe(indices[method], "closed", layer, cache, false, m_emit);
      sums.resume();
      captureSeconds += secondsSince(captureStarted);
    };
  auto results = m_evaluator.run(methods, visit, m_hooks.stop);
  for (std::size_t i = 0; i < size; ++i) {
    results[i].score.seconds -= captureSeconds / static_cast<double>(size);
    addWindow(indices[i], window, results[i].score);
  }
  reportSaturated(results.front().saturated, group, window);
  sums.emit(m_result.run.id, window, m_emit);
  advance(started, static_cast<Index>(size));
  report(fmt::format("window {} of {}, {} of {} policies", window - m_experiment.firstWindow + 1, m_result.run.windows,
                     group.end, m_methods.size()));
}

void Runner::Pass::openLoops(Index window) {
  for (std::size_t i = 0; i < m_methods.size(); ++i) {
    betweenGroups();
    const auto started = Clock::now();
    const auto policy = static_cast<std::int64_t>(i);
    report(fmt::format("captures of window 1, {} of {} policies", i + 1, m_methods.size()));
    const auto visit = [&](Index layer, const Cache &cache) {
      m_captures->observe(policy, "open", layer, cache, true, m_emit);
    };
    openLoop(*m_methods[i], *m_trace, m_experiment.state, visit, m_hooks.stop);
    reportSaturated(m_session.backend().takeSaturated(), {i, i + 1}, window);
    m_busySeconds += secondsSince(started);
  }
  m_captures.reset();
  m_trace.reset();
}

/// The first policy alone, so that the first point comes early; then as many side by side as the experiment allows.
std::vector<Runner::Pass::Group> Runner::Pass::groups(bool first) const {
  std::vector<Group> all;
  const auto lanes = static_cast<std::size_t>(m_experiment.lanes);
  const std::size_t count = m_experiment.policies.size();
  for (std::size_t begin = 0; begin < count; begin = all.back().end)
    all.push_back({begin, std::min(count, begin + (first && begin == 0 ? 1 : lanes))});
  return all;
}

void Runner::Pass::addWindow(std::int64_t policy, Index window, const WindowScore &score) {
  WindowRow row;
  row.run = m_result.run.id, row.policy = policy, row.window = window, row.tokens = score.tokens;
  row.meanNll = score.meanNll, row.meanKl = score.meanKl, row.top1 = score.top1, row.seconds = score.seconds;
  m_result.windows.push_back(row);
  m_emit(row);
  if (!std::isfinite(score.meanNll))
    problem(policy, window, "not-finite", "the mean NLL of this window is not finite: its activations overflowed");
}

void Runner::Pass::reportSaturated(std::int64_t count, Group group, Index window) {
  if (count == 0) return;
  std::string names;
  for (std::size_t i = group.begin; i < group.end; ++i)
    names += (names.empty() ? "" : "; ") + m_experiment.policies[i].canonical();
  const bool alone = group.end - group.begin == 1;
  problem(alone ? static_cast<std::int64_t>(group.begin) : -1, window, "fp16-saturated",
          fmt::format("{} values were beyond FP16 and were stored as +-65504 ({})", count, names));
}

void Runner::Pass::problem(std::int64_t policy, Index window, const char *code, std::string text) {
  ProblemRow row;
  row.run = m_result.run.id, row.policy = policy, row.window = window;
  row.code = code, row.text = std::move(text);
  m_emit(row);
}

void Runner::Pass::log(const char *level, std::string text) {
  LogRow row;
  row.run = m_result.run.id, row.utc = utcNow(), row.level = level, row.text = std::move(text);
  m_emit(row);
}

void Runner::Pass::report(std::string text) {
  if (!m_hooks.progress) return;
  m_progress.text = std::move(text);
  m_hooks.progress(m_progress);
}

void Runner::Pass::advance(Clock::time_point started, Index units) {
  m_busySeconds += secondsSince(started);
  m_progress.done += units;
  m_progress.tokensPerSecond = static_cast<double>(m_progress.done * m_experiment.window) / m_busySeconds;
  m_progress.secondsLeft =
      m_busySeconds / static_cast<double>(m_progress.done) * static_cast<double>(m_progress.total - m_progress.done);
}

/// Where a stop is noticed, a pause waits and previews are answered.
void Runner::Pass::betweenGroups() {
  if (m_hooks.between) m_hooks.between();
  if (m_hooks.stop.stop_requested()) throw Error(Code::Cancelled, kStopped);
}

RunResult Runner::run(const RunHooks &hooks) {
  RunResult result;
  const SessionOptions &options = m_session.options(); // what is recorded is what runs
  m_experiment.model = options.model, m_experiment.text = options.text;
  m_experiment.backend = options.backend, m_experiment.threads = options.threads;
  const ModelShape &shape = m_session.model().shape();
  const Index windows = m_session.planWindows(m_experiment.window, m_experiment.firstWindow, m_experiment.windows);
  for (const PolicySpec &policy : m_experiment.policies)
    m_session.refuseOverlap(policy, m_experiment.window, m_experiment.firstWindow, windows);
  for (std::size_t i = 0; i < m_experiment.policies.size(); ++i)
    result.policies.push_back(describePolicy(m_experiment.policies[i], shape, m_experiment.window, m_experiment.state,
                                             static_cast<std::int64_t>(i)));
  result.run = describeRun(m_session, m_experiment, windows, "eval");
  if (m_store != nullptr) result.run.id = m_store->beginRun(result.run);
  for (PolicyRow &row : result.policies) row.run = result.run.id;
  if (hooks.started) hooks.started(result.run.id);

  const auto started = Clock::now();
  const auto end = [&](const char *status, const std::string &message) {
    if (m_store == nullptr) return;
    RunEndRow row;
    row.run = result.run.id, row.endedUtc = utcNow(), row.status = status, row.message = message;
    row.seconds = secondsSince(started);
    m_store->append(row);
    m_store->flush();
  };
  const auto endAfter = [&](const char *status, const std::string &message) {
    try {
      end(status, message);
    } catch (const Error &) { // the store itself is what failed: the first error is the one to tell
    }
  };
  try {
    Pass(m_session, m_experiment, m_store, hooks, result).execute();
    end("finished", "");
  } catch (const Error &error) {
    if (error.code() == Code::Cancelled) {
      endAfter("cancelled", kStopped);
      throw Error(Code::Cancelled, kStopped);
    }
    endAfter("failed", error.what());
    throw;
  } catch (const std::bad_alloc &) {
    const std::string message = "not enough memory for this run; use a shorter window, fewer lanes or a smaller model";
    endAfter("failed", message);
    throw Error(Code::OutOfMemory, message);
  } catch (const std::exception &error) {
    endAfter("failed", error.what());
    throw;
  }
  return result;
}

} // namespace xqs

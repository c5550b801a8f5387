// SPDX-License-Identifier: Apache-2.0
#include "run/run_pass.h"

#include "capture/operations.h"
#include "engine/generate.h"
#include "engine/seconds.h"
#include "run/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace xqs {

namespace {

/// Whatever the run tolerates: the next policy would fare no better.
bool endsTheRun(const Error &error) {
  return error.code() == Code::Cancelled || error.code() == Code::StoreUnwritable || error.code() == Code::BackendUnusable;
}

Blob bytesOf(const std::vector<float> &values) {
  Blob blob(values.size() * sizeof(float));
  std::memcpy(blob.data(), values.data(), blob.size());
  return blob;
}

} // namespace

RunPass::RunPass(Session &session, const Experiment &experiment, const RunPart &part, bool tolerant,
                 const WindowMemory &memory, RunStore *store, const RunHooks &hooks, RunResult &result)
    : m_session(session), m_experiment(experiment), m_part(part), m_tolerant(tolerant), m_memory(memory), m_store(store),
      m_hooks(hooks), m_result(result), m_evaluator(session.model(), experiment.state, experiment.protocol),
      m_work(missingWork(experiment, result.run.windows, part, store != nullptr && experiment.captures)) {
  for (const WindowWork &work : m_work) m_progress.total += work.units();
  for (const auto &[point, row] : part.stored.scored) m_scores[point] = {row.meanNll, row.meanKl};
  m_emit = [this](Record record) {
    if (m_store != nullptr) m_rows.push_back(std::move(record));
  };
}

void RunPass::execute() {
  begin();
  for (const WindowWork &work : m_work) {
    exactPass(work);
    bool captured = !work.needsTrace();
    for (const Places &group : groups(work.window, work.score)) {
      betweenGroups();
      scoreOrSplit(work, group);
      if (!std::exchange(captured, true)) captureExact(work); // after the first point
    }
    if (!captured) captureExact(work);
    for (const Places &group : groups(work.window, work.noise)) {
      betweenGroups();
      tolerate(group, [&] { noiseGroup(work.window, group); });
    }
    openLoops(work);
  }
}

void RunPass::begin() {
  const std::size_t policies = m_part.policies.size();
  if (m_part.stored.id == 0) {
    log("info", fmt::format("{} on {}: {} x {} tokens, {} policies", m_result.run.model, m_result.run.device,
                            m_result.run.windows, m_experiment.window, policies));
    if (!m_session.backendNote().empty()) log("info", m_session.backendNote());
  } else {
    std::size_t missing = 0;
    for (const WindowWork &work : m_work) missing += work.score.size();
    const std::size_t points = policies * static_cast<std::size_t>(m_result.run.windows);
    log("info", fmt::format("continued on {}: {} of {} windows under a policy are there", m_result.run.device,
                            points - missing, points));
  }
  for (const PolicyRow &row : m_result.policies)
    if (!m_part.stored.policies.contains(row.policy)) m_emit(row);
  for (const RunPart::Misfit &misfit : m_part.misfits)
    if (!m_part.stored.problems.contains(misfit.message))
      problem(indexOf(misfit.policy), -1, "does-not-fit", misfit.message);
  commit();
}

/// Right before their first window, so that the first point need not wait for all decompositions; not held, because a study
/// may have more methods than fit in memory.
std::vector<std::shared_ptr<const Method>> RunPass::prepare(const Places &group) {
  std::vector<std::shared_ptr<const Method>> methods;
  for (const std::size_t policy : group) {
    report("preparing " + m_experiment.policies[policy].canonical());
    methods.push_back(m_session.method(m_experiment.policies[policy], m_hooks.stop));
  }
  const std::string &warning = m_session.calibration().warning();
  if (!warning.empty() && !std::exchange(m_warned, true)) log("warning", warning);
  return methods;
}

void RunPass::exactPass(const WindowWork &work) {
  const auto started = Clock::now();
  report(fmt::format("window {} of {}, exact model", work.window - m_experiment.firstWindow + 1, m_result.run.windows));
  const auto tokens = m_session.windowTokens(m_experiment.window, work.window);
  m_captures.reset();
  m_trace.reset();
  if (work.needsTrace()) m_trace = std::make_unique<ExactTrace>(m_session.model(), m_experiment.window);
  {
    OperationSums sums(m_session.backend(), {-1});
    const WindowScore score = m_evaluator.exact(tokens, m_trace.get(), m_hooks.stop);
    if (!m_part.stored.scored.contains({-1, work.window})) {
      addScore(-1, work.window, score, m_evaluator.exactPositions());
      sums.emit(m_result.run.id, work.window, m_emit);
    }
  }
  commit();
  if (m_trace) m_captures = std::make_unique<Captures>(m_session.model(), *m_trace, m_result.run.id, work.window);
  advance(started, 1);
}

void RunPass::captureExact(const WindowWork &work) {
  const auto started = Clock::now();
  report("distributions and similarity of the exact model");
  m_captures->summarizeExact(m_session.calibration(), m_hooks.stop);
  if (work.captureExact) {
    m_captures->emitExact(m_emit);
    m_captures->emitSimilarity(m_emit);
    commit();
  }
  m_busySeconds += secondsSince(started);
}

/// A group that fails is tried one by one: only the policies at fault are given up, and policies that do not fit side by
/// side may fit one after the other.
void RunPass::scoreOrSplit(const WindowWork &work, const Places &group) {
  if (group.size() > 1) {
    try {
      return scoreGroup(work, group);
    } catch (const Error &error) {
      const bool memory = error.code() == Code::OutOfMemory;
      if (endsTheRun(error) || !(memory || m_tolerant)) throw;
      m_rows.clear();
      if (memory) m_session.dropMethods();
    } catch (const std::bad_alloc &) {
      if (!m_tolerant) throw;
      m_rows.clear();
    }
  }
  for (const std::size_t policy : group) tolerate({policy}, [&] { scoreGroup(work, {policy}); });
}

template <class Compute> void RunPass::tolerate(const Places &group, Compute compute) {
  std::string message = "not enough memory; use a shorter window or fewer lanes";
  try {
    return compute();
  } catch (const Error &error) {
    if (!m_tolerant || endsTheRun(error)) throw;
    message = error.what();
  } catch (const std::bad_alloc &) {
    if (!m_tolerant) throw;
  }
  m_rows.clear();
  for (const std::size_t policy : group) {
    m_failed.insert(policy);
    m_result.failures.push_back(fmt::format("{}: {}", m_experiment.policies[policy].canonical(), message));
    problem(indexOf(policy), -1, "failed", m_result.failures.back());
  }
  commit();
}

void RunPass::scoreGroup(const WindowWork &work, const Places &group) {
  if (group.size() == 1) m_memory.require(m_experiment.policies[group.front()]);
  const auto methods = prepare(group);
  const auto started = Clock::now();
  std::vector<const Method *> lanes;
  std::vector<std::int64_t> indices;
  for (std::size_t i = 0; i < group.size(); ++i) {
    lanes.push_back(methods[i].get());
    indices.push_back(indexOf(group[i]));
  }
  OperationSums sums(m_session.backend(), indices);
  double captureSeconds = 0; // not the policies' time
  WindowEvaluator::Options options;
  options.stop = m_hooks.stop;
  if (m_captures)
    options.visit = [&](std::size_t method, Index layer, const Cache &cache) {
      const auto captureStarted = Clock::now();
      sums.pause();
      m_captures->observe(indices[method], "closed", layer, cache, false, m_emit);
      sums.resume();
      captureSeconds += secondsSince(captureStarted);
    };
  auto results = m_evaluator.run(lanes, options);
  for (std::size_t i = 0; i < group.size(); ++i) {
    results[i].score.seconds -= captureSeconds / static_cast<double>(group.size());
    addScore(indices[i], work.window, results[i].score, results[i].positions);
  }
  reportSaturated(results.front().saturated, group, work.window);
  if (results.front().firstLayer == 0) sums.emit(m_result.run.id, work.window, m_emit); // else a part of the work
  commit();
  advance(started, static_cast<Index>(group.size()));
  report(fmt::format("window {} of {}, {} of {} policies", work.window - m_experiment.firstWindow + 1, m_result.run.windows,
                     group.back() + 1, m_experiment.policies.size()));
}

void RunPass::noiseGroup(Index window, const Places &group) {
  const auto methods = prepare(group);
  const auto started = Clock::now();
  report(fmt::format("noise floor, {} of {} policies", group.back() + 1, m_experiment.policies.size()));
  std::vector<const Method *> lanes;
  for (const auto &method : methods) lanes.push_back(method.get());
  WindowEvaluator::Options options;
  options.stop = m_hooks.stop, options.perturbation = kNoisePerturbation;
  options.seed = static_cast<std::uint64_t>(m_experiment.seed) + 1;
  const auto results = m_evaluator.run(lanes, options);
  for (std::size_t i = 0; i < group.size(); ++i) {
    const auto score = m_scores.find({indexOf(group[i]), window});
    if (score == m_scores.end()) continue; // it failed
    NoiseRow row;
    row.run = m_result.run.id, row.policy = indexOf(group[i]), row.window = window, row.perturbation = kNoisePerturbation;
    row.nllDifference = results[i].score.meanNll - score->second.first;
    row.klDifference = results[i].score.meanKl - score->second.second;
    m_result.noise.push_back(row);
    m_emit(row);
  }
  commit();
  advance(started, static_cast<Index>(group.size()));
}

void RunPass::openLoops(const WindowWork &work) {
  for (const std::size_t policy : work.open) {
    if (m_failed.contains(policy)) continue;
    betweenGroups();
    const auto started = Clock::now();
    report(fmt::format("captures of window 1, {} of {} policies", policy + 1, m_experiment.policies.size()));
    tolerate({policy}, [&] {
      const auto method = prepare({policy}).front();
      const auto visit = [&](Index layer, const Cache &cache) {
        m_captures->observe(indexOf(policy), "open", layer, cache, true, m_emit);
      };
      openLoop(*method, *m_trace, m_experiment.state, visit, m_hooks.stop);
      reportSaturated(m_session.backend().takeSaturated(), {policy}, work.window);
      commit();
    });
    m_busySeconds += secondsSince(started);
  }
  m_captures.reset();
  m_trace.reset();
}

/// In the first window the first policy alone, so that the first point comes early; then as many side by side as the
/// experiment allows and memory holds. Groups do not depend on what is missing: the same policies compute side by side after
/// an interruption.
std::vector<RunPass::Places> RunPass::groups(Index window, const Places &wanted) const {
  std::vector<Places> all;
  const Places &mine = m_part.policies;
  const bool first = window == m_experiment.firstWindow;
  for (std::size_t begin = 0, end = 0; begin < mine.size(); begin = end) {
    end = std::min(mine.size(), begin + (first && begin == 0 ? 1 : static_cast<std::size_t>(m_experiment.lanes)));
    end = lastThatFits(begin, end);
    Places group;
    for (std::size_t i = begin; i < end; ++i)
      if (!m_failed.contains(mine[i]) && std::find(wanted.begin(), wanted.end(), mine[i]) != wanted.end())
        group.push_back(mine[i]);
    if (!group.empty()) all.push_back(std::move(group));
  }
  return all;
}

/// As many of the policies [begin, end) as fit side by side, but one.
std::size_t RunPass::lastThatFits(std::size_t begin, std::size_t end) const {
  if (m_memory.unlimited()) return end;
  Index bytes = m_memory.group({});
  for (std::size_t i = begin; i < end; ++i) {
    const PolicySpec &policy = m_experiment.policies[m_part.policies[i]];
    bytes += m_memory.lane(policy);
    if (i > begin && !m_memory.fits(bytes)) return i;
  }
  return end;
}

void RunPass::addScore(std::int64_t policy, Index window, const WindowScore &score, const PositionScores &positions) {
  WindowRow row;
  row.run = m_result.run.id, row.policy = policy, row.window = window, row.tokens = score.tokens;
  row.meanNll = score.meanNll, row.meanKl = score.meanKl, row.top1 = score.top1, row.seconds = score.seconds;
  m_result.windows.push_back(row);
  m_emit(row);
  if (window == m_experiment.firstWindow) m_scores[{policy, window}] = {score.meanNll, score.meanKl};
  if (m_experiment.positions) {
    PositionRow each;
    each.run = m_result.run.id, each.policy = policy, each.window = window;
    each.first = firstScored(m_experiment.protocol, m_experiment.window);
    each.nll = bytesOf(positions.nll), each.kl = bytesOf(positions.kl), each.sameTop = positions.sameTop;
    m_emit(std::move(each));
  }
  if (!std::isfinite(score.meanNll))
    problem(policy, window, "not-finite", "the mean NLL of this window is not finite: its activations overflowed");
}

void RunPass::reportSaturated(std::int64_t count, const Places &group, Index window) {
  if (count == 0) return;
  std::string names;
  for (const std::size_t policy : group) names += (names.empty() ? "" : "; ") + m_experiment.policies[policy].canonical();
  problem(group.size() == 1 ? indexOf(group.front()) : -1, window, "fp16-saturated",
          fmt::format("{} values were beyond FP16 and were stored as +-65504 ({})", count, names));
}

void RunPass::problem(std::int64_t policy, Index window, const char *code, std::string text) {
  ProblemRow row;
  row.run = m_result.run.id, row.policy = policy, row.window = window;
  row.code = code, row.text = std::move(text);
  m_emit(row);
}

void RunPass::log(const char *level, std::string text) {
  LogRow row;
  row.run = m_result.run.id, row.utc = utcNow(), row.level = level, row.text = std::move(text);
  m_emit(row);
}

/// The rows of what was just computed, all or none of them, before anything else begins.
void RunPass::commit() {
  if (m_store == nullptr || m_rows.empty()) return;
  m_store->append(std::exchange(m_rows, {}));
  m_store->flush();
}

void RunPass::report(std::string text) {
  if (!m_hooks.progress) return;
  m_progress.text = std::move(text);
  m_hooks.progress(m_progress);
}

void RunPass::advance(Clock::time_point started, Index units) {
  m_busySeconds += secondsSince(started);
  m_progress.done += units;
  m_progress.tokensPerSecond = static_cast<double>(m_progress.done * m_experiment.window) / m_busySeconds;
  m_progress.secondsLeft =
      m_busySeconds / static_cast<double>(m_progress.done) * static_cast<double>(m_progress.total - m_progress.done);
}

/// Where a stop is noticed, a pause waits and previews are answered.
void RunPass::betweenGroups() {
  if (m_hooks.between) m_hooks.between();
  if (m_hooks.stop.stop_requested()) throw Error(Code::Cancelled, kRunStopped);
}

} // namespace xqs

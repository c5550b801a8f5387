// SPDX-License-Identifier: Apache-2.0
#include "run/study_runner.h"

#include "run/machine.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>

namespace xqs {

namespace {

/// Turns the progress of single runs into that of the whole.
class Meter {
public:
  Meter(const std::vector<PlannedRun> &runs, const StudyHooks &hooks) : m_runs(runs), m_hooks(hooks) {
    for (const PlannedRun &run : runs) m_total += run.workFlops();
  }
  void loading(std::size_t run, const std::string &text) {
    m_started = {};
    show(run, 0, 0, text);
  }
  void running(std::size_t run, const RunProgress &p) {
    const auto now = std::chrono::steady_clock::now();
    if (m_started == std::chrono::steady_clock::time_point{}) m_started = now;
    const double share = p.total > 0 ? static_cast<double>(p.done) / static_cast<double>(p.total) : 0;
    show(run, share, p.tokensPerSecond, p.text);
    m_busy = m_busyBefore + std::chrono::duration<double>(now - m_started).count();
  }
  /// A pause is not work.
  template <class Wait> void paused(Wait wait) {
    const auto before = std::chrono::steady_clock::now();
    wait();
    if (m_started != std::chrono::steady_clock::time_point{}) m_started += std::chrono::steady_clock::now() - before;
  }
  void finished(std::size_t run) {
    m_done += m_runs[run].workFlops();
    m_busyBefore = m_busy;
    m_started = {};
  }

private:
  void show(std::size_t run, double share, double tokensPerSecond, const std::string &text) {
    if (!m_hooks.progress || m_total == 0) return;
    const double done = m_done + share * m_runs[run].workFlops();
    StudyProgress progress;
    progress.fraction = done / m_total;
    progress.tokensPerSecond = tokensPerSecond;
    progress.secondsLeft = done > 0 ? m_busy / done * (m_total - done) : 0;
    progress.text = m_runs.size() > 1 ? fmt::format("run {} of {}, {}", run + 1, m_runs.size(), text) : text;
    m_hooks.progress(progress);
  }

  const std::vector<PlannedRun> &m_runs;
  const StudyHooks &m_hooks;
  double m_total = 0, m_done = 0; // FLOP
  double m_busy = 0, m_busyBefore = 0;
  std::chrono::steady_clock::time_point m_started{};
};

/// All points are there, but the process that computed the last one was killed before it could say so.
void endRun(RunStore &store, RowId run) {
  RunEndRow end;
  end.run = run, end.endedUtc = utcNow(), end.status = "finished";
  store.continueRun();
  store.append(end);
  store.flush();
}

} // namespace

Session &StudySessions::open(const SessionOptions &options, const Session::Progress &progress, std::stop_token stop) {
  for (Session *session : {m_own, m_session.get()}) {
    if (session == nullptr || session->options().model != options.model || session->options().backend != options.backend ||
        session->options().threads != options.threads)
      continue;
    session->setText(options.text);
    session->setCalibration(options.calibration);
    return *session;
  }
  m_session.reset(); // two models need not fit side by side
  m_session = std::make_unique<Session>(options, m_backends, progress, std::move(stop));
  return *m_session;
}

StudyOutcome runPlanned(const Study &study, const std::vector<PlannedRun> &runs, RunStore &store, StudySessions &sessions,
                        const StudyHooks &hooks, int threads) {
  Meter meter(runs, hooks);
  StudyOutcome outcome;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const PlannedRun &run = runs[i];
    if (run.error) {
      outcome.failedRuns.push_back(*run.error);
      outcome.problems.emplace_back(run.error->what());
      continue;
    }
    outcome.points += static_cast<Index>(run.part.policies.size()) * run.windows;
    for (const RunPart::Misfit &misfit : run.part.misfits) outcome.problems.push_back(misfit.message);
    const bool newMisfits = std::any_of(run.part.misfits.begin(), run.part.misfits.end(), [&](const RunPart::Misfit &m) {
      return !run.part.stored.problems.contains(m.message);
    });
    if (run.work.empty() && !newMisfits) {
      if (run.part.stored.id != 0 && !run.part.stored.finished) endRun(store, run.part.stored.id);
      continue;
    }
    const Experiment &e = run.experiment;
    Session &session = sessions.open(
        {e.model, e.text, e.backend, threads > 0 ? threads : e.threads, e.calibration},
        [&](double, const std::string &text) { meter.loading(i, text); }, hooks.stop);
    RunHooks runHooks;
    runHooks.stop = hooks.stop;
    runHooks.progress = [&](const RunProgress &p) { meter.running(i, p); };
    runHooks.started = hooks.started;
    if (hooks.between) runHooks.between = [&] { meter.paused([&] { hooks.between(session); }); };
    std::vector<std::size_t> mine = run.part.policies;
    for (const RunPart::Misfit &misfit : run.part.misfits) mine.push_back(misfit.policy);
    std::sort(mine.begin(), mine.end());
    const RunPlan plan{study.name(), std::move(mine), run.part.stored, !study.isExperiment()};
    const RunResult result = Runner(session, e, &store, plan).run(runHooks);
    for (const WindowRow &row : result.windows) outcome.computed += row.policy >= 0;
    outcome.problems.insert(outcome.problems.end(), result.failures.begin(), result.failures.end());
    meter.finished(i);
  }
  return outcome;
}

StudyOutcome runStudy(const Study &study, const StudyPart &part, std::span<const BackendInfo> backends,
                      const StudyHooks &hooks, int threads) {
  const std::vector<PlannedRun> runs = planStudy(study, part);
  if (study.isExperiment() && runs.front().error) throw *runs.front().error; // before there is a store
  RunStore store(part.store);
  StudySessions sessions(backends);
  StudyOutcome outcome = runPlanned(study, runs, store, sessions, hooks, threads);
  store.close();
  return outcome;
}

} // namespace xqs

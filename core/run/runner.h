// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/experiment.h"
#include "run/resume.h"
#include "run/session.h"
#include "store/run_store.h"

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

namespace xqs {

/// Where a run stands. One unit is one window under one policy (the exact pass counts as one), of those that were missing.
struct RunProgress {
  Index done = 0, total = 0;
  double tokensPerSecond = 0; ///< policies' tokens together, without pauses
  double secondsLeft = 0;
  std::string text; ///< "window 2 of 11, 5 of 17 policies"
};

/// What a run tells and asks while it runs; all on the thread that runs, all optional.
struct RunHooks {
  std::stop_token stop;
  std::function<void(RowId run)> started; ///< its row is committed
  std::function<void(const RunProgress &)> progress;
  std::function<void()> between; ///< between groups of lanes: previews are answered here, a pause blocks here
};

/// What a run found now, as rows; the same rows are in the store, where there is one.
struct RunResult {
  RunRow run;
  std::vector<PolicyRow> policies;
  std::vector<WindowRow> windows;
  std::vector<NoiseRow> noise;       ///< where the experiment asks for it
  std::vector<std::string> failures; ///< of a tolerant run: policies that failed while they ran
};

/// What makes a run part of a study.
struct RunPlan {
  std::string study;                 ///< its name; empty: a run of its own, all policies, nothing stored
  std::vector<std::size_t> policies; ///< places in the experiment's list that this process does
  StoredRun stored;                  ///< what need not be done; with an id: the run that is continued
  bool tolerant = false;             ///< a policy that fails becomes a row in `problem`
};

/// Executes an experiment on a session: the exact pass of a window, then the policies in groups of lanes; window 1 of all
/// policies first, then window 2, so that the whole curve stands early. The rows of a group are committed together before
/// the next one starts. The first window is captured where the experiment asks for it.
class Runner {
public:
  /// `store` may be null: then nothing but the result is kept, and nothing is captured.
  Runner(Session &session, const Experiment &experiment, RunStore *store, RunPlan plan = {})
      : m_session(session), m_experiment(experiment), m_store(store), m_plan(std::move(plan)) {}

  /// Throws Usage, TextTooShort and OutOfMemory (a device's memory does not suffice: see memory_fit.h) before anything is
  /// written; afterwards a RunEndRow says how it ended ("finished", "cancelled", "failed") and the error is thrown on:
  /// Cancelled after a stop (finished windows are kept), or what went wrong.
  RunResult run(const RunHooks &hooks);

private:
  Session &m_session;
  Experiment m_experiment;
  RunStore *m_store;
  RunPlan m_plan;
};

/// What every run says: when, with which model, on which machine, by which program.
RunRow describeModel(const Model &model, int threads, const char *kind);
/// The row that makes a run repeatable; `kind`: "eval", "layers" or "preview".
RunRow describeRun(const Session &session, const Experiment &experiment, Index windows, const char *kind);
/// SHA-256 of everything that moves a run's figures, given its policies and windows; hex.
std::string studyKey(const Experiment &experiment, const std::string &modelHash, const std::string &tokensHash,
                     const std::string &calibrationTokensHash);
/// A policy's ledger for a window, from arithmetic alone.
PolicyRow describePolicy(const PolicySpec &spec, const ModelShape &shape, Index window, State state, std::int64_t index);

} // namespace xqs

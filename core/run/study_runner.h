// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/runner.h"
#include "run/study_plan.h"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace xqs {

/// Where a study stands, over all its runs.
struct StudyProgress {
  double fraction = 0; ///< of the work that was missing at the start
  double tokensPerSecond = 0, secondsLeft = 0;
  std::string text; ///< "run 2 of 5, window 1 of 4, 3 of 12 policies"
};

struct StudyHooks {
  std::stop_token stop;
  std::function<void(const StudyProgress &)> progress;
  std::function<void(RowId run)> started;       ///< of each run: its row is committed
  std::function<void(const Session &)> between; ///< as of RunHooks, with the session that runs
};

/// The sessions of runs that follow each other: the one before is used again where the next run has the same model and
/// backend.
class StudySessions {
public:
  /// `own` is used where it fits, with its text and calibration replaced; the caller keeps it and sets them back.
  explicit StudySessions(std::span<const BackendInfo> backends, Session *own = nullptr) : m_backends(backends), m_own(own) {}
  Session &open(const SessionOptions &options, const Session::Progress &progress, std::stop_token stop);

private:
  std::span<const BackendInfo> m_backends;
  Session *m_own;
  std::unique_ptr<Session> m_session;
};

/// What a study came to.
struct StudyOutcome {
  Index points = 0;                  ///< windows under a policy that are in the store now, of this part
  Index computed = 0;                ///< of those, by this call
  std::vector<std::string> problems; ///< policies that do not fit or failed, runs that could not start
  std::vector<Error> failedRuns;     ///< why whole runs could not be made
};

/// Computes what is missing of the study's part, run by run; a model is loaded once for runs that follow each other. Runs
/// that cannot start are left out and told. Throws Cancelled, StoreUnwritable and what loading throws; points that were
/// finished are in the store. `threads` > 0 replaces the experiments'.
StudyOutcome runStudy(const Study &study, const StudyPart &part, std::span<const BackendInfo> backends,
                      const StudyHooks &hooks, int threads = 0);
/// The same for runs that were planned for this store, which stays open.
StudyOutcome runPlanned(const Study &study, const std::vector<PlannedRun> &runs, RunStore &store, StudySessions &sessions,
                        const StudyHooks &hooks, int threads = 0);

} // namespace xqs

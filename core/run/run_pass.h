// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "capture/captures.h"
#include "engine/evaluate.h"
#include "run/memory_fit.h"
#include "run/runner.h"

#include <chrono>
#include <map>
#include <memory>
#include <set>

namespace xqs {

inline constexpr const char *kRunStopped =
    "stopped before the end; windows that were finished are in the store, where one was given";

/// One run in progress: computes what is missing, window by window, and appends it.
class RunPass {
public:
  /// `store` may be null. All references must outlive this.
  RunPass(Session &session, const Experiment &experiment, const RunPart &part, bool tolerant, const WindowMemory &memory,
          RunStore *store, const RunHooks &hooks, RunResult &result);
  /// Throws Cancelled and what went wrong.
  void execute();

private:
  using Clock = std::chrono::steady_clock;
  using Places = std::vector<std::size_t>; ///< of policies in the experiment's list

  void begin();
  void exactPass(const WindowWork &work);
  void captureExact(const WindowWork &work);
  void scoreOrSplit(const WindowWork &work, const Places &group);
  void scoreGroup(const WindowWork &work, const Places &group);
  void noiseGroup(Index window, const Places &group);
  void openLoops(const WindowWork &work);
  std::vector<Places> groups(Index window, const Places &wanted) const;
  std::size_t lastThatFits(std::size_t begin, std::size_t end) const;
  std::vector<std::shared_ptr<const Method>> prepare(const Places &group);

  /// Calls `compute`; where the run is tolerant, an error of what these policies do ends them, not the run.
  template <class Compute> void tolerate(const Places &group, Compute compute);
  void addScore(std::int64_t policy, Index window, const WindowScore &score, const PositionScores &positions);
  void reportSaturated(std::int64_t count, const Places &group, Index window);
  void problem(std::int64_t policy, Index window, const char *code, std::string text);
  void log(const char *level, std::string text);
  void commit();
  void report(std::string text);
  void advance(Clock::time_point started, Index units);
  void betweenGroups();
  std::int64_t indexOf(std::size_t policy) const { return m_part.indices[policy]; }

  Session &m_session;
  const Experiment &m_experiment;
  const RunPart &m_part;
  bool m_tolerant;
  WindowMemory m_memory;
  RunStore *m_store;
  const RunHooks &m_hooks;
  RunResult &m_result;
  WindowEvaluator m_evaluator;
  std::vector<WindowWork> m_work;
  std::unique_ptr<ExactTrace> m_trace; // of the captured window, while it is worked on
  std::unique_ptr<Captures> m_captures;
  std::vector<Record> m_rows; // of the unit in progress: committed together
  Emit m_emit;
  std::set<std::size_t> m_failed;
  std::map<StoredRun::Point, std::pair<double, double>>
      m_scores; // mean NLL, mean KL: what the noise floor is a difference to
  RunProgress m_progress;
  double m_busySeconds = 0;
  bool m_warned = false;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "run/preview.h"

#include "run/machine.h"
#include "run/results.h"
#include "run/runner.h"

#include <algorithm>
#include <chrono>

namespace xqs {

namespace {
using Clock = std::chrono::steady_clock;
} // namespace

Preview::Preview(Session &session, RunStore &store)
    : m_session(session), m_store(store),
      m_tokens(std::min({kTokens, session.model().config().contextLength, static_cast<Index>(session.tokens().size())})) {
  Experiment experiment;
  experiment.model = session.options().model, experiment.text = session.options().text;
  experiment.backend = session.options().backend, experiment.threads = session.options().threads;
  experiment.window = std::max<Index>(m_tokens, 2), experiment.windows = 1;
  session.planWindows(experiment.window, 0, 1);
  RunRow row = describeRun(session, experiment, 1, "preview");
  row.protocol = "Open loop: every layer gets the exact model's rows of the text's first tokens; " + row.protocol;
  m_run = store.beginRun(row);
}

Preview::~Preview() {
  RunEndRow row;
  row.run = m_run, row.endedUtc = utcNow(), row.status = "finished";
  try {
    m_store.append(row);
  } catch (const Error &) { // the store's next user is told
  }
}

void Preview::warm(std::stop_token stop) {
  if (warmed()) return;
  const auto tokens = m_session.tokens().first(static_cast<std::size_t>(m_tokens));
  if (!m_trace) m_trace = traceExact(m_session.model(), tokens, stop);
  auto captures = std::make_unique<Captures>(m_session.model(), *m_trace, m_run, 0);
  captures->summarizeExact(m_session.calibration(), stop);
  m_captures = std::move(captures);
  const Emit emit = [this](Record record) { m_store.append(std::move(record)); };
  m_captures->emitExact(emit);
  m_captures->emitSimilarity(emit);
}

Preview::Answer Preview::show(const PolicySpec &spec, std::stop_token stop) {
  const auto started = Clock::now();
  const auto answer = [&](std::int64_t index) {
    return Answer{index, std::chrono::duration<double, std::milli>(Clock::now() - started).count()};
  };
  if (const auto shown = m_shown.find(spec.canonical()); shown != m_shown.end()) return answer(shown->second);
  const std::int64_t index = m_nextIndex++; // never used twice: a stopped preview leaves rows behind
  PolicyRow policy = describePolicy(spec, m_session.model().shape(), m_tokens, State::All, index);
  policy.run = m_run;
  warm(stop);
  const auto method = m_session.method(spec, stop);
  m_store.append(policy);
  const Emit emit = [this](Record record) { m_store.append(std::move(record)); };
  openLoop(
      *method, *m_trace, State::All,
      [&](Index layer, const Cache &cache) { m_captures->observe(index, "open", layer, cache, true, emit); }, stop);
  if (const std::int64_t saturated = m_session.backend().takeSaturated(); saturated > 0) {
    ProblemRow problem;
    problem.run = m_run, problem.policy = index, problem.window = 0, problem.code = "fp16-saturated";
    problem.text = std::to_string(saturated) + " values were beyond FP16 and were stored as +-65504";
    m_store.append(problem);
  }
  m_store.flush();
  m_shown.emplace(spec.canonical(), index);
  return answer(index);
}

} // namespace xqs

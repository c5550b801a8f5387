// SPDX-License-Identifier: Apache-2.0
#include "run/profile_pass.h"

#include "analysis/statistics.h"
#include "engine/seconds.h"
#include "run/machine.h"
#include "run/profile_peaks.h"

#include <fmt/format.h>

#include <cmath>
#include <new>
#include <utility>

namespace xqs {

namespace {

/// Ends the run, not the point: what the next point would meet too.
bool endsTheRun(const Error &error) {
  return error.code() != Code::OutOfMemory && error.code() != Code::Usage && error.code() != Code::Unsupported;
}

/// Lets decompositions be stopped while it lives.
class StopsWith {
public:
  StopsWith(Calibration &calibration, const std::stop_token &stop) : m_calibration(calibration) {
    calibration.setStop(stop);
  }
  ~StopsWith() { m_calibration.setStop({}); }
  StopsWith(const StopsWith &) = delete;
  StopsWith &operator=(const StopsWith &) = delete;

private:
  Calibration &m_calibration;
};

} // namespace

template <class Row> void ProfilePass::add(Row row, std::vector<Row> &to) {
  row.run = m_result.run.id;
  m_rows.emplace_back(row);
  to.push_back(std::move(row));
}

/// Together, and told.
void ProfilePass::commit() {
  m_store.append(std::exchange(m_rows, {}));
  m_store.flush();
  if (m_hooks.grown) m_hooks.grown(m_result);
}

void ProfilePass::report(const std::string &text) {
  if (!m_hooks.progress) return;
  RunProgress progress{m_done, m_total, 0, 0, text};
  if (m_done > 0 && m_done < m_total)
    progress.secondsLeft = secondsSince(m_started) / static_cast<double>(m_done) * static_cast<double>(m_total - m_done);
  if (!m_result.steps.empty())
    progress.tokensPerSecond = static_cast<double>(m_result.steps.back().batch) / m_result.steps.back().seconds;
  m_hooks.progress(progress);
}

void ProfilePass::problem(std::int64_t policy, const char *code, const std::string &text) {
  ProblemRow row;
  row.policy = policy, row.code = code, row.text = text;
  add(std::move(row), m_result.problems);
}

std::string ProfilePass::nameOf(const Place &place) const {
  return fmt::format("{}, {} tokens x {}", policyOf(place).canonical(), place.context, place.batch);
}

void ProfilePass::execute() {
  const StopsWith stops(m_calibration, m_hooks.stop);
  m_total = std::ssize(m_request.contexts) * std::ssize(m_request.batches) * std::ssize(m_request.policies);
  begin();
  for (const Index context : m_request.contexts)
    for (const Index batch : m_request.batches)
      for (std::size_t i = 0; i < m_request.policies.size(); ++i) {
        if (m_hooks.between) m_hooks.between();
        if (m_hooks.stop.stop_requested()) throw Error(Code::Cancelled, kProfileStopped);
        if (m_fits[i]) tryPoint({static_cast<std::int64_t>(i), context, batch});
        ++m_done;
      }
  if (m_result.steps.empty()) std::rethrow_exception(m_firstFailure); // FP16 fits every model: something did not fit
  checkDrift();
  report("finished");
}

/// Limits of the machine and steps of the first point come before any instrument is asked: some leave something behind.
void ProfilePass::begin() {
  describePolicies();
  report("measuring the machine's limits");
  for (PeakRow &row : measurePeaks(m_model.backend(), m_hooks.stop)) add(std::move(row), m_result.peaks);
  commit();
  m_untouched = timeFirstPoint("without instruments");
  report("asking the instruments");
  m_instruments.emplace(m_model.backend());
  for (InstrumentRow &row : m_instruments->rows(m_result.run.id, false)) add(std::move(row), m_result.instruments);
  commit();
}

void ProfilePass::describePolicies() {
  for (std::size_t i = 0; i < m_request.policies.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const PolicySpec &policy = m_request.policies[i];
    try {
      add(describePolicy(policy, m_model.shape(), m_request.contexts.back(), State::Stream, index), m_result.policies);
      m_fits.push_back(true);
    } catch (const Error &error) {
      if (error.code() != Code::Usage) throw;
      m_fits.push_back(false);
      problem(index, "misfit", error.what());
    }
  }
}

void ProfilePass::tryPoint(const Place &place) {
  attempt(place, nameOf(place), [&] { keep(measure(place)); });
}

/// What a point fails with is a row, where the next one may fare better.
template <class Work> void ProfilePass::attempt(const Place &place, const std::string &what, const Work &work) {
  const char *code = "out-of-memory";
  std::string message = "not enough memory";
  try {
    return work();
  } catch (const Error &error) {
    if (endsTheRun(error)) throw;
    if (error.code() != Code::OutOfMemory) code = "failed";
    message = error.what();
    if (!m_firstFailure) m_firstFailure = std::current_exception();
  } catch (const std::bad_alloc &) {
    if (!m_firstFailure) m_firstFailure = std::current_exception();
  }
  m_rows.clear();
  problem(place.policy, code, what + ": " + message);
  commit();
}

ProfilePass::Checked ProfilePass::checkedPoint(const Place &place) const {
  const DecodePoint point{place.context,  place.batch,         profiledSteps(m_request),
                          m_request.form, m_request.placement, m_request.seed};
  DecodeMemory need = decodeMemory(point, policyOf(place), m_model.config(), m_model.backend().weightType());
  const Index weights = std::exchange(need.weights, 0); // they are there
  requireMemory(need, point, m_model.backend());
  return {point, weights + need.maps};
}

PointRows ProfilePass::measure(const Place &place) {
  const auto doing = [&](const std::string &text) { report(nameOf(place) + ": " + text); };
  const Checked checked = checkedPoint(place);
  doing("preparing");
  const auto method = prepareMethod(policyOf(place), m_model, m_calibration);
  doing("filling caches");
  DecodeSequences sequences(*method, checked.point, m_hooks.stop);
  const PointKey key{m_result.run.id, place.policy, place.context, place.batch};
  PointRows rows = PointProfiler(sequences, m_request, *m_instruments, key, m_hooks.stop, doing).measure();
  rows.step.weightBytes = checked.weightBytes;
  return rows;
}

void ProfilePass::keep(PointRows point) {
  for (TrafficRow &row : point.traffic) add(std::move(row), m_result.traffic);
  for (KernelRow &row : point.kernels)
    if (m_request.microscope)
      add(std::move(row), m_result.kernels);
    else
      m_rows.emplace_back(std::move(row));
  for (ThroughputRow &row : point.throughput) m_rows.emplace_back(std::move(row));
  for (ProblemRow &row : point.problems) add(std::move(row), m_result.problems);
  add(std::move(point.step), m_result.steps); // last: a point is there once its step is
  commit();
}

/// FP16 at the shortest context; NaN where that cannot be timed.
double ProfilePass::timeFirstPoint(const char *when) {
  const Place place{0, m_request.contexts.front(), m_request.batches.front()};
  const std::string doing = fmt::format("{}: timing it {}", nameOf(place), when);
  double seconds = std::nan("");
  attempt(place, doing, [&] {
    report(doing);
    const auto method = prepareMethod(policyOf(place), m_model, m_calibration);
    DecodeSequences sequences(*method, checkedPoint(place).point, m_hooks.stop);
    seconds = quantileOf(timeSteps(sequences, m_request.steps, m_hooks.stop), 0.5);
  });
  return seconds;
}

/// The first point's steps once more: what instruments leave behind when they are off again, or a machine that has become
/// slower, is in all times but those that came before them.
void ProfilePass::checkDrift() {
  const double drift = timeFirstPoint("again") / m_untouched - 1;
  if (std::isnan(drift)) return;
  constexpr double kSteady = 0.05;
  LogRow row;
  row.utc = utcNow(), row.level = std::abs(drift) > kSteady ? "warning" : "info";
  row.text =
      fmt::format("timed at the end, a step of the first point has changed by {:+.1f} % since before instruments were "
                  "asked: so far times moved by what they leave behind, a warm machine and other programs",
                  100 * drift);
  add(std::move(row), m_result.log);
  commit();
}

void ProfilePass::endInstruments() {
  if (!m_instruments) return;
  m_rows.clear(); // of a point that did not finish
  const std::vector<InstrumentRow> dropped = m_instruments->rows(m_result.run.id, true);
  if (dropped.empty()) return;
  for (const InstrumentRow &row : dropped) add(row, m_result.instruments);
  commit();
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "run/profile_point.h"

#include "analysis/statistics.h"
#include "engine/seconds.h"
#include "error.h"
#include "run/traffic_sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

constexpr Index kTurns = 4;       ///< steps with an instrument, and without it, that its cost is the difference of; two each
constexpr Index kTracedSteps = 3; ///< the one that took the median time is kept
constexpr Index kSampledSteps = 8;
constexpr Index kCountedSteps = 16;  ///< at most: three counts of two passes, each tried twice, and a few in reserve
constexpr Index kMagnifiedSteps = 8; ///< at most: two counts of kernels, each tried twice, were they to take two passes
/// Counters hold about a thousand ranges (1024 on a GPU); of larger steps layers are told as a whole.
constexpr Index kMostRanges = 1000;

/// Switches an instrument off, also where an exception comes between: then that is the error to tell.
class SwitchOff {
public:
  explicit SwitchOff(std::function<void()> off) : m_off(std::move(off)) {}
  ~SwitchOff() {
    try {
      now();
    } catch (const Error &) {
    }
  }
  SwitchOff(const SwitchOff &) = delete;
  SwitchOff &operator=(const SwitchOff &) = delete;
  void now() {
    if (const auto off = std::exchange(m_off, nullptr)) off();
  }

private:
  std::function<void()> m_off;
};

} // namespace

std::vector<InstrumentRow> ProfileInstruments::rows(RowId run, bool atEnd) const {
  std::vector<InstrumentRow> rows;
  const std::vector<InstrumentStatus> now = atEnd ? m_backend.instruments().status() : m_status;
  for (const InstrumentStatus &status : now) {
    const InstrumentStatus &before = m_status[at(status.instrument)];
    // What an instrument knows itself (samples) is not in what it gave. A backend counts over all of its runs.
    const std::int64_t dropped = std::max(m_dropped[at(status.instrument)], status.dropped - before.dropped);
    const bool changed = status.state != before.state || status.sentence != before.sentence;
    if (!atEnd || dropped > 0 || changed) rows.push_back(instrumentRow(run, status, dropped));
  }
  return rows;
}

std::vector<double> timeSteps(DecodeSequences &sequences, Index steps, const std::stop_token &stop, Index warmUp) {
  std::vector<double> seconds;
  for (Index i = 0; i < warmUp + steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    sequences.step(stop);
    if (i >= warmUp) seconds.push_back(secondsSince(start));
  }
  return seconds;
}

Index profiledSteps(const ProfileRequest &request) {
  return kWarmUp + request.steps + kTracedSteps + kSampledSteps + kCountedSteps +
         (request.microscope ? kMagnifiedSteps : 0) + (request.costs ? 3 * 6 * kTurns : 0);
}

PointProfiler::PointProfiler(DecodeSequences &sequences, const ProfileRequest &request, ProfileInstruments &instruments,
                             const PointKey &key, const std::stop_token &stop,
                             std::function<void(const std::string &)> report)
    : m_sequences(sequences), m_request(request), m_instruments(instruments), m_key(key), m_stop(stop),
      m_report(std::move(report)) {
  StepRow &step = m_rows.step = key.row<StepRow>();
  step.cacheBytes = sequences.front().bytes().formatBytes();
  for (double *const figure : {&step.countedBytes, &step.countedFlops, &step.tracerSeconds, &step.timelineCost,
                               &step.countersCost, &step.samplingCost, &step.measuredRead, &step.measuredWrite})
    *figure = kNotMeasured;
}

PointRows PointProfiler::measure() {
  measureTimes();
  use(Instrument::Timeline, "tracing a step", [&] { trace(); });
  if (m_request.microscope) magnify();
  if (m_request.counters) use(Instrument::Counters, "counting bytes", [&] { countBytes(); });
  if (m_request.hitRate) use(Instrument::Counters, "counting hits", [&] { countHitRates(); });
  if (m_request.samplingMicroseconds > 0) use(Instrument::Sampling, "sampling", [&] { sample(); });
  if (m_request.costs) measureCosts();
  return std::move(m_rows);
}

/// False where an instrument refuses, which becomes a problem.
bool PointProfiler::works(const char *doing, const char *failure, const std::function<void()> &work) {
  m_report(doing);
  try {
    work();
    return true;
  } catch (const Error &error) {
    if (error.code() != Code::Unsupported) throw;
    problem(failure, fmt::format("{} failed: {}", doing, error.what()));
    return false;
  }
}

/// An instrument that has worked and refuses now (another profiler took it) is not asked again in this run, unless a lesser
/// source has taken its place.
template <class Work> void PointProfiler::use(Instrument instrument, const char *doing, const Work &work) {
  if (!m_instruments.usable(instrument) || works(doing, "instrument-lost", work)) return;
  if (!m_instruments.fellBack(instrument) || !works(doing, "instrument-lost", work)) m_instruments.lose(instrument);
}

double PointProfiler::timedStep() { return m_lastSeconds = timeSteps(m_sequences, 1, m_stop, 0).front(); }

void PointProfiler::measureTimes() {
  m_report("timing steps");
  const std::vector<double> seconds = timeSteps(m_sequences, m_request.steps, m_stop);
  StepRow &step = m_rows.step;
  step.steps = m_request.steps, step.seconds = quantileOf(seconds, 0.5);
  step.lowSeconds = quantileOf(seconds, 0.25), step.highSeconds = quantileOf(seconds, 0.75);
}

Instruments::Timeline PointProfiler::traceSteps(Index count) {
  Instruments::Timeline timeline;
  m_instruments.get().startTimeline();
  SwitchOff off([&] { timeline = m_instruments.get().stopTimeline(); });
  for (Index i = 0; i < count; ++i) timedStep();
  off.now();
  return timeline;
}

/// Of a few steps, the one with the median number and time of launches: a step that another program disturbed is none, nor
/// one that closes a group of tokens.
Instruments::Timeline PointProfiler::typicalStep() {
  struct Traced {
    Instruments::Timeline timeline;
    Index tokens;
    std::int64_t ns = 0;
  };
  std::vector<Traced> steps;
  for (Index i = 0; i < kTracedSteps; ++i) {
    const Index tokens = m_sequences.tokens();
    Traced &step = steps.emplace_back(traceSteps(1), tokens);
    for (const KernelRecord &record : step.timeline.records) step.ns += record.durationNs;
  }
  std::ranges::nth_element(steps, steps.begin() + kTracedSteps / 2, {},
                           [](const Traced &step) { return std::pair(step.timeline.records.size(), step.ns); });
  m_traced = steps[kTracedSteps / 2].tokens;
  return std::move(steps[kTracedSteps / 2].timeline);
}

void PointProfiler::trace() {
  const Instruments::Timeline timeline = typicalStep();
  m_rows.traffic = trafficRows(m_key, timeline.records);
  if (m_request.kernels) m_rows.kernels = kernelRows(m_key, timeline.records);
  if (timeline.records.empty()) return problem("timeline-empty", "the timeline of a step has no launch: nothing is counted");
  m_rows.step.tracerSeconds = 1e-9 * static_cast<double>(timeline.overheadNs);
  m_rows.step.countedBytes = m_rows.step.countedFlops = 0;
  for (const KernelRecord &record : timeline.records)
    m_rows.step.countedBytes += record.bytes, m_rows.step.countedFlops += record.flops;
  if (timeline.dropped == 0) return;
  m_instruments.drop(Instrument::Timeline, timeline.dropped);
  problem("records-dropped", fmt::format("{} launches are missing in the timeline: sums over it, the counted ones too, are "
                                         "too small",
                                         timeline.dropped));
}

/// As many ranges as one step has by operation: prefetch, projections, output, feed forward; of each lane projections,
/// cache, attention.
bool PointProfiler::tooManyRanges() const {
  return m_sequences.model().shape().layers * (4 + 3 * m_key.batch) + 4 > kMostRanges;
}

/// Counts one step. A second pass runs it again: on caches that are cut back, or where they cannot be (the window of FP16
/// tokens has moved on), on one token more, which takes the same operations unless a group of tokens closes: then once more.
Instruments::Counted PointProfiler::count(CounterSet set, RangeBy by) {
  const Backend &backend = m_sequences.model().backend();
  for (int attempt = 0;; ++attempt) {
    const Index tokens = m_sequences.tokens();
    std::vector<std::uint64_t> operations; // of each pass
    const auto pass = [&] {
      if (!operations.empty()) m_sequences.rewind(tokens);
      const std::uint64_t before = backend.operations();
      timedStep();
      operations.push_back(backend.operations() - before);
    };
    Instruments::Counted counted;
    bool same = true;
    try {
      counted = m_instruments.get().count(set, by, pass);
      same = std::all_of(operations.begin(), operations.end(), [&](auto n) { return n == operations.front(); });
    } catch (const Error &error) {
      if (error.code() != Code::Internal || operations.size() < 2) throw;
      same = false; // the instrument itself saw that passes differ
    }
    if (same && counted.dropped == 0) return counted;
    if (attempt == 0 && !same) continue;
    m_instruments.drop(Instrument::Counters, counted.dropped);
    problem("ranges-dropped",
            counted.dropped > 0
                ? fmt::format("{} ranges of a step were dropped: its bytes are not told as measured", counted.dropped)
                : "the passes of a counted step ran different operations: its figures are left out");
    return {};
  }
}

void PointProfiler::countBytes() {
  Instruments::Counted parts = count(CounterSet::Traffic, tooManyRanges() ? RangeBy::Layer : RangeBy::Operation);
  addCounted(m_rows.traffic, m_key, parts.ranges);
  // The whole step is counted by itself, with no more cuts: sums of the parts can be compared with it.
  const StepBytes whole = stepBytes(count(CounterSet::Traffic, RangeBy::Layer).ranges);
  m_rows.step.measuredRead = whole.read, m_rows.step.measuredWrite = whole.write;
  m_counted = std::move(parts.ranges);
}

void PointProfiler::countHitRates() {
  const RangeBy by = tooManyRanges() ? RangeBy::Layer : RangeBy::Operation;
  addHitRates(m_rows.traffic, count(CounterSet::HitRate, by).ranges, m_counted);
}

void PointProfiler::sample() {
  TrafficSampler sampler(m_instruments.get(), m_key, m_request.samplingMicroseconds, m_instruments.firstSample());
  for (Index i = 0; i < std::min(m_request.steps, kSampledSteps); ++i) m_sequences.step(m_stop);
  sampler.stop();
  m_rows.throughput = sampler.take();
}

/// Steps with an instrument and without it in turns. What it takes to switch it on and off is no part of a step, nor what
/// the next step pays for that: a graph of its own.
void PointProfiler::measureCosts() {
  Instruments &instruments = m_instruments.get();
  const auto off = [&] { return timedStep(), timedStep(); };
  StepRow &step = m_rows.step;
  const auto traced = [&] { return traceSteps(2), m_lastSeconds; };
  use(Instrument::Timeline, "what the timeline costs", [&] { step.timelineCost = costInTurns(kTurns, traced, off); });
  const auto counted = [&] {
    count(CounterSet::Traffic, tooManyRanges() ? RangeBy::Layer : RangeBy::Operation);
    return m_lastSeconds; // of the last pass
  };
  if (m_request.counters)
    use(Instrument::Counters, "what counters cost", [&] { step.countersCost = costInTurns(kTurns, counted, off); });
  const auto sampled = [&] {
    std::optional<std::int64_t> nobodys;
    TrafficSampler sampler(instruments, m_key, m_request.samplingMicroseconds, nobodys);
    const double seconds = timedStep();
    sampler.stop(), sampler.take();
    return seconds;
  };
  if (m_request.samplingMicroseconds > 0)
    use(Instrument::Sampling, "what sampling costs", [&] { step.samplingCost = costInTurns(kTurns, sampled, off); });
}

void PointProfiler::problem(const char *code, std::string text) {
  ProblemRow &row = m_rows.problems.emplace_back();
  row.run = m_key.run, row.policy = m_key.policy, row.code = code;
  row.text = fmt::format("{} tokens x {}: {}", m_key.context, m_key.batch, text);
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/decode_steps.h"
#include "run/profile_request.h"
#include "run/profile_rows.h"

#include <array>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace xqs {

/// The instruments of a run: which of them can be used, and what they dropped.
class ProfileInstruments {
public:
  explicit ProfileInstruments(Backend &backend) : m_backend(backend), m_status(backend.instruments().status()) {}
  Instruments &get() const { return m_backend.instruments(); }
  bool usable(Instrument i) const { return m_status[at(i)].usable() && !m_lost[at(i)]; }
  void lose(Instrument i) { m_lost[at(i)] = true; } ///< it refuses to go on
  /// It says now that a lesser source is used.
  bool fellBack(Instrument i) const {
    return m_status[at(i)].state != InstrumentState::Fallback &&
           m_backend.instruments().status()[at(i)].state == InstrumentState::Fallback;
  }
  /// Counters of single kernels: what they fail with need not be what counters of ranges fail with.
  bool canMagnify(CounterSet set) const { return usable(Instrument::Counters) && !m_noKernels[static_cast<int>(set)]; }
  void loseMicroscope(CounterSet set) { m_noKernels[static_cast<int>(set)] = true; }
  void drop(Instrument i, std::int64_t count) { m_dropped[at(i)] += count; }
  std::optional<std::int64_t> &firstSample() { return m_firstSample; } ///< where the run's began
  /// All, as they were at the start; `atEnd`: only those that dropped something in this run, with how much, or say another
  /// thing than at its start.
  std::vector<InstrumentRow> rows(RowId run, bool atEnd) const;

private:
  static std::size_t at(Instrument i) { return static_cast<std::size_t>(i); }
  Backend &m_backend;
  std::vector<InstrumentStatus> m_status;
  std::array<bool, 3> m_lost{};
  bool m_noKernels[2] = {}; ///< by CounterSet
  std::array<std::int64_t, 3> m_dropped{};
  std::optional<std::int64_t> m_firstSample;
};

constexpr Index kWarmUp = 2;
/// Seconds of each of `steps` whole steps, after some to warm up.
std::vector<double> timeSteps(DecodeSequences &sequences, Index steps, const std::stop_token &stop, Index warmUp = kWarmUp);

/// Tokens that the caches of a point need room for beside the context.
Index profiledSteps(const ProfileRequest &request);

/// What was found at one point.
struct PointRows {
  StepRow step;
  std::vector<KernelRow> kernels;
  std::vector<TrafficRow> traffic;
  std::vector<ThroughputRow> throughput;
  std::vector<ProblemRow> problems; ///< figures that are missing, and why
};

/// Measures one point on caches that are filled: times first, while no instrument has been on.
class PointProfiler {
public:
  /// `report` is told what is done, as "timing steps". All references must outlive this.
  PointProfiler(DecodeSequences &sequences, const ProfileRequest &request, ProfileInstruments &instruments,
                const PointKey &key, const std::stop_token &stop, std::function<void(const std::string &)> report);
  /// Throws Cancelled and what a device breaks with.
  PointRows measure();

private:
  double timedStep();
  void measureTimes();
  void trace();
  void magnify();
  void magnify(CounterSet set, const char *doing, const char *figure);
  void countKernels(CounterSet set, const char *figure);
  void countBytes();
  void countHitRates();
  void sample();
  void measureCosts();
  Instruments::Timeline traceSteps(Index count);
  Instruments::Timeline typicalStep();
  Instruments::Counted count(CounterSet set, RangeBy by);
  bool tooManyRanges() const;
  bool works(const char *doing, const char *failure, const std::function<void()> &work);
  template <class Work> void use(Instrument instrument, const char *doing, const Work &work);
  void problem(const char *code, std::string text);

  DecodeSequences &m_sequences;
  const ProfileRequest &m_request;
  ProfileInstruments &m_instruments;
  PointKey m_key;
  const std::stop_token &m_stop;
  std::function<void(const std::string &)> m_report;
  PointRows m_rows;
  double m_lastSeconds = 0;           ///< of the last timed step
  std::vector<RangeRecord> m_counted; ///< by operation: what hit rates are weighted with
  Index m_traced = 0;                 ///< tokens before the traced step
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu_backend.h"
#include "error.h"

#include <utility>

namespace xqs::test {

/// Samples of a device's traffic, made up: one at each taking and one at the stop, 100 bytes read and 50 written. What goes
/// wrong is set by a test.
class MadeUpSamples final : public Instruments {
public:
  using Instruments::Instruments;
  static constexpr const char *kSentence = "samples are made up", *kTaken = "another profiler has the counters";
  InstrumentState state = InstrumentState::Ready;
  std::int64_t dropped = 0;       ///< over all runs
  std::int64_t droppedAtStop = 0; ///< added by each stop
  int failAt = -1;                ///< taking, counted from 0, that is refused; < 0: none
  bool stopFails = false;
  bool running = false;
  int starts = 0, takings = 0;
  std::int64_t intervalNs = 0;

  std::vector<InstrumentStatus> status() override {
    std::vector<InstrumentStatus> all = Instruments::status();
    all[2] = {Instrument::Sampling, state, kSentence, "made up", {}, kNotMeasured, kNotMeasured, dropped};
    return all;
  }
  void startSampling(std::int64_t interval) override {
    if (state != InstrumentState::Ready) throw Error(Code::Unsupported, kSentence);
    if (std::exchange(running, true)) throw Error(Code::Internal, "it samples already");
    ++starts, intervalNs = interval;
  }
  std::vector<ThroughputSample> takeSamples() override {
    if (takings++ == failAt) throw Error(Code::Unsupported, kTaken);
    if (running) sample();
    return std::exchange(m_waiting, {});
  }
  void stopSampling() override {
    if (!std::exchange(running, false)) return;
    dropped += droppedAtStop;
    if (stopFails) throw Error(Code::Unsupported, kTaken);
    sample();
  }

private:
  void sample() {
    m_waiting.push_back({m_now, m_now + intervalNs, 100, 50});
    m_now += intervalNs;
  }
  std::vector<ThroughputSample> m_waiting;
  std::int64_t m_now = 1'000'000;
};

class SampledBackend final : public CpuBackend {
public:
  SampledBackend() : CpuBackend(1) {}
  MadeUpSamples &instruments() override { return samples; }
  MadeUpSamples samples{*this};
};

} // namespace xqs::test

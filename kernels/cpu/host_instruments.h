// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host_backend.h"
#include "perf_status.h"

#include <optional>

namespace xqs {

/// The instruments of the CPU backends: a timeline from the steady clock; cycles, cache references and misses of the threads
/// that compute, by range, and bytes at the memory controllers where the kernel lets them be counted (perf_status.h);
/// samples of the latter. Counters are read where a range begins and a range lasts up to the next one, so that ranges add up
/// to everything that `work` did; a reading is one system call a thread and a controller, about a microsecond each. Both
/// sets of counters are the same here, in one pass: there is no counter of a hit rate, which is left to who divides misses.
class HostInstruments final : public Instruments {
public:
  explicit HostInstruments(HostBackend &backend, PerfSystem system = PerfSystem::real());
  ~HostInstruments() override;

  std::vector<InstrumentStatus> status() override;
  Counted count(CounterSet set, RangeBy by, const std::function<void()> &work) override;

  /// Intervals under a millisecond are taken as one; a sample has its own times.
  void startSampling(std::int64_t intervalNs) override;
  std::vector<ThroughputSample> takeSamples() override; ///< throws what ended the sampling
  void stopSampling() override;                         ///< what was sampled can still be taken

private:
  class Sampler;
  const PerfStatus &perf();

  HostBackend &m_host;
  PerfSystem m_system;
  std::optional<PerfStatus> m_perf; ///< found when first asked for
  double m_share = 1;               ///< smallest PerfCounters::Interval::share so far
  std::unique_ptr<Sampler> m_sampler;
};

} // namespace xqs

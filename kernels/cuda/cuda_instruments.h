// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_backend.h"
#include "cupti/session.h"

namespace xqs::cuda {

/// Instruments of a GPU: CUPTI's counters and samples, once a self test has read back what a copy moved; its timeline, once
/// one has given launches back, and events where it has not.
class CudaInstruments final : public Instruments {
public:
  explicit CudaInstruments(CudaBackend &backend) : Instruments(backend), m_cuda(backend) {}

  ~CudaInstruments() override;

  std::vector<InstrumentStatus> status() override;
  void startTimeline() override;
  Timeline stopTimeline() override;
  Counted count(CounterSet set, RangeBy by, const std::function<void()> &work) override;
  void startSampling(std::int64_t intervalNs) override;
  std::vector<ThroughputSample> takeSamples() override;
  void stopSampling() override;

private:
  using Test = void (CudaInstruments::*)(InstrumentStatus &);
  InstrumentStatus timelineStatus();
  void testTimeline();
  void startRecording();    ///< throws Failure
  Timeline stopRecording(); ///< throws Failure
  /// From now on: a timeline that failed once may come back with gaps that nobody sees.
  void useEvents(const Error &why);
  void dropRecording();
  InstrumentStatus tested(Instrument instrument, Test test);
  void testCounters(InstrumentStatus &status);
  void testSampling(InstrumentStatus &status);
  /// Opened when first asked for; throws Failure each time where it cannot be.
  cupti::Session &session();
  void require(Instrument instrument);
  void waitForDevice();

  CudaBackend &m_cuda;
  std::vector<InstrumentStatus> m_status; ///< empty until it is asked for
  std::unique_ptr<cupti::Session> m_session;
  std::unique_ptr<cupti::Recording> m_recording;
  std::unique_ptr<cupti::Sampler> m_sampler;
  std::vector<ThroughputSample> m_samples; ///< of samplers that were stopped, not yet taken
};

} // namespace xqs::cuda

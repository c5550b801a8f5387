// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "clocks.h"
#include "metric_sets.h"
#include "session.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

namespace xqs::cuda::cupti {

/// From the samples' clock to the steady one. Which clock samples have is not documented: that of cuptiGetTimestamp, where
/// the first sample then lies between the start of sampling and now; else the first sample began when sampling did.
class SampleClock {
public:
  explicit SampleClock(const Library &cupti) : m_cupti(cupti) {}
  void start();  ///< sampling begins
  void adjust(); ///< clocks run apart: now and then
  std::int64_t toSteady(std::uint64_t sampleNs);

private:
  const Library &m_cupti;
  ClockPairs m_pairs;                          ///< from CUPTI's clock
  std::int64_t m_startNs = 0;                  ///< of the steady clock
  std::optional<std::int64_t> m_ownDifference; ///< of samples that have another clock; 0: they have CUPTI's
};

/// CUPTI's PM sampling of one device: its hardware writes a buffer, which a thread of ours decodes.
class PmSampler final : public Sampler {
public:
  PmSampler(std::unique_ptr<Hooks> hooks, int device, const Chip &chip, MetricSet set, std::int64_t intervalNs);
  ~PmSampler() override;

  void stop() override;
  std::vector<ThroughputSample> take() override;
  std::int64_t overflows() const override { return m_overflows; }

private:
  static constexpr std::uint32_t kSamplesInImage = 4096;

  struct Disable {
    const Library *cupti;
    void operator()(CUpti_PmSampling_Object *object) const noexcept;
  };
  template <typename P, typename F> P run(const Function<F> &function, P params) const;
  void enable(int device);
  void makeImage();
  void clearImage();
  void configure(std::uint64_t interval, bool cycles);
  void decodeUntilStopped();
  CUptiResult halt(); ///< sampling, and then the thread
  bool decode();
  void readImage();

  // Ended in the opposite order.
  std::unique_ptr<Hooks> m_hooks;
  const Library &m_cupti;
  Host m_host;
  MetricSet m_set;
  std::vector<std::uint8_t> m_image; ///< of counter data; the thread's while it runs
  std::unique_ptr<CUpti_PmSampling_Object, Disable> m_object;
  SampleClock m_clock;

  std::mutex m_mutex;
  std::vector<ThroughputSample> m_samples; ///< under m_mutex, as m_failure
  std::exception_ptr m_failure;            ///< of the thread
  std::atomic<std::int64_t> m_overflows{0};
  std::atomic<bool> m_running{false};
  std::thread m_thread;
};

} // namespace xqs::cuda::cupti

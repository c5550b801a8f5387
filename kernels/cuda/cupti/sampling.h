// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "clocks.h"
#include "metric_sets.h"
#include "sample_sieve.h"
#include "session.h"

#include <exception>
#include <mutex>
#include <thread>

namespace xqs::cuda::cupti {

/// From the samples' clock to the steady one. Which clock samples have is not documented: that of cuptiGetTimestamp, where
/// the first sample (that SampleSieve keeps) then lies between the start of sampling and now; else it began when sampling
/// did.
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

/// CUPTI's PM sampling of one device: its hardware writes a buffer, which a thread of ours decodes. Nobody says that two
/// threads may use a sampling object at once: it is the thread's until that has ended.
class PmSampler final : public Sampler {
public:
  PmSampler(std::unique_ptr<Hooks> hooks, int device, const Chip &chip, MetricSet set, std::int64_t intervalNs);
  ~PmSampler() override;

  void stop() override;
  std::vector<ThroughputSample> take() override;
  std::int64_t losses() const override { return m_sieve.losses(); }

private:
  static constexpr std::size_t kMostWaiting = std::size_t{1} << 20; ///< samples that nobody has taken yet

  struct Disable {
    const Library *cupti;
    void operator()(CUpti_PmSampling_Object *object) const noexcept;
  };
  template <typename P, typename F> P run(const Function<F> &function, P params) const;
  void enable(int device);
  void makeImage(std::uint32_t samples);
  void clearImage();
  void configure(std::uint64_t interval, bool cycles);
  template <typename Work> void guard(const Work &work) noexcept;
  void decodeUntil(const std::stop_token &stopped);
  CUptiResult halt(); ///< the thread, and then sampling
  void decode();
  void readImage();
  void keep(const ThroughputSample &sample);

  // Ended in the opposite order.
  std::unique_ptr<Hooks> m_hooks;
  const Library &m_cupti;
  Host m_host;
  MetricSet m_set;
  std::vector<std::uint8_t> m_image; ///< of counter data; the thread's while it runs
  std::unique_ptr<CUpti_PmSampling_Object, Disable> m_object;
  SampleClock m_clock;
  SampleSieve m_sieve;

  std::mutex m_mutex;
  std::vector<ThroughputSample> m_samples; ///< under m_mutex, as m_failure
  std::exception_ptr m_failure;            ///< of decoding, which it has ended
  bool m_told = false;                     ///< by `take`
  std::jthread m_thread;
};

} // namespace xqs::cuda::cupti

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "metric_sets.h"
#include "session.h"
#include "subscription.h"

#include <exception>

namespace xqs::cuda::cupti {

/// CUPTI's Range Profiler. Ranges of ours: user ranges, the work is run once a pass. Every kernel a range: auto ranges,
/// CUPTI runs each kernel again itself.
class RangeProfiler final : public RangeCounter {
public:
  /// Ranges a pass; others report failures above 2000 to 3000.
  static constexpr std::size_t kMaxRanges = 1024;

  /// `chip` and `set`: what the device has (trafficSet, hitRateSet). `launched`: where given, every kernel is a range.
  RangeProfiler(std::unique_ptr<Hooks> hooks, void *context, const Chip &chip, MetricSet set, const LaunchSink &launched);
  ~RangeProfiler() override;

  int passes() const override { return m_launches ? 1 : static_cast<int>(m_set.passes); }
  void beginPass() override;
  void beginRange() override;
  void endRange() override;
  bool endPass() override;
  Result result() override;

private:
  struct Disable {
    const Library *cupti;
    void operator()(CUpti_RangeProfiler_Object *object) const noexcept;
  };
  static void CUPTIAPI onLaunch(void *profiler, CUpti_CallbackDomain, CUpti_CallbackId, const void *data) noexcept;
  void enable(void *context);
  void makeImage();
  void configure();
  template <typename P, typename F> P run(const Function<F> &function, P params) const;
  std::size_t rangesInImage() const;
  std::size_t ordinal(std::size_t index) const;

  // Ended in the opposite order.
  std::unique_ptr<Hooks> m_hooks;
  const Library &m_cupti;
  Host m_host;
  MetricSet m_set;
  std::vector<std::uint8_t> m_image; ///< of counter data
  std::unique_ptr<CUpti_RangeProfiler_Object, Disable> m_object;
  LaunchSink m_launched;
  std::exception_ptr m_launchError;         ///< of what was told of a launch: told with the result
  std::unique_ptr<Subscription> m_launches; ///< where every kernel is a range

  std::size_t m_begun = 0; ///< ranges of this pass
  bool m_inPass = false, m_inRange = false;
};

} // namespace xqs::cuda::cupti

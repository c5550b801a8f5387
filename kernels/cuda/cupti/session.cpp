// SPDX-License-Identifier: Apache-2.0
#include "session.h"

#include "ranges.h"
#include "sampling.h"

#include <array>
#include <optional>

namespace xqs::cuda::cupti {
namespace {

/// What was found out about a kind of measurement: it does not change while the process lives.
struct Chosen {
  Chip chip;
  MetricSet set;
};

class CuptiSession final : public Session {
public:
  CuptiSession(void *context, int device) : m_context(context), m_device(device) {}

  const std::string &description() const override { return m_cupti.description(); }
  std::string metrics(CounterSet set) override { return forRanges(Hooks(m_cupti), set).set.names(); }
  std::string samplingMetrics() override { return forSampling(Hooks(m_cupti)).set.names(); }

  std::unique_ptr<RangeCounter> count(CounterSet set, const LaunchSink &launched) override {
    auto hooks = std::make_unique<Hooks>(m_cupti);
    const Chosen &chosen = forRanges(*hooks, set);
    return std::make_unique<RangeProfiler>(std::move(hooks), m_context, chosen.chip, chosen.set, launched);
  }
  std::unique_ptr<Sampler> sample(std::int64_t intervalNs) override {
    auto hooks = std::make_unique<Hooks>(m_cupti);
    const Chosen &chosen = forSampling(*hooks);
    return std::make_unique<PmSampler>(std::move(hooks), m_device, chosen.chip, chosen.set, intervalNs);
  }
  std::unique_ptr<Recording> record() override { return cupti::record(m_cupti); }

private:
  const Chosen &forRanges(const Hooks &hooks, CounterSet set) {
    std::optional<Chosen> &chosen = m_ranges[static_cast<std::size_t>(set)];
    if (!chosen) {
      const Chip chip = chipForRanges(hooks, m_context, m_device);
      chosen = {chip, set == CounterSet::Traffic ? trafficSet(m_cupti, chip) : hitRateSet(m_cupti, chip)};
    }
    return *chosen;
  }
  const Chosen &forSampling(const Hooks &hooks) {
    if (!m_sampling) {
      const Chip chip = chipForSampling(hooks, m_device);
      m_sampling = {chip, samplingSet(m_cupti, chip)};
    }
    return *m_sampling;
  }

  Library m_cupti;
  void *m_context;
  int m_device;
  std::array<std::optional<Chosen>, 2> m_ranges; ///< by CounterSet
  std::optional<Chosen> m_sampling;
};

} // namespace

std::unique_ptr<Session> openSession(void *context, int device) { return std::make_unique<CuptiSession>(context, device); }

} // namespace xqs::cuda::cupti

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "run/profile_rows.h"

#include <optional>
#include <vector>

namespace xqs {

/// Samples the whole device's traffic while it lives, as rows; on the backend's thread. One at a time.
class TrafficSampler {
public:
  /// Starts. `key`: whose rows they are; `microseconds`: between samples. Times of rows count from `runsFirstNs`, where the
  /// run's first sample began; where there was none yet it is set. References must outlive this. Throws Unsupported, with
  /// the instrument's sentence, where it cannot be used.
  TrafficSampler(Instruments &instruments, const PointKey &key, std::int64_t microseconds,
                 std::optional<std::int64_t> &runsFirstNs);
  /// Stops, and drops what was not taken: it is not the next sampler's.
  ~TrafficSampler();
  TrafficSampler(const TrafficSampler &) = delete;
  TrafficSampler &operator=(const TrafficSampler &) = delete;

  /// What was sampled since the last call: a row for a stretch of equal intervals without a gap. Throws Unsupported where
  /// sampling has broken down.
  std::vector<ThroughputRow> take();
  /// What was sampled before can still be taken. Throws as `take`.
  void stop();
  /// Times that samples were lost, once it is stopped.
  std::int64_t lost() const { return lostSoFar() - m_lostBefore; }

private:
  std::int64_t lostSoFar() const;

  Instruments &m_instruments;
  PointKey m_key;
  std::optional<std::int64_t> &m_runsFirstNs;
  std::int64_t m_lostBefore;
  bool m_running = false;
};

} // namespace xqs

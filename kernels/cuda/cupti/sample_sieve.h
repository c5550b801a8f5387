// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "instruments.h"

#include <atomic>
#include <cmath>
#include <utility>

namespace xqs::cuda::cupti {

/// Tells what was sampled from what PM sampling gives besides. Its header promises nothing; of GPUs it is reported (H100,
/// CUPTI 13.3, and others) that
/// - the first sample of a session has all that was moved since the sampler last gave one, or NaN and a time that is none;
/// - samples follow each other without gaps, but once the image was full: then some have no times, some come late, and those
///   in between are gone;
/// - the last decoding may give samples of no length.
/// Times are ns of the samples' clock.
class SampleSieve {
public:
  /// Whether it is one, by order of decoding.
  bool keep(std::uint64_t start, std::uint64_t end, const CounterFigures &figures) {
    const bool first = std::exchange(m_first, false), finite = std::isfinite(figures.dramRead + figures.dramWrite);
    if (first || start == 0 || end <= start || end <= m_lastEnd || !finite) return false;
    const bool gap = m_lastEnd != 0 && start > m_lastEnd + (end - start) / 2;
    if (gap && !m_told) ++m_losses;
    m_told = false;
    m_lastEnd = end;
    return true;
  }
  /// The device or the image was full; the next gap is what that lost.
  void full() { ++m_losses, m_told = true; }
  /// Times that samples were lost so far; from any thread.
  std::int64_t losses() const { return m_losses; }

private:
  bool m_first = true, m_told = false;
  std::uint64_t m_lastEnd = 0;
  std::atomic<std::int64_t> m_losses{0};
};

} // namespace xqs::cuda::cupti

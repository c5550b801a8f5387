// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace xqs::cuda::cupti {

/// Carries times from one clock to another that runs a little faster or slower: pairs of readings of the same moment, a
/// straight line between neighbours. Before the first and behind the last pair the difference of the nearest holds. ns.
class ClockPairs {
public:
  /// A pair that is not behind the last one on both clocks (one was set back) is left out.
  void add(std::int64_t from, std::int64_t to) {
    if (m_pairs.empty() || (from > m_pairs.back().from && to > m_pairs.back().to)) m_pairs.push_back({from, to});
  }
  /// `from` on the other clock; at least one pair has been added.
  std::int64_t operator()(std::int64_t from) const {
    const auto behind = std::upper_bound(m_pairs.begin(), m_pairs.end(), from,
                                         [](std::int64_t time, const Pair &pair) { return time < pair.from; });
    if (behind == m_pairs.begin()) return m_pairs.front().to + (from - m_pairs.front().from);
    const Pair &a = behind[-1];
    if (behind == m_pairs.end()) return a.to + (from - a.from);
    const double slope = static_cast<double>(behind->to - a.to) / static_cast<double>(behind->from - a.from);
    return a.to + std::llround(static_cast<double>(from - a.from) * slope);
  }

private:
  struct Pair {
    std::int64_t from, to;
  };
  std::vector<Pair> m_pairs; ///< ascending
};

} // namespace xqs::cuda::cupti

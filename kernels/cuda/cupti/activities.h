// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace xqs::cuda::cupti {

/// What CUPTI's activity records say, in the order in which they came; plain types, to be joined with the operations.
struct Activities {
  /// A kernel, copy or fill that the device ran.
  struct Launch {
    const std::string *name;   ///< of a kernel: as the compiler wrote it; else "memcpy HtoD", "memset"
    std::uint64_t start, end;  ///< ns of CUPTI's clock
    std::uint32_t correlation; ///< of the call that launched it; all nodes of a graph launch have one
    std::uint64_t graphNode;   ///< 0: not launched by a graph
  };
  std::vector<Launch> launches;
  std::unordered_map<std::uint32_t, std::uint64_t>
      externalIds;             ///< that were pushed when a call was made, by its correlation
  std::int64_t dropped = 0;    ///< records that were lost, or came without times
  std::int64_t overheadNs = 0; ///< CUPTI's own

  const std::string *intern(const char *name) {
    const auto at = m_names.find(name);
    return at != m_names.end() ? &*at : &*m_names.emplace(name).first;
  }

private:
  std::set<std::string, std::less<>> m_names;
};

/// External ids are numbers of calls, but for graph launches: this bit and the number of the step.
constexpr std::uint64_t kStepId = std::uint64_t{1} << 63;

} // namespace xqs::cuda::cupti

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "library.h"

#include <functional>

namespace xqs::cuda::cupti {

/// Memory that CUPTI writes activity records to, recycled. Its callbacks know no user: there is one receiver a process, and
/// what comes while there is none is nobody's.
class ActivityBuffers {
public:
  static constexpr std::size_t kBytes = std::size_t{4} << 20;
  static constexpr std::size_t kMost = 64; ///< at a time; more are refused, and CUPTI counts what it drops
  /// Called with one complete buffer at a time, on a thread of CUPTI's or the one that flushes; throws nothing.
  using Receive = std::function<void(std::uint8_t *records, std::size_t bytes)>;

  /// Throws InUse where there is a receiver already.
  ActivityBuffers(const Library &cupti, Receive receive);
  ~ActivityBuffers();
  ActivityBuffers(const ActivityBuffers &) = delete;
  ActivityBuffers &operator=(const ActivityBuffers &) = delete;

private:
  explicit ActivityBuffers(Receive receive);
};

} // namespace xqs::cuda::cupti

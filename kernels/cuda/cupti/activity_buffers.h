// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "library.h"

#include <functional>

namespace xqs::cuda::cupti {

/// Memory that CUPTI writes activity records to, recycled. Its callbacks know no user: there is one of these a process, and
/// what comes while there is none is nobody's. They come from threads of CUPTI's, with locks of its own held: they hand
/// buffers over and call nothing of CUPTI's, nor do they wait for anybody who does.
class ActivityBuffers {
public:
  static constexpr std::size_t kBytes = std::size_t{4} << 20;
  static constexpr std::size_t kMost = 64; ///< at a time; more are refused, and CUPTI counts what it drops
  using Read = std::function<void(std::uint8_t *records, std::size_t bytes)>;

  /// Throws Failure: InUse where there is one already.
  explicit ActivityBuffers(const Library &cupti);

  /// Calls `read`, which throws nothing, with each buffer that is complete, in their order, and lends them again.
  void readAll(const Read &read);

private:
  struct Claim { ///< of the one place
    Claim();
    ~Claim();
    Claim(const Claim &) = delete;
    Claim &operator=(const Claim &) = delete;
  } m_claim;
};

} // namespace xqs::cuda::cupti

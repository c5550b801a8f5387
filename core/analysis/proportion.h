// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace xqs {

/// How often something happened, with the 95 % interval of its probability.
struct Proportion {
  std::int64_t count = 0, of = 0;
  double share = 0;         ///< NaN where `of` is 0
  double low = 0, high = 1; ///< 0 and 1 where `of` is 0
};

/// The score interval of E. B. Wilson, JASA 22 (1927) 209: right near 0 and 1 and for few trials, which must be independent.
Proportion wilson(std::int64_t count, std::int64_t of);

} // namespace xqs

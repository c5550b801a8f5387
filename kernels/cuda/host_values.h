// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace xqs::cuda {

/// A few host values as a kernel parameter: no upload, so they may be part of a gathered step and of a launch at once. The
/// parameters of a launch are 4 KB on every device.
template <typename T> struct HostValues {
  static constexpr std::size_t kMost = 3840 / sizeof(T);
  T at[kMost];
};

/// launchPart(values, first, count) for parts of at most kMost values, in order.
template <typename T, typename Launch> void inParts(std::span<const T> all, const Launch &launchPart) {
  HostValues<T> values{};
  for (std::size_t first = 0; first < all.size(); first += values.kMost) {
    const std::size_t count = std::min(values.kMost, all.size() - first);
    std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(first), count, values.at);
    launchPart(values, static_cast<std::ptrdiff_t>(first), static_cast<std::ptrdiff_t>(count));
  }
}

} // namespace xqs::cuda

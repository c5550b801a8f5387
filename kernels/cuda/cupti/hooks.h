// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "library.h"

#include <cstdint>
#include <vector>

namespace xqs::cuda::cupti {

/// CUPTI's profiler in the driver of this process, while it lives. Whoever makes a call that crashes without a driver (chip
/// name, availability, enabling) asks for one: its making has succeeded then.
class Hooks {
public:
  explicit Hooks(const Library &cupti);
  ~Hooks();
  Hooks(const Hooks &) = delete;
  Hooks &operator=(const Hooks &) = delete;
  const Library &cupti() const { return m_cupti; }

private:
  const Library &m_cupti;
};

/// A chip by CUPTI's name for it, and which of its counters this machine lets a user see (an image of CUPTI's; empty: all).
struct Chip {
  std::string name;
  std::vector<std::uint8_t> availability;
};
/// Throws Failure where the device or its surroundings (a virtual GPU, WSL) have no counters of that kind. `context`: a
/// CUcontext, current on this thread.
Chip chipForRanges(const Hooks &hooks, void *context, int device);
Chip chipForSampling(const Hooks &hooks, int device);

} // namespace xqs::cuda::cupti

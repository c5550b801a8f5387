// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"

#include <algorithm>
#include <array>

namespace xqs {

/// Device memory that layers of a cache in the host's memory are copied to ahead of their use: two halves that take turns,
/// so that one layer is copied while the one before computes.
class Stage {
public:
  static constexpr Index kHalves = 2;
  static constexpr std::size_t halfOf(Index layer) { return static_cast<std::size_t>(layer % kHalves); }
  explicit Stage(Backend &backend) : m_backend(backend) {}

  /// Begins a layer's copies, `bytes` at most, behind what the compute queue has been given so far: nothing may read the
  /// layer that had this half before.
  void begin(Index layer, Index bytes) {
    m_half = halfOf(layer);
    m_used = 0;
    Buffer &half = m_halves[m_half];
    if (bytes > half.bytes()) {
      half = {};
      half = m_backend.allocate(bytes + bytes / 8, Purpose::Activations); // it grows with the tokens
    }
    m_backend.wait(Queue::Copy, m_backend.record(Queue::Compute));
  }
  /// The first `bytes` bytes of `home`, on the device once `end`'s event has come.
  std::byte *copy(const Buffer &home, Index bytes) {
    std::byte *to = m_halves[m_half].data() + m_used;
    m_used += aligned(bytes);
    XQS_ASSERT(m_used <= m_halves[m_half].bytes());
    m_backend.upload(Queue::Copy, to, home.data(), bytes);
    return to;
  }
  Event end() { return m_backend.record(Queue::Copy); }

  static constexpr Index aligned(Index bytes) { return (bytes + 255) / 256 * 256; }

private:
  Backend &m_backend;
  std::array<Buffer, kHalves> m_halves;
  std::size_t m_half = 0;
  Index m_used = 0;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "memory.h"

namespace xqs::cuda {

/// Copies whose traffic with the memory is known, to test counters with: two blocks that the L2 cache holds an eighth of, so
/// that every byte is read from memory, and one that is written pushes one of an earlier copy out.
class KnownCopy {
public:
  KnownCopy(); ///< throws OutOfMemory
  /// That a run reads, and as many again that it writes: enough for what the cache still holds at its end to be little.
  double bytes() const { return kCopies * static_cast<double>(m_bytes); }
  void warm() { copy(1); } ///< the cache then holds what a run leaves in it
  void run() { copy(kCopies); }

private:
  static constexpr int kCopies = 16;
  void copy(int times); ///< waits for it
  Index m_bytes;
  DeviceMemory m_from, m_to;
  Stream m_stream = makeStream();
};

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_handles.h"

#include <map>
#include <vector>

namespace xqs::cuda {

/// Contents are anything. Throws OutOfMemory with the bytes needed and the bytes free.
DeviceMemory makeDeviceMemory(Index bytes);
PinnedMemory makePinnedMemory(Index bytes);

/// Blocks that are taken and given back many times a step without asking the driver: sizes are rounded up to few classes,
/// and a block that comes back is handed out again for its class. `Memory`: DeviceMemory or PinnedMemory. Whoever takes a
/// block works on the stream on which its last holder worked, or after it.
template <typename Memory> class BlockPool {
public:
  using Make = Memory (*)(Index bytes);
  explicit BlockPool(Make make) : m_make(make) {}

  std::byte *take(Index bytes);
  /// Bytes of blocks that nobody holds.
  Index idle() const;
  void give(std::byte *data);
  /// Gives blocks that nobody holds back to the driver. Nothing may run that still uses them.
  void trim() { m_free.clear(); }

private:
  /// 512 bytes, then four steps to every power of two: at most a quarter is lost.
  static Index classOf(Index bytes);

  Make m_make;
  std::map<Index, std::vector<Memory>> m_free;
  std::map<std::byte *, std::pair<Index, Memory>> m_taken;
};

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include "error.h"

#include <bit>
#include <string>

namespace xqs::cuda {

DeviceMemory makeDeviceMemory(Index bytes) {
  void *data = nullptr;
  const cudaError_t status = cudaMalloc(&data, static_cast<std::size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError(); // reported below, with figures
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    throw Error(Code::OutOfMemory, "backend cuda: " + std::to_string(bytes) + " bytes needed, " + std::to_string(free) +
                                       " of " + std::to_string(total) +
                                       " free on the GPU; use a shorter window, fewer policies at once or a smaller model");
  }
  check(status, "cudaMalloc", {bytes});
  return DeviceMemory(static_cast<std::byte *>(data));
}

PinnedMemory makePinnedMemory(Index bytes) {
  void *data = nullptr;
  const cudaError_t status =
      cudaHostAlloc(&data, static_cast<std::size_t>(bytes), cudaHostAllocPortable | cudaHostAllocMapped);
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    throw Error(Code::OutOfMemory, "backend cuda: " + std::to_string(bytes) +
                                       " bytes of page-locked host memory needed, and the system gives none; use a shorter "
                                       "context, a smaller batch or placement=device");
  }
  check(status, "cudaHostAlloc", {bytes});
  return PinnedMemory(static_cast<std::byte *>(data));
}

template <typename Memory> Index BlockPool<Memory>::classOf(Index bytes) {
  constexpr Index kLeast = 512;
  if (bytes <= kLeast) return kLeast;
  const Index step = static_cast<Index>(std::bit_floor(static_cast<std::uint64_t>(bytes - 1))) / 4;
  return (bytes + step - 1) / step * step;
}

template <typename Memory> std::byte *BlockPool<Memory>::take(Index bytes) {
  const Index size = classOf(bytes);
  auto &free = m_free[size];
  Memory block;
  if (!free.empty()) {
    block = std::move(free.back());
    free.pop_back();
  } else {
    block = m_make(size);
  }
  std::byte *data = block.get();
  m_taken.emplace(data, std::pair(size, std::move(block)));
  return data;
}

template <typename Memory> void BlockPool<Memory>::give(std::byte *data) {
  auto node = m_taken.extract(data);
  m_free[node.mapped().first].push_back(std::move(node.mapped().second));
}

template <typename Memory> Index BlockPool<Memory>::idle() const {
  Index bytes = 0;
  for (const auto &[size, blocks] : m_free) bytes += size * static_cast<Index>(blocks.size());
  return bytes;
}

template class BlockPool<DeviceMemory>;
template class BlockPool<PinnedMemory>;

} // namespace xqs::cuda

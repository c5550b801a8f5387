// SPDX-License-Identifier: Apache-2.0
#include "known_copy.h"

#include "launch.h"

namespace xqs::cuda {
namespace {

/// Launch: one thread an element of 16 bytes, in whole blocks. Reads and writes 16 bytes a thread.
__global__ void copyKernel(const uint4 *from, uint4 *to) {
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  to[i] = from[i];
}

Index blockBytes() {
  int cache = 0;
  check(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, 0), "cudaDeviceGetAttribute");
  constexpr Index kGrain = static_cast<Index>(kThreads * sizeof(uint4));
  return ceilDiv(4 * static_cast<Index>(cache), kGrain) * kGrain;
}

} // namespace

KnownCopy::KnownCopy() : m_bytes(blockBytes()), m_from(makeDeviceMemory(m_bytes)), m_to(makeDeviceMemory(m_bytes)) {
  check(cudaMemsetAsync(m_from.get(), 0x5a, static_cast<std::size_t>(m_bytes), m_stream.get()), "cudaMemsetAsync");
}

void KnownCopy::copy(int times) {
  for (int i = 0; i < times; ++i)
    launch(m_stream.get(), copyKernel, blocksFor(m_bytes / static_cast<Index>(sizeof(uint4))), kThreads, 0, "known copy",
           {m_bytes}, reinterpret_cast<const uint4 *>(m_from.get()), reinterpret_cast<uint4 *>(m_to.get()));
  check(cudaStreamSynchronize(m_stream.get()), "cudaStreamSynchronize");
}

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#include "stream_copy.h"

#include "error.h"

#include <algorithm>
#include <hwy/aligned_allocator.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <memory>

namespace xqs {

namespace {
namespace hn = hwy::HWY_NAMESPACE;
constexpr std::size_t kLine = 64 / sizeof(float); ///< floats of a cache line

std::shared_ptr<float[]> flushedMemory(std::size_t n, float value) {
  std::shared_ptr<float[]> memory = hwy::AllocateAligned<float>(n);
  if (memory == nullptr)
    throw Error(Code::OutOfMemory, "no memory for " + std::to_string(n * sizeof(float)) +
                                       " bytes that the counters are tested with; close other programs");
  std::fill_n(memory.get(), n, value); // pages are there before they are counted
  for (std::size_t i = 0; i < n; i += kLine) hwy::FlushCacheline(&memory[i]);
  return memory;
}
} // namespace

void streamCopy(const float *source, float *target, std::size_t n) {
  const hn::ScalableTag<float> d;
  for (std::size_t i = 0; i < n; i += hn::Lanes(d)) hn::Stream(hn::Load(d, source + i), d, target + i);
  hwy::FlushStream();
}

std::function<void()> prepareStreamCopy(std::int64_t bytes) {
  XQS_ASSERT(bytes > 0 && bytes % 64 == 0);
  const std::size_t n = static_cast<std::size_t>(bytes) / sizeof(float);
  return [source = flushedMemory(n, 1), target = flushedMemory(n, 0), n] { streamCopy(source.get(), target.get(), n); };
}

} // namespace xqs

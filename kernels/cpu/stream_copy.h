// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace xqs {

/// Copies n floats, a multiple of 16, between memory aligned to 64 bytes, with stores that go to memory directly.
void streamCopy(const float *source, float *target, std::size_t n);

/// Fills `bytes` of memory (a multiple of 64), takes them out of the caches, and returns what copies them by streamCopy: it
/// reads `bytes` from memory and writes as many, whatever the size of the caches. Where the processor has no such
/// instructions (other than x86) this holds as far as `bytes` is more than the caches keep. Of several calls the first is
/// exact: it leaves a part of the source in the caches. Throws OutOfMemory.
std::function<void()> prepareStreamCopy(std::int64_t bytes);

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the emulator tells a profiler (the fake CUPTI), as the driver tells the real one.
#include <cstddef>
#include <cstdint>

namespace xqs::emulator {

/// Work that a profiler has a record of when it has run.
struct Launch {
  enum Kind { None, Kernel, Copy, Fill } kind = None; ///< None: an event, a function of the host
  const void *kernel = nullptr;
  int copyKind = 0;              ///< CUpti_ActivityMemcpyKind
  std::size_t bytes = 0;         ///< of a copy or a fill; of a kernel 16 a thread
  std::uint32_t correlation = 0; ///< of the call that launched it; one for all of a graph
  std::uint64_t node = 0;        ///< of an executable graph; 0: launched by itself
  bool byDriver = false;         ///< launched through the driver's functions, past the runtime, as libraries do
};

struct ProfilerHooks {
  std::uint32_t (*called)(const Launch &launch); ///< captured or not; of a graph: None. Gives the correlation id
  void (*ran)(const Launch &launch, std::int64_t startNs, std::int64_t endNs); ///< of the steady clock
  void (*created)(std::uint64_t node);                                         ///< in a capture or by instantiation
  void (*cloned)(std::uint64_t node, std::uint64_t original);
};

/// "xqsEmulatorLibraryKernel", looked up by name: cudaLaunchHostFunc that a profiler takes for a library's kernel.
using LibraryKernel = int (*)(void *stream, void (*function)(void *), void *data);

/// "xqsEmulatorProfile", looked up by name; null: nobody is told.
using SetProfiler = void (*)(const ProfilerHooks *hooks);

} // namespace xqs::emulator

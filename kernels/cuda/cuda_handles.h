// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_check.h"

#include <cstddef>
#include <memory>

namespace xqs::cuda {

// Owners of CUDA's resources. Destruction ignores the status: it cannot throw, and an error that is still pending is a
// device's sticky one, which the next checked call reports.

struct StreamDestroy {
  void operator()(cudaStream_t stream) const noexcept { (void)cudaStreamDestroy(stream); }
};
using Stream = std::unique_ptr<CUstream_st, StreamDestroy>;

struct EventDestroy {
  void operator()(cudaEvent_t event) const noexcept { (void)cudaEventDestroy(event); }
};
using EventHandle = std::unique_ptr<CUevent_st, EventDestroy>;

struct GraphDestroy {
  void operator()(cudaGraph_t graph) const noexcept { (void)cudaGraphDestroy(graph); }
};
using Graph = std::unique_ptr<CUgraph_st, GraphDestroy>;

struct GraphExecDestroy {
  void operator()(cudaGraphExec_t exec) const noexcept { (void)cudaGraphExecDestroy(exec); }
};
using GraphExec = std::unique_ptr<CUgraphExec_st, GraphExecDestroy>;

/// cudaFree does not promise to wait for kernels that still use the memory: the owner synchronizes first.
struct DeviceFree {
  void operator()(std::byte *data) const noexcept { (void)cudaFree(data); }
};
using DeviceMemory = std::unique_ptr<std::byte, DeviceFree>;

/// Page-locked memory of the host that the device reads and writes in place, under the same address.
struct PinnedFree {
  void operator()(std::byte *data) const noexcept { (void)cudaFreeHost(data); }
};
using PinnedMemory = std::unique_ptr<std::byte, PinnedFree>;

/// A stream that does not wait for the legacy default stream.
inline Stream makeStream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return Stream(stream);
}

inline EventHandle makeEvent(unsigned flags = cudaEventDisableTiming) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, flags), "cudaEventCreateWithFlags");
  return EventHandle(event);
}

} // namespace xqs::cuda

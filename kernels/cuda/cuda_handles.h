// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_check.h"

#include <cstddef>
#include <memory>

namespace xqs::cuda {

// Owners of a stream, an event and device memory. Destruction ignores the status: it cannot throw, and an error that is
// still pending is a device's sticky one, which the next checked call reports.

struct StreamDestroy {
  void operator()(cudaStream_t stream) const noexcept { (void)cudaStreamDestroy(stream); }
};
using Stream = std::unique_ptr<CUstream_st, StreamDestroy>;

struct EventDestroy {
  void operator()(cudaEvent_t event) const noexcept { (void)cudaEventDestroy(event); }
};
using EventHandle = std::unique_ptr<CUevent_st, EventDestroy>;

/// cudaFree does not promise to wait for kernels that still use the memory: the owner synchronizes first.
struct DeviceFree {
  void operator()(std::byte *data) const noexcept { (void)cudaFree(data); }
};
using DeviceMemory = std::unique_ptr<std::byte, DeviceFree>;

/// A stream that does not wait for the legacy default stream.
inline Stream makeStream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return Stream(stream);
}

inline EventHandle makeEvent() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return EventHandle(event);
}

/// Zero-filled, ready for every stream when the call returns. Throws OutOfMemory with the bytes needed and the bytes free.
DeviceMemory makeDeviceMemory(Index bytes);

} // namespace xqs::cuda

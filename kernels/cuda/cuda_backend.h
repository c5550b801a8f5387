// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"
#include "cuda_handles.h"

#include <array>

namespace xqs::cuda {

/// CUDA device 0 (CUDA_VISIBLE_DEVICES chooses which that is). One stream a queue; operations return at once and report
/// trouble of the launch itself; what fails on the device is thrown by the next call that waits. Has the operations below;
/// the others answer BackendUnusable by name. Records no trace yet.
///
/// quantize, dequantize and convert give the bits of the reference; matmul sums in FP32 over ascending k with fused
/// multiply-add, so it differs from the reference within rounding only.
class CudaBackend final : public Backend {
public:
  CudaBackend();
  ~CudaBackend() override;

  const char *name() const override { return "cuda"; }
  std::string device() const override { return m_device; }
  bool hostVisible() const override { return false; }

  /// Host memory may be reused when the call returns (pageable memory is staged).
  void upload(Queue, std::byte *dst, const void *hostSrc, Index bytes) override;
  void download(Queue, void *hostDst, const std::byte *src, Index bytes) override; ///< valid after sync
  void copy(Queue, ConstView src, View dst) override; ///< views whose memory overlaps go through staging memory

  Event record(Queue) override;
  void wait(Queue, Event) override;
  void sync(Queue) override;

  void matmul(Queue, ConstView x, ConstView w, View out, bool accumulate) override;
  void convert(Queue, ConstView src, View dst) override;
  void quantize(Queue, ConstView x, const PackedView &dst, Index firstRow) override;
  void dequantize(Queue, const PackedView &src, TokenRange range, View out, bool accumulate) override;
  void dequantMatmul(Queue, const PackedView &src, TokenRange range, ConstView w, View out) override;

  std::int64_t takeSaturated() override; ///< waits for every queue

protected:
  std::byte *allocateBytes(Index bytes) override;                 ///< throws OutOfMemory itself: it knows the bytes free
  void freeBytes(std::byte *data, Index bytes) noexcept override; ///< waits for the device first

private:
  struct Lane {
    Stream stream;
    DeviceMemory staging; ///< grows to the largest need; used in stream order only
    Index stagingBytes = 0;
  };
  static constexpr std::size_t kEvents = 256;

  Lane &lane(Queue queue) { return m_lanes[static_cast<std::size_t>(queue)]; }
  cudaStream_t stream(Queue queue) { return lane(queue).stream.get(); }
  std::byte *staging(Queue queue, Index bytes);
  unsigned long long *saturatedCounter() { return reinterpret_cast<unsigned long long *>(m_saturated.get()); }

  std::string m_device;
  DeviceMemory m_saturated; ///< one 64-bit counter
  std::array<Lane, 3> m_lanes;
  std::array<EventHandle, kEvents>
      m_events; ///< event `id` lies in slot id % kEvents; a slot is reused after it has completed
  std::uint64_t m_lastEvent = 0;
};

} // namespace xqs::cuda

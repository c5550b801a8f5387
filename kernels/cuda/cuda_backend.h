// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"
#include "call_observer.h"
#include "cublas.h"
#include "memory.h"

#include <array>
#include <deque>

namespace xqs::cuda {

/// CUDA device 0 (CUDA_VISIBLE_DEVICES chooses which that is). One stream a queue; operations return at once and report
/// trouble of the launch itself; what fails on the device is thrown by the next call that waits. Weights are FP16,
/// activations FP32, sums FP32.
///
/// quantize, dequantize and convert give the bits of the reference; the others agree with it within rounding.
/// Its members stand in one file a topic: cuda_backend.cpp (memory, order), row_ops.cpp, matmul_ops.cpp, cache_ops.cpp,
/// attention_ops.cpp, stored_ops.cpp, capture_ops.cpp.
class CudaBackend final : public Backend {
public:
  CudaBackend();
  ~CudaBackend() override;

  const char *name() const override { return "cuda"; }
  std::string device() const override { return m_device; }
  bool hostVisible() const override { return false; }
  DType weightType() const override { return DType::F16; }
  bool readsStored() const override { return true; }
  Index freeBytes() const override;

  /// Host memory may be reused when the call returns (pageable memory is staged).
  void upload(Queue, std::byte *dst, const void *hostSrc, Index bytes) override;
  void download(Queue, void *hostDst, const std::byte *src, Index bytes) override; ///< valid after sync
  void copy(Queue, ConstView src, View dst) override; ///< views whose memory overlaps go through staging memory

  Event record(Queue) override;
  void wait(Queue, Event) override;
  void sync(Queue) override;
  void gather() override;
  void submit() override;
  void drop() noexcept override;
  void forgetResults() noexcept override;

  void embed(Queue, ConstView table, std::span<const std::int32_t> tokens, View out) override;
  void rmsNorm(Queue, ConstView x, ConstView weight, float eps, View out) override;
  void rope(Queue, View x, Index heads, Index firstPosition, std::span<const double> frequency) override;
  void add(Queue, ConstView a, ConstView b, View out) override;
  void addRow(Queue, View x, ConstView row) override;
  void subtract(Queue, ConstView a, ConstView b, View out) override;
  void scale(Queue, View x, float factor) override;
  void siluMul(Queue, ConstView gate, ConstView up, View out) override;

  void matmul(Queue, ConstView x, ConstView w, View out, bool accumulate) override;
  void matmulLanes(Queue, Index lanes, ConstView x, ConstView w, View out, bool accumulate) override;
  void matmulHeads(Queue, Index heads, Index kvHeads, ConstView x, ConstView w, View out) override;
  void dequantMatmul(Queue, const PackedView &src, TokenRange range, ConstView w, View out) override;

  void convert(Queue, ConstView src, View dst) override;
  void quantize(Queue, ConstView x, const PackedView &dst, Index firstRow) override;
  void dequantize(Queue, const PackedView &src, TokenRange range, View out, bool accumulate) override;

  void attention(Queue, const AttentionArgs &args) override;
  bool attendStored(Queue, const StoredAttention &args) override;
  bool rebuildStored(Queue, const StoredSide &side, TokenRange range, View out) override;

  void score(Queue, ConstView exact, ConstView logits, std::span<const std::int32_t> targets,
             std::span<Score> scores) override;
  void summarize(Queue, ConstView x, Summary &summary) override;
  void compare(Queue, ConstView exact, ConstView approx, ErrorSums &sums) override;
  void similarity(Queue, std::span<const ConstView> layers, std::span<float> cosine) override;

  std::int64_t takeSaturated() override; ///< waits for every queue
  Instruments &instruments() override;

  /// Tells `observer` of every operation from now on; null: nobody. The next gathered step has an executable graph of its
  /// own: whose nodes the observer has seen made, or that is free of what a tracer put into it.
  void observe(CallObserver *observer);

protected:
  std::byte *allocateBytes(Index bytes, Purpose purpose, Placement placement) override; ///< throws OutOfMemory itself
  void releaseBytes(const Buffer &buffer) noexcept override;

private:
  /// A result on its way to the host: what `finish` makes of it happens in `sync`.
  struct HostResult {
    std::byte *pinned;
    std::function<void(const std::byte *)> finish;
  };
  /// An operation whose two events have been recorded and not yet been read.
  struct Timed {
    KernelRecord record;
    EventHandle start, end;
  };
  struct Lane {
    Stream stream;
    BlockPool<DeviceMemory> scratch{makeDeviceMemory};
    std::deque<HostResult> results;
    std::deque<Timed> timed;
  };
  static constexpr std::size_t kEvents = 256;
  /// Ids of events of gathered steps: kOfStep, the step's number, the place in m_stepEvents.
  static constexpr std::uint64_t kOfStep = std::uint64_t{1} << 63, kMaxStepEvents = std::uint64_t{1} << 24;

  /// Stands at the top of every public operation: counts it, tells the observer and, while a sink is set, has its time on
  /// the device reported at the next sync.
  class Op {
  public:
    Op(CudaBackend &backend, Queue queue, const char *kernel, double bytes, double flops);
    ~Op();
    Op(const Op &) = delete;
    Op &operator=(const Op &) = delete;

  private:
    void startTimer();

    CudaBackend &m_backend;
    Queue m_queue;
    Timed m_timed;
  };

  /// Device memory for the operation in progress, given back at the end of the scope; reused in the queue's order.
  class Scratch {
  public:
    Scratch(CudaBackend &backend, Queue queue, Index bytes)
        : m_pool(backend.lane(queue).scratch), m_data(backend.takeScratch(queue, bytes)) {}
    ~Scratch() { m_pool.give(m_data); }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    std::byte *data() const { return m_data; }
    template <typename T> T *as() const { return reinterpret_cast<T *>(m_data); }

  private:
    BlockPool<DeviceMemory> &m_pool;
    std::byte *m_data;
  };

  Lane &lane(Queue queue) { return m_lanes[static_cast<std::size_t>(queue)]; }
  cudaStream_t stream(Queue queue) { return lane(queue).stream.get(); }
  unsigned long long *saturatedCounter() { return reinterpret_cast<unsigned long long *>(m_saturated.get()); }
  /// Copies `bytes` to the host behind what the queue does; `finish` reads them in the next sync of the queue.
  void returnToHost(Queue queue, const std::byte *data, Index bytes, std::function<void(const std::byte *)> finish);
  bool rebuildFew(Queue, const StoredSide &side, TokenRange range, View out);
  void readTimes(Lane &lane);
  std::byte *takeScratch(Queue queue, Index bytes);
  /// Asks the driver; where it has none left, gives idle blocks back first. Not while a step is gathered.
  template <typename Take> auto withTrim(const Take &take);
  /// Takes back the results from the `first` on: they come to nobody.
  void dropResults(Lane &lane, std::size_t first) noexcept;
  void endGather() noexcept;
  void launchStep();
  /// Id of the gathered step's first event.
  std::uint64_t stepEvents() const { return kOfStep | (m_stepCount * kMaxStepEvents & ~kOfStep); }

  std::string m_device;
  CallObserver *m_observer = nullptr;
  DeviceMemory m_saturated; ///< one 64-bit counter
  Stream m_fill;            ///< of new memory
  BlockPool<PinnedMemory> m_pinned{makePinnedMemory};
  std::array<Lane, 3> m_lanes;
  Cublas m_cublas; ///< a handle a queue
  std::array<EventHandle, kEvents>
      m_events; ///< event `id` lies in slot id % kEvents; a slot is reused after it has completed
  std::uint64_t m_lastEvent = 0;
  EventHandle m_epoch; ///< where device times are counted from, at m_epochNs of the host's steady clock
  std::int64_t m_epochNs = 0;
  bool m_gathering = false;
  GraphExec m_step; ///< the last gathered step
  std::uint64_t m_stepCount = 0;
  std::vector<EventHandle> m_stepEvents;   ///< of the step that is gathered
  std::size_t m_resultsBefore = 0;         ///< of the compute queue, when gathering began
  std::vector<DeviceMemory> m_retired;     ///< given back while a step was gathered, which still uses it
  std::vector<PinnedMemory> m_retiredHost; ///< likewise
  Index m_sharedLimit = 0;                 ///< bytes of shared memory that a block may have
};

} // namespace xqs::cuda

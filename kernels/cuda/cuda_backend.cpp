// SPDX-License-Identifier: Apache-2.0
// Memory and order; the operations stand in *_ops.cpp.
#include "cuda_backend.h"

#include "cuda_instruments.h"
#include "device_views.h"

#include <chrono>
#include <cstring>
#include <utility>

namespace xqs::cuda {
namespace {

std::string describeDevice() {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  return std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor) + ", " + std::to_string(properties.totalGlobalMem >> 20) + " MiB";
}

std::int64_t nowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

} // namespace

CudaBackend::CudaBackend() {
  check(cudaSetDevice(0), "cudaSetDevice");
  int shared = 0;
  check(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "cudaDeviceGetAttribute");
  m_sharedLimit = shared;
  m_device = describeDevice() + ", " + m_cublas.description();
  m_fill = makeStream();
  for (Lane &lane : m_lanes) lane.stream = makeStream();
  m_saturated = makeDeviceMemory(sizeof(unsigned long long));
  check(cudaMemsetAsync(m_saturated.get(), 0, sizeof(unsigned long long), m_fill.get()), "cudaMemsetAsync");
  check(cudaStreamSynchronize(m_fill.get()), "cudaStreamSynchronize");
}

CudaBackend::~CudaBackend() {
  m_instruments.reset();
  (void)cudaDeviceSynchronize(); // memory must outlive the work that uses it
}

Instruments &CudaBackend::instruments() {
  if (!m_instruments) m_instruments = std::make_unique<CudaInstruments>(*this);
  return *m_instruments;
}

// Memory ------------------------------------------------------------------------------------------------------------------

template <typename Take> auto CudaBackend::withTrim(const Take &take) {
  try {
    return take();
  } catch (const Error &error) {
    if (error.code() != Code::OutOfMemory || m_gathering) throw;
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    for (Lane &lane : m_lanes) lane.scratch.trim();
    return take();
  }
}

std::byte *CudaBackend::takeScratch(Queue queue, Index bytes) {
  return withTrim([&] { return lane(queue).scratch.take(bytes); });
}

std::byte *CudaBackend::allocateBytes(Index bytes, Purpose purpose, Placement placement) {
  if (placement == Placement::Host) {
    std::byte *data = makePinnedMemory(bytes).release();
    std::memset(data, 0, static_cast<std::size_t>(bytes));
    return data;
  }
  if (purpose == Purpose::Scratch) return takeScratch(Queue::Compute, bytes);
  DeviceMemory memory = withTrim([&] { return makeDeviceMemory(bytes); });
  // The queues' streams do not wait for this one, so the fill is waited for here.
  check(cudaMemsetAsync(memory.get(), 0, static_cast<std::size_t>(bytes), m_fill.get()), "cudaMemsetAsync", {bytes});
  check(cudaStreamSynchronize(m_fill.get()), "cudaStreamSynchronize after a fill", {bytes});
  return memory.release();
}

void CudaBackend::releaseBytes(const Buffer &buffer) noexcept {
  const bool host = buffer.placement() == Placement::Host;
  if (!host && buffer.purpose() == Purpose::Scratch) return lane(Queue::Compute).scratch.give(buffer.data());
  if (m_gathering) { // the step will use it
    if (host)
      m_retiredHost.emplace_back(buffer.data());
    else
      m_retired.emplace_back(buffer.data());
    return;
  }
  (void)cudaDeviceSynchronize(); // a kernel may still use it; an error is sticky and the next checked call reports it
  if (host)
    PinnedFree{}(buffer.data());
  else
    DeviceFree{}(buffer.data());
}

Index CudaBackend::freeBytes() const {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  Index bytes = static_cast<Index>(free);
  for (const Lane &lane : m_lanes) bytes += lane.scratch.idle();
  return bytes;
}

void CudaBackend::upload(Queue queue, std::byte *dst, const void *hostSrc, Index bytes) {
  const Op op(*this, queue, "upload", 2.0 * static_cast<double>(bytes), 0);
  if (bytes <= 0) return;
  check(cudaMemcpyAsync(dst, hostSrc, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream(queue)), "upload", {bytes});
}

void CudaBackend::download(Queue queue, void *hostDst, const std::byte *src, Index bytes) {
  const Op op(*this, queue, "download", 2.0 * static_cast<double>(bytes), 0);
  if (bytes <= 0) return;
  check(cudaMemcpyAsync(hostDst, src, static_cast<std::size_t>(bytes), cudaMemcpyDefault, stream(queue)), "download",
        {bytes});
}

void CudaBackend::copy(Queue queue, ConstView src, View dst) {
  XQS_ASSERT(src.type == dst.type && sameShape(src, dst));
  const Op op(*this, queue, "copy", 2 * bytesOf(src), 0);
  if (src.empty()) return;
  if (!overlap(src, dst)) return copyRows(stream(queue), src, dst);
  const Scratch scratch(*this, queue, src.rows * src.cols * sizeOf(src.type));
  const View between(scratch.data(), src.type, src.rows, src.cols);
  copyRows(stream(queue), src, between);
  copyRows(stream(queue), between, dst);
}

void CudaBackend::returnToHost(Queue queue, const std::byte *data, Index bytes,
                               std::function<void(const std::byte *)> finish) {
  std::byte *pinned = m_pinned.take(bytes);
  check(cudaMemcpyAsync(pinned, data, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream(queue)),
        "copy of a result", {bytes});
  lane(queue).results.push_back({pinned, std::move(finish)});
}

// Order -------------------------------------------------------------------------------------------------------------------

Event CudaBackend::record(Queue queue) {
  if (m_gathering) {
    const EventHandle &event = m_stepEvents.emplace_back(makeEvent());
    check(cudaEventRecord(event.get(), stream(queue)), "cudaEventRecord");
    return {stepEvents() | (m_stepEvents.size() - 1)};
  }
  const std::uint64_t id = ++m_lastEvent;
  EventHandle &event = m_events[id % kEvents];
  if (!event)
    event = makeEvent();
  else
    check(cudaEventSynchronize(event.get()), "cudaEventSynchronize");
  check(cudaEventRecord(event.get(), stream(queue)), "cudaEventRecord");
  return {id};
}

void CudaBackend::wait(Queue queue, Event event) {
  if (event.id == 0) return;
  if (m_gathering) { // else than of this step: before it, all queues have met
    if ((event.id ^ stepEvents()) >= kMaxStepEvents) return;
    const EventHandle &recorded = m_stepEvents.at(event.id & (kMaxStepEvents - 1));
    return check(cudaStreamWaitEvent(stream(queue), recorded.get(), 0), "cudaStreamWaitEvent");
  }
  if ((event.id & kOfStep) != 0) { // of a step that has been submitted: it is over when the compute queue is
    if (queue != Queue::Compute) wait(queue, record(Queue::Compute));
    return;
  }
  XQS_ASSERT(event.id <= m_lastEvent);
  if (event.id + kEvents <= m_lastEvent) return; // completed before its slot was reused
  check(cudaStreamWaitEvent(stream(queue), m_events[event.id % kEvents].get(), 0), "cudaStreamWaitEvent");
}

void CudaBackend::sync(Queue queue) {
  XQS_ASSERT(!m_gathering);
  Lane &l = lane(queue);
  check(cudaStreamSynchronize(l.stream.get()), "cudaStreamSynchronize");
  if (queue == Queue::Compute) m_retired.clear(), m_retiredHost.clear();
  while (!l.results.empty()) {
    const HostResult result = std::move(l.results.front());
    l.results.pop_front();
    result.finish(result.pinned);
    m_pinned.give(result.pinned);
  }
  readTimes(l);
  if (queue != Queue::Compute) return;
  for (const Queue other : {Queue::Copy, Queue::Rebuild}) // what nobody waits for has times too
    if (!lane(other).timed.empty()) sync(other);
}

/// Timed operations run one by one: a graph's nodes have no events between them. So do counted ones.
void CudaBackend::gather() {
  if (m_trace || (m_observer != nullptr && !m_observer->gathers())) return;
  XQS_ASSERT(!m_gathering);
  // A captured stream cannot wait for what was recorded before: the queues meet here.
  for (const Queue other : {Queue::Copy, Queue::Rebuild}) wait(Queue::Compute, record(other));
  m_cublas.prepare(static_cast<std::size_t>(Queue::Compute), stream(Queue::Compute));
  m_resultsBefore = lane(Queue::Compute).results.size();
  ++m_stepCount;
  if (m_observer != nullptr) m_observer->gather();
  check(cudaStreamBeginCapture(stream(Queue::Compute), cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  m_gathering = true;
}

void CudaBackend::submit() {
  if (!m_gathering) return;
  try {
    cudaGraph_t captured = nullptr;
    m_gathering = false;
    check(cudaStreamEndCapture(stream(Queue::Compute), &captured), "cudaStreamEndCapture");
    const Graph graph(captured);
    if (m_observer != nullptr && !m_observer->gathered()) m_step.reset();
    cudaGraphExecUpdateResultInfo info{};
    if (!m_step || cudaGraphExecUpdate(m_step.get(), graph.get(), &info) != cudaSuccess) {
      (void)cudaGetLastError(); // another sequence of operations than last time: a new graph
      cudaGraphExec_t exec = nullptr;
      m_step.reset();
      check(cudaGraphInstantiate(&exec, graph.get(), 0), "cudaGraphInstantiate");
      m_step.reset(exec);
    }
    launchStep();
    m_stepEvents.clear();
  } catch (...) {
    endGather();
    throw;
  }
}

void CudaBackend::launchStep() {
  if (m_observer != nullptr) m_observer->launch();
  const cudaError_t status = cudaGraphLaunch(m_step.get(), stream(Queue::Compute));
  if (m_observer != nullptr) m_observer->launched();
  check(status, "cudaGraphLaunch");
}

void CudaBackend::drop() noexcept {
  if (!std::exchange(m_gathering, false)) return;
  cudaGraph_t captured = nullptr;
  if (cudaStreamEndCapture(stream(Queue::Compute), &captured) == cudaSuccess) Graph{captured}.reset();
  endGather();
}

/// The step will not run.
void CudaBackend::endGather() noexcept {
  (void)cudaGetLastError();
  if (m_observer != nullptr) m_observer->drop();
  m_stepEvents.clear();
  dropResults(lane(Queue::Compute), m_resultsBefore);
}

void CudaBackend::forgetResults() noexcept {
  drop();
  for (Lane &l : m_lanes) {
    (void)cudaStreamSynchronize(l.stream.get()); // copies into the pinned blocks; an error is sticky and shows later
    dropResults(l, 0);
  }
}

void CudaBackend::dropResults(Lane &l, std::size_t first) noexcept {
  while (l.results.size() > first) {
    m_pinned.give(l.results.back().pinned);
    l.results.pop_back();
  }
}

// Observation -------------------------------------------------------------------------------------------------------------

void CudaBackend::observe(CallObserver *observer) {
  XQS_ASSERT(!m_gathering);
  m_observer = observer;
  m_step.reset();
}

CudaBackend::Op::Op(CudaBackend &backend, Queue queue, const char *kernel, double bytes, double flops)
    : m_backend(backend), m_queue(queue) {
  ++backend.m_operations;
  const bool timed = backend.m_trace && !backend.m_gathering;
  if (!timed && backend.m_observer == nullptr) return;
  m_timed.record = {backend.m_tag, kernel, 0, 0, bytes, flops, backend.m_operations, {}, queue};
  if (timed) startTimer();
  if (backend.m_observer != nullptr) backend.m_observer->begin(m_timed.record);
}

void CudaBackend::Op::startTimer() {
  if (!m_backend.m_epoch) {
    m_backend.m_epoch = makeEvent(cudaEventDefault);
    check(cudaEventRecord(m_backend.m_epoch.get(), m_backend.stream(Queue::Compute)), "cudaEventRecord");
    check(cudaEventSynchronize(m_backend.m_epoch.get()), "cudaEventSynchronize");
    m_backend.m_epochNs = nowNs();
  }
  m_timed.start = makeEvent(cudaEventDefault), m_timed.end = makeEvent(cudaEventDefault);
  check(cudaEventRecord(m_timed.start.get(), m_backend.stream(m_queue)), "cudaEventRecord");
}

CudaBackend::Op::~Op() {
  if (m_backend.m_observer != nullptr) m_backend.m_observer->end();
  if (!m_timed.end || cudaEventRecord(m_timed.end.get(), m_backend.stream(m_queue)) != cudaSuccess) return;
  m_backend.lane(m_queue).timed.push_back(std::move(m_timed));
}

void CudaBackend::readTimes(Lane &l) {
  while (!l.timed.empty()) {
    Timed timed = std::move(l.timed.front());
    l.timed.pop_front();
    float start = 0, duration = 0; // milliseconds
    check(cudaEventElapsedTime(&start, m_epoch.get(), timed.start.get()), "cudaEventElapsedTime");
    check(cudaEventElapsedTime(&duration, timed.start.get(), timed.end.get()), "cudaEventElapsedTime");
    timed.record.startNs = m_epochNs + static_cast<std::int64_t>(static_cast<double>(start) * 1e6);
    timed.record.durationNs = static_cast<std::int64_t>(static_cast<double>(duration) * 1e6);
    if (m_trace) m_trace(timed.record);
  }
}

std::int64_t CudaBackend::takeSaturated() {
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  unsigned long long count = 0;
  check(cudaMemcpy(&count, m_saturated.get(), sizeof count, cudaMemcpyDeviceToHost), "download of the saturation count");
  if (count != 0) {
    check(cudaMemsetAsync(m_saturated.get(), 0, sizeof count, m_fill.get()), "reset of the saturation count");
    check(cudaStreamSynchronize(m_fill.get()), "reset of the saturation count");
  }
  return static_cast<std::int64_t>(count);
}

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#include "cuda_backend.h"

#include "kernels.h"

namespace xqs::cuda {
namespace {

const float *floats(ConstView v) { return reinterpret_cast<const float *>(v.data); }
float *floats(View v) { return reinterpret_cast<float *>(v.data); }
const Half *halves(ConstView v) { return reinterpret_cast<const Half *>(v.data); }
Half *halves(View v) { return reinterpret_cast<Half *>(v.data); }

PackedPointers pointersOf(const PackedView &p) { return {packShape(p.format, p.width), p.codes, p.scales, p.zeros}; }

/// What every packed operation requires of its view.
void checkPacked(const PackedView &p) {
  const int bits = p.format.bits;
  XQS_ASSERT(bits == 2 || bits == 3 || bits == 4 || bits == 8);
  XQS_ASSERT(p.format.group > 0 && p.width > 0 && p.codes != nullptr && p.scales != nullptr && p.zeros != nullptr);
}

std::size_t pitchOf(ConstView v) { return static_cast<std::size_t>(v.stride * sizeOf(v.type)); }
std::size_t rowBytesOf(ConstView v) { return static_cast<std::size_t>(v.cols * sizeOf(v.type)); }
/// One past the last byte a view touches.
const std::byte *endOf(ConstView v) { return v.data + ((v.rows - 1) * v.stride + v.cols) * sizeOf(v.type); }
bool overlap(ConstView a, ConstView b) { return a.data < endOf(b) && b.data < endOf(a); }

void copyRows(cudaStream_t stream, std::byte *to, std::size_t toPitch, const std::byte *from, std::size_t fromPitch,
              std::size_t rowBytes, Index rows) {
  // A single row may be wider than its stride says: the pitch of a copy must hold the row.
  if (rows == 1) toPitch = fromPitch = rowBytes;
  check(cudaMemcpy2DAsync(to, toPitch, from, fromPitch, rowBytes, static_cast<std::size_t>(rows), cudaMemcpyDeviceToDevice,
                          stream),
        "cudaMemcpy2DAsync", {rows, static_cast<Index>(rowBytes)});
}

std::string describeDevice() {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  return std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor) + ", " + std::to_string(properties.totalGlobalMem >> 20) + " MiB";
}

} // namespace

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
  DeviceMemory memory(static_cast<std::byte *>(data));
  // The queues' streams do not wait for the default stream, so the fill is waited for here.
  check(cudaMemsetAsync(data, 0, static_cast<std::size_t>(bytes), nullptr), "cudaMemsetAsync", {bytes});
  check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize after a fill", {bytes});
  return memory;
}

CudaBackend::CudaBackend() {
  check(cudaSetDevice(0), "cudaSetDevice");
  m_device = describeDevice();
  m_saturated = makeDeviceMemory(sizeof(unsigned long long));
  for (Lane &lane : m_lanes) lane.stream = makeStream();
}

CudaBackend::~CudaBackend() { (void)cudaDeviceSynchronize(); } // staging memory must outlive the work that uses it

// Memory ------------------------------------------------------------------------------------------------------------------

std::byte *CudaBackend::allocateBytes(Index bytes) { return makeDeviceMemory(bytes).release(); }

void CudaBackend::freeBytes(std::byte *data, Index) noexcept {
  (void)cudaDeviceSynchronize(); // a kernel may still use it; an error is sticky and the next checked call reports it
  DeviceFree{}(data);
}

std::byte *CudaBackend::staging(Queue queue, Index bytes) {
  Lane &l = lane(queue);
  if (bytes > l.stagingBytes) {
    sync(queue);
    l.staging.reset(); // before the new block: both need not fit at once
    l.stagingBytes = 0;
    l.staging = makeDeviceMemory(bytes);
    l.stagingBytes = bytes;
  }
  return l.staging.get();
}

void CudaBackend::upload(Queue queue, std::byte *dst, const void *hostSrc, Index bytes) {
  ++m_operations;
  if (bytes <= 0) return;
  check(cudaMemcpyAsync(dst, hostSrc, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream(queue)), "upload",
        {bytes});
}

void CudaBackend::download(Queue queue, void *hostDst, const std::byte *src, Index bytes) {
  ++m_operations;
  if (bytes <= 0) return;
  check(cudaMemcpyAsync(hostDst, src, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost, stream(queue)), "download",
        {bytes});
}

void CudaBackend::copy(Queue queue, ConstView src, View dst) {
  XQS_ASSERT(src.type == dst.type && src.rows == dst.rows && src.cols == dst.cols);
  ++m_operations;
  if (src.empty()) return;
  const std::size_t rowBytes = rowBytesOf(src);
  if (!overlap(src, dst)) return copyRows(stream(queue), dst.data, pitchOf(dst), src.data, pitchOf(src), rowBytes, src.rows);
  std::byte *between = staging(queue, static_cast<Index>(rowBytes) * src.rows);
  copyRows(stream(queue), between, rowBytes, src.data, pitchOf(src), rowBytes, src.rows);
  copyRows(stream(queue), dst.data, pitchOf(dst), between, rowBytes, rowBytes, src.rows);
}

// Order -------------------------------------------------------------------------------------------------------------------

Event CudaBackend::record(Queue queue) {
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
  XQS_ASSERT(event.id <= m_lastEvent);
  if (event.id == 0 || event.id + kEvents <= m_lastEvent) return; // none, or completed before its slot was reused
  check(cudaStreamWaitEvent(stream(queue), m_events[event.id % kEvents].get(), 0), "cudaStreamWaitEvent");
}

void CudaBackend::sync(Queue queue) { check(cudaStreamSynchronize(stream(queue)), "cudaStreamSynchronize"); }

// Operations --------------------------------------------------------------------------------------------------------------

void CudaBackend::matmul(Queue queue, ConstView x, ConstView w, View out, bool accumulate) {
  XQS_ASSERT(x.type == DType::F32 && w.type == DType::F32 && out.type == DType::F32);
  XQS_ASSERT(x.cols == w.cols && out.rows == x.rows && out.cols == w.rows);
  ++m_operations;
  if (out.empty()) return;
  matmulTiled(stream(queue),
              {floats(x), floats(w), floats(out), x.stride, w.stride, out.stride, x.rows, w.rows, x.cols, accumulate});
}

void CudaBackend::convert(Queue queue, ConstView src, View dst) {
  XQS_ASSERT(src.rows == dst.rows && src.cols == dst.cols);
  ++m_operations;
  if (src.empty()) return;
  if (src.type == dst.type)
    copyRows(stream(queue), dst.data, pitchOf(dst), src.data, pitchOf(src), rowBytesOf(src), src.rows);
  else if (dst.type == DType::F16)
    narrowRows(stream(queue), floats(src), src.stride, halves(dst), dst.stride, src.rows, src.cols, saturatedCounter());
  else
    widenRows(stream(queue), halves(src), src.stride, floats(dst), dst.stride, src.rows, src.cols);
}

void CudaBackend::quantize(Queue queue, ConstView x, const PackedView &dst, Index firstRow) {
  const Index group = dst.format.group;
  checkPacked(dst);
  XQS_ASSERT(x.type == DType::F32 && x.cols == dst.width);
  XQS_ASSERT(firstRow >= 0 && firstRow + x.rows <= dst.rows);
  XQS_ASSERT(dst.format.axis == Axis::Token || (firstRow % group == 0 && x.rows % group == 0));
  ++m_operations;
  if (x.empty()) return;
  quantizeRows(stream(queue), floats(x), x.stride, x.rows, pointersOf(dst), firstRow, saturatedCounter());
}

void CudaBackend::dequantize(Queue queue, const PackedView &src, TokenRange range, View out, bool accumulate) {
  checkPacked(src);
  XQS_ASSERT(out.type == DType::F32 && out.rows == range.size() && out.cols == src.width);
  XQS_ASSERT(range.begin >= 0 && range.end <= src.rows);
  ++m_operations;
  if (out.empty()) return;
  dequantizeRows(stream(queue), pointersOf(src), range, floats(out), out.stride, accumulate);
}

void CudaBackend::dequantMatmul(Queue queue, const PackedView &src, TokenRange range, ConstView w, View out) {
  // Through staging memory instead of a buffer: freeing one would wait for the device at every call.
  if (range.empty()) return;
  std::byte *rows = staging(queue, range.size() * src.width * sizeOf(DType::F32));
  const View decoded(rows, DType::F32, range.size(), src.width);
  dequantize(queue, src, range, decoded, false);
  matmul(queue, decoded, w, out, false);
}

std::int64_t CudaBackend::takeSaturated() {
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  unsigned long long count = 0;
  check(cudaMemcpy(&count, m_saturated.get(), sizeof count, cudaMemcpyDeviceToHost), "download of the saturation count");
  if (count != 0) {
    check(cudaMemsetAsync(m_saturated.get(), 0, sizeof count, nullptr), "reset of the saturation count");
    check(cudaStreamSynchronize(nullptr), "reset of the saturation count");
  }
  return static_cast<std::int64_t>(count);
}

} // namespace xqs::cuda

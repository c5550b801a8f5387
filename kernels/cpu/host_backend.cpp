// SPDX-License-Identifier: Apache-2.0
#include "host_backend.h"

#include "host_instruments.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

namespace xqs {

namespace {
constexpr Index kAlignment = 64;
} // namespace

std::int64_t steadyNowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Instruments &HostBackend::instruments() {
  if (!m_instruments) m_instruments = std::make_unique<HostInstruments>(*this);
  return *m_instruments;
}

std::vector<int> HostBackend::threadIds() {
  std::vector<int> ids = m_pool.workerIds();
  ids.push_back(static_cast<int>(gettid()));
  return ids;
}

HostBackend::Op::Op(HostBackend &backend, const char *kernel, double bytes, double flops) : m_backend(backend) {
  if (backend.m_listener != nullptr) backend.m_listener->begin(backend.m_tag, kernel);
  ++backend.m_operations;
  if (!backend.m_trace) return;
  m_record = {backend.m_tag, kernel, steadyNowNs(), 0, bytes, flops, backend.m_operations};
}

HostBackend::Op::~Op() {
  if (m_backend.m_listener != nullptr) m_backend.m_listener->end();
  if (m_record.startNs == 0) return;
  m_record.durationNs = steadyNowNs() - m_record.startNs;
  m_backend.m_trace(m_record);
}

// calloc takes large blocks as untouched zero pages; the block's own address stands right before the aligned data.
std::byte *HostBackend::allocateBytes(Index bytes, Purpose, Placement) {
  const Index slack = kAlignment + static_cast<Index>(sizeof(void *));
  if (bytes > PTRDIFF_MAX - slack) return nullptr;
  void *block = std::calloc(static_cast<std::size_t>(bytes + slack), 1);
  if (block == nullptr) return nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(block) + static_cast<std::uintptr_t>(slack);
  std::byte *data =
      static_cast<std::byte *>(block) + (address / kAlignment * kAlignment - reinterpret_cast<std::uintptr_t>(block));
  std::memcpy(data - sizeof(void *), &block, sizeof(void *));
  return data;
}

void HostBackend::releaseBytes(const Buffer &buffer) noexcept {
  void *block = nullptr;
  std::memcpy(&block, buffer.data() - sizeof(void *), sizeof(void *));
  std::free(block);
}

void HostBackend::upload(Queue, std::byte *dst, const void *hostSrc, Index bytes) {
  const Op op(*this, "upload", 2.0 * static_cast<double>(bytes), 0);
  if (bytes > 0) std::memcpy(dst, hostSrc, static_cast<std::size_t>(bytes));
}

void HostBackend::download(Queue, void *hostDst, const std::byte *src, Index bytes) {
  const Op op(*this, "download", 2.0 * static_cast<double>(bytes), 0);
  if (bytes > 0) std::memcpy(hostDst, src, static_cast<std::size_t>(bytes));
}

// Overlap is legal, so rows go one after the other, from the end that is not overwritten.
void HostBackend::copy(Queue, ConstView src, View dst) {
  XQS_ASSERT(src.type == dst.type && sameShape(src, dst));
  const Op op(*this, "copy", 2 * bytesOf(src), 0);
  const Index element = sizeOf(src.type);
  const auto bytes = static_cast<std::size_t>(src.cols * element);
  const bool backwards = dst.data > src.data;
  for (Index i = 0; i < src.rows; ++i) {
    const Index r = backwards ? src.rows - 1 - i : i;
    std::memmove(dst.data + r * dst.stride * element, src.data + r * src.stride * element, bytes);
  }
}

void HostBackend::embed(Queue, ConstView table, std::span<const std::int32_t> tokens, View out) {
  XQS_ASSERT(isF32(table) && isF32(out) && out.rows == static_cast<Index>(tokens.size()) && out.cols == table.cols);
  const Op op(*this, "embed", 2 * bytesOf(out), 0);
  for (Index i = 0; i < out.rows; ++i) {
    const Index token = tokens[static_cast<std::size_t>(i)];
    XQS_ASSERT(token >= 0 && token < table.rows);
    std::memcpy(out.row(i), table.row(token), static_cast<std::size_t>(out.cols) * sizeof(float));
  }
}

void HostBackend::rope(Queue, View x, Index heads, Index firstPosition, std::span<const double> frequency) {
  const auto pairs = static_cast<Index>(frequency.size());
  XQS_ASSERT(isF32(x) && x.cols == heads * pairs * 2);
  const Op op(*this, "rope", 2 * bytesOf(x), 3.0 * static_cast<double>(x.rows * x.cols));
  forRows(x.rows, elementwiseTile(x.cols), [&](Index begin, Index end) {
    std::vector<float> cosine(frequency.size()), sine(frequency.size());
    for (Index r = begin; r < end; ++r) {
      for (std::size_t j = 0; j < frequency.size(); ++j) {
        const double angle = static_cast<double>(firstPosition + r) * frequency[j];
        cosine[j] = static_cast<float>(std::cos(angle));
        sine[j] = static_cast<float>(std::sin(angle));
      }
      float *row = x.row(r);
      for (Index h = 0; h < heads; ++h) {
        float *head = row + h * pairs * 2;
        for (std::size_t j = 0; j < frequency.size(); ++j) {
          const float a = head[2 * j], b = head[2 * j + 1];
          head[2 * j] = a * cosine[j] - b * sine[j];
          head[2 * j + 1] = a * sine[j] + b * cosine[j];
        }
      }
    }
  });
}

void HostBackend::add(Queue, ConstView a, ConstView b, View out) {
  XQS_ASSERT(isF32(a) && isF32(b) && isF32(out) && sameShape(a, b) && sameShape(a, out));
  const Op op(*this, "add", 3 * bytesOf(a), static_cast<double>(a.rows * a.cols));
  forRows(a.rows, elementwiseTile(a.cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const float *x = a.row(r), *y = b.row(r);
      float *o = out.row(r);
      for (Index c = 0; c < a.cols; ++c) o[c] = x[c] + y[c];
    }
  });
}

void HostBackend::addRow(Queue, View x, ConstView row) {
  XQS_ASSERT(isF32(x) && isF32(row) && row.rows == 1 && row.cols == x.cols);
  const Op op(*this, "addRow", 2 * bytesOf(x) + bytesOf(row), static_cast<double>(x.rows * x.cols));
  forRows(x.rows, elementwiseTile(x.cols), [&](Index begin, Index end) {
    const float *y = row.row(0);
    for (Index r = begin; r < end; ++r)
      for (Index c = 0; c < x.cols; ++c) x.row(r)[c] += y[c];
  });
}

void HostBackend::subtract(Queue, ConstView a, ConstView b, View out) {
  XQS_ASSERT(isF32(a) && isF32(b) && isF32(out) && sameShape(a, b) && sameShape(a, out));
  const Op op(*this, "subtract", 3 * bytesOf(a), static_cast<double>(a.rows * a.cols));
  forRows(a.rows, elementwiseTile(a.cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const float *x = a.row(r), *y = b.row(r);
      float *o = out.row(r);
      for (Index c = 0; c < a.cols; ++c) o[c] = x[c] - y[c];
    }
  });
}

void HostBackend::scale(Queue, View x, float factor) {
  XQS_ASSERT(isF32(x));
  const Op op(*this, "scale", 2 * bytesOf(x), static_cast<double>(x.rows * x.cols));
  forRows(x.rows, elementwiseTile(x.cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r)
      for (Index c = 0; c < x.cols; ++c) x.row(r)[c] *= factor;
  });
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "cache/packed_tensor.h"

#include <fmt/format.h>

namespace xqs {
namespace {
constexpr Queue kQueue = Queue::Compute;
}

PackedTensor::PackedTensor(Backend &backend, const TensorSpec &spec, const CacheSize &size)
    : m_backend(backend), m_spec(spec), m_size(size), m_rows(tensorRows(spec, size)) {
  const Index width = spec.packedWidth();
  if (spec.fp16()) {
    m_half = backend.allocate(m_rows.half * spec.width * sizeOf(DType::F16), Purpose::CacheCodes);
    return;
  }
  const Index scaleBytes = spec.format().scaleCount(m_rows.packed, width) * sizeOf(DType::F16);
  m_codes = backend.allocate(m_rows.packed * spec.format().codeBytesPerRow(width), Purpose::CacheCodes);
  m_scales = backend.allocate(scaleBytes, Purpose::CacheScales);
  m_zeros = backend.allocate(scaleBytes, Purpose::CacheScales);
  m_outliers = backend.allocate(m_rows.outliers * spec.outliers * sizeOf(DType::F16), Purpose::CacheOutliers);
  m_exact = backend.allocate((m_rows.exactAtRest + m_rows.exactInStep) * width * sizeOf(DType::F16), Purpose::CacheExact);
  m_packed = {
      spec.format(), m_codes.data(), reinterpret_cast<Half *>(m_scales.data()), reinterpret_cast<Half *>(m_zeros.data()),
      m_rows.packed, width};
}

bool PackedTensor::windowed() const { return m_size.state == State::Stream && !m_spec.fp16() && !m_spec.stream.never(); }

void PackedTensor::append(Index first, ConstView rows) {
  XQS_ASSERT(rows.cols == m_spec.width && first + rows.rows <= m_size.capacity);
  const Index end = first + rows.rows;
  if (m_spec.fp16()) {
    m_backend.convert(kQueue, rows, m_half.view(DType::F16, m_rows.half, m_spec.width).rowRange(first, rows.rows));
    m_closed = end;
    return;
  }
  if (m_spec.outliers > 0)
    m_backend.convert(kQueue, rows.colRange(0, m_spec.outliers),
                      m_outliers.view(DType::F16, m_rows.outliers, m_spec.outliers).rowRange(first, rows.rows));
  const ConstView body = rows.colRange(m_spec.outliers, m_spec.packedWidth());
  if (windowed()) {
    storeExact(first, body);
    closeTo(m_spec.stream(end - 1));
    return;
  }
  if (first != m_closed)
    throw Error(Code::Usage, fmt::format("state all takes a window in one piece or in multiples of the group ({} tokens); "
                                         "use state stream for other steps",
                                         m_spec.group));
  const Index target = m_size.state == State::Stream ? end : m_spec.closedAt(end, m_size.state);
  pack(first, body.rowRange(0, target - first));
  m_exactBegin = m_exactEnd = target;
  if (end > target) storeExact(target, body.rowRange(target - first, end - target));
}

void PackedTensor::storeExact(Index first, ConstView rows) {
  if (m_exactBegin == m_exactEnd) m_exactBegin = m_exactEnd = first;
  XQS_ASSERT(first == m_exactEnd && first - m_exactBegin + rows.rows <= m_rows.exactAtRest + m_rows.exactInStep);
  const View all = m_exact.view(DType::F16, m_rows.exactAtRest + m_rows.exactInStep, m_spec.packedWidth());
  m_backend.convert(kQueue, rows, all.rowRange(first - m_exactBegin, rows.rows));
  m_exactEnd = first + rows.rows;
}

void PackedTensor::pack(Index first, ConstView rows) {
  XQS_ASSERT(first == m_closed);
  if (rows.rows == 0) return;
  m_backend.quantize(kQueue, rows, m_packed, first);
  m_closed = first + rows.rows;
}

void PackedTensor::closeTo(Index token) {
  if (token <= m_closed) return;
  const TokenRange range{m_closed, token};
  const Buffer scratch = m_backend.allocate(range.size() * m_spec.packedWidth() * sizeOf(DType::F32), Purpose::Scratch);
  const View rows = scratch.f32(range.size(), m_spec.packedWidth());
  m_backend.convert(kQueue, exactRows(range), rows);
  pack(range.begin, rows);
}

void PackedTensor::dropClosed() {
  if (m_closed <= m_exactBegin || m_exactBegin == m_exactEnd) return;
  const Index keep = m_exactEnd - std::min(m_closed, m_exactEnd);
  if (keep > 0) {
    const View all = m_exact.view(DType::F16, m_rows.exactAtRest + m_rows.exactInStep, m_spec.packedWidth());
    m_backend.copy(kQueue, exactRows({m_exactEnd - keep, m_exactEnd}), all.rowRange(0, keep));
  }
  m_exactBegin = m_exactEnd - keep;
}

void PackedTensor::endStep(Index tokens) {
  if (!windowed()) return;
  closeTo(m_spec.closedAt(tokens, m_size.state));
  dropClosed();
}

ConstView PackedTensor::exactRows(TokenRange range) const {
  XQS_ASSERT(range.begin >= m_exactBegin && range.end <= m_exactEnd);
  return m_exact.view(DType::F16, m_rows.exactAtRest + m_rows.exactInStep, m_spec.packedWidth())
      .rowRange(range.begin - m_exactBegin, range.size());
}

void PackedTensor::read(Version version, TokenRange range, View out) const {
  if (m_spec.fp16()) {
    m_backend.convert(kQueue, m_half.view(DType::F16, m_rows.half, m_spec.width).rowRange(range.begin, range.size()), out);
    return;
  }
  if (m_spec.outliers > 0)
    m_backend.convert(kQueue,
                      m_outliers.view(DType::F16, m_rows.outliers, m_spec.outliers).rowRange(range.begin, range.size()),
                      out.colRange(0, m_spec.outliers));
  const View body = out.colRange(m_spec.outliers, m_spec.packedWidth());
  const Index split = version == Version::Exact ? range.begin : std::clamp(m_closed, range.begin, range.end);
  if (split > range.begin)
    m_backend.dequantize(kQueue, m_packed, {range.begin, split}, body.rowRange(0, split - range.begin));
  if (range.end > split)
    m_backend.convert(kQueue, exactRows({split, range.end}), body.rowRange(split - range.begin, range.end - split));
}

void PackedTensor::readMatmul(Version version, TokenRange range, ConstView w, View out) const {
  if (!m_spec.fp16() && m_spec.outliers == 0 && version == Version::Stored && range.end <= m_closed) {
    m_backend.dequantMatmul(kQueue, m_packed, range, w, out);
    return;
  }
  const Buffer scratch = m_backend.allocate(range.size() * m_spec.width * sizeOf(DType::F32), Purpose::Scratch);
  const View rows = scratch.f32(range.size(), m_spec.width);
  read(version, range, rows);
  m_backend.matmul(kQueue, rows, w, out);
}

CacheBytes PackedTensor::bytes(Index tokens) const {
  CacheBytes b = formatBits(m_spec, tokens, m_spec.fp16() ? tokens : m_closed);
  const Index inStep = m_rows.exactInStep * m_spec.packedWidth() * sizeOf(DType::F16);
  b.allocated =
      m_half.bytes() + m_codes.bytes() + m_scales.bytes() + m_zeros.bytes() + m_outliers.bytes() + m_exact.bytes() - inStep;
  b.scratch = inStep;
  return b;
}

} // namespace xqs

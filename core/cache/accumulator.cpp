// SPDX-License-Identifier: Apache-2.0
#include "cache/accumulator.h"

namespace xqs {
namespace {
constexpr Queue kQueue = Queue::Compute;
}

Index AccumulatorFormat::rowBytes(Index width) const {
  switch (kind) {
  case Kind::F32: return width * sizeOf(DType::F32);
  case Kind::F16: return width * sizeOf(DType::F16);
  case Kind::Packed: return packed.codeBytesPerRow(width) + 2 * sizeOf(DType::F16) * packed.groupsPerRow(width);
  }
  return 0;
}

Accumulator::Accumulator(Backend &backend, const AccumulatorFormat &format, Index rows, Index width, Purpose purpose)
    : m_backend(backend), m_format(format), m_width(width), m_purpose(purpose) {
  resize(rows);
}

void Accumulator::resize(Index rows) {
  m_count = rows;
  for (Buffer *buffer : {&m_rows, &m_scales, &m_zeros}) *buffer = {}; // given back before more is asked for
  if (m_format.kind != AccumulatorFormat::Kind::Packed) {
    m_rows = m_backend.allocate(rows * m_format.rowBytes(m_width), m_purpose);
    return;
  }
  const Index scaleBytes = rows * m_format.packed.groupsPerRow(m_width) * sizeOf(DType::F16);
  m_rows = m_backend.allocate(rows * m_format.packed.codeBytesPerRow(m_width), m_purpose);
  m_scales = m_backend.allocate(scaleBytes, m_purpose);
  m_zeros = m_backend.allocate(scaleBytes, m_purpose);
}

PackedView Accumulator::packed() const {
  return {
      m_format.packed, m_rows.data(), reinterpret_cast<Half *>(m_scales.data()), reinterpret_cast<Half *>(m_zeros.data()),
      m_count,         m_width};
}

View Accumulator::load(TokenRange range, Buffer &scratch) const {
  if (m_format.kind == AccumulatorFormat::Kind::F32) return m_rows.f32(m_count, m_width).rowRange(range.begin, range.size());
  scratch = m_backend.allocate(range.size() * m_width * sizeOf(DType::F32), Purpose::Scratch);
  const View rows = scratch.f32(range.size(), m_width);
  if (m_format.kind == AccumulatorFormat::Kind::F16)
    m_backend.convert(kQueue, m_rows.view(DType::F16, m_count, m_width).rowRange(range.begin, range.size()), rows);
  else
    m_backend.dequantize(kQueue, packed(), range, rows);
  return rows;
}

void Accumulator::store(TokenRange range, ConstView rows) {
  switch (m_format.kind) {
  case AccumulatorFormat::Kind::F32: {
    const View kept = m_rows.f32(m_count, m_width).rowRange(range.begin, range.size());
    if (kept.data != rows.data) m_backend.copy(kQueue, rows, kept);
    return;
  }
  case AccumulatorFormat::Kind::F16:
    m_backend.convert(kQueue, rows, m_rows.view(DType::F16, m_count, m_width).rowRange(range.begin, range.size()));
    return;
  case AccumulatorFormat::Kind::Packed: m_backend.quantize(kQueue, rows, packed(), range.begin); return;
  }
}

} // namespace xqs

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

Accumulator::Accumulator(Backend &backend, const AccumulatorFormat &format, Index reserved, Index width, Purpose purpose)
    : m_backend(backend), m_format(format), m_width(width), m_purpose(purpose), m_blocks(reserved, kBlockTokens) {
  resize(reserved);
}

Accumulator::Block Accumulator::makeBlock(Index rows) const {
  if (m_format.kind != AccumulatorFormat::Kind::Packed)
    return {m_backend.allocate(rows * m_format.rowBytes(m_width), m_purpose), {}, {}, rows};
  const Index scaleBytes = rows * m_format.packed.groupsPerRow(m_width) * sizeOf(DType::F16);
  return {m_backend.allocate(rows * m_format.packed.codeBytesPerRow(m_width), m_purpose),
          m_backend.allocate(scaleBytes, m_purpose), m_backend.allocate(scaleBytes, m_purpose), rows};
}

void Accumulator::resize(Index rows) {
  m_blocks.release(rows);
  m_blocks.reserve(rows, [this](Index count) { return makeBlock(count); });
}

Index Accumulator::bytes() const {
  Index sum = 0;
  m_blocks.forRange({0, m_blocks.rows()},
                    [&](const Block &b, TokenRange, Index) { sum += b.rows.bytes() + b.scales.bytes() + b.zeros.bytes(); });
  return sum;
}

PackedView Accumulator::packed(const Block &block) const {
  return {m_format.packed,
          block.rows.data(),
          reinterpret_cast<Half *>(block.scales.data()),
          reinterpret_cast<Half *>(block.zeros.data()),
          block.count,
          m_width};
}

StoredSide Accumulator::stored(Index rows) const {
  StoredSide side;
  side.width = m_width;
  m_blocks.forRange({0, rows}, [&](const Block &block, TokenRange part, Index) {
    StoredSide::Block &b = side.blocks.emplace_back();
    b.rows = part.size();
    if (m_format.kind == AccumulatorFormat::Kind::Packed)
      b.packed = packed(block);
    else
      b.plain =
          block.rows.view(m_format.kind == AccumulatorFormat::Kind::F16 ? DType::F16 : DType::F32, block.count, m_width)
              .rowRange(part.begin, part.size());
  });
  return side;
}

View Accumulator::load(const Block &block, TokenRange range, Buffer &scratch) const {
  if (m_format.kind == AccumulatorFormat::Kind::F32)
    return block.rows.f32(block.count, m_width).rowRange(range.begin, range.size());
  scratch = m_backend.allocate(range.size() * m_width * sizeOf(DType::F32), Purpose::Scratch);
  const View rows = scratch.f32(range.size(), m_width);
  if (m_format.kind == AccumulatorFormat::Kind::F16)
    m_backend.convert(kQueue, block.rows.view(DType::F16, block.count, m_width).rowRange(range.begin, range.size()), rows);
  else
    m_backend.dequantize(kQueue, packed(block), range, rows);
  return rows;
}

void Accumulator::keep(const Block &block, TokenRange range, ConstView rows) {
  switch (m_format.kind) {
  case AccumulatorFormat::Kind::F32: {
    const View kept = block.rows.f32(block.count, m_width).rowRange(range.begin, range.size());
    if (kept.data != rows.data) m_backend.copy(kQueue, rows, kept);
    return;
  }
  case AccumulatorFormat::Kind::F16:
    m_backend.convert(kQueue, rows, block.rows.view(DType::F16, block.count, m_width).rowRange(range.begin, range.size()));
    return;
  case AccumulatorFormat::Kind::Packed: m_backend.quantize(kQueue, rows, packed(block), range.begin); return;
  }
}

void Accumulator::read(TokenRange range, const Read &fn) const {
  m_blocks.forRange(range, [&](const Block &block, TokenRange part, Index before) {
    Buffer scratch;
    fn(load(block, part, scratch), before);
  });
}

void Accumulator::change(TokenRange range, const Change &fn) {
  m_blocks.forRange(range, [&](const Block &block, TokenRange part, Index before) {
    Buffer scratch;
    const View rows = load(block, part, scratch);
    fn(rows, before);
    keep(block, part, rows);
  });
}

void Accumulator::store(TokenRange range, ConstView rows) {
  m_blocks.forRange(range, [&](const Block &block, TokenRange part, Index before) {
    keep(block, part, rows.rowRange(before, part.size()));
  });
}

} // namespace xqs

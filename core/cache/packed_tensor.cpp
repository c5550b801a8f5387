// SPDX-License-Identifier: Apache-2.0
#include "cache/packed_tensor.h"

#include <fmt/format.h>

namespace xqs {
namespace {
constexpr Queue kQueue = Queue::Compute;
}

PackedTensor::PackedTensor(Backend &backend, const TensorSpec &spec, const CacheSize &size)
    : m_backend(backend), m_spec(spec), m_size(size), m_rows(tensorRows(spec, size, 0)),
      m_packed(m_rows.packed, blockRows(spec)), m_half(m_rows.half, blockRows(spec)),
      m_outliers(m_rows.outliers, kBlockTokens) {
  if (spec.fp16()) {
    m_half.reserve(0, [&](Index rows) { return makeHalf(rows, spec.width, Purpose::CacheCodes, size.placement); });
    return;
  }
  reservePacked(0); // what the cache begins with
  if (spec.outliers > 0)
    m_outliers.reserve(0, [&](Index rows) { return makeHalf(rows, spec.outliers, Purpose::CacheOutliers, size.placement); });
  m_sinks = makeHalf(spec.sinks, spec.width, Purpose::CacheOutliers);
  m_exact = makeHalf(m_rows.exactAtRest + m_rows.exactInStep, spec.packedWidth(), Purpose::CacheExact);
}

PackedTensor::Half PackedTensor::makeHalf(Index rows, Index width, Purpose purpose, Placement placement) const {
  Half half;
  half.buffer = m_backend.allocate(rows * width * sizeOf(DType::F16), purpose, placement);
  half.rows = half.buffer.view(DType::F16, rows, width);
  return half;
}

void PackedTensor::appendHalf(GrowingRows<Half> &to, Index first, ConstView rows, Purpose purpose) {
  to.reserve(first + rows.rows, [&](Index count) { return makeHalf(count, rows.cols, purpose, m_size.placement); });
  to.forRange({first, first + rows.rows}, [&](const Half &block, TokenRange part, Index before) {
    m_backend.convert(kQueue, rows.rowRange(before, part.size()), block.rows.rowRange(part.begin, part.size()));
  });
}

template <typename Fn> void PackedTensor::forPacked(TokenRange range, const Fn &fn) const {
  m_packed.forRange(range, [&](const Packed &block, TokenRange part, Index before) {
    const PackedView home = view(block);
    const Index split = std::clamp(block.staged, part.begin, part.end);
    if (split > part.begin) {
      const Index scales = Stage::aligned(home.format.scaleCount(block.staged, home.width) * sizeOf(DType::F16));
      std::byte *const behind = block.near + Stage::aligned(block.staged * home.rowBytes());
      PackedView near = home;
      near.codes = block.near;
      near.scales = reinterpret_cast<xqs::Half *>(behind);
      near.zeros = reinterpret_cast<xqs::Half *>(behind + scales);
      fn(near, TokenRange{part.begin, split}, before);
    }
    if (part.end > split) fn(home, TokenRange{split, part.end}, before + split - part.begin);
  });
}

template <typename Fn> void PackedTensor::forHalf(const GrowingRows<Half> &rows, TokenRange range, const Fn &fn) {
  rows.forRange(range, [&](const Half &block, TokenRange part, Index before) {
    const Index split = std::clamp(block.staged, part.begin, part.end);
    if (split > part.begin)
      fn(View(block.near, DType::F16, block.staged, block.rows.cols).rowRange(part.begin, split - part.begin), before);
    if (part.end > split) fn(block.rows.rowRange(split, part.end - split), before + split - part.begin);
  });
}

void PackedTensor::readHalf(const GrowingRows<Half> &from, TokenRange range, View out) const {
  forHalf(from, range,
          [&](ConstView rows, Index before) { m_backend.convert(kQueue, rows, out.rowRange(before, rows.rows)); });
}

std::optional<StoredSide> PackedTensor::stored() const {
  StoredSide side;
  side.width = m_spec.width;
  if (m_spec.fp16()) {
    forHalf(m_half, {0, m_closed}, [&](ConstView rows, Index) {
      StoredSide::Block &block = side.blocks.emplace_back();
      block.rows = rows.rows, block.plain = rows;
    });
    return side;
  }
  bool wholeGroups = true;
  // Cuts a piece where the FP16 channels beside it begin a new block.
  const auto add = [&](TokenRange tokens, const auto &body) {
    const auto piece = [&](Index before, Index rows, ConstView outliers) {
      StoredSide::Block &block = side.blocks.emplace_back();
      block.rows = rows, block.outliers = outliers;
      body(block, before);
      wholeGroups &= m_spec.axis == Axis::Token || block.plain.rows > 0 || block.firstRow % m_spec.group == 0;
    };
    if (m_spec.outliers == 0) return piece(0, tokens.size(), {});
    forHalf(m_outliers, tokens, [&](ConstView rows, Index before) { piece(before, rows.rows, rows); });
  };
  forPacked({0, m_closed}, [&](const PackedView &packed, TokenRange part, Index first) {
    add({first, first + part.size()},
        [&](StoredSide::Block &block, Index before) { block.packed = packed, block.firstRow = part.begin + before; });
  });
  if (m_exactEnd > m_closed)
    add({m_closed, m_exactEnd}, [&](StoredSide::Block &block, Index before) {
      block.plain = exactRows({m_closed + before, m_closed + before + block.rows});
    });
  const Index tokens = std::max(m_closed, m_exactEnd);
  if (m_spec.sinks > 0) side.sinks = m_sinks.rows.rowRange(0, std::min(m_spec.sinks, tokens));
  return wholeGroups ? std::optional(std::move(side)) : std::nullopt;
}

Index PackedTensor::stageBytes() {
  Index bytes = 0;
  forGrowing([&](const auto &block, Index rows) {
    if constexpr (requires { block.codes; }) {
      const Index scales = m_spec.format().scaleCount(rows, m_spec.packedWidth()) * sizeOf(DType::F16);
      bytes += Stage::aligned(rows * view(block).rowBytes()) + 2 * Stage::aligned(scales);
    } else {
      bytes += Stage::aligned(rows * block.rows.cols * sizeOf(DType::F16));
    }
  });
  return bytes;
}

void PackedTensor::stage(Stage &stage) {
  forGrowing([&](auto &block, Index rows) {
    if constexpr (requires { block.codes; }) {
      const Index scales = m_spec.format().scaleCount(rows, m_spec.packedWidth()) * sizeOf(DType::F16);
      block.near = stage.copy(block.codes, rows * view(block).rowBytes());
      stage.copy(block.scales, scales); // behind each other
      stage.copy(block.zeros, scales);
    } else {
      block.near = stage.copy(block.buffer, rows * block.rows.cols * sizeOf(DType::F16));
    }
    block.staged = rows;
  });
}

void PackedTensor::unstage() {
  forGrowing([](auto &block, Index) { block.staged = 0; });
}

template <typename Fn> void PackedTensor::forGrowing(const Fn &fn) {
  const auto each = [&](auto &blocks, Index rows) {
    blocks.forRange({0, std::min(rows, blocks.rows())},
                    [&](auto &block, TokenRange part, Index) { fn(block, part.size()); });
  };
  each(m_packed, m_spec.fp16() ? 0 : m_closed);
  each(m_half, m_spec.fp16() ? m_closed : 0);
  if (m_spec.outliers > 0) each(m_outliers, m_closed);
}

bool PackedTensor::windowed() const { return m_size.state == State::Stream && !m_spec.fp16() && !m_spec.stream.never(); }

void PackedTensor::storeSinks(Index first, ConstView rows) {
  const Index count = std::clamp<Index>(m_spec.sinks - first, 0, rows.rows);
  if (count > 0) m_backend.convert(kQueue, rows.rowRange(0, count), m_sinks.rows.rowRange(first, count));
}

void PackedTensor::append(Index first, ConstView rows) {
  XQS_ASSERT(rows.cols == m_spec.width);
  const Index end = first + rows.rows;
  if (m_spec.fp16()) {
    appendHalf(m_half, first, rows, Purpose::CacheCodes);
    m_closed = end;
    return;
  }
  if (windowed()) {
    storeExact(first, rows);
    closeTo(m_spec.stream(end - 1));
    return;
  }
  if (first != m_closed)
    throw Error(Code::Usage, fmt::format("state all takes a window in one piece or in multiples of the group ({} tokens); "
                                         "use state stream for other steps",
                                         m_spec.group));
  const Index target = m_size.state == State::Stream ? end : m_spec.closedAt(end, m_size.state);
  storeSinks(first, rows);
  if (m_spec.outliers > 0) appendHalf(m_outliers, first, rows.colRange(0, m_spec.outliers), Purpose::CacheOutliers);
  packRows(first, body(rows).rowRange(0, target - first));
  m_exactBegin = m_exactEnd = target;
  if (end > target) {
    m_exactEnd = end;
    XQS_ASSERT(end - target <= m_exact.rows.rows); // only a window's last step may leave a group open
    m_backend.convert(kQueue, body(rows).rowRange(target - first, end - target), m_exact.rows.rowRange(0, end - target));
  }
}

void PackedTensor::storeExact(Index first, ConstView rows) {
  storeSinks(first, rows);
  if (m_spec.outliers > 0) appendHalf(m_outliers, first, rows.colRange(0, m_spec.outliers), Purpose::CacheOutliers);
  if (m_exactBegin == m_exactEnd) m_exactBegin = m_exactEnd = first;
  XQS_ASSERT(first == m_exactEnd && first - m_exactBegin + rows.rows <= m_exact.rows.rows);
  m_backend.convert(kQueue, body(rows), m_exact.rows.rowRange(first - m_exactBegin, rows.rows));
  m_exactEnd = first + rows.rows;
}

void PackedTensor::pack(Index first, ConstView rows) {
  if (rows.rows == 0) return;
  packRows(first, body(rows));
  // The FP16 channels of an open token were those of the exact chain.
  if (m_spec.outliers > 0) appendHalf(m_outliers, first, rows.colRange(0, m_spec.outliers), Purpose::CacheOutliers);
}

PackedView PackedTensor::view(const Packed &block) const {
  return {m_spec.format(),
          block.codes.data(),
          reinterpret_cast<xqs::Half *>(block.scales.data()),
          reinterpret_cast<xqs::Half *>(block.zeros.data()),
          block.count,
          m_spec.packedWidth()};
}

void PackedTensor::reservePacked(Index rows) {
  const Index width = m_spec.packedWidth();
  m_packed.reserve(rows, [&](Index count) {
    const Index scaleBytes = m_spec.format().scaleCount(count, width) * sizeOf(DType::F16);
    const auto make = [&](Index bytes, Purpose purpose) { return m_backend.allocate(bytes, purpose, m_size.placement); };
    return Packed{make(count * m_spec.format().codeBytesPerRow(width), Purpose::CacheCodes),
                  make(scaleBytes, Purpose::CacheScales), make(scaleBytes, Purpose::CacheScales), count};
  });
}

void PackedTensor::packRows(Index first, ConstView rows) {
  if (rows.rows == 0) return;
  XQS_ASSERT(first == m_closed);
  const Index end = first + rows.rows;
  reservePacked(end);
  Buffer scratch;
  if (m_spec.axis == Axis::Channel && first < m_spec.sinks) rows = withoutSinks(first, rows, scratch);
  m_packed.forRange({first, end}, [&](const Packed &block, TokenRange part, Index before) {
    m_backend.quantize(kQueue, rows.rowRange(before, part.size()), view(block), part.begin);
  });
  m_closed = end;
}

/// Rows in which the first token that is no sink stands for the sinks, whose range would widen the group's.
ConstView PackedTensor::withoutSinks(Index first, ConstView rows, Buffer &scratch) const {
  scratch = m_backend.allocate(rows.rows * rows.cols * sizeOf(DType::F32), Purpose::Scratch);
  const View copy = scratch.f32(rows.rows, rows.cols);
  m_backend.copy(kQueue, rows, copy);
  const Index plain = m_spec.sinks - first;
  if (plain >= rows.rows) return copy;
  for (Index r = 0; r < plain; ++r) m_backend.copy(kQueue, rows.rowRange(plain, 1), copy.rowRange(r, 1));
  return copy;
}

void PackedTensor::closeTo(Index token) {
  if (token <= m_closed) return;
  const TokenRange range{m_closed, token};
  const Buffer scratch = m_backend.allocate(range.size() * m_spec.packedWidth() * sizeOf(DType::F32), Purpose::Scratch);
  const View rows = scratch.f32(range.size(), m_spec.packedWidth());
  m_backend.convert(kQueue, exactRows(range), rows);
  packRows(range.begin, rows);
}

void PackedTensor::dropClosed() {
  if (m_closed <= m_exactBegin || m_exactBegin == m_exactEnd) return;
  const Index keep = m_exactEnd - std::min(m_closed, m_exactEnd);
  if (keep > 0) m_backend.copy(kQueue, exactRows({m_exactEnd - keep, m_exactEnd}), m_exact.rows.rowRange(0, keep));
  m_exactBegin = m_exactEnd - keep;
}

void PackedTensor::endStep(Index tokens) {
  if (!windowed()) return;
  closeTo(m_spec.closedAt(tokens, m_size.state));
  dropClosed();
}

ConstView PackedTensor::exactRows(TokenRange range) const {
  XQS_ASSERT(range.begin >= m_exactBegin && range.end <= m_exactEnd);
  return m_exact.rows.rowRange(range.begin - m_exactBegin, range.size());
}

void PackedTensor::read(Version version, TokenRange range, View out) const {
  if (m_spec.fp16()) return readHalf(m_half, range, out);
  if (m_spec.outliers > 0) readHalf(m_outliers, range, out.colRange(0, m_spec.outliers));
  const View packed = body(out);
  const Index split = version == Version::Exact ? range.begin : std::clamp(m_closed, range.begin, range.end);
  forPacked({range.begin, split}, [&](const PackedView &from, TokenRange part, Index before) {
    m_backend.dequantize(kQueue, from, part, packed.rowRange(before, part.size()));
  });
  if (range.end > split)
    m_backend.convert(kQueue, exactRows({split, range.end}), packed.rowRange(split - range.begin, range.end - split));
  if (const Index sinks = std::min(m_spec.sinks, range.end) - range.begin; sinks > 0)
    m_backend.convert(kQueue, m_sinks.rows.rowRange(range.begin, sinks), out.rowRange(0, sinks));
}

void PackedTensor::readMatmul(Version version, TokenRange range, ConstView w, View out) const {
  const bool allPacked = !m_spec.fp16() && m_spec.outliers == 0 && range.begin >= m_spec.sinks && range.end <= m_closed;
  if (allPacked && version == Version::Stored) {
    forPacked(range, [&](const PackedView &from, TokenRange part, Index before) {
      m_backend.dequantMatmul(kQueue, from, part, w, out.rowRange(before, part.size()));
    });
    return;
  }
  const Buffer scratch = m_backend.allocate(range.size() * m_spec.width * sizeOf(DType::F32), Purpose::Scratch);
  const View rows = scratch.f32(range.size(), m_spec.width);
  read(version, range, rows);
  m_backend.matmul(kQueue, rows, w, out);
}

CacheBytes PackedTensor::bytes(Index tokens) const {
  CacheBytes b = formatBits(m_spec, tokens, m_spec.fp16() ? tokens : m_closed);
  b.scratch = m_rows.exactInStep * m_spec.packedWidth() * sizeOf(DType::F16);
  b.allocated = -b.scratch;
  visitState([&](const Buffer &buffer, Index) { b.allocated += buffer.bytes(); });
  return b;
}

void PackedTensor::visitState(const StateVisitor &visit) const {
  const Index tokens = m_spec.fp16() ? m_closed : m_exactEnd, half = sizeOf(DType::F16);
  for (Buffer Packed::*const part : {&Packed::codes, &Packed::scales, &Packed::zeros})
    m_packed.forRange({0, m_packed.rows()}, [&](const Packed &block, TokenRange all, Index before) {
      const Index rows = std::clamp<Index>(m_closed - before, 0, all.size());
      visit(block.*part, part == &Packed::codes ? rows * view(block).rowBytes()
                                                : m_spec.format().scaleCount(rows, m_spec.packedWidth()) * half);
    });
  for (const auto *const rows : {&m_half, &m_outliers})
    rows->forRange({0, rows->rows()}, [&](const Half &block, TokenRange all, Index before) {
      visit(block.buffer, std::clamp<Index>(tokens - before, 0, all.size()) * block.rows.cols * half);
    });
  visit(m_sinks.buffer, std::min(tokens, m_spec.sinks) * m_spec.width * half);
  visit(m_exact.buffer, (m_exactEnd - m_exactBegin) * m_spec.packedWidth() * half);
}

bool PackedTensor::canTruncate(Index tokens) const {
  const Index closed = m_spec.closedAt(tokens, m_size.state);
  return closed == tokens || closed >= m_closed;
}

void PackedTensor::resize(Index tokens) {
  m_closed = m_spec.closedAt(tokens, m_size.state);
  const auto resizeHalf = [&](GrowingRows<Half> &rows, Index width, Purpose purpose) {
    rows.release(tokens);
    rows.reserve(tokens, [&](Index count) { return makeHalf(count, width, purpose, m_size.placement); });
  };
  if (m_spec.fp16()) return resizeHalf(m_half, m_spec.width, Purpose::CacheCodes);
  if (tokens - m_closed > m_exact.rows.rows)
    throw Error(Code::Usage, fmt::format("a cache of {} tokens in state all, made for {}, cannot end inside a group of {} "
                                         "tokens: make it for {} tokens",
                                         tokens, m_size.capacity, m_spec.group, tokens));
  m_packed.release(m_closed);
  reservePacked(m_closed);
  if (m_spec.outliers > 0) resizeHalf(m_outliers, m_spec.outliers, Purpose::CacheOutliers);
  m_exactBegin = m_closed, m_exactEnd = tokens;
}

} // namespace xqs

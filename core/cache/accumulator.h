// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"
#include "cache/growing_rows.h"

#include <functional>

namespace xqs {

/// How a cross-layer running sum is kept between layers (the paper leaves it open, baselines.md 10).
struct AccumulatorFormat {
  enum class Kind : std::uint8_t { F32, F16, Packed } kind = Kind::F32;
  QuantFormat packed; ///< Kind::Packed: per token
  Index rowBytes(Index width) const;
  friend bool operator==(const AccumulatorFormat &, const AccumulatorFormat &) = default;
};

/// A running sum [rows, width] in its storage format: what is read is what was rounded by the last write. It grows in
/// blocks, so rows are handed out piece by piece.
class Accumulator {
public:
  Accumulator(Backend &backend, const AccumulatorFormat &format, Index reserved, Index width, Purpose purpose);

  /// Of a piece of the range as FP32 (the storage itself for F32, else a copy), and how many rows of the range are before
  /// it.
  using Read = std::function<void(ConstView rows, Index before)>;
  using Change = std::function<void(View rows, Index before)>;
  void read(TokenRange range, const Read &fn) const;
  void change(TokenRange range, const Change &fn);
  void store(TokenRange range, ConstView rows);

  /// Its first `rows` rows as they lie.
  StoredSide stored(Index rows) const;

  Index bytes() const;
  /// Room for at least `rows` rows, and for no more blocks than they need.
  void resize(Index rows);

private:
  struct Block {
    Buffer rows, scales, zeros;
    Index count;
  };
  Block makeBlock(Index rows) const;
  PackedView packed(const Block &block) const;
  View load(const Block &block, TokenRange range, Buffer &scratch) const;
  void keep(const Block &block, TokenRange range, ConstView rows);

  Backend &m_backend;
  AccumulatorFormat m_format;
  Index m_width;
  Purpose m_purpose;
  GrowingRows<Block> m_blocks;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"

namespace xqs {

/// How a cross-layer running sum is kept between layers (the paper leaves it open, baselines.md 10).
struct AccumulatorFormat {
  enum class Kind : std::uint8_t { F32, F16, Packed } kind = Kind::F32;
  QuantFormat packed; ///< Kind::Packed: per token
  Index rowBytes(Index width) const;
  friend bool operator==(const AccumulatorFormat &, const AccumulatorFormat &) = default;
};

/// A running sum [rows, width] in its storage format: what is loaded is what was rounded by the last store.
class Accumulator {
public:
  Accumulator(Backend &backend, const AccumulatorFormat &format, Index rows, Index width, Purpose purpose);
  /// Rows `range` as FP32: the storage itself for F32, else a copy in `scratch`.
  View load(TokenRange range, Buffer &scratch) const;
  /// Keeps rows [range) as `rows`, which may be what `load` gave.
  void store(TokenRange range, ConstView rows);
  Index bytes() const { return m_rows.bytes() + m_scales.bytes() + m_zeros.bytes(); }
  Index rows() const { return m_count; }
  /// Makes room for `rows` rows and forgets what was in them.
  void resize(Index rows);

private:
  PackedView packed() const;

  Backend &m_backend;
  AccumulatorFormat m_format;
  Index m_count = 0;
  Index m_width;
  Purpose m_purpose;
  Buffer m_rows, m_scales, m_zeros;
};

} // namespace xqs

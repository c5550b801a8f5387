// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layout.h"

namespace xqs {

/// One stored tensor [tokens, width] of one layer: packed codes of closed tokens, FP16 rows of open ones, FP16 outlier
/// channels of all. Tokens close in order; what `read` gives comes from these bytes alone.
///
///   tokens   0 ......... closed ......... end
///   stored   [ packed    )[ FP16 rows     )
///   exact         [ FP16 rows             )   from exactBegin: tokens that were open when the step began
///
/// State::All quantizes complete groups from the FP32 rows; State::Stream, where a group fills over many steps, from the
/// FP16 rows, in one pass as well: so chunks and token-by-token decoding give the same codes.
class PackedTensor {
public:
  PackedTensor(Backend &backend, const TensorSpec &spec, const CacheSize &size);

  const TensorSpec &spec() const { return m_spec; }
  Index closed() const { return m_closed; }
  Index exactBegin() const { return m_exactBegin; }

  /// Stores rows [n, width] of tokens `first`.. and packs what a query of this step reads packed.
  void append(Index first, ConstView rows);
  /// Reads tokens `range` into out [range.size(), width].
  void read(Version version, TokenRange range, View out) const;
  /// out = read(range) W^T; fused where everything is packed.
  void readMatmul(Version version, TokenRange range, ConstView w, View out) const;
  /// The step is over: closes what is complete and forgets FP16 rows of closed tokens.
  void endStep(Index tokens);
  CacheBytes bytes(Index tokens) const;

  // For cross-layer chains, whose codes depend on another layer's.
  bool windowed() const; ///< State::Stream with open tokens: rows go through FP16 before they are packed
  void storeExact(Index first, ConstView rows);
  void pack(Index first, ConstView rows); ///< first == closed()
  void closeTo(Index token);              ///< packs [closed, token) from the FP16 rows
  void dropClosed();                      ///< forgets FP16 rows of closed tokens

private:
  ConstView exactRows(TokenRange range) const;

  Backend &m_backend;
  TensorSpec m_spec;
  CacheSize m_size;
  TensorRows m_rows;
  Buffer m_codes, m_scales, m_zeros, m_half, m_outliers, m_exact;
  PackedView m_packed;
  Index m_closed = 0;
  Index m_exactBegin = 0;
  Index m_exactEnd = 0;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cache/layout.h"
#include "cache/stage.h"

#include <functional>
#include <optional>

namespace xqs {

/// Called with every buffer that stored rows lie in; its first `used` bytes are what the tokens between two steps left
/// there.
using StateVisitor = std::function<void(const Buffer &, Index used)>;

/// One stored tensor [tokens, width] of one layer: packed codes of closed tokens, FP16 rows of open ones, FP16 outlier
/// channels of all, FP16 rows of the first tokens (sinks), which are read instead of their codes. Tokens close in order;
/// what `read` gives comes from these bytes alone.
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
  /// All tokens as they lie (Version::Stored), for operations that read them there; without map, bias, rotation. Empty where
  /// blocks of FP16 channels cut a group of tokens.
  std::optional<StoredSide> stored() const;
  CacheBytes bytes(Index tokens) const;

  // Of a tensor in the host's memory: its closed tokens are read from the device between stage and unstage.
  Index stageBytes();
  void stage(Stage &stage);
  void unstage();

  // Between steps: the state, which is all that the tokens left; bounds and sizes follow from their number.
  /// All buffers; the used bytes behind each other are the same however the rows are cut into blocks.
  void visitState(const StateVisitor &visit) const;
  /// True where the first `tokens` tokens alone would have left what is held: FP16 rows that would be open are not packed
  /// yet.
  bool canTruncate(Index tokens) const;
  /// Bounds and memory for `tokens` tokens. Fewer than are held: the rest is forgotten. More: rows to be filled through
  /// visitState. Throws Usage where a cache of State::All has no room for the open group.
  void resize(Index tokens);

  // For cross-layer chains, whose codes depend on another layer's.
  bool windowed() const; ///< State::Stream with open tokens: rows go through FP16 before they are packed
  void storeExact(Index first, ConstView rows);
  void pack(Index first, ConstView rows); ///< first == closed()
  void closeTo(Index token);              ///< packs [closed, token) from the FP16 rows
  void dropClosed();                      ///< forgets FP16 rows of closed tokens

private:
  struct Packed {
    Buffer codes, scales, zeros;
    Index count; ///< rows
    /// Copies of the first `staged` rows on the device: codes, scales, zeros. Few words: a header is held for every block.
    Index staged = 0;
    std::byte *near = nullptr;
  };
  struct Half {
    Buffer buffer;
    View rows;
    Index staged = 0;
    std::byte *near = nullptr;
  };
  PackedView view(const Packed &block) const;
  /// fn(packed view, rows of it, rows of `range` before them) and fn(FP16 view, ...) for the pieces that `range` lies in: a
  /// block's staged rows and the others.
  template <typename Fn> void forPacked(TokenRange range, const Fn &fn) const;
  template <typename Fn> static void forHalf(const GrowingRows<Half> &rows, TokenRange range, const Fn &fn);
  template <typename Fn> void forGrowing(const Fn &fn); ///< fn(block, rows that tokens closed so far have in it)
  Half makeHalf(Index rows, Index width, Purpose purpose, Placement placement = Placement::Device) const;
  void appendHalf(GrowingRows<Half> &to, Index first, ConstView rows, Purpose purpose);
  void readHalf(const GrowingRows<Half> &from, TokenRange range, View out) const;
  void reservePacked(Index rows);
  void packRows(Index first, ConstView body);
  ConstView withoutSinks(Index first, ConstView rows, Buffer &scratch) const;
  ConstView exactRows(TokenRange range) const;
  template <typename Rows> Rows body(Rows rows) const { return rows.colRange(m_spec.outliers, m_spec.packedWidth()); }
  void storeSinks(Index first, ConstView rows);

  Backend &m_backend;
  TensorSpec m_spec;
  CacheSize m_size;
  TensorRows m_rows;
  GrowingRows<Packed> m_packed;
  GrowingRows<Half> m_half, m_outliers;
  Half m_sinks, m_exact;
  Index m_closed = 0;
  Index m_exactBegin = 0;
  Index m_exactEnd = 0;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"
#include "cache/growing_rows.h"
#include "cache/policy.h"

#include <algorithm>
#include <vector>

namespace xqs {

/// Which K, V a query sees while scoring (method.md 5). All: everything quantized, the own token too, tokens beyond the last
/// complete per-channel group FP16. Stream: what decoding sees.
enum class State : std::uint8_t { All, Stream };
State parseState(std::string_view text); ///< "all" or "stream"; throws Usage
constexpr const char *stateName(State s) { return s == State::All ? "all" : "stream"; }

/// Stored: what the cache holds for a token, packed where its group is closed. Exact: the FP16 rows of tokens that were open
/// when the step began (queries of the same step may need both, see ExactFrom).
enum class Version : std::uint8_t { Stored, Exact };

/// One stored tensor [tokens, width] of a layer.
struct TensorSpec {
  Index width = 0; ///< of a stored row: FP16 outlier channels first, then what is quantized
  int bits = 16;   ///< 16: FP16 rows without scales
  Index group = 128;
  Axis axis = Axis::Token;
  Index segment = 0;  ///< see QuantFormat
  Index outliers = 0; ///< channels 0..outliers-1 stay FP16 and own no scales
  Index sinks = 0;    ///< the first tokens stay FP16 besides and do not widen their group
  ExactFrom stream;   ///< State::Stream: from which token on a query reads FP16 rows

  Index packedWidth() const { return width - outliers; }
  bool fp16() const { return bits == 16; }
  QuantFormat format() const { return {bits, group, axis, segment}; }
  /// Tokens of `tokens` that are packed at rest (the others are FP16 rows).
  Index closedAt(Index tokens, State state) const {
    if (fp16()) return tokens;
    if (state == State::Stream) return stream.never() ? tokens : std::min(tokens, stream(tokens));
    return axis == Axis::Token ? tokens : tokens / group * group;
  }
};

/// Sizes of a cache. The parts are format bits (exact, what the method's arithmetic says); `allocated` is what the
/// allocator gave for it, in bytes; accumulator and scratch are working memory in bytes, not part of the cache size.
struct CacheBytes {
  Index codes = 0, scales = 0, outliers = 0, residual = 0; ///< bits; outliers: FP16 channels and FP16 first tokens
  Index allocated = 0;                                     ///< bytes
  Index accumulator = 0;                                   ///< bytes
  Index scratch = 0;                                       ///< bytes: FP16 rows of the step in progress (State::Stream)
  Index formatBits() const { return codes + scales + outliers + residual; }
  Index formatBytes() const { return (formatBits() + 7) / 8; }
  CacheBytes &operator+=(const CacheBytes &o);
  friend bool operator==(const CacheBytes &, const CacheBytes &) = default;
};

/// How a cache is made: memory for `capacity` tokens at once, more in blocks of kBlockTokens as they come (State::Stream;
/// a window of State::All is one step of `capacity` tokens); at most `maxStep` tokens are appended at a time.
struct CacheSize {
  Index capacity = 0;
  Index maxStep = 0;
  State state = State::All;
  /// Host: what grows with the tokens (codes, scales, FP16 channels and rows) lies in the host's memory and is copied to the
  /// device layer by layer, ahead of its use; what a step writes, and the open rows, are small and stay where they are
  /// written.
  Placement placement = Placement::Device;
};

/// Everything a policy stores, layer by layer: the one source of `footprint`, of allocation and of `bytes`.
struct CacheLayout {
  /// A cross-layer running sum: working memory.
  struct Sum {
    Index rowBytes = 0; ///< a token
    ExactFrom exact;    ///< State::Stream: open tokens need a second sum
  };
  std::vector<std::vector<TensorSpec>> layers;
  std::vector<Sum> sums;
};

/// Rows of one block of a tensor: whole groups.
constexpr Index blockRows(const TensorSpec &spec) {
  const Index unit = spec.axis == Axis::Channel && !spec.fp16() ? spec.group : 1;
  return (kBlockTokens + unit - 1) / unit * unit;
}

/// Rows that a tensor's buffers hold in a cache of `size` with `tokens` tokens.
struct TensorRows {
  Index half = 0;        ///< FP16 tensors: all tokens
  Index packed = 0;      ///< packed tokens
  Index outliers = 0;    ///< tokens with FP16 outlier channels
  Index sinks = 0;       ///< FP16 first tokens
  Index exactAtRest = 0; ///< FP16 rows of open tokens
  Index exactInStep = 0; ///< FP16 rows more while a step is in progress
};
TensorRows tensorRows(const TensorSpec &spec, const CacheSize &size, Index tokens);

/// Format bits of `tokens` tokens of which `closed` are packed.
CacheBytes formatBits(const TensorSpec &spec, Index tokens, Index closed);

/// Ledger of one tensor holding `tokens` tokens in a cache of `size`.
CacheBytes tensorBytes(const TensorSpec &spec, Index tokens, const CacheSize &size);
/// Tokens that the second sum of a chain holds (0 in State::All); bounded, whatever the length.
Index exactSumRows(const ExactFrom &exact, const CacheSize &size);
/// Bytes of both sums of a chain.
Index sumBytes(const CacheLayout::Sum &sum, Index tokens, const CacheSize &size);

/// Bytes of what `tokens` tokens leave in a cache, without what its buffers hold in reserve: the format bits, rows of codes
/// rounded up to bytes. What `Cache::visitState` counts as used.
Index stateBytes(const CacheLayout &layout, Index tokens, State state);

/// What a policy stores in a model of this shape. Throws Usage where the settings do not fit.
CacheLayout cacheLayout(const PolicySpec &spec, const ModelShape &shape);
/// Cost of a policy for one sequence of `tokens` tokens scored in one step, before anything runs. Pure arithmetic; equal to
/// `Cache::bytes()` and to the allocator's count (tested).
CacheBytes footprint(const PolicySpec &spec, const ModelShape &shape, Index tokens, State state);
CacheBytes footprint(const CacheLayout &layout, Index tokens, const CacheSize &size);
/// FP16 KV of the model itself: layers * 2 * tokens * dkv * 2 bytes.
Index fp16KvBytes(const ModelShape &shape, Index tokens);
/// Footprint over FP16 KV.
double relativeSize(const PolicySpec &spec, const ModelShape &shape, Index tokens, State state);
/// The same as if the model had H instead of Hkv KV heads; `source=auto` keeps what it resolves to on the real model (X does
/// not grow, K, V and latents do).
double relativeSizeMha(const PolicySpec &spec, const ModelShape &shape, Index tokens, State state);

} // namespace xqs

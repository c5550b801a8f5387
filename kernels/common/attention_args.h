// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "views.h"

#include <algorithm>

namespace xqs {

/// First token that query `t` reads exact, at most t + 1 (none).
inline Index exactFrom(const AttentionSide &side, Index t) { return std::min(side.from(t), t + 1); }

/// Checks one side of a chunk [first, end): the rows that some query reads exist.
inline void checkSide(const AttentionSide &side, const AttentionArgs &a) {
  XQS_ASSERT(isF32(side.stored) && side.heads > 0 && a.heads % side.heads == 0 && side.stored.cols % side.heads == 0);
  const Index end = std::min(a.end(), a.firstQuery + a.q.rows);
  if (side.from.never() || std::max(exactFrom(side, a.firstQuery), a.first) >= end) return;
  XQS_ASSERT(isF32(side.exact) && side.exact.cols == side.stored.cols);
  XQS_ASSERT(side.exactBegin <= std::max(exactFrom(side, a.firstQuery), a.first) &&
             side.exact.rows >= end - side.exactBegin);
}

inline void checkAttention(const AttentionArgs &a) {
  XQS_ASSERT(a.heads > 0 && a.q.cols % a.heads == 0 && isF32(a.q) && isF32(a.out) && a.out.rows == a.q.rows);
  if (a.q.rows == 0) return;
  checkSide(a.k, a);
  checkSide(a.v, a);
  XQS_ASSERT(a.v.stored.rows == a.k.stored.rows && a.k.heads % a.v.heads == 0);
  XQS_ASSERT(a.k.stored.cols / a.k.heads == a.q.cols / a.heads && a.out.cols == a.heads * (a.v.stored.cols / a.v.heads));
  XQS_ASSERT((a.first == 0 && a.last()) ||
             (isF32(a.running) && a.running.rows == a.q.rows && a.running.cols == 2 * a.heads));
}

/// Pairs of query and token that a call computes: the causal part of the chunk.
inline double attentionPairs(const AttentionArgs &a) {
  double pairs = 0;
  for (Index i = 0; i < a.q.rows; ++i)
    pairs += static_cast<double>(std::clamp<Index>(a.firstQuery + i + 1 - a.first, 0, a.k.stored.rows));
  return pairs;
}
/// Bytes and multiply-adds (2 FLOPs) of one call, for traces: K and V of the chunk once.
inline double attentionBytes(const AttentionArgs &a) {
  return bytesOf(a.q) + bytesOf(a.out) +
         static_cast<double>(a.k.stored.rows) * static_cast<double>(a.k.stored.cols + a.v.stored.cols) * 4;
}
inline double attentionFlops(const AttentionArgs &a) {
  return 2 * attentionPairs(a) * static_cast<double>(a.q.cols + a.out.cols);
}

} // namespace xqs

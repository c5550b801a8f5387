// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host_backend.h"

namespace xqs {

/// First token that query `t` reads exact, at most t + 1 (none).
inline Index exactFrom(const AttentionSide &side, Index t) { return std::min(side.from(t), t + 1); }

/// Checks one side: the rows some query reads exist.
inline void checkSide(const AttentionSide &side, Index kvHeads, Index firstQuery, Index lastQuery) {
  XQS_ASSERT(isF32(side.stored) && side.stored.cols % kvHeads == 0);
  XQS_ASSERT(side.stored.rows >= exactFrom(side, lastQuery));
  if (exactFrom(side, firstQuery) > lastQuery) return;
  if (side.from.never()) return;
  XQS_ASSERT(isF32(side.exact) && side.exact.cols == side.stored.cols);
  XQS_ASSERT(side.exactBegin <= exactFrom(side, firstQuery) && side.exact.rows >= lastQuery + 1 - side.exactBegin);
}

inline void checkAttention(const AttentionArgs &a) {
  XQS_ASSERT(a.heads > 0 && a.kvHeads > 0 && a.heads % a.kvHeads == 0 && a.q.cols % a.heads == 0);
  XQS_ASSERT(isF32(a.q) && isF32(a.out) && a.out.rows == a.q.rows);
  if (a.q.rows == 0) return;
  const Index last = a.firstQuery + a.q.rows - 1;
  checkSide(a.k, a.kvHeads, a.firstQuery, last);
  checkSide(a.v, a.kvHeads, a.firstQuery, last);
  XQS_ASSERT(a.k.stored.cols / a.kvHeads == a.q.cols / a.heads && a.out.cols == a.heads * (a.v.stored.cols / a.kvHeads));
}

/// Bytes and multiply-adds (2 FLOPs) of one call, for traces: K and V once, the lower triangle only.
inline double attentionBytes(const AttentionArgs &a) {
  const double tokens = static_cast<double>(a.firstQuery + a.q.rows);
  return bytesOf(a.q) + bytesOf(a.out) + tokens * static_cast<double>(a.k.stored.cols + a.v.stored.cols) * 4;
}
inline double attentionFlops(const AttentionArgs &a) {
  const double n = static_cast<double>(a.q.rows);
  const double pairs = n * static_cast<double>(a.firstQuery) + n * (n + 1) / 2;
  return 2 * pairs * static_cast<double>(a.q.cols + a.out.cols);
}

} // namespace xqs

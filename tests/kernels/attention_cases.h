// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backend.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

namespace xqs::test {

/// One shape of an attention call; tests of every backend go through the same list.
struct AttentionCase {
  Index n, firstQuery, heads, kvHeads, dh, dv;
  ExactFrom kFrom, vFrom;
  friend std::ostream &operator<<(std::ostream &o, const AttentionCase &c) {
    return o << c.n << " queries from " << c.firstQuery << ", heads " << c.heads << "/" << c.kvHeads << ", dh " << c.dh
             << ", dv " << c.dv << ", K block " << c.kFrom.block << " window " << c.kFrom.window << ", V block "
             << c.vFrom.block << " window " << c.vFrom.window;
  }
};

inline const std::vector<AttentionCase> &attentionCases() {
  constexpr ExactFrom kNever{}, kBlock128{128, 0}, kBlock48{48, 0}, kWindow32{0, 32}, kWindow200{0, 200};
  static const std::vector<AttentionCase> cases = {
      {1, 0, 3, 1, 64, 64, kNever, kNever},           {1, 300, 9, 3, 64, 64, kNever, kNever},
      {5, 7, 2, 2, 32, 32, kNever, kNever},           {127, 0, 9, 3, 64, 64, kNever, kNever},
      {129, 0, 4, 4, 33, 33, kNever, kNever},         {128, 200, 8, 1, 16, 48, kNever, kNever},
      {300, 0, 6, 2, 64, 192, kNever, kNever},        {129, 0, 3, 1, 64, 64, kBlock128, kNever},
      {300, 0, 3, 1, 64, 64, kBlock128, kWindow200},  {300, 10, 3, 3, 64, 64, kBlock48, kWindow32},
      {1, 300, 9, 3, 64, 64, kBlock128, kBlock128},   {64, 250, 6, 2, 40, 24, kWindow32, kBlock48},
      {128, 128, 3, 1, 64, 64, kBlock128, kBlock128}, {5, 600, 3, 1, 64, 64, kWindow200, kWindow200},
      {100, 0, 3, 1, 64, 64, kWindow200, kWindow200},
  };
  return cases;
}

/// First token that `exact` holds.
inline Index exactBegin(ExactFrom from, Index firstQuery) { return from.never() ? 0 : from(firstQuery); }

/// Tokens [first, end) of a side.
inline AttentionSide cut(const AttentionSide &whole, Index first, Index end) {
  AttentionSide s = whole;
  s.stored = whole.stored.rowRange(first, end - first);
  if (s.from.never()) return s;
  s.exactBegin = std::clamp(whole.exactBegin, first, end);
  s.exact = whole.exact.rowRange(s.exactBegin - whole.exactBegin, end - s.exactBegin);
  return s;
}

/// What one step of a backend's sums errs by, in units of 2^-24 of the result.
struct AttentionUnits {
  double sum = 1;     ///< an addition
  double product = 0; ///< a product, beyond what its addition errs by
};

/// Query i under head h: calls `check(channel of dv, exact value, bound)`. q(i, column), k and v(query's position, token,
/// column) give the inputs.
/// A score errs by (dh + 2) eps sum |q k| scale =: e. A weight then errs by a factor of 1 + e + (|score - max| + 4) eps (the
/// difference is rounded, exp errs by 2 units), by as much again for every rescaling of a running softmax (one a tile of 16
/// tokens or more), and sums over t + 1 terms add 2 (t + 1) eps. Numerator and denominator both: twice, times sum p |v|.
template <typename Q, typename K, typename V, typename Check>
void attentionInDouble(const AttentionCase &c, Index i, Index h, AttentionUnits units, const Q &q, const K &k, const V &v,
                       const Check &check) {
  constexpr double kUnit = 0x1p-24;
  const double scale = 1 / std::sqrt(static_cast<float>(c.dh));
  const Index t = c.firstQuery + i, kv = h / (c.heads / c.kvHeads);
  std::vector<double> score;
  double worst = 0;
  for (Index j = 0; j <= t; ++j) {
    double sum = 0, size = 0;
    for (Index x = 0; x < c.dh; ++x) {
      const double product = double(q(i, h * c.dh + x)) * double(k(t, j, kv * c.dh + x));
      sum += product;
      size += std::fabs(product);
    }
    score.push_back(sum * scale);
    worst = std::max(worst, (units.sum * double(c.dh) + 2 + units.product) * kUnit * size * scale);
  }
  const auto [min, max] = std::minmax_element(score.begin(), score.end());
  const double spread = *max - *min, tiles = double(t / 16 + 2), top = *max;
  const double relative = 2 * (worst + kUnit * (2 * units.sum * double(t + 1) + units.product + tiles * (spread + 4)));
  double sum = 0;
  for (double &s : score) sum += s = std::exp(s - top);
  for (Index x = 0; x < c.dv; ++x) {
    double value = 0, size = 0;
    for (Index j = 0; j <= t; ++j) {
      const double product = score[static_cast<std::size_t>(j)] / sum * double(v(t, j, kv * c.dv + x));
      value += product;
      size += std::fabs(product);
    }
    check(x, value, relative * size);
  }
}

} // namespace xqs::test

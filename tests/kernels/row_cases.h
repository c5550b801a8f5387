// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/cpu/support.h"

#include <span>

namespace xqs::test {

// What operations on rows owe, in double precision; tests of every backend expect it from here. M: a matrix whose elements
// are at(row, column), [n, w] where nothing else is said.

/// Sum of w squares in any order: relative error w eps; mean, + eps, root (halves what came before), reciprocal, two
/// products: one rounding each. Together at most (w / 2 + 6) eps of the result. weight: [1, w].
template <typename M> void expectRmsNorm(Index n, Index w, M &x, M &weight, float eps, M &out) {
  Bound bound("rmsNorm " + std::to_string(n) + "x" + std::to_string(w));
  for (Index r = 0; r < n; ++r) {
    double squares = 0;
    for (Index c = 0; c < w; ++c) squares += double(x.at(r, c)) * double(x.at(r, c));
    const double norm = std::sqrt(squares / double(w) + double(eps));
    for (Index c = 0; c < w; ++c) {
      const double expected = double(x.at(r, c)) / norm * double(weight.at(0, c));
      bound.check(out.at(r, c), expected, (double(w) / 2 + 6) * kEps * std::fabs(expected));
    }
  }
}

/// `roundings`: of exp, 1 + e, the division and the products, in eps.
template <typename M> void expectSiluMul(Index n, Index w, M &gate, M &up, M &out, double roundings) {
  Bound bound("siluMul " + std::to_string(n) + "x" + std::to_string(w));
  for (Index r = 0; r < n; ++r)
    for (Index c = 0; c < w; ++c) {
      const double g = gate.at(r, c), expected = g / (1 + std::exp(-g)) * double(up.at(r, c));
      bound.check(out.at(r, c), expected, roundings * kEps * std::fabs(expected));
    }
}

/// x: before the rotation; row r is token first + r. `roundings`: of cosine and sine, two products and their sum, in eps of
/// |a| + |b| of a pair.
template <typename M>
void expectRope(Index n, Index w, std::span<const double> frequency, Index first, M &x, M &out, double roundings) {
  Bound bound("rope " + std::to_string(n) + "x" + std::to_string(w));
  for (Index r = 0; r < n; ++r)
    for (Index pair = 0; pair < w / 2; ++pair) {
      const double angle = double(first + r) * frequency[static_cast<std::size_t>(pair) % frequency.size()];
      const double a = x.at(r, 2 * pair), b = x.at(r, 2 * pair + 1);
      const double size = roundings * kEps * (std::fabs(a) + std::fabs(b));
      bound.check(out.at(r, 2 * pair), a * std::cos(angle) - b * std::sin(angle), size);
      bound.check(out.at(r, 2 * pair + 1), a * std::sin(angle) + b * std::cos(angle), size);
    }
}

} // namespace xqs::test

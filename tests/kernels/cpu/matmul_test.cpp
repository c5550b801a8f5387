// SPDX-License-Identifier: Apache-2.0
#include "support.h"

namespace xqs::test {
namespace {

template <typename B> struct Matmul : ::testing::Test {};
TYPED_TEST_SUITE(Matmul, BothBackends);

/// Any order of k products and sums, fused or not, errs by at most (k + 1) eps sum |x w| to first order; one more for adding
/// to `out`.
void checkMatmul(Backend &b, Index n, Index k, Index m, bool accumulate) {
  std::mt19937 rng(static_cast<unsigned>(n * 1000 + k * 10 + m));
  Matrix x(b, n, k), w(b, m, k, 5), out(b, n, m, 7);
  x.fill(rng);
  w.fill(rng);
  out.fill(rng);
  const std::vector<float> before = out.values();
  b.matmul(Queue::Compute, x, w, out, accumulate);
  Bound bound("matmul " + std::to_string(n) + "x" + std::to_string(k) + "x" + std::to_string(m));
  for (Index r = 0; r < n; ++r)
    for (Index o = 0; o < m; ++o) {
      double sum = accumulate ? static_cast<double>(before[static_cast<std::size_t>(r * m + o)]) : 0;
      double size = std::fabs(sum);
      for (Index i = 0; i < k; ++i) {
        const double product = static_cast<double>(x.at(r, i)) * static_cast<double>(w.at(o, i));
        sum += product;
        size += std::fabs(product);
      }
      bound.check(out.at(r, o), sum, static_cast<double>(k + 2) * kEps * size);
    }
  EXPECT_TRUE(out.guardsIntact());
}

TYPED_TEST(Matmul, OddShapes) {
  const BackendPtr b = make(TypeParam::module());
  for (const Index n : {1, 2, 5, 127, 129})
    for (const Index k : {1, 33, 64, 192})
      for (const Index m : {1, 31, 65, 200}) {
        checkMatmul(*b, n, k, m, false);
        checkMatmul(*b, n, k, m, true);
      }
}

TYPED_TEST(Matmul, ManyTiles) {
  const BackendPtr b = make(TypeParam::module());
  checkMatmul(*b, 300, 576, 700, false);
  checkMatmul(*b, 1, 576, 3001, false);
  checkMatmul(*b, 3, 1536, 576, true);
}

TYPED_TEST(Matmul, SameBitsForAnyNumberOfThreads) {
  for (const Index n : {1, 3, 130, 513}) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
      const BackendPtr b = make(TypeParam::module(), threads);
      std::mt19937 rng(7);
      Matrix x(*b, n, 192), w(*b, 577, 192), out(*b, n, 577);
      x.fill(rng);
      w.fill(rng);
      b->matmul(Queue::Compute, x, w, out);
      if (threads == 1) first = out.values();
      EXPECT_TRUE(sameBits(first, out.values())) << n << " rows, " << threads << " threads";
    }
  }
}

TYPED_TEST(Matmul, ALanesBitsAreThoseItGetsAlone) {
  const BackendPtr b = make(TypeParam::module());
  const Index lanes = 3, outputs = 203;
  for (const Index k : {64, 200})
    for (const Index n : {1, 3, 5, 37, 128, 300}) {
      std::mt19937 rng(static_cast<unsigned>(n + k));
      Matrix x(*b, lanes * n, k), w(*b, outputs, k), all(*b, lanes * n, outputs), alone(*b, lanes * n, outputs);
      x.fill(rng);
      w.fill(rng);
      for (const bool accumulate : {false, true}) {
        b->matmulLanes(Queue::Compute, lanes, x, w, all, accumulate);
        for (Index lane = 0; lane < lanes; ++lane)
          b->matmul(Queue::Compute, x.view().rowRange(lane * n, n), w, alone.view().rowRange(lane * n, n), accumulate);
        EXPECT_TRUE(sameBits(all.values(), alone.values())) << n << " rows a lane, " << k << " channels";
      }
      EXPECT_TRUE(all.guardsIntact());
    }
}

TEST(ReferenceMatmul, RowsDoNotDependOnTheirNumber) {
  const BackendPtr b = make(referenceBackendModule());
  std::mt19937 rng(3);
  Matrix x(*b, 130, 100), w(*b, 70, 100), all(*b, 130, 70), one(*b, 1, 70);
  x.fill(rng);
  w.fill(rng);
  b->matmul(Queue::Compute, x, w, all);
  for (Index r = 0; r < 130; ++r) {
    b->matmul(Queue::Compute, x.view().rowRange(r, 1), w, one);
    EXPECT_EQ(0, std::memcmp(one.view().row(0), all.view().row(r), 70 * sizeof(float))) << "row " << r;
  }
}

} // namespace
} // namespace xqs::test

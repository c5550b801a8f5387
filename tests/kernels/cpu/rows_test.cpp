// SPDX-License-Identifier: Apache-2.0
// Operations that work row by row or element by element, against double precision.
#include "kernels/row_cases.h"
#include "support.h"
#include "targets.h"

namespace xqs::test {
namespace {

template <typename B> struct Rows : ::testing::Test {
  BackendPtr b = make(B::module());
  std::mt19937 rng{11};
};
TYPED_TEST_SUITE(Rows, BothBackends);

constexpr Index kRows[] = {1, 5, 127, 128, 129};
constexpr Index kWidths[] = {1, 33, 64, 192, 576};

void checkRmsNorm(Backend &b, std::mt19937 &rng) {
  for (const Index n : kRows)
    for (const Index w : kWidths) {
      Matrix x(b, n, w), weight(b, 1, w), out(b, n, w);
      x.fill(rng, 3);
      weight.fill(rng);
      const float eps = 1e-5f;
      b.rmsNorm(Queue::Compute, x, weight, eps, out);
      expectRmsNorm(n, w, x, weight, eps, out);
      EXPECT_TRUE(out.guardsIntact());
      const std::vector<float> apart = out.values();
      b.rmsNorm(Queue::Compute, x, weight, eps, x);
      EXPECT_TRUE(sameBits(apart, x.values())) << "in place";
    }
}

TYPED_TEST(Rows, RmsNorm) { checkRmsNorm(*this->b, this->rng); }

/// exp errs by 2 units in the last place at most (4 eps), 1 + e, the division and two products by eps each.
void checkSiluMul(Backend &b, std::mt19937 &rng) {
  for (const Index n : kRows)
    for (const Index w : kWidths) {
      Matrix gate(b, n, w), up(b, n, w), out(b, n, w);
      gate.fill(rng, 8);
      up.fill(rng);
      b.siluMul(Queue::Compute, gate, up, out);
      expectSiluMul(n, w, gate, up, out, 8);
      EXPECT_TRUE(out.guardsIntact());
      const std::vector<float> apart = out.values();
      b.siluMul(Queue::Compute, gate, up, up);
      EXPECT_TRUE(sameBits(apart, up.values())) << "in place";
    }
}

TYPED_TEST(Rows, SiluMul) { checkSiluMul(*this->b, this->rng); }

TEST(RowsPortable, EveryInstructionSetKeepsTheBound) {
  const BackendPtr cpu = make(cpuBackendModule());
  std::mt19937 rng(12);
  onEveryTarget([&] {
    checkRmsNorm(*cpu, rng);
    checkSiluMul(*cpu, rng);
  });
}

TYPED_TEST(Rows, SiluMulAtExtremes) {
  const std::vector<float> gates = {-1e30f, -1000, -105, -90, 0, 90, 105, 1000, 1e30f, NAN};
  const auto w = static_cast<Index>(gates.size());
  for (const Index shift : {0, 40}) { // in a vector and in the remainder
    Matrix gate(*this->b, 1, w + shift), up(*this->b, 1, w + shift), out(*this->b, 1, w + shift);
    gate.set(1);
    up.set(1);
    std::copy(gates.begin(), gates.end(), gate.view().row(0) + shift);
    this->b->siluMul(Queue::Compute, gate, up, out);
    for (Index c = 0; c + 1 < w; ++c) {
      const float expected = gates[static_cast<std::size_t>(c)] > 0 ? gates[static_cast<std::size_t>(c)] : 0.0f;
      EXPECT_NEAR(out.at(0, c + shift), expected, 1e-36f + expected * 1e-6f) << gates[static_cast<std::size_t>(c)];
    }
    EXPECT_TRUE(std::isnan(out.at(0, w - 1 + shift)));
  }
}

/// Cosine and sine are rounded (eps), so are two products and their sum: 3 eps (|a| + |b|) with |cos|, |sin| <= 1.
TYPED_TEST(Rows, Rope) {
  for (const Index n : kRows)
    for (const Index heads : {1, 3}) {
      const Index dh = 64, first = 1000, w = heads * dh;
      Matrix before(*this->b, n, w), x(*this->b, n, w);
      x.assign(before.fill(this->rng));
      std::vector<double> frequency;
      for (Index j = 0; j < dh / 2; ++j) frequency.push_back(std::pow(10000.0, -2.0 * double(j) / double(dh)));
      this->b->rope(Queue::Compute, x, heads, first, frequency);
      expectRope(n, w, frequency, first, before, x, 3);
      EXPECT_TRUE(x.guardsIntact());
      // Decoding: one token at its own position gives the same bits.
      Matrix one(*this->b, 1, w);
      std::copy_n(before.view().row(n - 1), w, one.view().row(0));
      this->b->rope(Queue::Compute, one, heads, first + n - 1, frequency);
      EXPECT_EQ(0, std::memcmp(one.view().row(0), x.view().row(n - 1), static_cast<std::size_t>(w) * 4));
    }
}

TYPED_TEST(Rows, AddAndSubtractAreExactlyRounded) {
  for (const Index n : kRows)
    for (const Index w : kWidths) {
      Matrix a(*this->b, n, w), c(*this->b, n, w), sum(*this->b, n, w), difference(*this->b, n, w);
      a.fill(this->rng);
      c.fill(this->rng);
      this->b->add(Queue::Compute, a, c, sum);
      this->b->subtract(Queue::Compute, a, c, difference);
      for (Index r = 0; r < n; ++r)
        for (Index i = 0; i < w; ++i) {
          ASSERT_EQ(sum.at(r, i), a.at(r, i) + c.at(r, i));
          ASSERT_EQ(difference.at(r, i), a.at(r, i) - c.at(r, i));
        }
      EXPECT_TRUE(sum.guardsIntact() && difference.guardsIntact());
      this->b->add(Queue::Compute, a, c, a);
      EXPECT_TRUE(sameBits(sum.values(), a.values())) << "in place";
      this->b->subtract(Queue::Compute, a, c, c); // a holds the sum
      this->b->subtract(Queue::Compute, a, c, a);
      for (Index i = 0; i < w; ++i) ASSERT_EQ(a.at(0, i), sum.at(0, i) - c.at(0, i));
    }
}

TYPED_TEST(Rows, EmbedAndCopyAndTransfer) {
  Matrix table(*this->b, 10, 33), out(*this->b, 4, 33);
  table.fill(this->rng);
  const std::vector<std::int32_t> tokens = {3, 0, 9, 3};
  this->b->embed(Queue::Compute, table, tokens, out);
  for (Index r = 0; r < 4; ++r)
    EXPECT_EQ(0, std::memcmp(out.view().row(r), table.view().row(tokens[static_cast<std::size_t>(r)]), 33 * 4));
  EXPECT_TRUE(out.guardsIntact());

  const std::vector<float> before = table.values();
  this->b->copy(Queue::Copy, table.view().rowRange(0, 9), table.view().rowRange(1, 9)); // overlaps
  for (Index r = 0; r < 9; ++r)
    EXPECT_EQ(0, std::memcmp(table.view().row(r + 1), before.data() + r * 33, 33 * 4)) << "down, row " << r;
  this->b->copy(Queue::Copy, table.view().rowRange(1, 9), table.view().rowRange(0, 9));
  for (Index r = 0; r < 9; ++r)
    EXPECT_EQ(0, std::memcmp(table.view().row(r), before.data() + r * 33, 33 * 4)) << "up, row " << r;
  EXPECT_TRUE(table.guardsIntact());

  const Buffer buffer = this->b->allocate(64, Purpose::Scratch);
  const std::vector<float> sent = {1, 2, 3};
  std::vector<float> received(3);
  this->b->upload(Queue::Copy, buffer.data(), sent.data(), 12);
  this->b->download(Queue::Copy, received.data(), buffer.data(), 12);
  this->b->sync(Queue::Copy);
  EXPECT_EQ(sent, received);
}

TYPED_TEST(Rows, ViewsOfNothing) {
  Matrix weight(*this->b, 1, 8), w(*this->b, 5, 8), x(*this->b, 0, 8), y(*this->b, 0, 8), out(*this->b, 0, 5);
  this->b->rmsNorm(Queue::Compute, x, weight, 1e-5f, y);
  this->b->matmul(Queue::Compute, x, w, out);
  this->b->add(Queue::Compute, x, x, y);
  this->b->siluMul(Queue::Compute, x, x, y);
  this->b->embed(Queue::Compute, w, {}, y);
  this->b->copy(Queue::Compute, x, y);
}

} // namespace
} // namespace xqs::test

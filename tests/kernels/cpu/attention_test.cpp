// SPDX-License-Identifier: Apache-2.0
#include "../attention_cases.h"
#include "support.h"
#include "targets.h"

namespace xqs::test {
namespace {

using Case = AttentionCase;

/// One side in two versions; rows that nobody may read hold NaN.
struct Side {
  Matrix stored, exact;
  Index begin;
  ExactFrom from;

  Side(Backend &b, const Case &c, Index width, ExactFrom f, std::mt19937 &rng)
      : stored(b, c.firstQuery + c.n, c.kvHeads * width),
        exact(b, f.never() ? 0 : c.firstQuery + c.n - exactBegin(f, c.firstQuery), c.kvHeads * width),
        begin(exactBegin(f, c.firstQuery)), from(f) {
    stored.fill(rng);
    exact.fill(rng);
    if (!f.never())
      for (Index j = f(c.firstQuery + c.n - 1); j < c.firstQuery + c.n; ++j)
        for (Index i = 0; i < c.kvHeads * width; ++i) stored.at(j, i) = NAN;
  }
  float at(Index query, Index j, Index column) const {
    return j >= from(query) ? exact.at(j - begin, column) : stored.at(j, column);
  }
  AttentionSide side(Index heads) const { return {stored.view(), exact.view(), begin, from, heads}; }
};

struct Problem {
  Case c;
  std::mt19937 rng{5};
  Matrix q, out;
  Side k, v;

  Problem(Backend &b, const Case &shape)
      : c(shape), q(b, c.n, c.heads * c.dh), out(b, c.n, c.heads * c.dv), k(b, c, c.dh, c.kFrom, rng),
        v(b, c, c.dv, c.vFrom, rng) {
    q.fill(rng, 2);
  }
  AttentionArgs args() const {
    AttentionArgs a;
    a.q = q.view(), a.firstQuery = c.firstQuery, a.heads = c.heads;
    a.k = k.side(c.kvHeads), a.v = v.side(c.kvHeads);
    a.scale = 1 / std::sqrt(static_cast<float>(c.dh));
    a.out = out.view();
    return a;
  }
};

void checkAgainstDouble(const Problem &p, Index stride) {
  const Case &c = p.c;
  std::ostringstream name;
  name << c;
  Bound bound(name.str());
  for (Index i = 0; i < c.n; i += i + 1 < c.n && i + stride >= c.n ? c.n - 1 - i : stride)
    for (Index h = 0; h < c.heads; ++h)
      attentionInDouble(
          c, i, h, {}, [&](Index row, Index column) { return p.q.at(row, column); },
          [&](Index query, Index j, Index column) { return p.k.at(query, j, column); },
          [&](Index query, Index j, Index column) { return p.v.at(query, j, column); },
          [&](Index x, double expected, double error) { bound.check(p.out.at(i, h * c.dv + x), expected, error); });
  EXPECT_TRUE(p.out.guardsIntact());
}

constexpr ExactFrom kNever{};
const std::vector<Case> &kCases = attentionCases();

template <typename B> struct Attention : ::testing::Test {};
TYPED_TEST_SUITE(Attention, BothBackends);

TYPED_TEST(Attention, AgainstDouble) {
  const BackendPtr b = make(TypeParam::module());
  for (const Case &c : kCases) {
    Problem p(*b, c);
    b->attention(Queue::Compute, p.args());
    checkAgainstDouble(p, c.n > 130 ? 7 : 1);
  }
}

TYPED_TEST(Attention, SameBitsForAnyNumberOfThreads) {
  for (const Case &c : kCases) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
      const BackendPtr b = make(TypeParam::module(), threads);
      Problem p(*b, c);
      b->attention(Queue::Compute, p.args());
      if (threads == 1) first = p.out.values();
      EXPECT_TRUE(sameBits(first, p.out.values())) << c << ", " << threads << " threads";
    }
  }
}

TYPED_TEST(Attention, ChunkByChunkAgainstDouble) {
  const BackendPtr b = make(TypeParam::module());
  for (const Case &c : kCases)
    for (const Index step : {100, 257}) {
      Problem p(*b, c);
      const AttentionArgs whole = p.args();
      Matrix running(*b, c.n, 2 * c.heads);
      for (Index first = 0; first < c.firstQuery + c.n; first += step) {
        const Index end = std::min(first + step, c.firstQuery + c.n);
        AttentionArgs part = whole;
        part.first = first;
        part.running = running.view();
        part.k = cut(whole.k, first, end), part.v = cut(whole.v, first, end);
        b->attention(Queue::Compute, part);
      }
      checkAgainstDouble(p, c.n > 130 ? 7 : 1);
    }
}

TYPED_TEST(Attention, OneValueHeadForAllQueryHeads) {
  const BackendPtr b = make(TypeParam::module());
  // Every KV head holds the same values: reading one of them for all gives the same sums.
  Problem p(*b, {40, 30, 6, 3, 32, 48, kNever, kNever});
  for (Index j = 0; j < 70; ++j)
    for (Index x = 0; x < 48; ++x) p.v.stored.at(j, 48 + x) = p.v.stored.at(j, 96 + x) = p.v.stored.at(j, x);
  AttentionArgs args = p.args();
  args.v.stored = args.v.stored.colRange(0, 48);
  args.v.heads = 1;
  b->attention(Queue::Compute, args);
  checkAgainstDouble(p, 1);
}

TYPED_TEST(Attention, BrokenKeyIsSeen) {
  const BackendPtr b = make(TypeParam::module());
  Problem p(*b, {70, 0, 1, 1, 64, 64, kNever, kNever});
  p.k.stored.at(40, 3) = NAN;
  b->attention(Queue::Compute, p.args());
  EXPECT_FALSE(std::isnan(p.out.at(39, 0)));
  EXPECT_TRUE(std::isnan(p.out.at(40, 0)));
  EXPECT_TRUE(std::isnan(p.out.at(69, 0)));
}

TEST(AttentionPortable, EveryInstructionSetKeepsTheBound) {
  const BackendPtr b = make(cpuBackendModule());
  onEveryTarget([&] {
    for (const Case &c : {kCases[1], kCases[5], kCases[9]}) {
      Problem p(*b, c);
      b->attention(Queue::Compute, p.args());
      checkAgainstDouble(p, 5);
    }
  });
}

/// What makes decoding equal to one pass, bit for bit: a query's result does not depend on the others in the call, nor on
/// which side a token with the same value comes from.
TEST(ReferenceAttention, QueriesDoNotDependOnEachOther) {
  const BackendPtr b = make(referenceBackendModule());
  for (const Case &c : kCases) {
    Problem p(*b, c);
    b->attention(Queue::Compute, p.args());
    for (const Index i : {Index{0}, c.n / 2, c.n - 1}) {
      Matrix one(*b, 1, c.heads * c.dv);
      AttentionArgs args = p.args();
      args.q = args.q.rowRange(i, 1);
      args.firstQuery += i;
      args.out = one;
      b->attention(Queue::Compute, args);
      EXPECT_EQ(0, std::memcmp(one.view().row(0), p.out.view().row(i), static_cast<std::size_t>(c.heads * c.dv) * 4)) << c;
    }
  }
}

TEST(ReferenceAttention, SidesWithTheSameValuesGiveTheSameBits) {
  const BackendPtr b = make(referenceBackendModule());
  Problem plain(*b, {100, 50, 3, 1, 64, 64, kNever, kNever});
  b->attention(Queue::Compute, plain.args());
  const std::vector<float> expected = plain.out.values();
  AttentionArgs args = plain.args();
  args.k.exact = args.k.stored.rowRange(32, 118);
  args.k.exactBegin = 32;
  args.k.from = {48, 0};
  args.v.exact = args.v.stored.rowRange(18, 132);
  args.v.exactBegin = 18;
  args.v.from = {0, 32};
  b->attention(Queue::Compute, args);
  EXPECT_TRUE(sameBits(expected, plain.out.values()));
}

} // namespace
} // namespace xqs::test

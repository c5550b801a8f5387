// SPDX-License-Identifier: Apache-2.0
#include "kernels/score_cases.h"
#include "targets.h"

namespace xqs::test {
namespace {

void checkScores(Backend &b, Index n, Index vocab, float spread, float noise, bool withExact) {
  std::mt19937 rng(static_cast<unsigned>(n + vocab));
  Matrix exact(b, n, vocab), logits(b, n, vocab);
  exact.fill(rng, spread);
  std::normal_distribution<float> normal(0, noise);
  std::vector<std::int32_t> targets;
  for (Index r = 0; r < n; ++r) {
    for (Index c = 0; c < vocab; ++c) logits.at(r, c) = exact.at(r, c) + normal(rng);
    targets.push_back(static_cast<std::int32_t>(r * 7 % vocab));
  }
  std::vector<Score> scores(static_cast<std::size_t>(n));
  b.score(Queue::Compute, withExact ? ConstView(exact) : ConstView(), logits, targets, scores);
  b.sync(Queue::Compute);
  Bound nll("nll"), kl("kl");
  for (Index r = 0; r < n; ++r) {
    const Score &s = scores[static_cast<std::size_t>(r)];
    const ExactRow q(logits.view().row(r), vocab), p(exact.view().row(r), vocab);
    checkNll(nll, s.nll, q, logits.at(r, targets[static_cast<std::size_t>(r)]));
    EXPECT_EQ(s.top, q.top);
    if (!withExact) {
      EXPECT_EQ(s.kl, 0);
      EXPECT_EQ(s.sameTop, 1);
      continue;
    }
    checkKl(kl, s.kl, exact.view().row(r), logits.view().row(r), vocab, p, q);
    EXPECT_EQ(s.sameTop, p.top == q.top ? 1 : 0);
  }
}

template <typename B> struct ScoreOp : ::testing::Test { BackendPtr b = make(B::module()); };
TYPED_TEST_SUITE(ScoreOp, BothBackends);

TYPED_TEST(ScoreOp, AgainstDouble) {
  for (const Index n : {1, 5, 129})
    for (const Index vocab : {1, 2, 33, 1000}) {
      checkScores(*this->b, n, vocab, 5, 0.5f, true);
      checkScores(*this->b, n, vocab, 5, 0.5f, false);
    }
  checkScores(*this->b, 2, 49152, 4, 0.01f, true);
  checkScores(*this->b, 2, 257, 60, 5, true); // most exponentials are nearly 0
}

TYPED_TEST(ScoreOp, SameLogitsDivergeByZero) {
  std::mt19937 rng(1);
  Matrix x(*this->b, 3, 777);
  x.fill(rng, 6);
  std::vector<Score> scores(3);
  const std::vector<std::int32_t> targets = {0, 700, 776};
  this->b->score(Queue::Compute, x, x, targets, scores);
  for (const Score &s : scores) {
    EXPECT_EQ(s.kl, 0);
    EXPECT_EQ(s.sameTop, 1);
  }
}

TYPED_TEST(ScoreOp, LowestIdWinsTies) {
  for (const Index at : {3, 40, 64, 70}) {
    Matrix x(*this->b, 1, 71);
    x.set(1);
    for (Index c = at; c < 71; ++c) x.at(0, c) = 2;
    std::vector<Score> scores(1);
    const std::vector<std::int32_t> targets = {0};
    this->b->score(Queue::Compute, {}, x, targets, scores);
    EXPECT_EQ(scores[0].top, at);
  }
}

TYPED_TEST(ScoreOp, BrokenLogitsAreSeen) {
  for (const Index at : {5, 70}) {
    Matrix x(*this->b, 1, 71), y(*this->b, 1, 71);
    x.set(1);
    y.set(1);
    x.at(0, at) = NAN;
    std::vector<Score> scores(1);
    const std::vector<std::int32_t> targets = {0};
    this->b->score(Queue::Compute, y, x, targets, scores);
    EXPECT_TRUE(std::isnan(scores[0].nll));
    EXPECT_TRUE(std::isnan(scores[0].kl));
  }
}

TEST(ScorePortable, EveryInstructionSetKeepsTheBound) {
  const BackendPtr cpu = make(cpuBackendModule());
  onEveryTarget([&] {
    checkScores(*cpu, 3, 1000, 5, 0.5f, true);
    checkScores(*cpu, 2, 33, 60, 5, true);
  });
}

} // namespace
} // namespace xqs::test

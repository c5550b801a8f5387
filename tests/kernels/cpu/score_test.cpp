// SPDX-License-Identifier: Apache-2.0
#include "support.h"
#include "targets.h"

namespace xqs::test {
namespace {

/// One row in double precision, with the rounding that FP32 exponentials allow.
struct Exact {
  double max = -INFINITY, sum = 0, sumError = 0; ///< sum of exp(x - max) and its error
  std::int32_t top = 0;
  Exact(const float *x, Index n) {
    for (Index c = 0; c < n; ++c)
      if (double(x[c]) > max) {
        max = x[c];
        top = static_cast<std::int32_t>(c);
      }
    for (Index c = 0; c < n; ++c) {
      const double e = std::exp(double(x[c]) - max);
      sum += e;
      sumError += e * error(x[c]);
    }
  }
  /// Relative error of exp(x - max): the difference is rounded, exp errs by 2 units in the last place, and what is below
  /// exp(-87) may become 0.
  double error(float x) const { return kEps * (4 + std::fabs(double(x) - max)); }
};

/// nll = log(sum) - (x[t] - max): the error of log is that of the sum, the difference and the result are rounded.
/// kl = sum e (x - y) / sum - (max - max') - (log sum - log sum'): each term by its own rule, the result is rounded.
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
    const Exact q(logits.view().row(r), vocab), p(exact.view().row(r), vocab);
    const double difference = double(logits.at(r, targets[static_cast<std::size_t>(r)])) - q.max;
    const double expected = std::log(q.sum) - difference;
    nll.check(s.nll, expected, 1.01 * (q.sumError / q.sum + kEps * (std::fabs(difference) + std::fabs(expected))));
    EXPECT_EQ(s.top, q.top);
    if (!withExact) {
      EXPECT_EQ(s.kl, 0);
      EXPECT_EQ(s.sameTop, 1);
      continue;
    }
    double sum = 0, size = 0, error = 0;
    for (Index c = 0; c < vocab; ++c) {
      const double x = exact.at(r, c), d = x - double(logits.at(r, c)), e = std::exp(x - p.max);
      sum += e * d;
      size += e * std::fabs(d);
      error += e * std::fabs(d) * (p.error(exact.at(r, c)) + kEps);
    }
    const double divergence = sum / p.sum - (p.max - q.max) - (std::log(p.sum) - std::log(q.sum));
    kl.check(
        s.kl, divergence,
        1.01 * ((error + size * p.sumError / p.sum) / p.sum + p.sumError / p.sum + q.sumError / q.sum + kEps * divergence));
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

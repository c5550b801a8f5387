// SPDX-License-Identifier: Apache-2.0
// Scores, summaries and comparisons against the reference backend and double precision. Bounds: tests/kernels/cpu/
// score_test.cpp, capture_test.cpp.
#include "device_matrix.h"
#include "kernels/score_cases.h"

using namespace xqs;
using namespace xqs::test;

namespace {

using CudaCapture = CudaTest;
/// Rounding of one FP64 operation.
constexpr double kEps64 = 0x1p-53;

std::vector<Score> scoresOf(Backend &b, ConstView exact, ConstView logits, std::vector<std::int32_t> targets) {
  std::vector<Score> scores(targets.size());
  b.score(kQ, exact, logits, targets, scores);
  std::fill(targets.begin(), targets.end(), 0); // read before the call returned
  b.sync(kQ);
  return scores;
}

void checkScores(Backend &cuda, Index n, Index vocab, float spread, float noise, Placing placing) {
  auto exact = normalMatrix(n, vocab, spread, static_cast<unsigned>(n + vocab)), logits = exact;
  const auto change = normalMatrix(n, vocab, noise, static_cast<unsigned>(n * vocab));
  for (std::size_t i = 0; i < logits.values.size(); ++i) logits.values[i] += change.values[i];
  std::vector<std::int32_t> targets;
  for (Index r = 0; r < n; ++r) targets.push_back(static_cast<std::int32_t>(r * 7 % vocab));
  const DeviceMatrix exactOn(cuda, exact, kPlacings[0]), logitsOn(cuda, logits, placing);
  const auto alone = scoresOf(cuda, {}, logitsOn, targets), compared = scoresOf(cuda, exactOn, logitsOn, targets);
  Bound nll("nll"), kl("kl");
  for (Index r = 0; r < n; ++r) {
    const Score &s = compared[static_cast<std::size_t>(r)], &a = alone[static_cast<std::size_t>(r)];
    const ExactRow q(&logits.at(r, 0), vocab), p(&exact.at(r, 0), vocab);
    checkNll(nll, s.nll, q, logits.at(r, targets[static_cast<std::size_t>(r)]));
    EXPECT_EQ(a.nll, s.nll);
    EXPECT_EQ(s.top, q.top);
    EXPECT_EQ(a.top, q.top);
    EXPECT_EQ(a.kl, 0);
    EXPECT_EQ(a.sameTop, 1);
    checkKl(kl, s.kl, &exact.at(r, 0), &logits.at(r, 0), vocab, p, q);
    EXPECT_EQ(s.sameTop, p.top == q.top ? 1 : 0);
  }
}

Summary summaryOf(Backend &b, ConstView x, float low = 0, float high = 0) {
  Summary s;
  s.histogramMin = low;
  s.histogramMax = high;
  b.summarize(kQ, x, s);
  b.sync(kQ);
  return s;
}

/// Counts, extremes and channels are those of the reference; the sums err by rounding.
void expectSameSummary(const Summary &s, const Summary &expected, double sumOfSizes) {
  const double count = double(expected.count);
  EXPECT_EQ(s.count, expected.count);
  EXPECT_EQ(s.min, expected.min);
  EXPECT_EQ(s.max, expected.max);
  EXPECT_EQ(s.histogramMin, expected.histogramMin);
  EXPECT_EQ(s.histogramMax, expected.histogramMax);
  EXPECT_EQ(s.histogram, expected.histogram);
  EXPECT_EQ(s.topChannel, expected.topChannel);
  Bound bound("summary of " + std::to_string(expected.count));
  // Sums of `count` terms in two orders are apart by twice the error of one. The mean's own error moves the variance by its
  // square only; each squared deviation has two roundings of its own.
  bound.check(s.mean, expected.mean, 2 * (count + 1) * kEps64 * sumOfSizes / count);
  bound.check(s.variance, expected.variance,
              2 * (2 * count + 8) * kEps64 * (expected.variance + sumOfSizes / count * 4 * kEps64 * sumOfSizes));
  for (std::size_t i = 0; i < s.topMeanAbs.size(); ++i)
    bound.check(s.topMeanAbs[i], expected.topMeanAbs[i], 2.01 * kEps * double(expected.topMeanAbs[i]));
}

} // namespace

TEST_F(CudaCapture, ScoresAgainstDouble) {
  std::size_t i = 0;
  for (const Index n : {1, 5, 33})
    for (const Index vocab : {1, 2, 33, 64, 1000, 4101})
      checkScores(*s_cuda, n, vocab, 5, 0.5f, kPlacings[i++ % std::size(kPlacings)]);
  checkScores(*s_cuda, 2, 49152, 4, 0.01f, kPlacings[0]);
  checkScores(*s_cuda, 2, 257, 60, 5, kPlacings[2]); // most exponentials are nearly 0
}

TEST_F(CudaCapture, ScoresOfMoreRowsThanOneLaunchTakes) {
  const auto logits = normalMatrix(1100, 3, 2, 1);
  std::vector<std::int32_t> targets;
  for (int r = 0; r < 1100; ++r) targets.push_back(r % 3);
  const DeviceMatrix on(*s_cuda, logits, kPlacings[2]);
  auto host = logits;
  const auto scores = scoresOf(*s_cuda, on, on, targets), expected = scoresOf(*s_reference, {}, host.view(), targets);
  for (std::size_t r = 0; r < targets.size(); ++r) ASSERT_EQ(scores[r].top, expected[r].top) << r;
  for (const Index r : {0, 1, 959, 960, 961, 1099}) {
    const View row = on.view().rowRange(r, 1);
    const Score alone = scoresOf(*s_cuda, row, row, {targets[static_cast<std::size_t>(r)]})[0];
    EXPECT_EQ(scores[static_cast<std::size_t>(r)].nll, alone.nll) << r;
  }
}

TEST_F(CudaCapture, SameLogitsDivergeByZero) {
  const DeviceMatrix x(*s_cuda, normalMatrix(3, 777, 6, 1));
  for (const Score &s : scoresOf(*s_cuda, x, x, {0, 700, 776})) {
    EXPECT_EQ(s.kl, 0);
    EXPECT_EQ(s.sameTop, 1);
  }
}

TEST_F(CudaCapture, LowestIdWinsTies) {
  for (const Index at : {3, 40, 2047, 2048, 5000}) { // within a thread, a warp, a block
    HostMatrix<float> x(1, 5001);
    for (Index c = 0; c < x.cols; ++c) x.at(0, c) = c >= at ? 2.0f : 1.0f;
    EXPECT_EQ(scoresOf(*s_cuda, {}, DeviceMatrix(*s_cuda, x), {0})[0].top, at);
  }
}

TEST_F(CudaCapture, BrokenLogitsAreSeen) {
  HostMatrix<float> ones(1, 71);
  std::fill(ones.values.begin(), ones.values.end(), 1.0f);
  for (const Index at : {0, 5, 70}) {
    auto x = ones;
    x.at(0, at) = NAN;
    const DeviceMatrix broken(*s_cuda, x), whole(*s_cuda, ones);
    const Score s = scoresOf(*s_cuda, whole, broken, {0})[0],
                expected = scoresOf(*s_reference, ones.view(), x.view(), {0})[0];
    EXPECT_TRUE(std::isnan(s.nll));
    EXPECT_TRUE(std::isnan(s.kl));
    EXPECT_EQ(s.top, expected.top);
  }
  HostMatrix<float> nothing(1, 71);
  std::fill(nothing.values.begin(), nothing.values.end(), -INFINITY);
  const Score s = scoresOf(*s_cuda, {}, DeviceMatrix(*s_cuda, nothing), {3})[0];
  EXPECT_EQ(s.top, 0);
  EXPECT_TRUE(std::isnan(s.nll));
}

TEST_F(CudaCapture, SummarizeGivesTheCountsOfTheReference) {
  std::size_t i = 0;
  for (const Index n : {1, 5, 32, 129})
    for (const Index w : kOddWidths) {
      auto x = normalMatrix(n, w, 2, static_cast<unsigned>(n * w), 3);
      for (Index r = 0; r < n; ++r) x.at(r, w / 2) *= 10; // a channel that stands out
      double size = 0;
      for (const float v : x.values) size += std::fabs(double(v));
      const DeviceMatrix on(*s_cuda, x, kPlacings[i++ % std::size(kPlacings)]);
      expectSameSummary(summaryOf(*s_cuda, on), summaryOf(*s_reference, x.view()), size);
      expectSameSummary(summaryOf(*s_cuda, on, -1, 4.5f), summaryOf(*s_reference, x.view(), -1, 4.5f), size);
    }
}

TEST_F(CudaCapture, SummarizeConstantsNothingAndBrokenValues) {
  HostMatrix<float> x(3, 50);
  std::fill(x.values.begin(), x.values.end(), 2.5f);
  Summary s = summaryOf(*s_cuda, DeviceMatrix(*s_cuda, x));
  EXPECT_EQ(s.variance, 0);
  expectSameSummary(s, summaryOf(*s_reference, x.view()), 375);
  EXPECT_EQ(s.topChannel[7], 7) << "ties: lowest channel";
  s = summaryOf(*s_cuda, View(nullptr, DType::F32, 0, 50));
  EXPECT_EQ(s.count, 0);
  EXPECT_EQ(s.topChannel[0], -1);
  for (const Index at : {10, 49}) {
    x.at(1, at) = NAN;
    x.at(2, at) = INFINITY;
    s = summaryOf(*s_cuda, DeviceMatrix(*s_cuda, x));
    const Summary expected = summaryOf(*s_reference, x.view());
    EXPECT_TRUE(std::isnan(s.mean)) << "a broken value is seen";
    EXPECT_TRUE(std::isnan(s.variance));
    EXPECT_EQ(s.min, 2.5f);
    EXPECT_EQ(s.max, INFINITY);
    EXPECT_EQ(s.histogram, expected.histogram);
    EXPECT_EQ(s.topChannel, expected.topChannel) << "and its channel named";
  }
  std::fill(x.values.begin(), x.values.end(), NAN);
  s = summaryOf(*s_cuda, DeviceMatrix(*s_cuda, x));
  EXPECT_EQ(s.min, INFINITY);
  EXPECT_EQ(s.max, -INFINITY);
  EXPECT_EQ(s.histogram, Summary().histogram);
}

TEST_F(CudaCapture, CompareAddsToWhatIsThere) {
  std::size_t i = 0;
  for (const Index n : {1, 5, 32, 129})
    for (const Index w : kOddWidths) {
      auto a = normalMatrix(n, w, 1, 1), b = normalMatrix(n, w, 1, 2);
      const DeviceMatrix aOn(*s_cuda, a, kPlacings[i % std::size(kPlacings)]),
          bOn(*s_cuda, b, kPlacings[(i + 1) % std::size(kPlacings)]);
      ++i;
      ErrorSums sums{10, 20, 0.001f}, expected = sums;
      for (int k = 0; k < 2; ++k) {
        s_cuda->compare(kQ, aOn, bOn, sums);
        s_reference->compare(kQ, a.view(), b.view(), expected);
      }
      EXPECT_EQ(sums.exactSquares, 20) << "not before sync";
      s_cuda->sync(kQ);
      Bound bound("compare " + std::to_string(n) + "x" + std::to_string(w));
      // Sums of n w squares (two roundings each) in two orders, twice, added to what was there.
      const double terms = 2 * double(n * w + 4) * kEps64;
      bound.check(sums.errorSquares, expected.errorSquares, terms * expected.errorSquares);
      bound.check(sums.exactSquares, expected.exactSquares, terms * expected.exactSquares);
      EXPECT_EQ(sums.maxAbsError, expected.maxAbsError);
    }
}

TEST_F(CudaCapture, CompareSeesBrokenValues) {
  auto a = normalMatrix(3, 50, 1, 1), b = normalMatrix(3, 50, 1, 2);
  b.at(1, 7) = NAN;
  const DeviceMatrix aOn(*s_cuda, a), bOn(*s_cuda, b);
  ErrorSums sums, expected;
  s_cuda->compare(kQ, aOn, bOn, sums);
  s_cuda->sync(kQ);
  s_reference->compare(kQ, a.view(), b.view(), expected);
  EXPECT_TRUE(std::isnan(sums.errorSquares) && std::isnan(expected.errorSquares));
  EXPECT_EQ(sums.maxAbsError, expected.maxAbsError);
}

/// Dot products have the reference's order and exact products; the mean is a sum of n cosines of at most 1 in two orders,
/// rounded to FP32.
TEST_F(CudaCapture, Similarity) {
  const auto check = [](std::size_t layers, Index n, Index w, bool zeroRow) {
    std::vector<HostMatrix<float>> x;
    std::vector<DeviceMatrix> on;
    on.reserve(layers);
    for (std::size_t i = 0; i < layers; ++i) {
      x.push_back(i == 3 ? x[0] : normalMatrix(n, w, 1, static_cast<unsigned>(i + 1), 0.5f));
      for (Index c = 0; c < w && i == 1 && zeroRow; ++c) x[1].at(0, c) = 0; // a row without direction
      on.emplace_back(*s_cuda, x[i], kPlacings[i % std::size(kPlacings)]);
    }
    std::vector<ConstView> views, hostViews;
    for (std::size_t i = 0; i < layers; ++i) views.push_back(on[i]), hostViews.push_back(x[i].view());
    std::vector<float> cosine(layers * layers, 99), expected = cosine;
    s_cuda->similarity(kQ, views, cosine);
    s_cuda->sync(kQ);
    s_reference->similarity(kQ, hostViews, expected);
    Bound bound("similarity of " + std::to_string(layers) + "x" + std::to_string(n) + "x" + std::to_string(w));
    for (std::size_t i = 0; i < cosine.size(); ++i) {
      bound.check(cosine[i], expected[i], 2 * kEps * std::fabs(expected[i]) + 2 * double(n + 3) * kEps64);
      EXPECT_EQ(cosine[i], cosine[i % layers * layers + i / layers]) << "symmetric";
    }
  };
  for (const Index n : {1, 5, 33})
    for (const Index w : kOddWidths) check(4, n, w, true);
  check(1, 3, 7, false);
  check(16, 2, 65, true);
  check(35, 2, 130, true); // tiles of layers beside each other
  check(4, 300, 3, true);  // several rows a block
}

TEST_F(CudaCapture, NothingIsNoTrouble) {
  const View none(nullptr, DType::F32, 0, 8);
  ErrorSums sums{1, 2, 3};
  std::vector<float> cosine(4, 99);
  const std::vector<ConstView> layers = {none, none};
  s_cuda->score(kQ, {}, none, {}, {});
  s_cuda->compare(kQ, none, none, sums);
  s_cuda->similarity(kQ, layers, cosine);
  s_cuda->similarity(kQ, {}, {});
  s_cuda->sync(kQ);
  EXPECT_EQ(sums.exactSquares, 2);
  EXPECT_EQ(cosine, std::vector<float>(4));
}

TEST_F(CudaCapture, ResultsOfManyOperationsComeInOneSync) {
  const DeviceMatrix a(*s_cuda, normalMatrix(40, 70, 1, 1)), b(*s_cuda, normalMatrix(40, 70, 1, 2));
  ErrorSums apart, together;
  std::vector<Summary> summaries(3);
  for (Summary &s : summaries) {
    s_cuda->summarize(kQ, a, s);
    s_cuda->compare(kQ, a, b, together);
  }
  s_cuda->sync(kQ);
  const Summary alone = summaryOf(*s_cuda, a);
  for (const Summary &s : summaries) {
    EXPECT_EQ(s.mean, alone.mean) << "the same bits";
    EXPECT_EQ(s.variance, alone.variance);
    EXPECT_EQ(s.histogram, alone.histogram);
    EXPECT_EQ(s.topMeanAbs, alone.topMeanAbs);
  }
  for (int i = 0; i < 3; ++i) s_cuda->compare(kQ, a, b, apart), s_cuda->sync(kQ);
  EXPECT_EQ(apart.errorSquares, together.errorSquares);
}

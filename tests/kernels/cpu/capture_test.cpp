// SPDX-License-Identifier: Apache-2.0
#include "support.h"
#include "targets.h"

#include <numeric>

namespace xqs::test {
namespace {

/// Rounding of one FP64 operation.
constexpr double kEps64 = 0x1p-53;
constexpr Index kRows[] = {1, 5, 127, 128, 129};
constexpr Index kWidths[] = {1, 33, 64, 192, 576};

/// FP64 sums of `count` terms in any order err by count eps64 times the sum of their sizes.
void checkSummary(Backend &b, Index n, Index w) {
  std::mt19937 rng(static_cast<unsigned>(n * w));
  Matrix x(b, n, w);
  x.fill(rng, 2, 3);
  for (Index r = 0; r < n; ++r) x.at(r, w / 2) *= 10; // a channel that stands out
  Summary s;
  b.summarize(Queue::Compute, x, s);
  const std::vector<float> values = x.values();
  const double count = double(values.size());
  double sum = 0, size = 0, squares = 0;
  for (const float v : values) {
    sum += double(v);
    size += std::fabs(double(v));
  }
  for (const float v : values) squares += (double(v) - sum / count) * (double(v) - sum / count);
  Bound bound("summary of " + std::to_string(n) + "x" + std::to_string(w));
  EXPECT_EQ(s.count, n * w);
  // Two sums in different orders may be apart by twice the error of one.
  bound.check(s.mean, sum / count, 2 * (count + 1) * kEps64 * size / count);
  // The mean's own error m moves the variance by m^2 only; each squared deviation has two roundings of its own.
  bound.check(s.variance, squares / count, (2 * count + 8) * kEps64 * (squares / count + size / count * 4 * kEps64 * size));
  EXPECT_EQ(s.min, *std::min_element(values.begin(), values.end()));
  EXPECT_EQ(s.max, *std::max_element(values.begin(), values.end()));
  EXPECT_EQ(s.histogramMin, s.min);
  EXPECT_EQ(s.histogramMax, s.max);
  EXPECT_EQ(std::accumulate(s.histogram.begin(), s.histogram.end(), 0u), static_cast<unsigned>(n * w));
  // A value may lie on the other side of an edge by rounding of (x - min) * bins / range: 3 eps of a bin number below 128.
  std::array<Index, Summary::kBins + 1> below{};
  const double range = double(s.max) - double(s.min);
  for (int bin = 0; bin <= Summary::kBins; ++bin)
    for (const float v : values)
      below[static_cast<std::size_t>(bin)] += double(v) < double(s.min) + range * bin / Summary::kBins ? 1 : 0;
  Index counted = 0;
  for (int bin = 0; bin + 1 < Summary::kBins && range > 0; ++bin) {
    counted += s.histogram[static_cast<std::size_t>(bin)];
    const double edge = double(s.min) + range * (bin + 1) / Summary::kBins, slack = 3 * kEps * range * 2;
    const auto near =
        std::count_if(values.begin(), values.end(), [&](float v) { return std::fabs(double(v) - edge) <= slack; });
    EXPECT_LE(std::abs(counted - below[static_cast<std::size_t>(bin + 1)]), near) << "bin " << bin;
  }
  EXPECT_EQ(s.topChannel[0], w / 2);
  for (int i = 0; i < Summary::kTopChannels; ++i) {
    const std::int32_t channel = s.topChannel[static_cast<std::size_t>(i)];
    if (i >= w) {
      EXPECT_EQ(channel, -1);
      continue;
    }
    double mean = 0;
    for (Index r = 0; r < n; ++r) mean += std::fabs(double(x.at(r, channel))) / double(n);
    bound.check(s.topMeanAbs[static_cast<std::size_t>(i)], mean, 1.01 * kEps * mean);
    if (i > 0) {
      EXPECT_GE(s.topMeanAbs[static_cast<std::size_t>(i - 1)], s.topMeanAbs[static_cast<std::size_t>(i)]);
    }
  }
}

template <typename B> struct Capture : ::testing::Test {
  BackendPtr b = make(B::module());
  std::mt19937 rng{21};
};
TYPED_TEST_SUITE(Capture, BothBackends);

TYPED_TEST(Capture, Summarize) {
  for (const Index n : kRows)
    for (const Index w : kWidths) checkSummary(*this->b, n, w);
}

TYPED_TEST(Capture, SummarizeOverAGivenRange) {
  Matrix x(*this->b, 1, 40);
  for (Index c = 0; c < 40; ++c) x.at(0, c) = float(c) - 20; // -20 .. 19
  Summary s;
  s.histogramMin = -8;
  s.histogramMax = 8;
  this->b->summarize(Queue::Compute, x, s);
  EXPECT_EQ(s.histogram[0], 13u) << "-20 .. -8";
  EXPECT_EQ(s.histogram[8], 1u) << "-7, 8 bins a unit";
  EXPECT_EQ(s.histogram[127], 12u) << "8 .. 19";
  EXPECT_EQ(s.min, -20);
  EXPECT_EQ(s.histogramMin, -8);
}

TYPED_TEST(Capture, SummarizeConstantsNothingAndBrokenValues) {
  Matrix x(*this->b, 3, 50), nothing(*this->b, 0, 50);
  x.set(2.5f);
  Summary s;
  this->b->summarize(Queue::Compute, x, s);
  EXPECT_EQ(s.variance, 0);
  EXPECT_EQ(s.histogram[0], 150u);
  EXPECT_EQ(s.topChannel[0], 0) << "ties: lowest channel";
  EXPECT_EQ(s.topChannel[7], 7);
  s = {};
  this->b->summarize(Queue::Compute, nothing, s);
  EXPECT_EQ(s.count, 0);
  for (const Index at : {10, 49}) {
    x.at(1, at) = NAN;
    x.at(2, at) = INFINITY;
    s = {};
    this->b->summarize(Queue::Compute, x, s);
    EXPECT_TRUE(std::isnan(s.mean)) << "a broken value is seen";
    EXPECT_EQ(s.min, 2.5f);
    EXPECT_EQ(s.topChannel[0], 10) << "and its channel named";
  }
}

TYPED_TEST(Capture, Compare) {
  for (const Index n : kRows)
    for (const Index w : kWidths) {
      Matrix a(*this->b, n, w), c(*this->b, n, w);
      a.fill(this->rng);
      c.fill(this->rng);
      ErrorSums sums{10, 20, 0.001f}; // added to what is there
      this->b->compare(Queue::Compute, a, c, sums);
      double error = 10, exact = 20, worst = 0.001;
      for (Index r = 0; r < n; ++r)
        for (Index i = 0; i < w; ++i) {
          const double d = double(a.at(r, i)) - double(c.at(r, i));
          error += d * d;
          exact += double(a.at(r, i)) * double(a.at(r, i));
          worst = std::max(worst, std::fabs(d));
        }
      Bound bound("compare");
      bound.check(sums.errorSquares, error, 2 * double(n * w + 3) * kEps64 * error);
      bound.check(sums.exactSquares, exact, 2 * double(n * w + 3) * kEps64 * exact);
      bound.check(sums.maxAbsError, worst, kEps * worst);
    }
}

/// Unit rows are rounded (2 eps a value); a dot product of 8 rows at once errs by (8 w + 2) eps times sums of products,
/// which add up to at most 1 a row.
TYPED_TEST(Capture, Similarity) {
  for (const Index n : kRows)
    for (const Index w : kWidths) {
      const std::size_t layers = 4;
      std::vector<Matrix> x;
      std::vector<ConstView> views;
      for (std::size_t i = 0; i < layers; ++i) {
        x.emplace_back(*this->b, n, w).fill(this->rng, 1, 0.5f);
        if (i == 3) x[3].assign(x[0]);
      }
      for (Index c = 0; c < w; ++c) x[1].at(0, c) = 0; // a row without direction
      for (const Matrix &m : x) views.push_back(m);
      std::vector<float> cosine(layers * layers, 99);
      this->b->similarity(Queue::Compute, views, cosine);
      Bound bound("similarity of " + std::to_string(n) + "x" + std::to_string(w));
      for (std::size_t i = 0; i < layers; ++i)
        for (std::size_t j = 0; j < layers; ++j) {
          double mean = 0;
          for (Index r = 0; r < n; ++r) {
            double ij = 0, ii = 0, jj = 0;
            for (Index c = 0; c < w; ++c) {
              const double a = x[i].at(r, c), d = x[j].at(r, c);
              ij += a * d;
              ii += a * a;
              jj += d * d;
            }
            if (ii > 0 && jj > 0) mean += ij / std::sqrt(ii * jj) / double(n);
          }
          bound.check(cosine[i * layers + j], mean, double(8 * w + 8) * kEps);
        }
    }
}

TEST(CapturePortable, EveryInstructionSet) {
  const BackendPtr cpu = make(cpuBackendModule());
  onEveryTarget([&] { checkSummary(*cpu, 70, 77); });
}

} // namespace
} // namespace xqs::test

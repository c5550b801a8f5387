// SPDX-License-Identifier: Apache-2.0
// Scores, summaries and comparisons. FP64 sums are formed for tiles of fixed height and combined in order.
#include "cpu_backend.h"
#include "simd_capture.h"
#include "simd_rows.h"
#include "summary_bins.h"

#include <cblas.h>
#include <cmath>

namespace xqs {

namespace {

constexpr Index kTileRows = 64;
Index tilesOf(Index rows) { return (rows + kTileRows - 1) / kTileRows; }

struct SummaryTile {
  simd::RowSums sums{0, INFINITY, -INFINITY};
  std::vector<double> sumAbs;
  double deviationSquares = 0;
  std::array<std::uint32_t, Summary::kBins> histogram{};
};

} // namespace

void CpuBackend::score(Queue, ConstView exact, ConstView logits, std::span<const std::int32_t> targets,
                       std::span<Score> scores) {
  XQS_ASSERT(isF32(logits) && static_cast<Index>(targets.size()) == logits.rows && scores.size() == targets.size());
  XQS_ASSERT(exact.empty() || (isF32(exact) && sameShape(exact, logits)));
  const Op op(*this, "score", bytesOf(logits) + bytesOf(exact), 10.0 * static_cast<double>(logits.rows * logits.cols));
  m_pool.parallelFor(logits.rows, [&](Index r) {
    const std::int32_t target = targets[static_cast<std::size_t>(r)];
    XQS_ASSERT(target >= 0 && target < logits.cols);
    const float *x = logits.row(r);
    const simd::RowSoftmax q = simd::rowSoftmax(x, logits.cols);
    Score s;
    s.nll = static_cast<float>(std::log(q.sum) - static_cast<double>(x[target] - q.max));
    s.top = q.top;
    if (!exact.empty()) {
      const simd::RowSoftmax p = simd::rowSoftmax(exact.row(r), exact.cols);
      const double difference = simd::weightedDifference(exact.row(r), p.max, x, logits.cols);
      s.kl = static_cast<float>(difference / p.sum - (static_cast<double>(p.max) - static_cast<double>(q.max)) -
                                (std::log(p.sum) - std::log(q.sum)));
      s.sameTop = p.top == q.top ? 1 : 0;
    }
    scores[static_cast<std::size_t>(r)] = s;
  });
}

void CpuBackend::summarize(Queue, ConstView x, Summary &s) {
  XQS_ASSERT(isF32(x));
  const Op op(*this, "summarize", 2 * bytesOf(x), 8.0 * static_cast<double>(x.rows * x.cols));
  const float low = s.histogramMin, high = s.histogramMax;
  s = {};
  s.topChannel.fill(-1);
  s.histogramMin = low;
  s.histogramMax = high;
  if (x.empty()) return;
  s.count = x.rows * x.cols;

  std::vector<SummaryTile> tiles(static_cast<std::size_t>(tilesOf(x.rows)));
  forRows(x.rows, kTileRows, [&](Index begin, Index end) {
    SummaryTile &tile = tiles[static_cast<std::size_t>(begin / kTileRows)];
    tile.sumAbs.assign(static_cast<std::size_t>(x.cols), 0.0);
    for (Index r = begin; r < end; ++r) simd::rowSums(x.row(r), x.cols, tile.sums, tile.sumAbs.data());
  });
  simd::RowSums all{0, INFINITY, -INFINITY};
  std::vector<double> sumAbs(static_cast<std::size_t>(x.cols));
  for (const SummaryTile &tile : tiles) {
    all.sum += tile.sums.sum;
    all.min = std::min(all.min, tile.sums.min);
    all.max = std::max(all.max, tile.sums.max);
    for (std::size_t c = 0; c < sumAbs.size(); ++c) sumAbs[c] += tile.sumAbs[c];
  }
  s.mean = all.sum / static_cast<double>(s.count);
  s.min = all.min;
  s.max = all.max;
  if (low == high) {
    s.histogramMin = s.min;
    s.histogramMax = s.max;
  }
  const Bins bins(s);
  forRows(x.rows, kTileRows, [&](Index begin, Index end) {
    SummaryTile &tile = tiles[static_cast<std::size_t>(begin / kTileRows)];
    std::vector<std::int32_t> bin(static_cast<std::size_t>(x.cols));
    for (Index r = begin; r < end; ++r) {
      tile.deviationSquares += simd::rowDeviationSquares(x.row(r), x.cols, s.mean);
      simd::rowBins(x.row(r), x.cols, bins.low, bins.perUnit, bin.data());
      for (const std::int32_t b : bin)
        if (b >= 0) ++tile.histogram[static_cast<std::size_t>(b)];
    }
  });
  for (const SummaryTile &tile : tiles) {
    s.variance += tile.deviationSquares;
    for (std::size_t b = 0; b < tile.histogram.size(); ++b) s.histogram[b] += tile.histogram[b];
  }
  s.variance /= static_cast<double>(s.count);
  fillTopChannels(sumAbs, x.rows, s);
}

void CpuBackend::compare(Queue, ConstView exact, ConstView approx, ErrorSums &sums) {
  XQS_ASSERT(isF32(exact) && isF32(approx) && sameShape(exact, approx));
  const Op op(*this, "compare", 2 * bytesOf(exact), 5.0 * static_cast<double>(exact.rows * exact.cols));
  std::vector<ErrorSums> tiles(static_cast<std::size_t>(tilesOf(exact.rows)));
  forRows(exact.rows, kTileRows, [&](Index begin, Index end) {
    ErrorSums &tile = tiles[static_cast<std::size_t>(begin / kTileRows)];
    for (Index r = begin; r < end; ++r) simd::rowErrors(exact.row(r), approx.row(r), exact.cols, tile);
  });
  for (const ErrorSums &tile : tiles) {
    sums.errorSquares += tile.errorSquares;
    sums.exactSquares += tile.exactSquares;
    sums.maxAbsError = std::max(sums.maxAbsError, tile.maxAbsError);
  }
}

/// Rows of length 1 beside each other make the mean cosine one Gram matrix: tiles of a few tokens, [layers, tokens * width].
void CpuBackend::similarity(Queue, std::span<const ConstView> layers, std::span<float> cosine) {
  const std::size_t count = layers.size();
  XQS_ASSERT(cosine.size() == count * count);
  if (count == 0) return;
  const Index rows = layers[0].rows, width = layers[0].cols;
  for (const ConstView &layer : layers) XQS_ASSERT(isF32(layer) && layer.rows == rows && layer.cols == width);
  const auto pairs = static_cast<double>(count * count);
  const Op op(*this, "similarity", static_cast<double>(count) * bytesOf(layers[0]),
              pairs * 2 * static_cast<double>(rows * width));
  constexpr Index kTokens = 8;
  const Index tiles = (rows + kTokens - 1) / kTokens;
  std::vector<float> grams(static_cast<std::size_t>(tiles) * count * count);
  forRows(rows, kTokens, [&](Index begin, Index end) {
    const Index length = (end - begin) * width;
    std::vector<float> unit(count * static_cast<std::size_t>(length));
    for (std::size_t i = 0; i < count; ++i)
      for (Index r = begin; r < end; ++r) {
        const double squares = simd::rowSquares(layers[i].row(r), width);
        simd::scale(layers[i].row(r), squares > 0 ? static_cast<float>(1 / std::sqrt(squares)) : 0.0f, width,
                    unit.data() + static_cast<Index>(i) * length + (r - begin) * width);
      }
    const int n = static_cast<int>(count);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, static_cast<int>(length), 1, unit.data(),
                static_cast<int>(length), unit.data(), static_cast<int>(length), 0,
                grams.data() + static_cast<std::size_t>(begin / kTokens) * count * count, n);
  });
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (std::size_t tile = 0; tile < static_cast<std::size_t>(tiles); ++tile)
        sum += static_cast<double>(grams[(tile * count + i) * count + j]);
      cosine[i * count + j] = cosine[j * count + i] = static_cast<float>(rows > 0 ? sum / static_cast<double>(rows) : 0);
    }
}

} // namespace xqs

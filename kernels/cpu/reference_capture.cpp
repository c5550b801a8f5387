// SPDX-License-Identifier: Apache-2.0
// Scores, summaries and comparisons, as defined.
#include "reference_backend.h"
#include "summary_bins.h"

#include <cmath>

namespace xqs {

namespace {

constexpr Index kTileRows = 64; ///< rows whose sums are formed together; tiles are combined in order

struct SoftmaxStats {
  float max = -INFINITY;
  std::int32_t top = 0;
  double sum = 0; ///< of exp(x - max)
};

SoftmaxStats softmaxStats(const float *x, Index n) {
  SoftmaxStats s;
  for (Index c = 0; c < n; ++c)
    if (x[c] > s.max) {
      s.max = x[c];
      s.top = static_cast<std::int32_t>(c);
    }
  for (Index c = 0; c < n; ++c) s.sum += static_cast<double>(std::exp(x[c] - s.max));
  return s;
}

/// sum p (log p - log q) with p = softmax(exact), q = softmax(policy). The differences of logits are formed first, in FP32,
/// where they are exact for close values.
double divergence(const float *exact, const SoftmaxStats &p, const float *policy, const SoftmaxStats &q, Index n) {
  double sum = 0;
  for (Index c = 0; c < n; ++c)
    sum += static_cast<double>(std::exp(exact[c] - p.max)) * static_cast<double>(exact[c] - policy[c]);
  return sum / p.sum - (static_cast<double>(p.max) - static_cast<double>(q.max)) - (std::log(p.sum) - std::log(q.sum));
}

} // namespace

void ReferenceBackend::score(Queue, ConstView exact, ConstView logits, std::span<const std::int32_t> targets,
                             std::span<Score> scores) {
  XQS_ASSERT(isF32(logits) && static_cast<Index>(targets.size()) == logits.rows && scores.size() == targets.size());
  XQS_ASSERT(exact.empty() || (isF32(exact) && sameShape(exact, logits)));
  const Op op(*this, "score", bytesOf(logits) + bytesOf(exact), 10.0 * static_cast<double>(logits.rows * logits.cols));
  m_pool.parallelFor(logits.rows, [&](Index r) {
    const std::int32_t target = targets[static_cast<std::size_t>(r)];
    XQS_ASSERT(target >= 0 && target < logits.cols);
    const float *x = logits.row(r);
    const SoftmaxStats q = softmaxStats(x, logits.cols);
    Score s;
    s.nll = static_cast<float>(std::log(q.sum) - static_cast<double>(x[target] - q.max));
    s.top = q.top;
    if (!exact.empty()) {
      const SoftmaxStats p = softmaxStats(exact.row(r), exact.cols);
      s.kl = static_cast<float>(divergence(exact.row(r), p, x, q, logits.cols));
      s.sameTop = p.top == q.top ? 1 : 0;
    }
    scores[static_cast<std::size_t>(r)] = s;
  });
}

void ReferenceBackend::summarize(Queue, ConstView x, Summary &s) {
  XQS_ASSERT(isF32(x));
  const Op op(*this, "summarize", 2 * bytesOf(x), 8.0 * static_cast<double>(x.rows * x.cols));
  const float low = s.histogramMin, high = s.histogramMax;
  s = {};
  s.topChannel.fill(-1);
  s.histogramMin = low;
  s.histogramMax = high;
  if (x.empty()) return;
  s.count = x.rows * x.cols;

  double sum = 0;
  std::vector<double> sumAbs(static_cast<std::size_t>(x.cols));
  float min = INFINITY, max = -INFINITY;
  for (Index r = 0; r < x.rows; ++r)
    for (Index c = 0; c < x.cols; ++c) {
      const float value = x.row(r)[c];
      sum += static_cast<double>(value);
      sumAbs[static_cast<std::size_t>(c)] += std::fabs(static_cast<double>(value));
      if (value < min) min = value;
      if (value > max) max = value;
    }
  s.mean = sum / static_cast<double>(s.count);
  s.min = min;
  s.max = max;
  if (low == high) {
    s.histogramMin = min;
    s.histogramMax = max;
  }
  const Bins bins(s);
  for (Index r = 0; r < x.rows; ++r)
    for (Index c = 0; c < x.cols; ++c) {
      const double deviation = static_cast<double>(x.row(r)[c]) - s.mean;
      s.variance += deviation * deviation;
      const int bin = bins(x.row(r)[c]);
      if (bin >= 0) ++s.histogram[static_cast<std::size_t>(bin)];
    }
  s.variance /= static_cast<double>(s.count);
  fillTopChannels(sumAbs, x.rows, s);
}

void ReferenceBackend::compare(Queue, ConstView exact, ConstView approx, ErrorSums &sums) {
  XQS_ASSERT(isF32(exact) && isF32(approx) && sameShape(exact, approx));
  const Op op(*this, "compare", 2 * bytesOf(exact), 5.0 * static_cast<double>(exact.rows * exact.cols));
  std::vector<ErrorSums> tiles(static_cast<std::size_t>((exact.rows + kTileRows - 1) / kTileRows));
  forRows(exact.rows, kTileRows, [&](Index begin, Index end) {
    ErrorSums &tile = tiles[static_cast<std::size_t>(begin / kTileRows)];
    for (Index r = begin; r < end; ++r)
      for (Index c = 0; c < exact.cols; ++c) {
        const double a = exact.row(r)[c], difference = a - static_cast<double>(approx.row(r)[c]);
        tile.errorSquares += difference * difference;
        tile.exactSquares += a * a;
        tile.maxAbsError = std::max(tile.maxAbsError, static_cast<float>(std::fabs(difference)));
      }
  });
  for (const ErrorSums &tile : tiles) {
    sums.errorSquares += tile.errorSquares;
    sums.exactSquares += tile.exactSquares;
    sums.maxAbsError = std::max(sums.maxAbsError, tile.maxAbsError);
  }
}

void ReferenceBackend::similarity(Queue, std::span<const ConstView> layers, std::span<float> cosine) {
  const std::size_t count = layers.size();
  XQS_ASSERT(cosine.size() == count * count);
  if (count == 0) return;
  const Index rows = layers[0].rows, width = layers[0].cols;
  for (const ConstView &layer : layers) XQS_ASSERT(isF32(layer) && layer.rows == rows && layer.cols == width);
  const auto pairs = static_cast<double>(count * count);
  const Op op(*this, "similarity", static_cast<double>(count) * bytesOf(layers[0]),
              pairs * 2 * static_cast<double>(rows * width));
  const auto dot64 = [width](const float *a, const float *b) {
    double sum = 0;
    for (Index c = 0; c < width; ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
    return sum;
  };
  std::vector<double> squares(count * static_cast<std::size_t>(rows));
  m_pool.parallelFor(static_cast<Index>(squares.size()), [&](Index tile) {
    const float *x = layers[static_cast<std::size_t>(tile / rows)].row(tile % rows);
    squares[static_cast<std::size_t>(tile)] = dot64(x, x);
  });
  m_pool.parallelFor(static_cast<Index>(count * count), [&](Index tile) {
    const auto i = static_cast<std::size_t>(tile) / count, j = static_cast<std::size_t>(tile) % count;
    if (j > i) return;
    double sum = 0;
    for (Index r = 0; r < rows; ++r) {
      const double norm = std::sqrt(squares[i * static_cast<std::size_t>(rows) + static_cast<std::size_t>(r)] *
                                    squares[j * static_cast<std::size_t>(rows) + static_cast<std::size_t>(r)]);
      if (norm > 0) sum += dot64(layers[i].row(r), layers[j].row(r)) / norm;
    }
    cosine[i * count + j] = cosine[j * count + i] = static_cast<float>(rows > 0 ? sum / static_cast<double>(rows) : 0);
  });
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
// Scores, summaries and comparisons: counted on the device, handed to the host in sync.
#include "cuda_backend.h"

#include "capture.h"
#include "device_views.h"
#include "summary_bins.h"

#include <cstring>

namespace xqs::cuda {
namespace {

FloatRows floatRows(ConstView v) { return {floats(v), v.stride}; }

template <typename T> Index bytesFor(Index count) { return count * static_cast<Index>(sizeof(T)); }

/// What the device summed of x [rows, cols], as a Summary; sumAbs: [cols].
void fillSummary(const SummaryTotals &totals, const double *sumAbs, Index rows, Index cols, Summary &s) {
  s.count = rows * cols;
  s.mean = totals.sum / static_cast<double>(s.count);
  s.variance = totals.deviations / static_cast<double>(s.count);
  s.min = totals.min;
  s.max = totals.max;
  if (s.histogramMin == s.histogramMax) s.histogramMin = s.min, s.histogramMax = s.max;
  std::copy_n(totals.histogram, Summary::kBins, s.histogram.begin());
  fillTopChannels(std::vector<double>(sumAbs, sumAbs + cols), rows, s);
}

} // namespace

void CudaBackend::score(Queue queue, ConstView exact, ConstView logits, std::span<const std::int32_t> targets,
                        std::span<Score> scores) {
  XQS_ASSERT(isF32(logits) && static_cast<Index>(targets.size()) == logits.rows && scores.size() == targets.size());
  XQS_ASSERT(exact.empty() || (isF32(exact) && sameShape(exact, logits)));
  for (const std::int32_t target : targets) XQS_ASSERT(target >= 0 && target < logits.cols);
  const Op op(*this, queue, "score", bytesOf(logits) + bytesOf(exact), 10 * elements(logits));
  if (logits.empty()) return;
  const Index bytes = bytesFor<Score>(logits.rows);
  const Scratch result(*this, queue, bytes);
  scoreRows(stream(queue), exact.empty() ? FloatRows{} : floatRows(exact), floatRows(logits), logits.cols, targets,
            result.as<Score>());
  returnToHost(queue, result.data(), bytes,
               [scores](const std::byte *from) { std::memcpy(scores.data(), from, scores.size_bytes()); });
}

void CudaBackend::summarize(Queue queue, ConstView x, Summary &summary) {
  XQS_ASSERT(isF32(x));
  const Op op(*this, queue, "summarize", 2 * bytesOf(x), 8 * elements(x));
  const float low = summary.histogramMin, high = summary.histogramMax;
  summary = {};
  summary.topChannel.fill(-1);
  summary.histogramMin = low;
  summary.histogramMax = high;
  if (x.empty()) return;
  const CaptureTiles tiles{x.rows, x.cols};
  const Index bytes = bytesFor<SummaryTotals>(1) + bytesFor<double>(x.cols);
  const Scratch result(*this, queue, bytes), tileSumAbs(*this, queue, bytesFor<double>(tiles.down() * x.cols)),
      tileSums(*this, queue, bytesFor<SummaryTile>(tiles.count()));
  auto *const totals = result.as<SummaryTotals>();
  summarizeRows(stream(queue), floatRows(x), tiles, low, high,
                {totals, reinterpret_cast<double *>(totals + 1), tileSumAbs.as<double>(), tileSums.as<SummaryTile>()});
  returnToHost(queue, result.data(), bytes, [&summary, rows = x.rows, cols = x.cols](const std::byte *from) {
    const auto *counted = reinterpret_cast<const SummaryTotals *>(from);
    fillSummary(*counted, reinterpret_cast<const double *>(counted + 1), rows, cols, summary);
  });
}

void CudaBackend::compare(Queue queue, ConstView exact, ConstView approx, ErrorSums &sums) {
  XQS_ASSERT(isF32(exact) && isF32(approx) && sameShape(exact, approx));
  const Op op(*this, queue, "compare", 2 * bytesOf(exact), 5 * elements(exact));
  if (exact.empty()) return;
  const CaptureTiles tiles{exact.rows, exact.cols};
  const Scratch result(*this, queue, bytesFor<ErrorSums>(1)), partial(*this, queue, bytesFor<ErrorSums>(tiles.count()));
  compareRows(stream(queue), floatRows(exact), floatRows(approx), tiles, partial.as<ErrorSums>(), result.as<ErrorSums>());
  returnToHost(queue, result.data(), bytesFor<ErrorSums>(1), [&sums](const std::byte *from) {
    const auto &counted = *reinterpret_cast<const ErrorSums *>(from);
    sums.errorSquares += counted.errorSquares;
    sums.exactSquares += counted.exactSquares;
    sums.maxAbsError = std::max(sums.maxAbsError, counted.maxAbsError);
  });
}

void CudaBackend::similarity(Queue queue, std::span<const ConstView> layers, std::span<float> cosine) {
  const auto count = static_cast<Index>(layers.size());
  XQS_ASSERT(cosine.size() == layers.size() * layers.size());
  if (count == 0) return;
  const ConstView &first = layers[0];
  for (const ConstView &layer : layers) XQS_ASSERT(isF32(layer) && sameShape(layer, first));
  const Op op(*this, queue, "similarity", static_cast<double>(count) * bytesOf(first),
              static_cast<double>(count * count) * 2 * elements(first));
  if (first.empty()) {
    std::fill(cosine.begin(), cosine.end(), 0.0f);
    return;
  }
  std::vector<FloatRows> rows;
  for (const ConstView &layer : layers) rows.push_back(floatRows(layer));
  const Index bytes = bytesFor<float>(count * count);
  const Scratch result(*this, queue, bytes),
      partial(*this, queue, bytesFor<double>(similarityParts(first.rows) * count * count));
  similarityRows(stream(queue), rows, first.rows, first.cols, partial.as<double>(), result.as<float>());
  returnToHost(queue, result.data(), bytes,
               [cosine](const std::byte *from) { std::memcpy(cosine.data(), from, cosine.size_bytes()); });
}

} // namespace xqs::cuda

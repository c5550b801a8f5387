// SPDX-License-Identifier: Apache-2.0
#pragma once

// Launches of the capture kernels: raw device pointers and sizes, asynchronous on `stream`, errors of the launch thrown.
// Strides count elements from row to row. Nothing here is empty. All sums are FP64, each in one fixed order.

#include "backend.h"
#include "pack_math.h"

#include <cuda_runtime_api.h>

namespace xqs::cuda {

struct FloatRows {
  const float *data;
  Index stride;
};

/// scores[r] of row r (`Backend::score`). exact: null data where there is nothing to compare with; targets: host memory, one
/// a row; scores: [rows].
void scoreRows(cudaStream_t stream, FloatRows exact, FloatRows logits, Index cols, std::span<const std::int32_t> targets,
               Score *scores);

/// How summarize and compare cut [rows, cols]: a block of threads a tile, a thread a column of it.
struct CaptureTiles {
  static constexpr Index kRows = 32, kCols = 256;
  Index rows, cols;
  XQS_HD Index down() const { return (rows + kRows - 1) / kRows; }
  XQS_HD Index across() const { return (cols + kCols - 1) / kCols; }
  XQS_HD Index count() const { return down() * across(); }
};

struct SummaryTotals {
  double sum;
  double deviations; ///< sum of (x - mean)^2
  float min, max;
  std::uint32_t histogram[Summary::kBins];
};
struct SummaryTile {
  double sum; ///< of x, then of (x - mean)^2
  float min, max;
};
struct SummaryMemory {
  SummaryTotals *totals;
  double *sumAbs;     ///< [cols] of |x|
  double *tileSumAbs; ///< scratch, [tiles.down(), cols]
  SummaryTile *tiles; ///< scratch, [tiles.count()]
};
/// Bins cut [low, high], or the minimum and maximum of x where the two are equal.
void summarizeRows(cudaStream_t stream, FloatRows x, const CaptureTiles &tiles, float low, float high,
                   const SummaryMemory &memory);

/// partial: scratch, [tiles.count()].
void compareRows(cudaStream_t stream, FloatRows exact, FloatRows approx, const CaptureTiles &tiles, ErrorSums *partial,
                 ErrorSums *sums);

/// Rows are dealt to so many blocks, whose sums are added in order.
constexpr Index similarityParts(Index rows) { return rows < 256 ? rows : 256; }
/// cosine: [layers, layers]; partial: scratch, [similarityParts(rows), layers, layers].
void similarityRows(cudaStream_t stream, std::span<const FloatRows> layers, Index rows, Index cols, double *partial,
                    float *cosine);

} // namespace xqs::cuda

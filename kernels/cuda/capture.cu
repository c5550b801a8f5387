// SPDX-License-Identifier: Apache-2.0
#include "capture.h"

#include "host_values.h"
#include "launch.h"
#include "vector_access.h"

#include <algorithm>

namespace xqs::cuda {
namespace {

/// Maximum over a block, NaN left out; every thread has it. `partial`: shared, one value a warp.
__device__ float blockMax(float value, float *partial) {
  value = warpMax(value);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  float max = partial[0];
  for (unsigned w = 1; w < blockDim.x / kWarp; ++w) max = fmaxf(max, partial[w]);
  __syncthreads();
  return max;
}

// Scores ------------------------------------------------------------------------------------------------------------------

constexpr int kScoreThreads = 512; ///< at most; fewer where a row has no 16 elements for each

/// The largest value and where it is first; a NaN is never it.
struct Top {
  float max;
  std::int32_t at;
};
__device__ Top better(Top a, Top b) { return b.max > a.max || (b.max == a.max && b.at < a.at) ? b : a; }
__device__ Top warpTop(Top top) {
  for (int step = kWarp / 2; step > 0; step /= 2)
    top = better(top, {__shfl_xor_sync(kAllLanes, top.max, step), __shfl_xor_sync(kAllLanes, top.at, step)});
  return top;
}

template <bool kWide> __device__ Top topOf(const float *row, Index cols, Top *partial) {
  Top top = {-INFINITY, 0};
#pragma unroll 4
  for (Index col = static_cast<Index>(kFour) * threadIdx.x; col < cols; col += static_cast<Index>(kFour) * blockDim.x) {
    const Four x = load4(row, col, cols, kWide);
#pragma unroll
    for (int i = 0; i < kFour; ++i)
      if ((kWide || col + i < cols) && x.at[i] > top.max) top = {x.at[i], static_cast<std::int32_t>(col + i)};
  }
  top = warpTop(top);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = top;
  __syncthreads();
  top = partial[0];
  for (unsigned w = 1; w < blockDim.x / kWarp; ++w) top = better(top, partial[w]);
  __syncthreads();
  return top;
}

/// Launch: a block a row, of 512 threads, fewer where `cols` < 8192. A row is read for its maximum, then for its sums: 8
/// bytes an element of logits, and of `exact` (null: none); 4 and 10 FLOPs an element, one and two exponentials. `kWide`:
/// areFours.
template <bool kWide> __global__ void __launch_bounds__(kScoreThreads)
    scoreKernel(FloatRows exact, FloatRows logits, Index cols, HostValues<std::int32_t> targets, Score *scores) {
  __shared__ Top partialTop[kScoreThreads / kWarp];
  __shared__ double partial[kScoreThreads / kWarp];
  const float *policy = logits.data + blockIdx.x * logits.stride;
  const float *reference = exact.data != nullptr ? exact.data + blockIdx.x * exact.stride : nullptr;
  const Top q = topOf<kWide>(policy, cols, partialTop);
  const Top p = reference != nullptr ? topOf<kWide>(reference, cols, partialTop) : q;

  double qSum = 0, pSum = 0, difference = 0;
#pragma unroll 2
  for (Index col = static_cast<Index>(kFour) * threadIdx.x; col < cols; col += static_cast<Index>(kFour) * blockDim.x) {
    const Four y = load4(policy, col, cols, kWide), x = reference != nullptr ? load4(reference, col, cols, kWide) : y;
#pragma unroll
    for (int i = 0; i < kFour; ++i) {
      if (!kWide && col + i >= cols) continue;
      qSum += static_cast<double>(expf(minus(y.at[i], q.max)));
      if (reference == nullptr) continue;
      const double weight = static_cast<double>(expf(minus(x.at[i], p.max)));
      pSum += weight;
      difference += weight * static_cast<double>(minus(x.at[i], y.at[i]));
    }
  }
  qSum = blockSum(qSum, partial);
  if (reference != nullptr) {
    pSum = blockSum(pSum, partial);
    difference = blockSum(difference, partial);
  }
  if (threadIdx.x != 0) return;
  const double qLog = log(qSum);
  Score score;
  score.nll = static_cast<float>(qLog - static_cast<double>(minus(policy[targets.at[blockIdx.x]], q.max)));
  score.top = q.at;
  if (reference != nullptr) {
    const double maxima = static_cast<double>(p.max) - static_cast<double>(q.max);
    score.kl = static_cast<float>(difference / pSum - maxima - (log(pSum) - qLog));
    score.sameTop = p.at == q.at ? 1 : 0;
  }
  scores[blockIdx.x] = score;
}

// Summaries and errors ----------------------------------------------------------------------------------------------------

static_assert(CaptureTiles::kCols == kThreads);
constexpr int kWarps = kThreads / kWarp;

/// The block's part: rows [begin, end) of one column a thread; none where the column does not exist.
struct Column {
  Index tile, begin, end, col;
  __device__ explicit Column(const CaptureTiles &tiles) {
    tile = blockIdx.x / tiles.across();
    col = (blockIdx.x - tile * tiles.across()) * CaptureTiles::kCols + threadIdx.x;
    begin = tile * CaptureTiles::kRows;
    end = begin + CaptureTiles::kRows < tiles.rows ? begin + CaptureTiles::kRows : tiles.rows;
    if (col >= tiles.cols) end = begin;
  }
};

/// Launch: a block of 256 threads a tile of 32 x 256. Reads 4 bytes an element, writes 8 a column and tile; 4 FLOPs an
/// element.
__global__ void __launch_bounds__(kThreads) momentsKernel(FloatRows x, CaptureTiles tiles, SummaryMemory memory) {
  __shared__ double partial[kWarps];
  __shared__ float partialMax[kWarps];
  const Column c(tiles);
  double sum = 0, sumAbs = 0;
  float min = INFINITY, max = -INFINITY;
#pragma unroll 8
  for (Index r = c.begin; r < c.end; ++r) {
    const float value = x.data[r * x.stride + c.col];
    sum += static_cast<double>(value);
    sumAbs += fabs(static_cast<double>(value));
    min = fminf(min, value);
    max = fmaxf(max, value);
  }
  if (c.col < tiles.cols) memory.tileSumAbs[c.tile * tiles.cols + c.col] = sumAbs;
  sum = blockSum(sum, partial);
  min = -blockMax(-min, partialMax);
  max = blockMax(max, partialMax);
  if (threadIdx.x == 0) memory.tiles[blockIdx.x] = {sum, min, max};
}

/// Launch: one thread a column. Reads 8 bytes a column and tile.
__global__ void channelsKernel(CaptureTiles tiles, SummaryMemory memory) {
  const Index col = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (col >= tiles.cols) return;
  double sum = 0;
#pragma unroll 8
  for (Index t = 0; t < tiles.down(); ++t) sum += memory.tileSumAbs[t * tiles.cols + col];
  memory.sumAbs[col] = sum;
}

/// Launch: one block of 256 threads. Adds up the tiles of momentsKernel and clears the histogram.
__global__ void __launch_bounds__(kThreads) extremesKernel(CaptureTiles tiles, SummaryMemory memory) {
  __shared__ double partial[kWarps];
  __shared__ float partialMax[kWarps];
  double sum = 0;
  float min = INFINITY, max = -INFINITY;
  for (Index t = threadIdx.x; t < tiles.count(); t += kThreads) {
    const SummaryTile tile = memory.tiles[t];
    sum += tile.sum;
    min = fminf(min, tile.min);
    max = fmaxf(max, tile.max);
  }
  sum = blockSum(sum, partial);
  min = -blockMax(-min, partialMax);
  max = blockMax(max, partialMax);
  SummaryTotals &totals = *memory.totals;
  for (int i = static_cast<int>(threadIdx.x); i < Summary::kBins; i += kThreads) totals.histogram[i] = 0;
  if (threadIdx.x == 0) totals.sum = sum, totals.min = min, totals.max = max;
}

/// The bins of kernels/common/summary_bins.h.
struct DeviceBins {
  float low, perUnit;
  __device__ DeviceBins(float low_, float high)
      : low(low_), perUnit(high > low_ ? divide(static_cast<float>(Summary::kBins), minus(high, low_)) : 0) {}
  /// -1 for NaN.
  __device__ int operator()(float x) const {
    const float bin = multiply(minus(x, low), perUnit);
    if (bin != bin) return -1;
    return static_cast<int>(fminf(fmaxf(bin, 0.0f), static_cast<float>(Summary::kBins - 1)));
  }
};

/// Launch: as momentsKernel, behind extremesKernel; 4 KB shared memory, a histogram a warp. Reads 4 bytes an element; 5
/// FLOPs an element. Counts are integers, so the order in which they are added does not matter.
__global__ void __launch_bounds__(kThreads)
    deviationsKernel(FloatRows x, CaptureTiles tiles, float low, float high, SummaryMemory memory) {
  __shared__ double partial[kWarps];
  __shared__ std::uint32_t counts[kWarps][Summary::kBins];
  for (int i = static_cast<int>(threadIdx.x); i < kWarps * Summary::kBins; i += kThreads)
    counts[i / Summary::kBins][i % Summary::kBins] = 0;
  __syncthreads();

  SummaryTotals &totals = *memory.totals;
  const double mean = totals.sum / static_cast<double>(tiles.rows * tiles.cols);
  const DeviceBins bins(low == high ? totals.min : low, low == high ? totals.max : high);
  const Column c(tiles);
  double sum = 0;
#pragma unroll 8
  for (Index r = c.begin; r < c.end; ++r) {
    const float value = x.data[r * x.stride + c.col];
    const double deviation = static_cast<double>(value) - mean;
    sum += deviation * deviation;
    const int bin = bins(value);
    if (bin >= 0) atomicAdd(&counts[threadIdx.x / kWarp][bin], 1u);
  }
  sum = blockSum(sum, partial);
  if (threadIdx.x == 0) memory.tiles[blockIdx.x].sum = sum;
  for (int i = static_cast<int>(threadIdx.x); i < Summary::kBins; i += kThreads) {
    std::uint32_t count = 0;
    for (int w = 0; w < kWarps; ++w) count += counts[w][i];
    if (count > 0) atomicAdd(&totals.histogram[i], count);
  }
}

/// Launch: one block of 256 threads. Adds up the tiles of deviationsKernel.
__global__ void __launch_bounds__(kThreads) varianceKernel(CaptureTiles tiles, SummaryMemory memory) {
  __shared__ double partial[kWarps];
  double sum = 0;
  for (Index t = threadIdx.x; t < tiles.count(); t += kThreads) sum += memory.tiles[t].sum;
  sum = blockSum(sum, partial);
  if (threadIdx.x == 0) memory.totals->deviations = sum;
}

constexpr int kFewThreads = 1024;

/// Launch: one block of 1024 threads, for the few rows of a decoding step: everything in one kernel, so that statistics cost
/// a layer one launch. Reads 8 bytes an element, the second time from L1.
__global__ void __launch_bounds__(kFewThreads)
    summarizeFewKernel(FloatRows x, Index rows, Index cols, float low, float high, SummaryMemory memory) {
  __shared__ double partial[kFewThreads / kWarp];
  __shared__ float partialMax[kFewThreads / kWarp];
  __shared__ std::uint32_t counts[Summary::kBins];
  for (int i = static_cast<int>(threadIdx.x); i < Summary::kBins; i += kFewThreads) counts[i] = 0;
  double sum = 0;
  float min = INFINITY, max = -INFINITY;
  for (Index c = threadIdx.x; c < cols; c += kFewThreads) {
    double sumAbs = 0;
    for (Index r = 0; r < rows; ++r) {
      const float value = x.data[r * x.stride + c];
      sum += static_cast<double>(value);
      sumAbs += fabs(static_cast<double>(value));
      min = fminf(min, value);
      max = fmaxf(max, value);
    }
    memory.sumAbs[c] = sumAbs;
  }
  sum = blockSum(sum, partial);
  min = -blockMax(-min, partialMax);
  max = blockMax(max, partialMax);

  const double mean = sum / static_cast<double>(rows * cols);
  const DeviceBins bins(low == high ? min : low, low == high ? max : high);
  double deviations = 0;
  for (Index c = threadIdx.x; c < cols; c += kFewThreads)
    for (Index r = 0; r < rows; ++r) {
      const float value = x.data[r * x.stride + c];
      const double deviation = static_cast<double>(value) - mean;
      deviations += deviation * deviation;
      const int bin = bins(value);
      if (bin >= 0) atomicAdd(&counts[bin], 1u);
    }
  deviations = blockSum(deviations, partial); // its barriers: the counts are complete
  SummaryTotals &totals = *memory.totals;
  for (int i = static_cast<int>(threadIdx.x); i < Summary::kBins; i += kFewThreads) totals.histogram[i] = counts[i];
  if (threadIdx.x == 0) totals.sum = sum, totals.deviations = deviations, totals.min = min, totals.max = max;
}

__device__ void storeErrors(double error, double exact, float max, ErrorSums *to) {
  __shared__ double partial[kWarps];
  __shared__ float partialMax[kWarps];
  error = blockSum(error, partial);
  exact = blockSum(exact, partial);
  max = blockMax(max, partialMax);
  if (threadIdx.x == 0) *to = {error, exact, max};
}

/// Launch: a block of 256 threads a tile of 32 x 256. Reads 8 bytes an element; 5 FLOPs an element. A NaN is in the sums and
/// not in the maximum.
__global__ void __launch_bounds__(kThreads)
    errorsKernel(FloatRows exact, FloatRows approx, CaptureTiles tiles, ErrorSums *partial) {
  const Column c(tiles);
  double errorSquares = 0, exactSquares = 0;
  float max = 0;
#pragma unroll 8
  for (Index r = c.begin; r < c.end; ++r) {
    const double a = static_cast<double>(exact.data[r * exact.stride + c.col]);
    const double difference = a - static_cast<double>(approx.data[r * approx.stride + c.col]);
    errorSquares += difference * difference;
    exactSquares += a * a;
    max = fmaxf(max, static_cast<float>(fabs(difference)));
  }
  storeErrors(errorSquares, exactSquares, max, partial + blockIdx.x);
}

/// Launch: one block of 256 threads. Adds up the tiles of errorsKernel.
__global__ void __launch_bounds__(kThreads) errorTotalsKernel(const ErrorSums *partial, Index count, ErrorSums *sums) {
  double errorSquares = 0, exactSquares = 0;
  float max = 0;
  for (Index t = threadIdx.x; t < count; t += kThreads) {
    errorSquares += partial[t].errorSquares;
    exactSquares += partial[t].exactSquares;
    max = fmaxf(max, partial[t].maxAbsError);
  }
  storeErrors(errorSquares, exactSquares, max, sums);
}

// Similarity --------------------------------------------------------------------------------------------------------------

constexpr int kLayers = 16;   ///< a block compares 16 layers with 16, a pair a thread
constexpr int kChannels = 64; ///< in shared memory at a time
constexpr int kFetched = kLayers * kChannels / kThreads;
static_assert(kLayers * kLayers == kThreads);

struct LayerTile {
  FloatRows at[kLayers];
  int count;
};
using LayerSlice = double[kLayers][kChannels + 1]; // rows start in different banks

/// Thread t's part of channels [from, from + 64) of a token of 16 layers; 0 outside.
struct Fetched {
  float at[kFetched];
  __device__ void load(const LayerTile &layers, Index row, Index from, Index cols) {
#pragma unroll
    for (int k = 0; k < kFetched; ++k) {
      const int i = static_cast<int>(threadIdx.x) + k * kThreads, layer = i / kChannels;
      const Index channel = from + i % kChannels;
      at[k] = layer < layers.count && channel < cols ? layers.at[layer].data[row * layers.at[layer].stride + channel] : 0.0f;
    }
  }
  __device__ void store(LayerSlice &slice) const {
#pragma unroll
    for (int k = 0; k < kFetched; ++k) {
      const int i = static_cast<int>(threadIdx.x) + k * kThreads;
      slice[i / kChannels][i % kChannels] = static_cast<double>(at[k]);
    }
  }
};

/// Launch: similarityParts(rows) blocks of 256 threads, 16.6 KB shared memory. Block b adds the cosines of rows b, b +
/// blocks, ..; thread t has layers t / 16 and t % 16. Products of FP32 values are exact in FP64. Reads 4 * 32 bytes a
/// channel and row; 6 * 256 FP64 FLOPs a channel and row. The next slice is fetched while one is summed. to: [blocks, total,
/// total], of which the tile at (leftFirst, rightFirst) is written.
__global__ void __launch_bounds__(kThreads) cosinesKernel(LayerTile left, LayerTile right, Index rows, Index cols,
                                                          double *to, Index total, Index leftFirst, Index rightFirst) {
  __shared__ LayerSlice leftSlice, rightSlice;
  const int i = static_cast<int>(threadIdx.x) / kLayers, j = static_cast<int>(threadIdx.x) % kLayers;
  double cosines = 0;
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    double ab = 0, aa = 0, bb = 0;
    Fetched a, b;
    a.load(left, row, 0, cols);
    b.load(right, row, 0, cols);
    for (Index from = 0; from < cols; from += kChannels) {
      __syncthreads(); // the slice before has been read
      a.store(leftSlice);
      b.store(rightSlice);
      __syncthreads();
      a.load(left, row, from + kChannels, cols);
      b.load(right, row, from + kChannels, cols);
#pragma unroll 8
      for (int c = 0; c < kChannels; ++c) {
        const double x = leftSlice[i][c], y = rightSlice[j][c];
        ab += x * y;
        aa += x * x;
        bb += y * y;
      }
    }
    const double norm = sqrt(aa * bb);
    if (norm > 0) cosines += ab / norm;
  }
  if (i < left.count && j < right.count) to[(blockIdx.x * total + leftFirst + i) * total + rightFirst + j] = cosines;
}

/// Launch: one thread a pair of layers. Reads 8 bytes a pair and part. Only tiles on and below the diagonal were written.
__global__ void meanCosinesKernel(const double *partial, Index parts, Index rows, Index total, float *cosine) {
  const Index at = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= total * total) return;
  const Index i = at / total, j = at - i * total;
  const Index pair = i > j ? at : j * total + i;
  double sum = 0;
#pragma unroll 8
  for (Index p = 0; p < parts; ++p) sum += partial[p * total * total + pair];
  cosine[at] = static_cast<float>(sum / static_cast<double>(rows));
}

LayerTile layerTile(std::span<const FloatRows> layers, std::size_t first) {
  LayerTile tile{};
  tile.count = static_cast<int>(std::min<std::size_t>(kLayers, layers.size() - first));
  std::copy_n(layers.begin() + static_cast<std::ptrdiff_t>(first), tile.count, tile.at);
  return tile;
}

unsigned gridOf(const CaptureTiles &tiles) { return static_cast<unsigned>(tiles.count()); }

} // namespace

void scoreRows(cudaStream_t stream, FloatRows exact, FloatRows logits, Index cols, std::span<const std::int32_t> targets,
               Score *scores) {
  const auto rows = static_cast<Index>(targets.size());
  const bool wide = areFours(logits.data, logits.stride, rows, cols) && areFours(exact.data, exact.stride, rows, cols);
  const Index warps = std::clamp<Index>(ceilDiv(cols, 4 * kFour * kWarp), 1, kScoreThreads / kWarp);
  inParts(targets, [&](const HostValues<std::int32_t> &part, Index first, Index count) {
    const FloatRows x = {exact.data != nullptr ? exact.data + first * exact.stride : nullptr, exact.stride};
    const FloatRows y = {logits.data + first * logits.stride, logits.stride};
    launch(stream, wide ? scoreKernel<true> : scoreKernel<false>, static_cast<unsigned>(count),
           static_cast<unsigned>(warps * kWarp), 0, "score launch", {count, cols}, x, y, cols, part, scores + first);
  });
}

void summarizeRows(cudaStream_t stream, FloatRows x, const CaptureTiles &tiles, float low, float high,
                   const SummaryMemory &memory) {
  const std::initializer_list<Index> shape = {tiles.rows, tiles.cols};
  constexpr Index kFewRows = 8;
  if (tiles.rows <= kFewRows)
    return launch(stream, summarizeFewKernel, 1, kFewThreads, 0, "summary launch", shape, x, tiles.rows, tiles.cols, low,
                  high, memory);
  launch(stream, momentsKernel, gridOf(tiles), kThreads, 0, "summary moments launch", shape, x, tiles, memory);
  launch(stream, channelsKernel, blocksFor(tiles.cols), kThreads, 0, "summary channels launch", shape, tiles, memory);
  launch(stream, extremesKernel, 1, kThreads, 0, "summary extremes launch", shape, tiles, memory);
  launch(stream, deviationsKernel, gridOf(tiles), kThreads, 0, "summary deviations launch", shape, x, tiles, low, high,
         memory);
  launch(stream, varianceKernel, 1, kThreads, 0, "summary variance launch", shape, tiles, memory);
}

void compareRows(cudaStream_t stream, FloatRows exact, FloatRows approx, const CaptureTiles &tiles, ErrorSums *partial,
                 ErrorSums *sums) {
  launch(stream, errorsKernel, gridOf(tiles), kThreads, 0, "compare launch", {tiles.rows, tiles.cols}, exact, approx, tiles,
         partial);
  launch(stream, errorTotalsKernel, 1, kThreads, 0, "compare totals launch", {tiles.count()}, partial, tiles.count(), sums);
}

void similarityRows(cudaStream_t stream, std::span<const FloatRows> layers, Index rows, Index cols, double *partial,
                    float *cosine) {
  const auto total = static_cast<Index>(layers.size()), parts = similarityParts(rows);
  for (Index i = 0; i < total; i += kLayers)
    for (Index j = 0; j <= i; j += kLayers)
      launch(stream, cosinesKernel, static_cast<unsigned>(parts), kThreads, 0, "similarity launch", {total, rows, cols},
             layerTile(layers, static_cast<std::size_t>(i)), layerTile(layers, static_cast<std::size_t>(j)), rows, cols,
             partial, total, i, j);
  launch(stream, meanCosinesKernel, blocksFor(total * total), kThreads, 0, "similarity mean launch", {total, parts}, partial,
         parts, rows, total, cosine);
}

} // namespace xqs::cuda

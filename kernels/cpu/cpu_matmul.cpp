// SPDX-License-Identifier: Apache-2.0
#include "cpu_backend.h"
#include "quant_groups.h"
#include "simd_rows.h"

#include <cblas.h>

namespace xqs {

namespace {

/// Up to so many rows a lane, reading W is the cost: dot products, every row of W read once for all lanes.
constexpr Index kFewRows = 4;
constexpr Index kFewRowsOutputs = 64; ///< outputs a task takes then

/// Tile of one BLAS call. The bits of a row depend on where it lies in the call (OpenBLAS's kernels for Haswell and Zen sum
/// rows 0-5 and 6-11 of each 12 in other orders), so tiles must depend neither on the number of threads nor on other lanes.
/// BLAS packs both operands anew for every tile, so large tiles are fast; small ones feed more threads.
struct Tile {
  Index rows, outputs;
};
Index evenPart(Index total, Index largest) {
  const Index parts = std::max<Index>(1, (total + largest - 1) / largest);
  return ((total + parts - 1) / parts + 15) / 16 * 16;
}
Tile tileFor(Index rows, Index outputs) { return {evenPart(rows, rows >= 1024 ? 512 : 256), evenPart(outputs, 768)}; }

void sgemmTile(ConstView x, ConstView w, View out, bool accumulate) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(x.rows), static_cast<int>(w.rows),
              static_cast<int>(x.cols), 1, x.row(0), static_cast<int>(x.stride), w.row(0), static_cast<int>(w.stride),
              accumulate ? 1.0f : 0.0f, out.row(0), static_cast<int>(out.stride));
}

double matmulFlops(Index n, Index k, Index m) { return 2.0 * static_cast<double>(n * k * m); }

} // namespace

void CpuBackend::matmul(Queue queue, ConstView x, ConstView w, View out, bool accumulate) {
  matmulLanes(queue, 1, x, w, out, accumulate);
}

void CpuBackend::matmulLanes(Queue, Index lanes, ConstView x, ConstView w, View out, bool accumulate) {
  XQS_ASSERT(isF32(x) && isF32(w) && isF32(out) && x.cols == w.cols && out.rows == x.rows && out.cols == w.rows);
  XQS_ASSERT(lanes > 0 && x.rows % lanes == 0);
  const Op op(*this, "matmul", bytesOf(x) + bytesOf(w) + bytesOf(out), matmulFlops(x.rows, x.cols, w.rows));
  const Index laneRows = x.rows / lanes;
  if (laneRows <= kFewRows) {
    forRows(w.rows, kFewRowsOutputs, [&](Index begin, Index end) {
      simd::matmulFewRows({x.row(0), x.stride, x.rows, x.cols, w.row(begin), w.stride, end - begin, out.row(0) + begin,
                           out.stride, accumulate});
    });
    return;
  }
  const Tile tile = tileFor(laneRows, w.rows);
  const Index across = (w.rows + tile.outputs - 1) / tile.outputs, down = (laneRows + tile.rows - 1) / tile.rows;
  m_pool.parallelFor(across * down * lanes, [&](Index i) {
    const Index output = i % across * tile.outputs, inLane = i / across % down * tile.rows;
    const Index row = i / across / down * laneRows + inLane;
    const Index rows = std::min(tile.rows, laneRows - inLane), outputs = std::min(tile.outputs, w.rows - output);
    sgemmTile(x.rowRange(row, rows), w.rowRange(output, outputs), out.rowRange(row, rows).colRange(output, outputs),
              accumulate);
  });
}

/// Rows are rebuilt a tile at a time, into scratch that stays in the cache of the core which multiplies them.
void CpuBackend::dequantMatmul(Queue, const PackedView &src, TokenRange range, ConstView w, View out) {
  checkPacked(src);
  XQS_ASSERT(isF32(w) && isF32(out) && src.width == w.cols && out.rows == range.size() && out.cols == w.rows);
  XQS_ASSERT(range.begin >= 0 && range.end <= src.rows);
  const Op op(*this, "dequantMatmul", packedBytes(src, range.size()) + bytesOf(w) + bytesOf(out),
              matmulFlops(range.size(), src.width, w.rows));
  constexpr Index kRows = 128;
  forRows(range.size(), kRows, [&](Index begin, Index end) {
    thread_local std::vector<float> scratch;
    scratch.resize(static_cast<std::size_t>(kRows * src.width));
    const View rows(reinterpret_cast<std::byte *>(scratch.data()), DType::F32, end - begin, src.width);
    dequantizeRows(src, {range.begin + begin, range.begin + end}, rows, false);
    sgemmTile(rows, w, out.rowRange(begin, end - begin), false);
  });
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "cuda_backend.h"

#include "device_views.h"
#include "matmul.h"

namespace xqs::cuda {
namespace {

constexpr Index kLargeTilesShared =
    72 * 1024;                     // bytes of shared memory that the other tiles than Middle need: more than Turing has
constexpr Index kLibraryRows = 64; // of a lane, from which on cuBLAS is asked

MatmulArgs<Half> rowsOf(MatmulArgs<Half> args, Index first, Index count) {
  args.x += first * args.xStride, args.out += first * args.outStride, args.n = count;
  return args;
}

} // namespace

void CudaBackend::matmul(Queue queue, ConstView x, ConstView w, View out, bool accumulate) {
  matmulLanes(queue, 1, x, w, out, accumulate);
}

/// Which kernel runs is a matter of the rows of one lane, so that a lane gets the bits that it gets alone. FLOPs are the
/// algorithm's, once, also where split rows take two products.
void CudaBackend::matmulLanes(Queue queue, Index lanes, ConstView x, ConstView w, View out, bool accumulate) {
  XQS_ASSERT(isF32(x) && isF32(out));
  XQS_ASSERT(x.cols == w.cols && out.rows == x.rows && out.cols == w.rows && x.rows % lanes == 0);
  const Op op(*this, queue, "matmul", bytesOf(x) + bytesOf(w) + bytesOf(out),
              2.0 * static_cast<double>(x.rows) * static_cast<double>(x.cols * w.rows));
  if (out.empty()) return;
  const Index rows = x.rows / lanes;
  if (isF32(w)) {
    const MatmulArgs<float> args{floats(x),  floats(w), floats(out), x.stride, w.stride,
                                 out.stride, x.rows,    w.rows,      x.cols,   accumulate};
    return rows <= kGemvRows ? gemv(stream(queue), args) : matmulTiled(stream(queue), args);
  }
  const MatmulArgs<Half> args{floats(x),  halves(w), floats(out), x.stride, w.stride,
                              out.stride, x.rows,    w.rows,      x.cols,   accumulate};
  if (rows <= kGemvRows || x.cols == 0) return gemv(stream(queue), args);

  const Index half = x.rows * splitStride(x.cols);
  const Scratch split(*this, queue, 2 * half * sizeOf(DType::F16));
  const SplitRows parts{split.as<Half>(), split.as<Half>() + half, splitStride(x.cols)};
  splitRows(stream(queue), args, parts, saturatedCounter());
  if (rows >= kLibraryRows && m_cublas.takes(args)) {
    // The library may choose another kernel for more rows: each lane has a product of its own.
    for (Index first = 0; first < x.rows; first += rows)
      m_cublas.matmul(static_cast<std::size_t>(queue), stream(queue),
                      {parts.high + first * parts.stride, parts.low + first * parts.stride, parts.stride},
                      rowsOf(args, first, rows));
    return;
  }
  MatmulPlan plan = matmulPlan(rows, w.rows, x.cols);
  if (m_sharedLimit < kLargeTilesShared) plan.tile = MatmulPlan::Middle;
  const Scratch partial(*this, queue, partialBytes(plan, x.rows, w.rows));
  matmulHalf(stream(queue), plan, parts, args, partial.as<float>());
}

void CudaBackend::matmulHeads(Queue queue, Index heads, Index kvHeads, ConstView x, ConstView w, View out) {
  if (x.rows > kGemvRows) return Backend::matmulHeads(queue, heads, kvHeads, x, w, out);
  XQS_ASSERT(isF32(x) && isF32(out) && x.rows == out.rows && heads % kvHeads == 0 && out.cols % heads == 0);
  XQS_ASSERT(x.cols == heads * w.cols && w.rows * (heads / kvHeads) == out.cols);
  const Op op(*this, queue, "matmulHeads", bytesOf(x) + bytesOf(w) + bytesOf(out),
              2.0 * static_cast<double>(x.rows * out.cols) * static_cast<double>(w.cols));
  if (out.empty()) return;
  const auto product = [&](const auto *weights) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(weights)>>;
    gemv(stream(queue),
         MatmulArgs<T>{floats(x), weights, floats(out), x.stride, w.stride, out.stride, x.rows, out.cols / heads, w.cols,
                       false, static_cast<int>(heads), static_cast<int>(heads / kvHeads)});
  };
  isF32(w) ? product(floats(w)) : product(halves(w));
}

void CudaBackend::dequantMatmul(Queue queue, const PackedView &src, TokenRange range, ConstView w, View out) {
  if (range.empty()) return;
  const Scratch scratch(*this, queue, range.size() * src.width * sizeOf(DType::F32));
  const View rows(scratch.data(), DType::F32, range.size(), src.width);
  dequantize(queue, src, range, rows, false);
  matmul(queue, rows, w, out, false);
}

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#include "cuda_backend.h"

#include "device_views.h"
#include "matmul.h"

namespace xqs::cuda {

void CudaBackend::matmul(Queue queue, ConstView x, ConstView w, View out, bool accumulate) {
  matmulLanes(queue, 1, x, w, out, accumulate);
}

void CudaBackend::matmulLanes(Queue queue, Index lanes, ConstView x, ConstView w, View out, bool accumulate) {
  XQS_ASSERT(isF32(x) && isF32(w) && isF32(out));
  XQS_ASSERT(x.cols == w.cols && out.rows == x.rows && out.cols == w.rows && x.rows % lanes == 0);
  const Op op(*this, queue, "matmul", bytesOf(x) + bytesOf(w) + bytesOf(out),
              2.0 * static_cast<double>(x.rows) * static_cast<double>(x.cols * w.rows));
  if (out.empty()) return;
  matmulTiled(stream(queue),
              {floats(x), floats(w), floats(out), x.stride, w.stride, out.stride, x.rows, w.rows, x.cols, accumulate});
}

void CudaBackend::dequantMatmul(Queue queue, const PackedView &src, TokenRange range, ConstView w, View out) {
  if (range.empty()) return;
  const Scratch scratch(*this, queue, range.size() * src.width * sizeOf(DType::F32));
  const View rows(scratch.data(), DType::F32, range.size(), src.width);
  dequantize(queue, src, range, rows, false);
  matmul(queue, rows, w, out, false);
}

} // namespace xqs::cuda

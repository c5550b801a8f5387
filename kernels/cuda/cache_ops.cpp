// SPDX-License-Identifier: Apache-2.0
// The packed cache: bits of the reference.
#include "cuda_backend.h"

#include "device_views.h"
#include "rows.h"

namespace xqs::cuda {

void CudaBackend::convert(Queue queue, ConstView src, View dst) {
  XQS_ASSERT(sameShape(src, dst));
  const Op op(*this, queue, "convert", bytesOf(src) + bytesOf(dst), 0);
  if (src.empty()) return;
  if (src.type == dst.type)
    copyRows(stream(queue), src, dst);
  else if (dst.type == DType::F16)
    narrowRows(stream(queue), floats(src), src.stride, halves(dst), dst.stride, src.rows, src.cols, saturatedCounter());
  else
    widenRows(stream(queue), halves(src), src.stride, floats(dst), dst.stride, src.rows, src.cols);
}

void CudaBackend::quantize(Queue queue, ConstView x, const PackedView &dst, Index firstRow) {
  const Index group = dst.format.group;
  checkPacked(dst);
  XQS_ASSERT(isF32(x) && x.cols == dst.width);
  XQS_ASSERT(firstRow >= 0 && firstRow + x.rows <= dst.rows);
  XQS_ASSERT(dst.format.axis == Axis::Token || (firstRow % group == 0 && x.rows % group == 0));
  const Op op(*this, queue, "quantize", bytesOf(x) + packedBytes(dst, x.rows), 6.0 * static_cast<double>(x.rows * x.cols));
  if (x.empty()) return;
  quantizeRows(stream(queue), floats(x), x.stride, x.rows, pointersOf(dst), firstRow, saturatedCounter());
}

void CudaBackend::dequantize(Queue queue, const PackedView &src, TokenRange range, View out, bool accumulate) {
  checkPacked(src);
  XQS_ASSERT(isF32(out) && out.rows == range.size() && out.cols == src.width);
  XQS_ASSERT(range.begin >= 0 && range.end <= src.rows);
  const Op op(*this, queue, "dequantize", bytesOf(out) + packedBytes(src, range.size()),
              2.0 * static_cast<double>(out.rows * out.cols));
  if (out.empty()) return;
  dequantizeRows(stream(queue), pointersOf(src), range, floats(out), out.stride, accumulate);
}

} // namespace xqs::cuda

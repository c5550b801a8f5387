// SPDX-License-Identifier: Apache-2.0
// Operations that work row by row or element by element.
#include "cuda_backend.h"

#include "device_views.h"
#include "rows.h"

namespace xqs::cuda {
namespace {

ElementwiseArgs elementwiseArgs(ConstView a, ConstView b, View out) {
  XQS_ASSERT(isF32(a) && isF32(b) && isF32(out) && sameShape(a, b) && sameShape(a, out));
  return {floats(a), a.stride, floats(b), b.stride, floats(out), out.stride, out.rows, out.cols};
}

} // namespace

void CudaBackend::embed(Queue queue, ConstView table, std::span<const std::int32_t> tokens, View out) {
  XQS_ASSERT(isF32(out) && out.rows == static_cast<Index>(tokens.size()) && out.cols == table.cols);
  for (const std::int32_t token : tokens) XQS_ASSERT(token >= 0 && token < table.rows);
  const Op op(*this, queue, "embed", bytesOf(out) + elements(out) * static_cast<double>(sizeOf(table.type)), 0);
  if (out.empty()) return;
  if (isF32(table))
    embedRows(stream(queue), floats(table), table.stride, tokens, floats(out), out.stride, out.cols);
  else
    embedRows(stream(queue), halves(table), table.stride, tokens, floats(out), out.stride, out.cols);
}

void CudaBackend::rmsNorm(Queue queue, ConstView x, ConstView weight, float eps, View out) {
  XQS_ASSERT(isF32(x) && isF32(weight) && isF32(out) && sameShape(x, out) && weight.rows == 1 && weight.cols == x.cols);
  const Op op(*this, queue, "rmsNorm", 2 * bytesOf(x) + bytesOf(weight), 4 * elements(x));
  if (x.empty()) return;
  normalizeRows(stream(queue), floats(x), x.stride, floats(weight), eps, floats(out), out.stride, x.rows, x.cols);
}

void CudaBackend::rope(Queue queue, View x, Index heads, Index firstPosition, std::span<const double> frequency) {
  XQS_ASSERT(isF32(x) && x.cols == heads * static_cast<Index>(frequency.size()) * 2);
  const Op op(*this, queue, "rope", 2 * bytesOf(x), 3 * elements(x));
  if (x.empty()) return;
  rotateRows(stream(queue), floats(x), x.stride, x.rows, heads, firstPosition, frequency);
}

void CudaBackend::add(Queue queue, ConstView a, ConstView b, View out) {
  const ElementwiseArgs args = elementwiseArgs(a, b, out);
  const Op op(*this, queue, "add", 3 * bytesOf(a), elements(a));
  if (!out.empty()) addRows(stream(queue), args);
}

void CudaBackend::addRow(Queue queue, View x, ConstView row) {
  XQS_ASSERT(isF32(x) && isF32(row) && row.rows == 1 && row.cols == x.cols);
  const Op op(*this, queue, "addRow", 2 * bytesOf(x) + bytesOf(row), elements(x));
  if (!x.empty()) addRows(stream(queue), {floats(x), x.stride, floats(row), 0, floats(x), x.stride, x.rows, x.cols});
}

void CudaBackend::subtract(Queue queue, ConstView a, ConstView b, View out) {
  const ElementwiseArgs args = elementwiseArgs(a, b, out);
  const Op op(*this, queue, "subtract", 3 * bytesOf(a), elements(a));
  if (!out.empty()) subtractRows(stream(queue), args);
}

void CudaBackend::scale(Queue queue, View x, float factor) {
  XQS_ASSERT(isF32(x));
  const Op op(*this, queue, "scale", 2 * bytesOf(x), elements(x));
  if (!x.empty()) scaleRows(stream(queue), floats(x), x.stride, x.rows, x.cols, factor);
}

void CudaBackend::siluMul(Queue queue, ConstView gate, ConstView up, View out) {
  const ElementwiseArgs args = elementwiseArgs(gate, up, out);
  const Op op(*this, queue, "siluMul", 3 * bytesOf(gate), 5 * elements(gate));
  if (!out.empty()) siluMulRows(stream(queue), args);
}

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
#include "model/matrices.h"

#include "half.h"

#include <algorithm>

namespace xqs {
namespace {

constexpr Queue kQueue = Queue::Compute;

Matrix makeMatrix(Backend &backend, Index rows, Index cols) {
  Matrix m;
  m.owned = backend.allocate(rows * cols * sizeOf(DType::F32), Purpose::Weights);
  m.view = m.owned.f32(rows, cols);
  return m;
}

} // namespace

Matrix uploadMatrix(Backend &backend, std::span<const float> values, Index rows, Index cols) {
  XQS_ASSERT(std::ssize(values) == rows * cols);
  Matrix m = makeMatrix(backend, rows, cols);
  backend.upload(kQueue, m.owned.data(), values.data(), m.owned.bytes());
  return m;
}

Matrix asFloats(Backend &backend, ConstView matrix) {
  if (matrix.empty() || matrix.type == DType::F32) return {matrix, {}};
  Matrix m = makeMatrix(backend, matrix.rows, matrix.cols);
  backend.convert(kQueue, matrix, m.owned.f32(matrix.rows, matrix.cols));
  return m;
}

std::vector<float> downloadMatrix(Backend &backend, ConstView matrix) {
  XQS_ASSERT(matrix.stride == matrix.cols || matrix.rows == 1);
  const Index count = matrix.rows * matrix.cols;
  std::vector<float> values(static_cast<std::size_t>(count));
  std::vector<Half> halves(matrix.type == DType::F16 ? values.size() : 0);
  void *const to = halves.empty() ? static_cast<void *>(values.data()) : halves.data();
  backend.download(kQueue, to, matrix.data, count * sizeOf(matrix.type));
  backend.sync(kQueue);
  std::transform(halves.begin(), halves.end(), values.begin(), toFloat);
  return values;
}

} // namespace xqs

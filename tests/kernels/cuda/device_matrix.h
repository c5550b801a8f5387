// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_test.h"

#include "../cpu/support.h"

namespace xqs::test {

/// Where a matrix lies: whole and aligned, aligned with a gap between rows, and in three ways so that not every row starts
/// at a multiple of 16 bytes.
struct Placing {
  Index offset; ///< elements before the first row
  Index pad;    ///< elements between rows
};
constexpr Placing kPlacings[] = {{0, 0}, {4, 8}, {1, 4}, {0, 3}, {2, 2}};

/// A matrix on the device inside guards (test::Matrix is the same on the host).
class DeviceMatrix {
public:
  static constexpr float kGuard = -777.25f;
  static constexpr Index kAfter = 8;

  DeviceMatrix(Backend &b, const HostMatrix<float> &values, Placing p = {0, 0})
      : m_backend(b), m_rows(values.rows), m_cols(values.cols), m_placing(p),
        m_host(static_cast<std::size_t>(p.offset + values.rows * stride() + kAfter), kGuard),
        m_buffer(b.allocate(static_cast<Index>(m_host.size() * sizeof(float)), Purpose::Activations)) {
    for (Index r = 0; r < m_rows; ++r)
      std::copy_n(values.values.begin() + r * values.stride, m_cols, m_host.begin() + p.offset + r * stride());
    b.upload(kQ, m_buffer.data(), m_host.data(), m_buffer.bytes());
  }
  View view() const { return {m_buffer.data() + m_placing.offset * 4, DType::F32, m_rows, m_cols, stride()}; }
  operator ConstView() const { return view(); }
  operator View() const { return view(); }

  /// The values as they are now; fails where anything beside them was written.
  HostMatrix<float> read() {
    m_backend.download(kQ, m_host.data(), m_buffer.data(), m_buffer.bytes());
    m_backend.sync(kQ);
    HostMatrix<float> result(m_rows, m_cols);
    for (Index i = 0; i < static_cast<Index>(m_host.size()); ++i) {
      const Index at = i - m_placing.offset, row = at < 0 ? 0 : at / stride(), col = at - row * stride();
      const float value = m_host[static_cast<std::size_t>(i)];
      if (at >= 0 && row < m_rows && col < m_cols)
        result.at(row, col) = value;
      else if (value != kGuard) {
        ADD_FAILURE() << "written beside the matrix, element " << i;
        return result;
      }
    }
    return result;
  }

private:
  Index stride() const { return m_cols + m_placing.pad; }
  Backend &m_backend;
  Index m_rows, m_cols;
  Placing m_placing;
  std::vector<float> m_host;
  Buffer m_buffer;
};

/// Normally distributed around `mean`.
inline HostMatrix<float> normalMatrix(Index rows, Index cols, float deviation, unsigned seed, float mean = 0) {
  HostMatrix<float> m = randomMatrix(rows, cols, cols, seed);
  for (float &v : m.values) v = v * deviation + mean;
  return m;
}

constexpr Index kOddRows[] = {1, 5, 129};
constexpr Index kOddWidths[] = {1, 33, 64, 577};

} // namespace xqs::test

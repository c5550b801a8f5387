// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu_backends.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <sstream>
#include <vector>

namespace xqs::test {

/// Rounding of one FP32 operation.
constexpr double kEps = 0x1p-24;

struct Destroy {
  const XqsBackendModule *module;
  void operator()(Backend *b) const { module->destroy(b); }
};
using BackendPtr = std::unique_ptr<Backend, Destroy>;
inline BackendPtr make(const XqsBackendModule *module, int threads = 2) {
  return BackendPtr(module->create(threads), Destroy{module});
}

/// Names of the two backends for typed tests.
struct Cpu {
  static const XqsBackendModule *module() { return cpuBackendModule(); }
};
struct Reference {
  static const XqsBackendModule *module() { return referenceBackendModule(); }
};
using BothBackends = ::testing::Types<Cpu, Reference>;

/// A matrix inside a larger allocation: `pad` unused columns to the right, one unused row above and below, all filled with a
/// value that no operation may read or change.
class Matrix {
public:
  static constexpr float kGuard = -777.25f;

  Matrix(Backend &b, Index rows, Index cols, Index pad = 3, DType type = DType::F32)
      : m_rows(rows), m_cols(cols), m_stride(cols + pad), m_type(type),
        m_buffer(b.allocate((rows + 2) * (cols + pad) * sizeOf(type), Purpose::Scratch)) {
    if (type == DType::F32) std::fill_n(reinterpret_cast<float *>(m_buffer.data()), (rows + 2) * m_stride, kGuard);
  }
  View view() const { return View(m_buffer.data(), m_type, m_rows + 2, m_cols, m_stride).rowRange(1, m_rows); }
  operator ConstView() const { return view(); }
  operator View() const { return view(); }
  float &at(Index r, Index c) const { return view().row(r)[c]; }

  template <typename Rng> Matrix &fill(Rng &rng, float deviation = 1, float mean = 0) {
    std::normal_distribution<float> normal(mean, deviation);
    for (Index r = 0; r < m_rows; ++r)
      for (Index c = 0; c < m_cols; ++c) at(r, c) = normal(rng);
    return *this;
  }
  Matrix &set(float value) {
    for (Index r = 0; r < m_rows; ++r) std::fill_n(view().row(r), m_cols, value);
    return *this;
  }
  Matrix &assign(const Matrix &o) {
    for (Index r = 0; r < m_rows; ++r) std::copy_n(o.view().row(r), m_cols, view().row(r));
    return *this;
  }
  /// The values without padding.
  std::vector<float> values() const {
    std::vector<float> v;
    for (Index r = 0; r < m_rows; ++r) v.insert(v.end(), view().row(r), view().row(r) + m_cols);
    return v;
  }
  /// Nothing outside the view was written.
  bool guardsIntact() const {
    const auto *all = reinterpret_cast<const float *>(m_buffer.data());
    for (Index r = 0; r < m_rows + 2; ++r)
      for (Index c = 0; c < m_stride; ++c) {
        const bool inside = r >= 1 && r <= m_rows && c < m_cols;
        if (!inside && all[r * m_stride + c] != kGuard) return false;
      }
    return true;
  }

private:
  Index m_rows, m_cols, m_stride;
  DType m_type;
  Buffer m_buffer;
};

inline bool sameBits(const std::vector<float> &a, const std::vector<float> &b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

/// Collects |actual - expected| / bound; prints the worst element and the share of the bound it used.
class Bound {
public:
  explicit Bound(std::string what) : m_what(std::move(what)) {}
  ~Bound() {
    EXPECT_LE(m_worst, 1) << m_what << ": worst element " << m_index << ", got " << m_actual << ", expected " << m_expected;
    ::testing::Test::RecordProperty("share_of_bound", std::to_string(m_worst));
  }
  void check(double actual, double expected, double bound) {
    const double error = std::fabs(actual - expected);
    const double share = error == 0 ? 0 : bound > 0 ? error / bound : INFINITY;
    if (!(share <= m_worst)) {
      m_worst = share == share ? share : INFINITY;
      m_index = m_count;
      m_actual = actual;
      m_expected = expected;
    }
    ++m_count;
  }
  double worst() const { return m_worst; }

private:
  std::string m_what;
  double m_worst = 0, m_actual = 0, m_expected = 0;
  Index m_index = 0, m_count = 0;
};

} // namespace xqs::test

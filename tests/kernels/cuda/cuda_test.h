// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tests of the CUDA module's operations. The same files are two programs: on a GPU, where they skip without one, and on the
// emulator (XQS_EMULATED_MODULE), which is a few thousand times slower.
#include "cpu_backends.h"
#include "packed_cases.h"
#include "run/backends.h"

#include "error.h"

#include <gmock/gmock.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>

namespace xqs::test {

#if defined(XQS_EMULATED_MODULE)
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

constexpr Queue kQ = Queue::Compute;

/// A host matrix in the layout of a device one: [rows, stride], of which `cols` are used.
template <typename T> struct HostMatrix {
  Index rows, cols, stride;
  std::vector<T> values;
  HostMatrix(Index r, Index c, Index s = -1)
      : rows(r), cols(c), stride(s < 0 ? c : s), values(static_cast<std::size_t>(r * stride)) {}
  static constexpr DType kType = sizeof(T) == 4 ? DType::F32 : DType::F16;
  Index bytes() const { return static_cast<Index>(values.size() * sizeof(T)); }
  View view() { return {reinterpret_cast<std::byte *>(values.data()), kType, rows, cols, stride}; }
  View viewOf(const Buffer &buffer) const { return {buffer.data(), kType, rows, cols, stride}; }
  T &at(Index r, Index c) { return values[static_cast<std::size_t>(r * stride + c)]; }
};

inline HostMatrix<float> randomMatrix(Index rows, Index cols, Index stride, unsigned seed) {
  HostMatrix<float> m(rows, cols, stride);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (float &v : m.values) v = normal(random);
  return m;
}

inline HostMatrix<Half> halvesOf(const HostMatrix<float> &m) {
  HostMatrix<Half> halves(m.rows, m.cols, m.stride);
  for (std::size_t i = 0; i < m.values.size(); ++i) halves.values[i] = toHalf(m.values[i]);
  return halves;
}

/// Equal bits; a NaN equals itself.
template <typename T> void expectSameBits(const std::vector<T> &a, const std::vector<T> &b, const PackedCase *c = nullptr) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) {
      ADD_FAILURE() << (c != nullptr ? testing::PrintToString(*c) : std::string()) << " differs first at " << i << " of "
                    << a.size();
      return;
    }
}

class CudaTest : public testing::Test {
protected:
  static void SetUpTestSuite() {
#if defined(XQS_EMULATED_MODULE)
    setenv("XQSCOPE_BACKEND_PATH", std::filesystem::path(XQS_EMULATED_MODULE).parent_path().c_str(), 1);
#endif
    s_reason = "no nvcc built libxqs_cuda.so";
    for (const BackendInfo &info : listBackends({})) {
      if (info.name != "cuda" || s_cuda != nullptr) continue;
      s_reason = info.reason;
      if (!info.usable()) continue;
      s_module = info.module;
      s_cuda = s_module->create(0);
    }
    s_reference = referenceBackendModule()->create(1);
    if (s_cuda != nullptr && !kEmulated) std::cout << "device: " << s_cuda->device() << '\n';
  }
  static void TearDownTestSuite() {
    if (s_cuda != nullptr) s_module->destroy(s_cuda);
    referenceBackendModule()->destroy(s_reference);
    s_cuda = s_reference = nullptr;
  }
  void SetUp() override {
    if (s_cuda == nullptr && kEmulated) FAIL() << "the emulated module: " << s_reason;
    if (s_cuda == nullptr) GTEST_SKIP() << "cuda: " << s_reason;
    s_cuda->takeSaturated();
    s_reference->takeSaturated();
  }

  template <typename T> static Buffer toDevice(const std::vector<T> &host, Backend &backend = *s_cuda, Queue queue = kQ) {
    Buffer buffer = backend.allocate(static_cast<Index>(host.size() * sizeof(T)), Purpose::Activations);
    backend.upload(queue, buffer.data(), host.data(), buffer.bytes());
    return buffer;
  }
  template <typename T> static std::vector<T> toHost(const Buffer &buffer, Queue queue = kQ) {
    std::vector<T> host(static_cast<std::size_t>(buffer.bytes()) / sizeof(T));
    s_cuda->download(queue, host.data(), buffer.data(), buffer.bytes());
    s_cuda->sync(queue);
    return host;
  }

  /// A packed tensor on the device with the contents of a host one.
  struct DevicePacked {
    explicit DevicePacked(HostPacked &host)
        : codes(toDevice(host.codes)), scales(toDevice(host.scales)), zeros(toDevice(host.zeros)), view(host.view()) {
      view.codes = codes.data();
      view.scales = reinterpret_cast<Half *>(scales.data());
      view.zeros = reinterpret_cast<Half *>(zeros.data());
    }
    Buffer codes, scales, zeros;
    PackedView view;
  };

  /// |out - exact| <= sum |x w| gamma + |w| rounding(x), gamma = terms u / (1 - terms u) (Higham, Accuracy and Stability of
  /// Numerical Algorithms, sec. 3.1); exact in double.
  /// FP32 weights: k products and sums, one more where accumulated, u = 2^-24.
  /// FP16 weights: x is cut in two, which loses 2^-22 of x or 2^-25. Tensor cores align the at most 17 terms of an
  /// instruction (of 9: 9/8) and cut them, u = 2^-23, for both parts of x: 9/4 k; 18: sums of at most 16 parts of k, and
  /// `out`.
  template <typename T>
  static void expectMatmul(HostMatrix<float> &x, HostMatrix<T> &w, HostMatrix<float> *before, HostMatrix<float> &out) {
    constexpr bool kHalf = sizeof(T) == 2;
    const double k = static_cast<double>(x.cols), u = kHalf ? 0x1p-23 : 0x1p-24, terms = kHalf ? 9 * k / 4 + 18 : k + 1;
    const double gamma = terms * u / (1 - terms * u);
    const auto weight = [&](Index r, Index c) -> double {
      if constexpr (kHalf)
        return toFloat(w.at(r, c));
      else
        return w.at(r, c);
    };
    double worst = 0;
    Index worstRow = 0, worstCol = 0;
    for (Index i = 0; i < out.rows; ++i)
      for (Index j = 0; j < out.cols; ++j) {
        double exact = before != nullptr ? before->at(i, j) : 0, magnitude = std::abs(exact), rounding = 0;
        for (Index c = 0; c < x.cols; ++c) {
          const double left = x.at(i, c), right = weight(j, c);
          exact += left * right;
          magnitude += std::abs(left * right);
          if (kHalf) rounding += std::abs(right) * std::max(0x1p-22 * std::abs(left), 0x1p-25);
        }
        const double share = std::abs(out.at(i, j) - exact) / (gamma * magnitude + rounding + 1e-300);
        if (!(share <= worst)) worst = share, worstRow = i, worstCol = j;
      }
    if (!kEmulated)
      std::cout << "[" << x.rows << ", " << x.cols << "] x [" << w.rows << ", " << w.cols << "]^T: worst at " << worstRow
                << ", " << worstCol << ", " << 100 * worst << " % of the bound\n";
    EXPECT_LE(worst, 1.0) << "[" << x.rows << ", " << x.cols << "] x [" << w.rows << ", " << w.cols << "]^T at " << worstRow
                          << ", " << worstCol;
  }

  static inline Backend *s_cuda = nullptr;
  static inline Backend *s_reference = nullptr;
  static inline const XqsBackendModule *s_module = nullptr;
  static inline std::string s_reason;
};

} // namespace xqs::test

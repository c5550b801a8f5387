// SPDX-License-Identifier: Apache-2.0
// Needs a GPU. The module as the program loads it, every operation at odd sizes against the reference backend.
#include "cpu_backends.h"
#include "packed_cases.h"
#include "run/backends.h"

#include "error.h"

#include <gmock/gmock.h>

#include <array>
#include <cmath>
#include <cstring>
#include <iostream>

using namespace xqs;
using namespace xqs::test;

namespace {

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

HostMatrix<float> randomMatrix(Index rows, Index cols, Index stride, unsigned seed) {
  HostMatrix<float> m(rows, cols, stride);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (float &v : m.values) v = normal(random);
  return m;
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

class CudaOps : public testing::Test {
protected:
  static void SetUpTestSuite() {
    const auto backends = listBackends({});
    s_reason = "no nvcc built libxqs_cuda.so";
    for (const BackendInfo &info : backends)
      if (info.name == "cuda") {
        s_reason = info.reason;
        if (info.usable()) s_cuda = createBackend(backends, "cuda", 0).release();
        s_destroy = info.module != nullptr ? info.module->destroy : nullptr;
      }
    s_reference = referenceBackendModule()->create(1);
    if (s_cuda != nullptr) std::cout << "device: " << s_cuda->device() << '\n';
  }
  static void TearDownTestSuite() {
    if (s_cuda != nullptr) s_destroy(s_cuda);
    referenceBackendModule()->destroy(s_reference);
    s_cuda = s_reference = nullptr;
  }
  void SetUp() override {
    if (s_cuda == nullptr) GTEST_SKIP() << "cuda: " << s_reason;
    s_cuda->takeSaturated();
    s_reference->takeSaturated();
  }

  template <typename T> static Buffer toDevice(const std::vector<T> &host, Queue queue = kQ) {
    Buffer buffer = s_cuda->allocate(static_cast<Index>(host.size() * sizeof(T)), Purpose::Scratch);
    s_cuda->upload(queue, buffer.data(), host.data(), buffer.bytes());
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

  /// |out - exact| <= gamma * sum |x w|, gamma = n u / (1 - n u), n = k products (k + 1 sums where accumulated), u = 2^-24
  /// (Higham, Accuracy and Stability of Numerical Algorithms, sec. 3.1); exact in double.
  static void expectMatmul(HostMatrix<float> &x, HostMatrix<float> &w, HostMatrix<float> *before, HostMatrix<float> &out) {
    const double terms = static_cast<double>(x.cols) + 1, gamma = terms * 0x1p-24 / (1 - terms * 0x1p-24);
    double worst = 0;
    Index worstRow = 0, worstCol = 0;
    for (Index i = 0; i < out.rows; ++i)
      for (Index j = 0; j < out.cols; ++j) {
        double exact = before != nullptr ? before->at(i, j) : 0, magnitude = std::abs(exact);
        for (Index c = 0; c < x.cols; ++c) {
          exact += static_cast<double>(x.at(i, c)) * w.at(j, c);
          magnitude += std::abs(static_cast<double>(x.at(i, c)) * w.at(j, c));
        }
        const double share = std::abs(out.at(i, j) - exact) / (gamma * magnitude + 1e-300);
        if (!(share <= worst)) worst = share, worstRow = i, worstCol = j;
      }
    std::cout << "[" << x.rows << ", " << x.cols << "] x [" << w.rows << ", " << w.cols << "]^T: worst at " << worstRow
              << ", " << worstCol << ", " << 100 * worst << " % of the bound\n";
    EXPECT_LE(worst, 1.0);
  }

  static inline Backend *s_cuda = nullptr;
  static inline Backend *s_reference = nullptr;
  static inline void (*s_destroy)(Backend *) = nullptr;
  static inline std::string s_reason;
};

} // namespace

TEST_F(CudaOps, MemoryIsZeroedCountedAndGivenBack) {
  const Index before = s_cuda->allocated(Purpose::CacheCodes);
  {
    const Buffer buffer = s_cuda->allocate(12345, Purpose::CacheCodes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
    EXPECT_EQ(s_cuda->allocated(Purpose::CacheCodes), before + 12345);
    EXPECT_THAT(toHost<char>(buffer), testing::Each(char{0}));
  }
  EXPECT_EQ(s_cuda->allocated(Purpose::CacheCodes), before);
}

TEST_F(CudaOps, OutOfMemorySaysHowMuchIsNeededAndFree) {
  const Index tooMuch = Index{1} << 50;
  try {
    const Buffer buffer = s_cuda->allocate(tooMuch, Purpose::CacheCodes);
    FAIL() << "a petabyte was allocated";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::OutOfMemory);
    EXPECT_THAT(error.what(), testing::ContainsRegex(std::to_string(tooMuch) + " bytes needed, [0-9]+ of [0-9]+ free"));
  }
  EXPECT_EQ(toHost<int>(toDevice(std::vector<int>{1, 2, 3})), (std::vector<int>{1, 2, 3})) << "the backend must live on";
}

TEST_F(CudaOps, OperationsItLacksAreNamed) {
  try {
    s_cuda->add(kQ, {}, {}, {});
    FAIL() << "add is not implemented";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::BackendUnusable);
    EXPECT_THAT(error.what(), testing::HasSubstr("'add'"));
  }
}

TEST_F(CudaOps, CopyHonoursStridesAndOverlap) {
  const auto host = randomMatrix(129, 31, 37, 1);
  const Buffer from = toDevice(host.values);
  HostMatrix<float> target(129, 31, 33);
  const Buffer to = toDevice(target.values);
  s_cuda->copy(kQ, host.viewOf(from), target.viewOf(to));
  auto expected = host;
  s_reference->copy(kQ, expected.view(), target.view());
  expectSameBits(toHost<float>(to), target.values);

  // Rows slide by one, up and down, as the residual window does; columns slide by three.
  const View rows = host.viewOf(from);
  const View copy = expected.view();
  const auto slide = [&](auto source, auto destination) {
    s_cuda->copy(kQ, source(rows), destination(rows));
    s_reference->copy(kQ, source(copy), destination(copy));
    expectSameBits(toHost<float>(from), expected.values);
  };
  slide([](View v) { return v.rowRange(1, 128); }, [](View v) { return v.rowRange(0, 128); });
  slide([](View v) { return v.rowRange(0, 128); }, [](View v) { return v.rowRange(1, 128); });
  slide([](View v) { return v.colRange(0, 28); }, [](View v) { return v.colRange(3, 28); });
}

TEST_F(CudaOps, ConvertGivesTheBitsOfTheReference) {
  for (const Index cols : {1, 127, 128, 129}) {
    HostMatrix<float> wide(129, cols, cols + 3);
    wide.values = awkwardValues(wide.rows, wide.stride, static_cast<unsigned>(cols));
    HostMatrix<Half> narrow(129, cols, cols + 1);
    const Buffer from = toDevice(wide.values), to = toDevice(narrow.values);
    s_cuda->convert(kQ, wide.viewOf(from), narrow.viewOf(to));
    s_reference->convert(kQ, wide.view(), narrow.view());
    expectSameBits(toHost<Half>(to), narrow.values);
    EXPECT_EQ(s_cuda->takeSaturated(), s_reference->takeSaturated());
    EXPECT_EQ(s_cuda->takeSaturated(), 0) << "taking resets the count";
  }
  HostMatrix<Half> all(256, 256); // every half but the NaNs, whose payload is free
  for (std::size_t i = 0; i < all.values.size(); ++i)
    all.values[i] = (i & 0x7fffu) > 0x7c00u ? Half{0} : static_cast<Half>(i);
  HostMatrix<float> floats(256, 256);
  const Buffer from = toDevice(all.values), to = toDevice(floats.values);
  s_cuda->convert(kQ, all.viewOf(from), floats.viewOf(to));
  s_reference->convert(kQ, all.view(), floats.view());
  expectSameBits(toHost<float>(to), floats.values);
}

TEST_F(CudaOps, QuantizeAndDequantizeGiveTheBitsOfTheReference) {
  unsigned seed = 0;
  for (const PackedCase &c : packedCases()) {
    HostMatrix<float> x(c.tokens, c.width, c.width + 2);
    x.values = awkwardValues(c.tokens, x.stride, ++seed);
    HostPacked expected(c);
    const Buffer input = toDevice(x.values);
    const DevicePacked packed(expected);
    // In two calls, so that rows are also written behind others (Axis::Channel: whole groups).
    const Index first = c.format.axis == Axis::Channel ? c.format.group : c.tokens / 2;
    for (const TokenRange part : {TokenRange{0, first}, TokenRange{first, c.tokens}}) {
      s_cuda->quantize(kQ, x.viewOf(input).rowRange(part.begin, part.size()), packed.view, part.begin);
      s_reference->quantize(kQ, x.view().rowRange(part.begin, part.size()), expected.view(), part.begin);
    }
    expectSameBits(toHost<Half>(packed.scales), expected.scales, &c);
    expectSameBits(toHost<Half>(packed.zeros), expected.zeros, &c);
    expectSameBits(toHost<std::byte>(packed.codes), expected.codes, &c);
    EXPECT_EQ(s_cuda->takeSaturated(), s_reference->takeSaturated()) << c;

    const TokenRange range{c.tokens / 3, c.tokens};
    auto out = randomMatrix(range.size(), c.width, c.width + 5, seed);
    const Buffer output = toDevice(out.values);
    for (const bool accumulate : {true, false, true}) {
      s_cuda->dequantize(kQ, packed.view, range, out.viewOf(output), accumulate);
      s_reference->dequantize(kQ, expected.view(), range, out.view(), accumulate);
      expectSameBits(toHost<float>(output), out.values, &c);
    }
    if (HasFailure()) return; // the first broken case is enough to read
  }
}

TEST_F(CudaOps, MatmulAtOddSizes) {
  constexpr std::array<std::array<Index, 3>, 9> kSizes = {{{1, 1, 1},
                                                           {1, 129, 127},
                                                           {3, 64, 16},
                                                           {63, 65, 17},
                                                           {64, 64, 64},
                                                           {127, 33, 128},
                                                           {128, 192, 576},
                                                           {129, 127, 129},
                                                           {2, 5, 4096}}};
  for (const auto &[n, m, k] : kSizes)
    for (const bool accumulate : {false, true}) {
      auto x = randomMatrix(n, k, k + 1, 1), w = randomMatrix(m, k, k + 3, 2), out = randomMatrix(n, m, m + 2, 3);
      auto before = out;
      const Buffer xOn = toDevice(x.values), wOn = toDevice(w.values), outOn = toDevice(out.values);
      s_cuda->matmul(kQ, x.viewOf(xOn), w.viewOf(wOn), out.viewOf(outOn), accumulate);
      out.values = toHost<float>(outOn);
      expectMatmul(x, w, accumulate ? &before : nullptr, out);
      for (Index i = 0; i < n; ++i)
        for (Index j = m; j < out.stride; ++j) ASSERT_EQ(out.at(i, j), before.at(i, j)) << "written beyond the row";
    }
}

TEST_F(CudaOps, ARowOfAMatmulDoesNotDependOnTheRowsBesideIt) {
  const auto x = randomMatrix(129, 131, 131, 1), w = randomMatrix(67, 131, 131, 2);
  HostMatrix<float> all(129, 67), single(1, 67);
  const Buffer xOn = toDevice(x.values), wOn = toDevice(w.values), allOn = toDevice(all.values),
               singleOn = toDevice(single.values);
  s_cuda->matmul(kQ, x.viewOf(xOn), w.viewOf(wOn), all.viewOf(allOn));
  s_cuda->matmul(kQ, x.viewOf(xOn).rowRange(77, 1), w.viewOf(wOn), single.viewOf(singleOn));
  const auto rows = toHost<float>(allOn), row = toHost<float>(singleOn);
  expectSameBits(std::vector<float>(rows.begin() + 77 * 67, rows.begin() + 78 * 67), row);
}

TEST_F(CudaOps, DequantMatmulIsDequantizeThenMatmul) {
  const PackedCase c{{3, 128, Axis::Token, 0}, 129, 131};
  auto x = randomMatrix(c.tokens, c.width, c.width, 1), w = randomMatrix(65, c.width, c.width, 2);
  HostPacked host(c);
  s_reference->quantize(kQ, x.view(), host.view(), 0);
  const DevicePacked packed(host);
  const TokenRange range{2, 127};
  const HostMatrix<float> rows(range.size(), c.width), out(range.size(), 65);
  const Buffer wOn = toDevice(w.values), rowsOn = toDevice(rows.values), apart = toDevice(out.values),
               fused = toDevice(out.values);
  s_cuda->dequantize(kQ, packed.view, range, rows.viewOf(rowsOn));
  s_cuda->matmul(kQ, rows.viewOf(rowsOn), w.viewOf(wOn), out.viewOf(apart));
  s_cuda->dequantMatmul(kQ, packed.view, range, w.viewOf(wOn), out.viewOf(fused));
  expectSameBits(toHost<float>(fused), toHost<float>(apart));
}

TEST_F(CudaOps, EventsOrderQueues) {
  // A long chain on one queue, its result read by another that waits; more rounds than there are event slots.
  constexpr Index kSize = 256;
  auto x = randomMatrix(kSize, kSize, kSize, 1);
  HostMatrix<float> identity(kSize, kSize), out(kSize, kSize);
  for (Index i = 0; i < kSize; ++i) identity.at(i, i) = 1;
  const Buffer a = toDevice(x.values), b = toDevice(out.values), eye = toDevice(identity.values),
               target = toDevice(out.values);
  s_cuda->sync(kQ);
  Event first;
  for (int round = 0; round < 600; ++round) {
    s_cuda->matmul(kQ, x.viewOf(a), x.viewOf(eye), x.viewOf(b));
    const Event done = s_cuda->record(kQ);
    if (round == 0) first = done;
    s_cuda->wait(Queue::Copy, done);
    s_cuda->copy(Queue::Copy, x.viewOf(b), x.viewOf(target));
    s_cuda->wait(kQ, s_cuda->record(Queue::Copy));
  }
  s_cuda->wait(Queue::Rebuild, first); // long gone: no-op
  s_cuda->wait(Queue::Rebuild, {});
  s_cuda->sync(Queue::Rebuild);
  expectSameBits(toHost<float>(target, Queue::Copy), x.values);
}

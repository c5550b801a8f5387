// SPDX-License-Identifier: Apache-2.0
// Matrix products: every kernel behind matmul at odd sizes and alignments, and what a lane is promised.
#include "cuda_test.h"

using namespace xqs;
using namespace xqs::test;

namespace {

struct Shape {
  Index n, m, k;
};
/// Elements that rows are apart beyond their length, and that the first one lies behind an aligned address.
struct Layout {
  Index xPad, wPad, outPad, offset;
};
constexpr Layout kAligned{0, 0, 0, 0}, kPadded{4, 8, 4, 0}, kOdd{1, 3, 2, 1};

class CudaMatmul : public CudaTest {
protected:
  template <typename T> static HostMatrix<T> random(Index rows, Index cols, Index stride, unsigned seed) {
    const auto m = randomMatrix(rows, cols, stride, seed);
    if constexpr (sizeof(T) == 2)
      return halvesOf(m);
    else
      return m;
  }

  /// A host matrix on the device, `offset` elements behind the beginning of its memory.
  template <typename T> struct OnDevice {
    explicit OnDevice(const HostMatrix<T> &m, Index offset = 0)
        : buffer(s_cuda->allocate(m.bytes() + offset * Index{sizeof(T)}, Purpose::Scratch)),
          view(buffer.data() + offset * Index{sizeof(T)}, HostMatrix<T>::kType, m.rows, m.cols, m.stride) {
      s_cuda->upload(kQ, view.data, m.values.data(), m.bytes());
    }
    std::vector<T> values() const {
      std::vector<T> host(static_cast<std::size_t>(view.rows * view.stride));
      s_cuda->download(kQ, host.data(), view.data, static_cast<Index>(host.size() * sizeof(T)));
      s_cuda->sync(kQ);
      return host;
    }
    Buffer buffer;
    View view;
  };

  template <typename T>
  static std::vector<float> product(const Shape &s, const Layout &l, bool accumulate, Index lanes = 1) {
    const OnDevice x(random<float>(s.n, s.k, s.k + l.xPad, 1), l.offset),
        out(random<float>(s.n, s.m, s.m + l.outPad, 3), l.offset);
    const OnDevice<T> w(random<T>(s.m, s.k, s.k + l.wPad, 2), l.offset);
    s_cuda->matmulLanes(kQ, lanes, x.view, w.view, out.view, accumulate);
    return out.values();
  }

  /// Within the bound, inside its rows, with and without accumulation.
  template <typename T> static void check(std::initializer_list<Shape> shapes, const Layout &l,
                                          std::initializer_list<bool> accumulates = {false, true}) {
    for (const Shape &s : shapes)
      for (const bool accumulate : accumulates) {
        auto x = random<float>(s.n, s.k, s.k + l.xPad, 1), out = random<float>(s.n, s.m, s.m + l.outPad, 3);
        auto w = random<T>(s.m, s.k, s.k + l.wPad, 2);
        auto before = out;
        out.values = product<T>(s, l, accumulate);
        expectMatmul(x, w, accumulate ? &before : nullptr, out);
        for (Index i = 0; i < s.n; ++i)
          for (Index j = s.m; j < out.stride; ++j) ASSERT_EQ(out.at(i, j), before.at(i, j)) << "written beyond the row";
      }
  }

  /// The lanes of one call against calls of their own.
  template <typename T> static void checkLanes(Index lanes, const Shape &lane) {
    const OnDevice x(random<float>(lanes * lane.n, lane.k, lane.k, 1));
    const OnDevice<T> w(random<T>(lane.m, lane.k, lane.k, 2));
    for (const bool accumulate : {false, true}) {
      const auto start = random<float>(lanes * lane.n, lane.m, lane.m, 3);
      const OnDevice together(start), apart(start);
      s_cuda->matmulLanes(kQ, lanes, x.view, w.view, together.view, accumulate);
      for (Index i = 0; i < lanes; ++i)
        s_cuda->matmul(kQ, x.view.rowRange(i * lane.n, lane.n), w.view, apart.view.rowRange(i * lane.n, lane.n), accumulate);
      expectSameBits(together.values(), apart.values());
      if (HasFailure()) FAIL() << lanes << " lanes of " << lane.n << " rows, " << lane.m << " x " << lane.k;
    }
  }
};

TEST_F(CudaMatmul, HalfWeightsFewRows) {
  for (const Layout &l : {kAligned, kPadded, kOdd})
    check<Half>({{1, 1, 1},
                 {1, 17, 7},
                 {1, 129, 127},
                 {1, 192, 576},
                 {2, 16, 8},
                 {3, 15, 129},
                 {5, 5, 4096},
                 {7, 33, 1032},
                 {8, 129, 128}},
                l);
}

/// Aligned rows that end within a 16-byte piece: what lies behind them is no part of them.
TEST_F(CudaMatmul, HalfWeightsEndingInsideAPiece) {
  check<Half>({{2, 5, 12}, {8, 17, 140}, {10, 5, 12}, {40, 17, 140}}, {0, 4, 0, 0});
}

TEST_F(CudaMatmul, HalfWeightsSomeRows) {
  for (const Layout &l : {kAligned, kPadded, kOdd})
    check<Half>({{9, 1, 1}, {9, 129, 65}, {16, 127, 576}, {31, 128, 63}, {32, 5, 1000}, {17, 33, 4096}}, l);
}

TEST_F(CudaMatmul, HalfWeightsManyRows) {
  for (const Layout &l : {kAligned, kPadded, kOdd})
    check<Half>({{33, 63, 31}, {64, 64, 64}, {65, 127, 33}, {127, 33, 128}, {129, 129, 129}, {70, 31, 1030}}, l);
}

/// Enough tiles of 128 x 128 for the kernel that takes them.
TEST_F(CudaMatmul, HalfWeightsManyTiles) {
  check<Half>({{129, 66 * 128 + 1, 97}}, kOdd, {true});
  check<Half>({{33, 132 * 128, 40}}, kAligned, {false});
}

TEST_F(CudaMatmul, FloatWeights) {
  for (const Layout &l : {kAligned, kOdd})
    check<float>({{1, 1, 1},
                  {1, 129, 127},
                  {3, 64, 16},
                  {8, 9, 33},
                  {9, 64, 16},
                  {63, 65, 17},
                  {64, 64, 64},
                  {127, 33, 128},
                  {129, 127, 129},
                  {2, 5, 4096}},
                 l);
}

TEST_F(CudaMatmul, EmptyProducts) {
  for (const Index n : {1, 9, 33}) {
    EXPECT_THAT(product<Half>({n, 3, 0}, kAligned, false), testing::Each(0.0f));
    EXPECT_THAT(product<float>({n, 3, 0}, kAligned, false), testing::Each(0.0f));
    EXPECT_EQ(product<Half>({n, 3, 0}, kAligned, true), random<float>(n, 3, 3, 3).values);
  }
}

/// x of 22 bits times a power of two comes out as it went in: neither rounded to the weights' type nor moved.
TEST_F(CudaMatmul, XIsNotRoundedToTheTypeOfTheWeights) {
  constexpr Index kChannels = 201;
  for (const Index n : {1, 8, 9, 40}) {
    HostMatrix<float> x(n, kChannels), out(n, kChannels);
    HostMatrix<Half> w(kChannels, kChannels);
    for (Index c = 0; c < kChannels; ++c) {
      w.at(c, kChannels - 1 - c) = toHalf(c % 2 == 0 ? 2.0f : -0.5f);
      for (Index i = 0; i < n; ++i) x.at(i, c) = 1 + static_cast<float>((i * 7919 + c * 104729) % (1 << 21)) * 0x1p-21f;
    }
    const OnDevice xOn(x), outOn(out);
    const OnDevice<Half> wOn(w);
    s_cuda->matmul(kQ, xOn.view, wOn.view, outOn.view);
    out.values = outOn.values();
    for (Index i = 0; i < n; ++i)
      for (Index c = 0; c < kChannels; ++c)
        ASSERT_EQ(out.at(i, c), x.at(i, kChannels - 1 - c) * (c % 2 == 0 ? 2.0f : -0.5f))
            << n << " rows: " << i << ", " << c;
  }
}

/// A few rows hold any FP32; many are two FP16 matrices, and what those cannot hold is counted.
TEST_F(CudaMatmul, ValuesBeyondHalf) {
  for (const Index n : {8, 9}) {
    HostMatrix<float> x(n, 8), out(n, 1);
    HostMatrix<Half> w(1, 8);
    for (Index i = 0; i < 8; ++i) w.at(0, i) = toHalf(1);
    x.at(n - 1, 7) = 0x1p30f, x.at(0, 3) = -0x1p17f;
    const OnDevice xOn(x), outOn(out);
    const OnDevice<Half> wOn(w);
    s_cuda->matmul(kQ, xOn.view, wOn.view, outOn.view);
    out.values = outOn.values();
    EXPECT_EQ(out.at(n - 1, 0), n == 8 ? 0x1p30f : 2 * kHalfMax);
    EXPECT_EQ(out.at(0, 0), n == 8 ? -0x1p17f : -2 * kHalfMax);
    EXPECT_EQ(s_cuda->takeSaturated(), n == 8 ? 0 : 2);
  }
}

TEST_F(CudaMatmul, ALanesBitsAreThoseItGetsAlone) {
  for (const Index n : {1, 3, 8, 9, 32, 33, 70}) {
    checkLanes<Half>(3, {n, 67, 131});
    checkLanes<float>(3, {n, 67, 131});
  }
  checkLanes<Half>(3, {70, 68, 136}); // cuBLAS, where it is
  checkLanes<Half>(13, {3, 17, 576}); // more rows than a block of the kernel for a few holds
  checkLanes<Half>(2, {20, 40, 1100});
  checkLanes<Half>(2, {40, 40, 1100});
}

TEST_F(CudaMatmul, ARowsBitsDoNotDependOnTheRowsBesideItNorOnWhereTheyLie) {
  const auto same = [](auto type, Index many, Index few) {
    using T = decltype(type);
    const Index m = 67, k = 264;
    auto all = product<T>({many, m, k}, kAligned, false);
    all.resize(static_cast<std::size_t>(few * m)); // the same random rows come first
    expectSameBits(all, product<T>({few, m, k}, kAligned, false));
  };
  same(Half{}, 8, 1);
  same(Half{}, 32, 9);
  same(Half{}, 63, 33);
  same(float{}, 8, 1);
  same(float{}, 129, 9);
  for (const Index n : {1, 8, 9, 33}) {
    // The same values in other layouts.
    auto x = random<float>(n, 264, 264, 1), out = random<float>(n, 67, 67, 2);
    auto w = random<Half>(67, 264, 264, 3);
    std::vector<std::vector<float>> results;
    for (const Index offset : {0, 1}) {
      const OnDevice xOn(x, offset), outOn(out, offset);
      const OnDevice<Half> wOn(w, offset);
      s_cuda->matmul(kQ, xOn.view, wOn.view, outOn.view);
      results.push_back(outOn.values());
    }
    expectSameBits(results[0], results[1]);
  }
}

TEST_F(CudaMatmul, HeadsAreProductsOfTheirOwn) {
  constexpr Index kHeads = 6, kGroups = 2, kK = 72, kM = 20;
  for (const Index n : {1, 3, 9}) {
    const OnDevice x(random<float>(n, kHeads * kK, kHeads * kK, 1)), out(random<float>(n, kHeads * kM, kHeads * kM, 3)),
        expected(random<float>(n, kHeads * kM, kHeads * kM, 4));
    const auto compare = [&](ConstView w) {
      s_cuda->matmulHeads(kQ, kHeads, kGroups, x.view, w, out.view);
      for (Index h = 0; h < kHeads; ++h)
        s_cuda->matmul(kQ, x.view.colRange(h * kK, kK), w.rowRange(h / 3 * kM, kM), expected.view.colRange(h * kM, kM));
      expectSameBits(out.values(), expected.values());
    };
    compare(OnDevice<Half>(random<Half>(kGroups * kM, kK, kK + 8, 2)).view);
    compare(OnDevice<float>(random<float>(kGroups * kM, kK, kK, 2)).view);
  }
}

TEST_F(CudaMatmul, DequantMatmulIsDequantizeThenMatmul) {
  const auto same = [](auto type, TokenRange range) {
    using T = decltype(type);
    const PackedCase c{{3, 128, Axis::Token, 0}, 129, 131};
    auto x = randomMatrix(c.tokens, c.width, c.width, 1);
    HostPacked host(c);
    s_reference->quantize(kQ, x.view(), host.view(), 0);
    const DevicePacked packed(host);
    const OnDevice<T> w(random<T>(65, c.width, c.width, 2));
    const HostMatrix<float> nothing(range.size(), c.width), out(range.size(), 65);
    const OnDevice rows(nothing), apart(out), fused(out);
    s_cuda->dequantize(kQ, packed.view, range, rows.view);
    s_cuda->matmul(kQ, rows.view, w.view, apart.view);
    s_cuda->dequantMatmul(kQ, packed.view, range, w.view, fused.view);
    expectSameBits(fused.values(), apart.values());
  };
  same(float{}, {2, 127});
  same(Half{}, {2, 127});
  same(Half{}, {5, 6});
}

#if defined(XQS_FAKE_CUBLAS)

/// The backend beside a stand-in for cuBLAS: plain loops by the library's documentation.
class CudaCublas : public CudaMatmul {
protected:
  static void SetUpTestSuite() {
    setenv("XQSCOPE_CUBLAS", XQS_FAKE_CUBLAS, 1);
    CudaMatmul::SetUpTestSuite();
  }
  static void TearDownTestSuite() {
    CudaMatmul::TearDownTestSuite();
    setenv("XQSCOPE_CUBLAS", "off", 1);
  }
  void TearDown() override { unsetenv("XQS_FAKE_CUBLAS_FAIL"); }

  template <typename Call> static void expectError(Call call, Code code, const std::string &text) {
    try {
      call();
      FAIL() << "expected: " << text;
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_THAT(error.what(), testing::HasSubstr(text));
    }
  }
};

// First: the library's handle is made once.
TEST_F(CudaCublas, AFailureNamesTheCallAndTheStatus) {
  const Shape shape{64, 16, 8};
  setenv("XQS_FAKE_CUBLAS_FAIL", "cublasCreate", 1);
  expectError([&] { product<Half>(shape, kAligned, false); }, Code::OutOfMemory,
              "cublasCreate: CUBLAS_STATUS_ALLOC_FAILED (3)");
  setenv("XQS_FAKE_CUBLAS_FAIL", "cublasGemmEx", 1);
  expectError([&] { product<Half>(shape, kAligned, false); }, Code::BackendUnusable,
              "cublasGemmEx [64, 16, 8]: CUBLAS_STATUS_EXECUTION_FAILED (13)");
  product<Half>({63, 16, 8}, kAligned, false); // too few rows for the library
  product<Half>({64, 16, 7}, kAligned, false); // no whole pieces of 16 bytes
  product<Half>(shape, kOdd, false);           // nor aligned
  product<float>(shape, kAligned, false);
  unsetenv("XQS_FAKE_CUBLAS_FAIL");
  check<Half>({shape}, kAligned);
}

TEST_F(CudaCublas, GivesTheNumbersThatOurKernelsGive) {
  EXPECT_THAT(s_cuda->device(), testing::EndsWith("cuBLAS 13.12.11"));
  for (const Layout &l : {kAligned, kPadded}) check<Half>({{64, 64, 64}, {65, 12, 8}, {129, 132, 136}, {70, 64, 576}}, l);
  for (const Index n : {64, 70}) checkLanes<Half>(3, {n, 68, 136});
}

TEST_F(CudaCublas, RunsInAGatheredStep) {
  auto x = random<float>(64, 8, 8, 1), out = random<float>(64, 16, 16, 3);
  auto w = random<Half>(16, 8, 8, 2);
  const OnDevice xOn(x), outOn(out);
  const OnDevice<Half> wOn(w);
  s_cuda->sync(kQ);
  Gathered step(*s_cuda, true);
  s_cuda->matmul(kQ, xOn.view, wOn.view, outOn.view);
  step.submit();
  out.values = outOn.values();
  expectMatmul(x, w, nullptr, out);
}

TEST_F(CudaCublas, AFileThatIsNoLibraryIsRefused) {
  setenv("XQSCOPE_CUBLAS", "/no/such/libcublas.so.13", 1);
  for (const BackendInfo &info : listBackends({}))
    if (info.name == "cuda" && info.usable())
      expectError([&] { info.module->destroy(info.module->create(0)); }, Code::BackendUnusable, "/no/such/libcublas.so.13");
  setenv("XQSCOPE_CUBLAS", XQS_FAKE_CUBLAS, 1);
}

#endif

} // namespace

// SPDX-License-Identifier: Apache-2.0
// Operations that work row by row or element by element, against double precision or the bits of the reference.
#include "device_matrix.h"
#include "kernels/row_cases.h"

using namespace xqs;
using namespace xqs::test;

namespace {

struct CudaRows : CudaTest {
  /// fn(rows, cols, placing of one operand, placing of the other): every pair of placings comes up.
  template <typename Fn> static void everyShape(const Fn &fn) {
    std::size_t i = 0;
    for (const Index rows : kOddRows)
      for (const Index cols : kOddWidths) {
        for (const std::size_t shift : {0u, 1u, 2u, 3u, 4u})
          fn(rows, cols, kPlacings[i % std::size(kPlacings)], kPlacings[(i + shift) % std::size(kPlacings)]);
        ++i;
      }
  }
};

std::vector<double> frequencies(Index pairs) {
  std::vector<double> f;
  for (Index j = 0; j < pairs; ++j) f.push_back(std::pow(10000.0, -static_cast<double>(j) / static_cast<double>(pairs)));
  return f;
}

} // namespace

TEST_F(CudaRows, EmbedTakesRowsOfFp32AndFp16Tables) {
  for (const Index cols : {1, 33, 64, 1030})
    for (const Placing placing : kPlacings) {
      const auto table = randomMatrix(50, cols, cols, 1);
      HostMatrix<Half> narrow(50, cols, cols + placing.pad);
      for (Index r = 0; r < 50; ++r)
        for (Index c = 0; c < cols; ++c) narrow.at(r, c) = toHalf(table.values[static_cast<std::size_t>(r * cols + c)]);
      std::vector<Half> shifted(static_cast<std::size_t>(placing.offset));
      shifted.insert(shifted.end(), narrow.values.begin(), narrow.values.end());
      std::vector<std::int32_t> tokens = {3, 0, 49, 3, 7};
      const DeviceMatrix wide(*s_cuda, table, placing);
      const Buffer halves = toDevice(shifted);
      const View half(halves.data() + placing.offset * 2, DType::F16, 50, cols, narrow.stride);
      DeviceMatrix fromWide(*s_cuda, HostMatrix<float>(5, cols), placing), fromHalf(*s_cuda, HostMatrix<float>(5, cols));
      s_cuda->embed(kQ, wide, tokens, fromWide);
      s_cuda->embed(kQ, half, tokens, fromHalf);
      std::fill(tokens.begin(), tokens.end(), 1); // read before the call returned
      auto a = fromWide.read(), b = fromHalf.read();
      for (const auto &[row, token] : std::vector<std::pair<Index, Index>>{{0, 3}, {1, 0}, {2, 49}, {3, 3}, {4, 7}})
        for (Index c = 0; c < cols; ++c) {
          ASSERT_EQ(a.at(row, c), table.values[static_cast<std::size_t>(token * cols + c)]);
          ASSERT_EQ(b.at(row, c), toFloat(narrow.at(token, c)));
        }
    }
}

TEST_F(CudaRows, EmbedOfMoreTokensThanOneLaunchTakes) {
  const auto table = randomMatrix(97, 3, 3, 1);
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 2000; ++i) tokens.push_back(i * 31 % 97);
  const DeviceMatrix from(*s_cuda, table);
  DeviceMatrix out(*s_cuda, HostMatrix<float>(2000, 3), {1, 2});
  s_cuda->embed(kQ, from, tokens, out);
  auto rows = out.read();
  for (Index r = 0; r < 2000; ++r)
    for (Index c = 0; c < 3; ++c)
      ASSERT_EQ(rows.at(r, c), table.values[static_cast<std::size_t>(tokens[static_cast<std::size_t>(r)] * 3 + c)]);
}

TEST_F(CudaRows, RmsNorm) {
  const auto check = [](Index n, Index w, Placing in, Placing to) {
    auto x = normalMatrix(n, w, 3, 1), weight = normalMatrix(1, w, 1, 2);
    DeviceMatrix xOn(*s_cuda, x, in), weightOn(*s_cuda, weight), out(*s_cuda, HostMatrix<float>(n, w), to);
    const float eps = 1e-5f;
    s_cuda->rmsNorm(kQ, xOn, weightOn, eps, out);
    auto result = out.read();
    expectRmsNorm(n, w, x, weight, eps, result);
    s_cuda->rmsNorm(kQ, xOn, weightOn, eps, xOn);
    expectSameBits(xOn.read().values, result.values); // in place, and wherever the rows lie
  };
  everyShape(check);
  for (const Index w : {4096, 16384, 16385, 40001}) check(2, w, kPlacings[0], kPlacings[2]);
}

/// The reduced angle errs by pi 2^-25 (tests/kernels/cuda/rotation_test.cpp), the angles below 2^11 by nothing that counts,
/// sincospif by one unit in the last place, 2^-24: cosine and sine by 2.6 eps; two products and their sum round: 4.6 eps.
TEST_F(CudaRows, Rope) {
  for (const Index n : {1, 5, 33})
    for (const Index heads : {1, 3})
      for (const Index pairs : {1, 3, 32, 501}) // more than a launch takes
        for (const Placing placing : kPlacings) {
          if (pairs == 501 && n == 33) continue;
          const Index first = 1000, width = heads * pairs * 2;
          auto x = normalMatrix(n, width, 1, static_cast<unsigned>(n + pairs));
          const auto frequency = frequencies(pairs);
          DeviceMatrix on(*s_cuda, x, placing);
          auto passed = frequency;
          s_cuda->rope(kQ, on, heads, first, passed);
          std::fill(passed.begin(), passed.end(), 0); // read before the call returned
          auto result = on.read();
          expectRope(n, width, frequency, first, x, result, 4.7);
          // Decoding: one token at its own position gives the same bits.
          HostMatrix<float> last(1, width);
          std::copy_n(x.values.end() - width, width, last.values.begin());
          DeviceMatrix one(*s_cuda, last);
          s_cuda->rope(kQ, one, heads, first + n - 1, frequency);
          expectSameBits(one.read().values, std::vector<float>(result.values.end() - width, result.values.end()));
        }
}

TEST_F(CudaRows, SumsAndProductsAreExactlyRounded) {
  everyShape([](Index n, Index w, Placing p, Placing q) {
    auto a = normalMatrix(n, w, 1, 1), b = normalMatrix(n, w, 1, 2);
    HostMatrix<float> sum(n, w), difference(n, w), withRow(n, w), scaled(n, w);
    for (Index r = 0; r < n; ++r)
      for (Index c = 0; c < w; ++c) {
        sum.at(r, c) = a.at(r, c) + b.at(r, c);
        difference.at(r, c) = a.at(r, c) - b.at(r, c);
        withRow.at(r, c) = a.at(r, c) + b.at(n - 1, c);
        scaled.at(r, c) = a.at(r, c) * 0.3f;
      }
    const auto expect = [&](auto run, const HostMatrix<float> &expected) {
      for (const int target : {0, 1, 2}) { // a, b, elsewhere
        DeviceMatrix aOn(*s_cuda, a, p), bOn(*s_cuda, b, q), out(*s_cuda, HostMatrix<float>(n, w), q);
        DeviceMatrix &to = target == 0 ? aOn : target == 1 ? bOn : out;
        run(aOn.view(), bOn.view(), to.view());
        expectSameBits(to.read().values, expected.values);
      }
    };
    expect([](View x, View y, View out) { s_cuda->add(kQ, x, y, out); }, sum);
    expect([](View x, View y, View out) { s_cuda->subtract(kQ, x, y, out); }, difference);
    DeviceMatrix aOn(*s_cuda, a, p), bOn(*s_cuda, b, q);
    s_cuda->addRow(kQ, aOn, bOn.view().rowRange(n - 1, 1));
    expectSameBits(aOn.read().values, withRow.values);
    DeviceMatrix again(*s_cuda, a, q);
    s_cuda->scale(kQ, again, 0.3f);
    expectSameBits(again.read().values, scaled.values);
  });
}

/// expf errs by 2 units in the last place at most (4 eps), 1 + e, the division and the product by eps each: 7.1 eps.
TEST_F(CudaRows, SiluMul) {
  everyShape([](Index n, Index w, Placing p, Placing q) {
    auto gate = normalMatrix(n, w, 8, 1), up = normalMatrix(n, w, 1, 2);
    DeviceMatrix gateOn(*s_cuda, gate, p), upOn(*s_cuda, up, q), out(*s_cuda, HostMatrix<float>(n, w), p);
    s_cuda->siluMul(kQ, gateOn, upOn, out);
    auto result = out.read();
    expectSiluMul(n, w, gate, up, result, 7.1);
    s_cuda->siluMul(kQ, gateOn, upOn, upOn);
    expectSameBits(upOn.read().values, result.values);
  });
}

TEST_F(CudaRows, SiluMulAtExtremes) {
  HostMatrix<float> gate(1, 10), up(1, 10);
  gate.values = {-1e30f, -1000, -105, -90, 0, 90, 105, 1000, 1e30f, NAN};
  std::fill(up.values.begin(), up.values.end(), 1.0f);
  DeviceMatrix gateOn(*s_cuda, gate), upOn(*s_cuda, up), out(*s_cuda, HostMatrix<float>(1, 10));
  s_cuda->siluMul(kQ, gateOn, upOn, out);
  auto result = out.read();
  for (Index c = 0; c < 9; ++c) {
    const float expected = std::max(0.0f, gate.at(0, c));
    EXPECT_NEAR(result.at(0, c), expected, 1e-36f + expected * 1e-6f) << gate.at(0, c);
  }
  EXPECT_TRUE(std::isnan(result.at(0, 9)));
}

TEST_F(CudaRows, MoreRowsThanAGridIsHigh) {
  const Index n = 1100, w = 516; // a row a block
  auto x = normalMatrix(n, w, 1, 1);
  DeviceMatrix on(*s_cuda, x, {0, 4});
  s_cuda->scale(kQ, on, 2);
  for (float &v : x.values) v *= 2;
  expectSameBits(on.read().values, x.values);
}

TEST_F(CudaRows, NothingIsNoTrouble) {
  const View none(nullptr, DType::F32, 0, 8), row(nullptr, DType::F32, 1, 0);
  const HostMatrix<float> eight(1, 8);
  const DeviceMatrix weight(*s_cuda, eight);
  s_cuda->embed(kQ, weight, {}, none);
  s_cuda->rmsNorm(kQ, none, weight, 1e-5f, none);
  s_cuda->rope(kQ, none, 1, 0, frequencies(4));
  s_cuda->add(kQ, none, none, none);
  s_cuda->addRow(kQ, none, weight);
  s_cuda->subtract(kQ, none, none, none);
  s_cuda->scale(kQ, none, 2);
  s_cuda->siluMul(kQ, row, row, row);
  s_cuda->sync(kQ);
}

/// A step may hold any of these: host arguments are parameters of the launches.
TEST_F(CudaRows, RunInsideAGatheredStep) {
  const auto table = randomMatrix(20, 64, 64, 1), weight = randomMatrix(1, 64, 64, 2);
  const DeviceMatrix tableOn(*s_cuda, table), weightOn(*s_cuda, weight);
  const auto step = [&](DeviceMatrix &x, std::int32_t token, bool gathered) {
    const std::vector<std::int32_t> tokens = {token};
    const auto frequency = frequencies(16);
    Gathered all(*s_cuda, gathered);
    s_cuda->embed(kQ, tableOn, tokens, x);
    s_cuda->rmsNorm(kQ, x, weightOn, 1e-5f, x);
    s_cuda->rope(kQ, x, 2, token, frequency);
    s_cuda->siluMul(kQ, x, x, x);
    s_cuda->addRow(kQ, x, weightOn);
    s_cuda->scale(kQ, x, 0.5f);
    all.submit();
  };
  for (const std::int32_t token : {3, 11, 19}) {
    DeviceMatrix together(*s_cuda, HostMatrix<float>(1, 64)), apart(*s_cuda, HostMatrix<float>(1, 64));
    step(together, token, true);
    step(apart, token, false);
    expectSameBits(together.read().values, apart.read().values);
  }
}

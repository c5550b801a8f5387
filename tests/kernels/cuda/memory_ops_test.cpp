// SPDX-License-Identifier: Apache-2.0
// Memory, order and the packed cache against the reference backend.
#include "cuda_test.h"

using namespace xqs;
using namespace xqs::test;

using CudaOps = CudaTest;

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

TEST_F(CudaOps, EventsOrderQueues) {
  // A long chain on one queue, its result read by another that waits; more rounds than there are event slots.
  constexpr Index kSize = kEmulated ? 32 : 256;
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

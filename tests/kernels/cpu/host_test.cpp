// SPDX-License-Identifier: Apache-2.0
// What every backend owes besides arithmetic: memory by purpose, counted and traced operations, the same bits whatever the
// number of threads; and the pool that the threads live in.
#include "support.h"
#include "targets.h"
#include "thread_pool.h"

namespace xqs::test {
namespace {

template <typename B> struct Host : ::testing::Test { BackendPtr b = make(B::module()); };
TYPED_TEST_SUITE(Host, BothBackends);

TYPED_TEST(Host, Module) {
  const XqsBackendModule *m = TypeParam::module();
  EXPECT_EQ(m->abi, kBackendAbi);
  EXPECT_STREQ(m->name, this->b->name());
  EXPECT_EQ(m->unusable(), nullptr);
  EXPECT_TRUE(this->b->hostVisible());
  EXPECT_NE(this->b->device().find("2 threads"), std::string::npos) << this->b->device();
}

TYPED_TEST(Host, MemoryIsCountedByPurpose) {
  {
    const Buffer codes = this->b->allocate(1000, Purpose::CacheCodes);
    Buffer weights = this->b->allocate(5'000'000, Purpose::Weights);
    EXPECT_EQ(this->b->allocated(Purpose::CacheCodes), 1000);
    EXPECT_EQ(this->b->allocated(Purpose::Weights), 5'000'000);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(codes.data()) % 64, 0u);
    EXPECT_TRUE(
        std::all_of(weights.data(), weights.data() + weights.bytes(), [](std::byte v) { return v == std::byte{0}; }));
    const Buffer moved = std::move(weights);
    EXPECT_EQ(this->b->allocated(Purpose::Weights), 5'000'000);
    EXPECT_FALSE(this->b->allocate(0, Purpose::Scratch));
  }
  for (int p = 0; p < static_cast<int>(Purpose::Count); ++p) EXPECT_EQ(this->b->allocated(static_cast<Purpose>(p)), 0);
}

TYPED_TEST(Host, MemoryThatIsNotThere) {
  try {
    this->b->allocate(PTRDIFF_MAX - 8, Purpose::CacheExact);
    FAIL() << "allocated";
  } catch (const Error &e) {
    EXPECT_EQ(e.code(), Code::OutOfMemory);
    EXPECT_NE(std::string(e.what()).find(purposeName(Purpose::CacheExact)), std::string::npos) << e.what();
  }
  EXPECT_EQ(this->b->allocated(Purpose::CacheExact), 0);
}

/// All operations once, on shapes that make several tiles; every result as bits.
std::vector<float> everything(Backend &b) {
  std::mt19937 rng(31);
  std::vector<float> all;
  const auto keep = [&all](const Matrix &m) {
    const std::vector<float> v = m.values();
    all.insert(all.end(), v.begin(), v.end());
  };
  Matrix x(b, 300, 192), y(b, 300, 192), w(b, 192, 192), weight(b, 1, 192), out(b, 300, 192);
  x.fill(rng, 2);
  y.fill(rng);
  w.fill(rng);
  weight.fill(rng);
  const std::vector<std::int32_t> tokens(300, 7);
  b.embed(Queue::Compute, w, tokens, out), keep(out);
  b.rmsNorm(Queue::Compute, x, weight, 1e-5f, out), keep(out);
  const std::vector<double> frequency(32, 0.01);
  b.rope(Queue::Compute, out, 3, 5, frequency), keep(out);
  b.matmul(Queue::Compute, x, w, out, true), keep(out);
  b.add(Queue::Compute, x, y, out), keep(out);
  b.subtract(Queue::Compute, x, y, out), keep(out);
  b.siluMul(Queue::Compute, x, y, out), keep(out);
  AttentionArgs args;
  args.q = x.view(), args.heads = 3, args.scale = 0.125f, args.out = out.view();
  args.k = args.v = {x.view(), y.view().rowRange(0, 300), 0, {128, 0}, 3};
  b.attention(Queue::Compute, args), keep(out);
  b.addRow(Queue::Compute, out, weight), keep(out);
  std::vector<std::int32_t> targets(300, 3);
  std::vector<Score> scores(300);
  b.score(Queue::Compute, x, y, targets, scores);
  for (const Score &s : scores) all.insert(all.end(), {s.nll, s.kl, float(s.top), float(s.sameTop)});
  Matrix half(b, 300, 192, 3, DType::F16);
  b.convert(Queue::Compute, x, half);
  b.convert(Queue::Compute, half, out), keep(out);
  for (const Axis axis : {Axis::Token, Axis::Channel}) {
    const QuantFormat f{3, 32, axis, 0};
    const Buffer codes = b.allocate(300 * f.codeBytesPerRow(192), Purpose::CacheCodes);
    const Buffer scales = b.allocate(f.scaleCount(300, 192) * 4, Purpose::CacheScales);
    auto *scale = reinterpret_cast<Half *>(scales.data());
    const PackedView p{f, codes.data(), scale, scale + f.scaleCount(300, 192), 300, 192};
    b.quantize(Queue::Compute, x.view().rowRange(0, 288), p, 0);
    b.dequantize(Queue::Compute, p, {0, 288}, out.view().rowRange(0, 288)), keep(out);
    b.dequantMatmul(Queue::Compute, p, {0, 288}, w, out.view().rowRange(0, 288)), keep(out);
  }
  Summary s;
  b.summarize(Queue::Compute, x, s);
  all.insert(all.end(), {float(s.mean), float(s.variance), s.topMeanAbs[0], s.topMeanAbs[7], float(s.histogram[60])});
  ErrorSums sums;
  b.compare(Queue::Compute, x, y, sums);
  all.insert(all.end(), {float(sums.errorSquares), float(sums.exactSquares), sums.maxAbsError});
  std::vector<float> cosine(9);
  const std::vector<ConstView> layers = {x, y, out};
  b.similarity(Queue::Compute, layers, cosine);
  all.insert(all.end(), cosine.begin(), cosine.end());
  b.copy(Queue::Copy, x, out), keep(out);
  return all;
}

TYPED_TEST(Host, SameBitsForAnyNumberOfThreads) {
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 8}) {
    const std::vector<float> bits = everything(*make(TypeParam::module(), threads));
    if (threads == 1) first = bits;
    EXPECT_TRUE(sameBits(first, bits)) << threads << " threads";
  }
}

TYPED_TEST(Host, OperationsAreCountedAndTraced) {
  std::vector<KernelRecord> records;
  this->b->setTrace([&](const KernelRecord &r) { records.push_back(r); });
  this->b->setTag({4, 1, "mlp"});
  Matrix x(*this->b, 8, 16), w(*this->b, 32, 16), out(*this->b, 8, 32);
  const std::uint64_t before = this->b->operations();
  this->b->matmul(Queue::Compute, x, w, out);
  EXPECT_EQ(this->b->operations(), before + 1);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_STREQ(records[0].kernel, "matmul");
  EXPECT_EQ(records[0].tag.layer, 4);
  EXPECT_STREQ(records[0].tag.op, "mlp");
  EXPECT_EQ(records[0].flops, 2.0 * 8 * 16 * 32);
  EXPECT_EQ(records[0].bytes, 4.0 * (8 * 16 + 32 * 16 + 8 * 32));
  EXPECT_GT(records[0].startNs, 0);
  EXPECT_GE(records[0].durationNs, 0);
  records.clear();
  const std::uint64_t start = this->b->operations();
  everything(*this->b);
  EXPECT_EQ(records.size(), this->b->operations() - start) << "every operation that counts is traced";
  this->b->setTrace({});
  records.clear();
  this->b->matmul(Queue::Compute, x, w, out);
  EXPECT_TRUE(records.empty());
}

TEST(ThreadPool, EveryTileOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const Index tiles : {0, 1, 2, 7, 1000})
      for (int round = 0; round < 20; ++round) {
        std::vector<std::atomic<int>> calls(static_cast<std::size_t>(tiles));
        pool.parallelFor(tiles, [&](Index tile) { ++calls[static_cast<std::size_t>(tile)]; });
        for (const std::atomic<int> &count : calls) ASSERT_EQ(count, 1);
      }
  }
}

TEST(ThreadPool, ExceptionsReachTheCaller) {
  ThreadPool pool(3);
  for (int round = 0; round < 50; ++round) {
    EXPECT_THROW(pool.parallelFor(100,
                                  [](Index tile) {
                                    if (tile % 10 == 3) throw Error(Code::OutOfMemory, "tile");
                                  }),
                 Error);
    std::atomic<int> calls = 0;
    pool.parallelFor(10, [&](Index) { ++calls; });
    EXPECT_EQ(calls, 10) << "usable afterwards";
  }
}

} // namespace
} // namespace xqs::test

// SPDX-License-Identifier: Apache-2.0
#include "support.h"
#include "support/packed_codes.h"
#include "targets.h"

namespace xqs::test {
namespace {

/// A packed tensor with its memory.
struct Packed {
  Buffer codes, scales, zeros;
  PackedView view;

  Packed(Backend &b, const QuantFormat &f, Index rows, Index width)
      : codes(b.allocate(rows * f.codeBytesPerRow(width), Purpose::CacheCodes)),
        scales(b.allocate(std::max<Index>(1, f.scaleCount(rows, width)) * 2, Purpose::CacheScales)),
        zeros(b.allocate(std::max<Index>(1, f.scaleCount(rows, width)) * 2, Purpose::CacheScales)),
        view{f, codes.data(), reinterpret_cast<Half *>(scales.data()), reinterpret_cast<Half *>(zeros.data()), rows, width} {
  }
  std::vector<std::byte> bytes() const {
    std::vector<std::byte> all(codes.data(), codes.data() + codes.bytes());
    all.insert(all.end(), scales.data(), scales.data() + scales.bytes());
    all.insert(all.end(), zeros.data(), zeros.data() + zeros.bytes());
    return all;
  }
};

/// Every scale, zero, code and decoded value of rows [firstRow, ...) as method.md 2 says.
void checkRule(Backend &b, const Matrix &x, Index rows, const Packed &p, Index firstRow) {
  const PackedView &v = p.view;
  const int levels = (1 << v.format.bits) - 1;
  const auto count = static_cast<std::size_t>(v.format.scaleCount(v.rows, v.width));
  std::vector<float> min(count, INFINITY), max(count, -INFINITY);
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < v.width; ++c) {
      const auto at = static_cast<std::size_t>(scaleIndex(v.format, v.width, firstRow + r, c));
      min[at] = std::min(min[at], x.at(r, c));
      max[at] = std::max(max[at], x.at(r, c));
    }
  Matrix out(b, rows, v.width);
  b.dequantize(Queue::Compute, v, {firstRow, firstRow + rows}, out);
  int wrong = 0;
  for (Index r = 0; r < rows && wrong < 5; ++r)
    for (Index c = 0; c < v.width && wrong < 5; ++c) {
      const Index at = scaleIndex(v.format, v.width, firstRow + r, c);
      const float lo = min[static_cast<std::size_t>(at)], hi = max[static_cast<std::size_t>(at)];
      const float scale = toFloat(v.scales[at]), zero = toFloat(v.zeros[at]);
      wrong += v.scales[at] == toHalf((hi - lo) / float(levels)) ? 0 : 1;
      wrong += zero == toFloat(toHalf(lo)) ? 0 : 1;
      const float q = scale == 0 ? 0 : std::min(std::max(std::nearbyint((x.at(r, c) - zero) / scale), 0.0f), float(levels));
      wrong += codeAt(v, firstRow + r, c) == static_cast<unsigned>(q) ? 0 : 1;
      const float decoded = q * scale + zero;
      wrong += out.at(r, c) == decoded ? 0 : 1;
      // Half a step, and what rounding scale (levels steps of it) and zero to FP16 moves; 8 eps for FP32.
      const double half = 0.5 * scale + 0x1p-11 * (std::fabs(lo) + (hi - lo)) + 0x1p-24 * (1 + levels) +
                          8 * kEps * (std::fabs(lo) + std::fabs(hi));
      wrong += std::fabs(double(decoded) - double(x.at(r, c))) <= half ? 0 : 1;
      EXPECT_EQ(wrong, 0) << "row " << r << " channel " << c << ": x " << x.at(r, c) << ", code "
                          << codeAt(v, firstRow + r, c) << ", scale " << scale << ", zero " << zero << ", decoded "
                          << out.at(r, c);
    }
  EXPECT_TRUE(out.guardsIntact());
}

struct Shape {
  QuantFormat format;
  Index rows, width;
};
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const int bits : {2, 3, 4, 8})
    for (const Index group : {32, 128, 48}) {
      for (const Index width : {1, 33, 64, 192, 576})
        for (const Index rows : {1, 5, 129})
          for (const Index segment : {0, 64}) all.push_back({{bits, group, Axis::Token, segment}, rows, width});
      for (const Index width : {1, 33, 192}) all.push_back({{bits, group, Axis::Channel, 0}, 2 * group, width});
    }
  return all;
}
std::string describe(const Shape &s) {
  return std::to_string(s.rows) + "x" + std::to_string(s.width) + ", " + std::to_string(s.format.bits) + " bits, group " +
         std::to_string(s.format.group) + (s.format.axis == Axis::Token ? " along channels" : " along tokens") +
         ", segment " + std::to_string(s.format.segment);
}

template <typename B> struct Quantize : ::testing::Test {};
TYPED_TEST_SUITE(Quantize, BothBackends);

TYPED_TEST(Quantize, FollowsTheRule) {
  const BackendPtr b = make(TypeParam::module());
  std::mt19937 rng(3);
  for (const Shape &s : shapes()) {
    SCOPED_TRACE(describe(s));
    const Index first = s.format.axis == Axis::Token ? 3 : s.format.group;
    Packed p(*b, s.format, first + s.rows + s.format.group, s.width);
    Matrix x(*b, s.rows, s.width);
    x.fill(rng, 2, 0.5f);
    const std::vector<std::byte> before = p.bytes();
    b->quantize(Queue::Compute, x, p.view, first);
    checkRule(*b, x, s.rows, p, first);
    EXPECT_TRUE(std::all_of(p.codes.data(), p.codes.data() + first * p.view.rowBytes(), [](std::byte c) {
      return c == std::byte{0};
    })) << "rows before the first were written";
    if (::testing::Test::HasFailure()) return;
  }
}

TYPED_TEST(Quantize, AppendedRowsEqualOneCall) {
  const BackendPtr b = make(TypeParam::module());
  std::mt19937 rng(4);
  for (const Axis axis : {Axis::Token, Axis::Channel}) {
    const QuantFormat format{3, 32, axis, 0};
    Packed whole(*b, format, 128, 100), parts(*b, format, 128, 100);
    Matrix x(*b, 128, 100);
    x.fill(rng);
    b->quantize(Queue::Compute, x, whole.view, 0);
    for (Index row = 0; row < 128; row += 32) b->quantize(Queue::Compute, x.view().rowRange(row, 32), parts.view, row);
    EXPECT_EQ(whole.bytes(), parts.bytes());
  }
}

TYPED_TEST(Quantize, AccumulatesWithOneMoreRounding) {
  const BackendPtr b = make(TypeParam::module());
  std::mt19937 rng(5);
  for (const Axis axis : {Axis::Token, Axis::Channel}) {
    Packed p(*b, {4, 32, axis, 0}, 64, 77);
    Matrix x(*b, 64, 77), plain(*b, 50, 77), sum(*b, 50, 77);
    x.fill(rng);
    b->quantize(Queue::Compute, x, p.view, 0);
    b->dequantize(Queue::Compute, p.view, {7, 57}, plain);
    sum.fill(rng);
    const std::vector<float> before = sum.values(), values = plain.values();
    b->dequantize(Queue::Compute, p.view, {7, 57}, sum, true);
    const std::vector<float> after = sum.values();
    for (std::size_t i = 0; i < after.size(); ++i) ASSERT_EQ(after[i], before[i] + values[i]);
    EXPECT_TRUE(sum.guardsIntact());
  }
}

TYPED_TEST(Quantize, BrokenAndLargeValuesAreCounted) {
  const BackendPtr b = make(TypeParam::module());
  for (const Axis axis : {Axis::Token, Axis::Channel})
    for (const Index at : {0, 40, 99}) { // in vectors and in the remainder
      Packed p(*b, {4, 100, axis, 0}, 100, 100);
      Matrix x(*b, 100, 100), out(*b, 100, 100);
      x.set(1);
      b->quantize(Queue::Compute, x, p.view, 0);
      EXPECT_EQ(b->takeSaturated(), 0);
      x.at(3, at) = NAN;
      b->quantize(Queue::Compute, x, p.view, 0);
      EXPECT_EQ(b->takeSaturated(), 1) << "the NaN";
      EXPECT_EQ(b->takeSaturated(), 0) << "taken";
      x.at(3, at) = INFINITY;
      b->quantize(Queue::Compute, x, p.view, 0);
      EXPECT_EQ(b->takeSaturated(), 2) << "the infinity and its scale";
      x.at(3, at) = -70000;
      b->quantize(Queue::Compute, x, p.view, 0);
      EXPECT_EQ(b->takeSaturated(), 1) << "the zero";
      b->dequantize(Queue::Compute, p.view, {0, 100}, out);
      EXPECT_EQ(out.at(3, at), -65504);
    }
}

TYPED_TEST(Quantize, MatmulOfPackedRows) {
  const BackendPtr b = make(TypeParam::module());
  std::mt19937 rng(6);
  for (const Index rows : {1, 130, 300}) {
    Packed p(*b, {4, 32, Axis::Token, 0}, 320, 65);
    Matrix x(*b, 320, 65), w(*b, 70, 65), plain(*b, rows, 65), out(*b, rows, 70);
    x.fill(rng);
    w.fill(rng);
    b->quantize(Queue::Compute, x, p.view, 0);
    b->dequantize(Queue::Compute, p.view, {5, 5 + rows}, plain);
    b->dequantMatmul(Queue::Compute, p.view, {5, 5 + rows}, w, out);
    Bound bound("dequantMatmul"); // (k + 1) eps sum |x w|, as for matmul
    for (Index r = 0; r < rows; ++r)
      for (Index o = 0; o < 70; ++o) {
        double sum = 0, size = 0;
        for (Index i = 0; i < 65; ++i) {
          sum += double(plain.at(r, i)) * double(w.at(o, i));
          size += std::fabs(double(plain.at(r, i)) * double(w.at(o, i)));
        }
        bound.check(out.at(r, o), sum, 66 * kEps * size);
      }
    EXPECT_TRUE(out.guardsIntact());
  }
}

TYPED_TEST(Quantize, ConvertIsTheOneOfHalfH) {
  const BackendPtr b = make(TypeParam::module());
  Matrix wide(*b, 64, 1024, 0), narrow(*b, 64, 1024, 0, DType::F16);
  for (Index i = 0; i < 65536; ++i) narrow.view().halfRow(i / 1024)[i % 1024] = static_cast<Half>(i);
  b->convert(Queue::Compute, narrow, wide);
  for (Index i = 0; i < 65536; ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(wide.at(i / 1024, i % 1024)),
              std::bit_cast<std::uint32_t>(toFloat(static_cast<Half>(i))));

  std::mt19937 rng(8);
  for (int round = 0; round < 8; ++round) {
    std::int64_t saturated = 0;
    for (Index i = 0; i < 65536; ++i) {
      std::uint32_t bits = static_cast<std::uint32_t>(rng());
      if (round == 1) bits = std::bit_cast<std::uint32_t>(toFloat(static_cast<Half>(i))) + 0x1000u; // ties
      if (round == 2) bits = std::bit_cast<std::uint32_t>(toFloat(static_cast<Half>(i))) + 0xfffu;
      if (round >= 3) bits = (bits & 0x807fffffu) | ((100u + bits % 47u) << 23); // around the range of FP16
      wide.at(i / 1024, i % 1024) = std::bit_cast<float>(bits);
      saturated += saturates(std::bit_cast<float>(bits)) ? 1 : 0;
    }
    b->convert(Queue::Compute, wide, narrow);
    for (Index i = 0; i < 65536; ++i)
      ASSERT_EQ(narrow.view().halfRow(i / 1024)[i % 1024], toHalf(wide.at(i / 1024, i % 1024)))
          << wide.at(i / 1024, i % 1024);
    EXPECT_EQ(b->takeSaturated(), saturated);
  }
}

/// Everything that is to be the same bits everywhere, as bytes.
std::vector<std::byte> packedBytes(Backend &b, const Shape &s) {
  std::mt19937 rng(9);
  Packed p(b, s.format, s.rows, s.width);
  Matrix x(b, s.rows, s.width), out(b, s.rows, s.width);
  x.fill(rng, 3, -1);
  for (Index c = 0; c < s.width; ++c) x.at(0, c) = c % 3 == 0 ? -0.0f : 0.0f;                         // signed zeros
  for (Index c = 0; s.rows > 4 && c < s.width; ++c) x.at(1, c) = c % 7 == 0 ? NAN : 1e-8f * float(c); // NaN, tiny scales
  for (Index c = 0; s.rows > 4 && c < s.width; ++c) x.at(2, c) = c % 5 == 0 ? INFINITY : -FLT_MAX;
  b.quantize(Queue::Compute, x, p.view, 0);
  b.dequantize(Queue::Compute, p.view, {0, s.rows}, out);
  std::vector<std::byte> bytes = p.bytes();
  const std::vector<float> values = out.values();
  const auto *raw = reinterpret_cast<const std::byte *>(values.data());
  bytes.insert(bytes.end(), raw, raw + values.size() * 4);
  return bytes;
}

TEST(QuantizePortable, EveryInstructionSetGivesTheBitsOfTheReference) {
  const BackendPtr reference = make(referenceBackendModule()), cpu = make(cpuBackendModule());
  for (const Shape &s : shapes()) {
    const std::vector<std::byte> expected = packedBytes(*reference, s);
    const std::int64_t saturated = reference->takeSaturated();
    onEveryTarget([&] {
      EXPECT_TRUE(packedBytes(*cpu, s) == expected) << describe(s);
      EXPECT_EQ(cpu->takeSaturated(), saturated) << describe(s);
    });
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(QuantizePortable, ConvertOnEveryInstructionSet) {
  const BackendPtr cpu = make(cpuBackendModule());
  Matrix wide(*cpu, 7, 1001), narrow(*cpu, 7, 1001, 3, DType::F16), back(*cpu, 7, 1001);
  std::mt19937 rng(10);
  for (Index r = 0; r < 7; ++r)
    for (Index c = 0; c < 1001; ++c) wide.at(r, c) = std::bit_cast<float>(static_cast<std::uint32_t>(rng()));
  onEveryTarget([&] {
    cpu->convert(Queue::Compute, wide, narrow);
    cpu->convert(Queue::Compute, narrow, back);
    for (Index r = 0; r < 7; ++r)
      for (Index c = 0; c < 1001; ++c) {
        const Half half = narrow.view().halfRow(r)[c];
        ASSERT_EQ(half, toHalf(wide.at(r, c)));
        ASSERT_EQ(std::bit_cast<std::uint32_t>(back.at(r, c)), std::bit_cast<std::uint32_t>(toFloat(half)));
      }
  });
}

} // namespace
} // namespace xqs::test

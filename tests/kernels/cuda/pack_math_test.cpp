// SPDX-License-Identifier: Apache-2.0
// The functions that the packing kernels are made of, run on the host over the kernels' own index space.
#include "pack_math.h"

#include "cpu_backends.h"
#include "packed_cases.h"
#include "support/packed_codes.h"

#include "backend.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <random>

using namespace xqs;
using namespace xqs::test;
namespace cuda = xqs::cuda;

namespace {

using ReferencePtr = std::unique_ptr<Backend, void (*)(Backend *)>;
ReferencePtr reference() {
  const XqsBackendModule *module = referenceBackendModule();
  return {module->create(1), module->destroy};
}

/// Quantizes and stores one octet of a token's row; returns how many of its values were not finite.
int packOctet(const cuda::PackShape &shape, const float *x, HostPacked &packed, Index token, Index octet) {
  std::uint64_t word = 0;
  int broken = 0;
  for (int i = 0; i < cuda::octetCodes(shape, octet); ++i) {
    const Index channel = octet * cuda::kOctet + i, s = cuda::scaleIndex(shape, token, channel);
    broken += cuda::isFinite(x[channel]) ? 0 : 1;
    const auto code = cuda::quantizeValue(x[channel], packed.scales[s], packed.zeros[s], shape.bits);
    word |= static_cast<std::uint64_t>(code) << (i * shape.bits);
  }
  cuda::storeOctet(shape, packed.codes.data() + token * shape.rowBytes, octet, word);
  return broken;
}

/// What scalesPerToken, scalesPerChannel and packKernel do, thread after thread. Returns the saturation count.
std::int64_t packOnHost(const std::vector<float> &x, HostPacked &packed) {
  const PackedCase &c = packed.shape;
  const cuda::PackShape shape = cuda::packShape(c.format, c.width);
  std::int64_t saturated = 0;
  const auto store = [&](Index at, cuda::Extremes e) {
    const cuda::ScaleZero result = cuda::scaleAndZero(e, shape.bits);
    packed.scales[at] = result.scale;
    packed.zeros[at] = result.zero;
    saturated += result.saturated;
  };
  const auto value = [&](Index token, Index channel) { return cuda::finite(x[token * c.width + channel]); };
  const auto merged = [](cuda::Extremes e, float v) { return cuda::merge({v, v}, e); }; // last first, as no loop would

  if (shape.perChannel) {
    for (Index first = 0; first < c.tokens; first += shape.group)
      for (Index channel = 0; channel < c.width; ++channel) {
        cuda::Extremes e = {value(first, channel), value(first, channel)};
        for (Index t = first; t < first + shape.group; ++t) e = merged(e, value(t, channel));
        store(cuda::scaleIndex(shape, first, channel), e);
      }
  } else {
    for (Index token = 0; token < c.tokens; ++token)
      for (Index g = 0; g < shape.groupsPerRow; ++g) {
        const cuda::ChannelRange range = cuda::groupChannels(shape, g);
        cuda::Extremes e = {value(token, range.begin), value(token, range.begin)};
        for (Index channel = range.begin; channel < range.end; ++channel) e = merged(e, value(token, channel));
        store(token * shape.groupsPerRow + g, e);
      }
  }
  for (Index token = 0; token < c.tokens; ++token)
    for (Index octet = 0; octet < shape.octetsPerRow; ++octet)
      saturated += packOctet(shape, &x[token * c.width], packed, token, octet);
  return saturated;
}

} // namespace

TEST(PackMath, OctetsWriteTheBitStreamAndNothingElse) {
  for (const int bits : {2, 3, 4, 8})
    for (Index width = 1; width <= 70; ++width) {
      const QuantFormat format{bits, 128, Axis::Token, 0};
      const cuda::PackShape shape = cuda::packShape(format, width);
      std::mt19937 random(static_cast<unsigned>(width));
      std::vector<std::uint32_t> codes(static_cast<std::size_t>(width));
      for (auto &code : codes) code = random() % (1u << bits);

      // Bit b of code c is bit c * bits + b of the row (core/api/packed.h).
      std::vector<std::byte> expected(static_cast<std::size_t>(shape.rowBytes) + 1, std::byte{0});
      for (Index c = 0; c < width; ++c)
        for (int b = 0; b < bits; ++b)
          if ((codes[c] >> b & 1u) != 0) expected[(c * bits + b) / 8] |= static_cast<std::byte>(1u << (c * bits + b) % 8);
      expected.back() = std::byte{0xee}; // a guard: the last octet must not reach beyond its row

      std::vector<std::byte> row(expected.size(), std::byte{0xee});
      for (Index octet = 0; octet < shape.octetsPerRow; ++octet) {
        std::uint64_t word = 0;
        for (int i = 0; i < cuda::octetCodes(shape, octet); ++i)
          word |= static_cast<std::uint64_t>(codes[octet * cuda::kOctet + i]) << (i * bits);
        cuda::storeOctet(shape, row.data(), octet, word);
      }
      ASSERT_EQ(row, expected) << bits << " bits, width " << width;
      const PackedView view{format, row.data(), nullptr, nullptr, 1, width};
      for (Index c = 0; c < width; ++c) ASSERT_EQ(codeAt(view, 0, c), codes[c]) << bits << " bits, code " << c;
    }
}

TEST(PackMath, GroupsTileTheRowAndIndexTheirScales) {
  for (const PackedCase &c : packedCases()) {
    if (c.format.axis != Axis::Token) continue;
    const cuda::PackShape shape = cuda::packShape(c.format, c.width);
    Index next = 0;
    for (Index g = 0; g < shape.groupsPerRow; ++g) {
      const cuda::ChannelRange range = cuda::groupChannels(shape, g);
      ASSERT_EQ(range.begin, next) << c << ", group " << g;
      ASSERT_GT(range.end, range.begin) << c << ", group " << g;
      ASSERT_LE(range.end - range.begin, c.format.group) << c;
      ASSERT_EQ(range.begin / shape.segment, (range.end - 1) / shape.segment) << c << ": a group crosses a segment";
      for (Index channel = range.begin; channel < range.end; ++channel)
        ASSERT_EQ(cuda::scaleIndex(shape, 2, channel), 2 * shape.groupsPerRow + g) << c << ", channel " << channel;
      next = range.end;
    }
    ASSERT_EQ(next, c.width) << c;
  }
}

TEST(PackMath, PacksAndUnpacksTheBitsOfTheReference) {
  const ReferencePtr backend = reference();
  unsigned seed = 0;
  for (const PackedCase &c : packedCases()) {
    const std::vector<float> x = awkwardValues(c.tokens, c.width, ++seed);
    HostPacked expected(c), packed(c);
    backend->quantize(Queue::Compute, {reinterpret_cast<const std::byte *>(x.data()), DType::F32, c.tokens, c.width},
                      expected.view(), 0);
    EXPECT_EQ(packOnHost(x, packed), backend->takeSaturated()) << c;
    ASSERT_EQ(packed.scales, expected.scales) << c;
    ASSERT_EQ(packed.zeros, expected.zeros) << c;
    ASSERT_EQ(packed.codes, expected.codes) << c;

    std::vector<float> rows(x.size());
    backend->dequantize(Queue::Compute, expected.view(), {0, c.tokens},
                        {reinterpret_cast<std::byte *>(rows.data()), DType::F32, c.tokens, c.width});
    const cuda::PackShape shape = cuda::packShape(c.format, c.width);
    for (Index token = 0; token < c.tokens; ++token)
      for (Index channel = 0; channel < c.width; ++channel) {
        const Index s = cuda::scaleIndex(shape, token, channel);
        const auto code = codeAt(packed.view(), token, channel);
        const float value = cuda::dequantizeValue(code, packed.scales[s], packed.zeros[s]);
        ASSERT_EQ(std::bit_cast<std::uint32_t>(value), std::bit_cast<std::uint32_t>(rows[token * c.width + channel]))
            << c << " at " << token << ", " << channel;
      }
  }
}

TEST(PackMath, HandComputedGroup) {
  // min -1, max 2, 2 bits: scale 1, zero -1; 0.5 and 1.5 above zero are ties and go to the even code.
  const std::vector<float> x = {-1.0f, -0.5f, 0.5f, 2.0f, 0.4f};
  HostPacked packed(PackedCase{{2, 128, Axis::Token, 0}, 1, 5});
  EXPECT_EQ(packOnHost(x, packed), 0);
  EXPECT_EQ(toFloat(packed.scales[0]), 1.0f);
  EXPECT_EQ(toFloat(packed.zeros[0]), -1.0f);
  EXPECT_EQ(packed.codes, (std::vector<std::byte>{std::byte{0b11'10'00'00}, std::byte{0b01}}));
}

/// Every FP16 step, values around every tie and anywhere.
TEST(PackMath, GroupCoderGivesTheCodesOfTheDivision) {
  std::mt19937 random(9);
  std::uniform_real_distribution<float> unit(-0.1f, 1.1f);
  for (unsigned step = 0; step < 0x7c00u; ++step)
    for (const int bits : {2, 4, 8}) {
      const auto scale = static_cast<Half>(step), zero = static_cast<Half>(random() % 0x7c00u | (random() % 2) << 15);
      const cuda::GroupCoder coder = cuda::groupCoder(scale, zero, bits);
      const float levels = static_cast<float>((1 << bits) - 1), size = toFloat(scale), from = toFloat(zero);
      const float tie = std::floor(unit(random) * levels) + 0.5f, exact = tie * size;
      for (const float x :
           {from + exact, std::nextafter(exact, 0.0f), exact, std::nextafter(exact, 1e30f),
            from + unit(random) * levels * size, std::ldexp(unit(random), static_cast<int>(random() % 250) - 125),
            std::numeric_limits<float>::max(), -std::numeric_limits<float>::infinity(), std::nanf("")})
        for (const Half z : {zero, Half{0}}) {
          const cuda::GroupCoder own = z == zero ? coder : cuda::groupCoder(scale, z, bits);
          // Values whose quotient is beyond FP32 cannot be in a group with this step.
          if (std::fabs(cuda::finite(x) - toFloat(z)) > 1e30f * size) continue;
          ASSERT_EQ(cuda::codeOf(x, own), cuda::quantizeValue(x, scale, z, bits))
              << x << ", step " << size << ", zero " << toFloat(z);
        }
    }
}

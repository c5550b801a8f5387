// SPDX-License-Identifier: Apache-2.0
#include "model/dequantize_blocks.h"

#include "half.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>

namespace xqs {
namespace {

const BlockType &type(const std::string &name) {
  for (const BlockType &t : blockTypes())
    if (name == t.name) return t;
  throw std::runtime_error("no type " + name);
}

std::vector<std::byte> fromHex(const std::string &hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::vector<float> rebuild(const std::string &name, const std::vector<std::byte> &block) {
  const BlockType &t = type(name);
  const Index blocks = static_cast<Index>(block.size()) / t.blockBytes;
  std::vector<float> out(static_cast<std::size_t>(blocks * t.blockElements));
  t.dequantize(block.data(), blocks, out.data());
  return out;
}

/// A block by hand: bytes are put where the format says, values come out of a formula over the element's index.
struct Block {
  std::vector<std::byte> bytes;
  explicit Block(const std::string &name) : bytes(static_cast<std::size_t>(type(name).blockBytes)) {}
  void half(std::size_t at, float value) {
    const Half h = toHalf(value);
    std::memcpy(bytes.data() + at, &h, 2);
  }
  void orAt(std::size_t at, int bits) { bytes[at] |= static_cast<std::byte>(bits); }
};

// Every golden vector: random blocks, bit for bit.
TEST(DequantizeBlocks, golden) {
  std::ifstream in(XQS_SOURCE_DIR "/tests/core/model/golden/dequantize_blocks.txt");
  ASSERT_TRUE(in) << "the golden file is missing";
  std::string name, hex, values;
  std::vector<std::string> seen;
  while (in >> std::ws && in.peek() == '#') std::getline(in, name);
  while (in >> name >> hex >> values) {
    const std::vector<float> got = rebuild(name, fromHex(hex));
    const std::vector<std::byte> want = fromHex(values);
    ASSERT_EQ(got.size() * sizeof(float), want.size()) << name;
    for (std::size_t i = 0; i < got.size(); ++i) {
      float expected;
      std::memcpy(&expected, want.data() + i * sizeof(float), sizeof(float));
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(expected))
          << name << " element " << i << ": " << got[i] << ", not " << expected;
    }
    if (seen.empty() || seen.back() != name) seen.push_back(name);
  }
  std::vector<std::string> all;
  for (const BlockType &t : blockTypes()) all.emplace_back(t.name);
  EXPECT_THAT(seen, testing::UnorderedElementsAreArray(all));
}

TEST(DequantizeBlocks, table) {
  for (const BlockType &t : blockTypes()) {
    EXPECT_EQ(findBlockType(t.id), &t) << t.name;
    EXPECT_EQ(blockTypeName(t.id), t.name);
    // Zero bytes are zero, apart from codes below 0 in units of a zero scale.
    for (const float x : rebuild(t.name, std::vector<std::byte>(static_cast<std::size_t>(t.blockBytes))))
      EXPECT_EQ(x, 0) << t.name;
  }
  EXPECT_EQ(findBlockType(20), nullptr);
  EXPECT_EQ(blockTypeName(20), "IQ4_NL");
  EXPECT_EQ(blockTypeName(77), "type 77");
}

TEST(DequantizeBlocks, plainTypes) {
  EXPECT_THAT(rebuild("F32", fromHex("0000803f000000c0")), testing::ElementsAre(1.0f, -2.0f));
  EXPECT_THAT(rebuild("F16", fromHex("003c00c00100")), testing::ElementsAre(1.0f, -2.0f, 0x1p-24f));
  EXPECT_THAT(rebuild("BF16", fromHex("803f00c0")), testing::ElementsAre(1.0f, -2.0f));
}

// Blocks of 32: code i is i (or i mod 16), scale 0.5, minimum -3.
TEST(DequantizeBlocks, blocksOf32) {
  for (const std::string name : {"Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"}) {
    const bool five = name[1] == '5', min = name[3] == '1';
    Block b(name);
    b.half(0, 0.5f);
    if (min) b.half(2, -3.0f);
    const std::size_t high = min ? 4 : 2, codes = five ? high + 4 : high;
    for (std::size_t i = 0; i < 32; ++i) {
      if (name == "Q8_0") {
        b.bytes[2 + i] = static_cast<std::byte>(static_cast<int>(i) - 16);
        continue;
      }
      b.orAt(codes + i % 16, static_cast<int>(i % 16) << (i < 16 ? 0 : 4));
      if (five && i >= 16) b.orAt(high + i / 8, 1 << i % 8);
    }
    const std::vector<float> got = rebuild(name, b.bytes);
    for (std::size_t i = 0; i < 32; ++i) {
      const float code = name == "Q8_0" ? static_cast<float>(i) - 16
                         : five         ? static_cast<float>(i) - (min ? 0.0f : 16.0f)
                                        : static_cast<float>(i % 16) - (min ? 0.0f : 8.0f);
      EXPECT_EQ(got[i], 0.5f * code + (min ? -3.0f : 0.0f)) << name << " element " << i;
    }
  }
}

// Super-blocks of 256: codes and scales that follow from the index, packed as the format describes it.
TEST(DequantizeBlocks, superBlocksOf256) {
  const auto code = [](std::size_t i, int bits) { return static_cast<int>((i * 7 + i / 32) % (1u << bits)); };
  const auto low2 = [](Block &b, std::size_t at, std::size_t i, int q) { // 128 codes in 32 bytes
    b.orAt(at + i / 128 * 32 + i % 32, (q & 3) << (i % 128 / 32 * 2));
  };
  const auto low4 = [](Block &b, std::size_t at, std::size_t i, int q) { // 64 codes in 32 bytes
    b.orAt(at + i / 64 * 32 + i % 32, (q & 15) << (i % 64 / 32 * 4));
  };
  { // Q2_K: scale j, minimum 15 - j of 16 codes
    Block b("Q2_K");
    b.half(80, 0.25f), b.half(82, 0.5f);
    for (std::size_t j = 0; j < 16; ++j) b.orAt(j, static_cast<int>(j | (15 - j) << 4));
    for (std::size_t i = 0; i < 256; ++i) low2(b, 16, i, code(i, 2));
    const auto got = rebuild("Q2_K", b.bytes);
    for (std::size_t i = 0; i < 256; ++i)
      EXPECT_EQ(got[i], 0.25f * static_cast<float>(i / 16) * static_cast<float>(code(i, 2)) -
                            0.5f * static_cast<float>(15 - i / 16));
  }
  { // Q3_K: scale 4 j - 32 of 16 codes
    Block b("Q3_K");
    b.half(108, 0.25f);
    for (std::size_t j = 0; j < 16; ++j) {
      const int scale = static_cast<int>(4 * j + 1);
      b.orAt(96 + j % 8, (scale & 15) << (j < 8 ? 0 : 4));
      b.orAt(104 + j % 4, (scale >> 4) << (j / 4 * 2));
    }
    for (std::size_t i = 0; i < 256; ++i) {
      low2(b, 32, i, code(i, 3));
      if (code(i, 3) & 4) b.orAt(i % 32, 1 << (i / 32));
    }
    const auto got = rebuild("Q3_K", b.bytes);
    for (std::size_t i = 0; i < 256; ++i)
      EXPECT_EQ(got[i],
                0.25f * static_cast<float>(4 * static_cast<int>(i / 16) + 1 - 32) * static_cast<float>(code(i, 3) - 4));
  }
  for (const std::string name : {"Q4_K", "Q5_K"}) { // scale 8 j + 3, minimum 63 - 8 j of 32 codes
    const int bits = name[1] - '0';
    Block b(name);
    b.half(0, 0.25f), b.half(2, 0.5f);
    for (std::size_t j = 0; j < 8; ++j) {
      const int scale = static_cast<int>(8 * j + 3), min = static_cast<int>(63 - 8 * j);
      if (j < 4) {
        b.orAt(4 + j, scale), b.orAt(8 + j, min);
      } else {
        b.orAt(8 + j, (scale & 15) | (min & 15) << 4);
        b.orAt(j, (scale >> 4) << 6), b.orAt(4 + j, (min >> 4) << 6);
      }
    }
    for (std::size_t i = 0; i < 256; ++i) {
      low4(b, bits == 5 ? 48 : 16, i, code(i, bits));
      if (bits == 5 && code(i, 5) & 16) b.orAt(16 + i % 32, 1 << (i / 32));
    }
    const auto got = rebuild(name, b.bytes);
    for (std::size_t i = 0; i < 256; ++i) {
      const float scale = 0.25f * static_cast<float>(8 * (i / 32) + 3), min = 0.5f * static_cast<float>(63 - 8 * (i / 32));
      EXPECT_EQ(got[i], scale * static_cast<float>(code(i, bits)) - min) << name << " element " << i;
    }
  }
  { // Q6_K: scale j - 8 of 16 codes
    Block b("Q6_K");
    b.half(208, 0.25f);
    for (std::size_t j = 0; j < 16; ++j) b.bytes[192 + j] = static_cast<std::byte>(static_cast<int>(j) - 8);
    for (std::size_t i = 0; i < 256; ++i) {
      // 128 codes: nibbles in 64 bytes, the first 64 low; upper bits as two-bit codes
      b.orAt(i / 128 * 64 + i % 64, (code(i, 6) & 15) << (i % 128 / 64 * 4));
      low2(b, 128, i, code(i, 6) >> 4);
    }
    const auto got = rebuild("Q6_K", b.bytes);
    for (std::size_t i = 0; i < 256; ++i)
      EXPECT_EQ(got[i], 0.25f * static_cast<float>(static_cast<int>(i / 16) - 8) * static_cast<float>(code(i, 6) - 32));
  }
}

} // namespace
} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
// Block layouts: ggml, docs/gguf.md and ggml-quants.h. Notation: d = scale, m = minimum, both FP16 in the file; q = code;
// sc = scale of a sub-block. Bytes of a block are listed in file order.
#include "dequantize_blocks.h"

#include "half.h"

#include <bit>
#include <cstring>

namespace xqs {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF blocks are read in place, little-endian");

template <typename T> T load(const std::byte *p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}
float half(const std::byte *p) { return toFloat(load<Half>(p)); }
int low(std::byte b) { return std::to_integer<int>(b) & 15; }
int high(std::byte b) { return std::to_integer<int>(b) >> 4; }
int twoBits(std::byte b, int shift) { return (std::to_integer<int>(b) >> shift) & 3; }
int signedByte(std::byte b) { return static_cast<std::int8_t>(b); }

void f32(const std::byte *src, Index blocks, float *out) { std::memcpy(out, src, static_cast<std::size_t>(blocks) * 4); }

void f16(const std::byte *src, Index blocks, float *out) {
  for (Index i = 0; i < blocks; ++i) out[i] = half(src + 2 * i);
}

void bf16(const std::byte *src, Index blocks, float *out) {
  for (Index i = 0; i < blocks; ++i)
    out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(load<std::uint16_t>(src + 2 * i)) << 16);
}

// d, 32 signed bytes. x = d q.
void q8_0(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 34, out += 32) {
    const float d = half(src);
    for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(signedByte(src[2 + j]));
  }
}

// d, 16 bytes: byte j holds code j (low) and code j + 16 (high). x = d (q - 8).
void q4_0(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 18, out += 32) {
    const float d = half(src);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(low(src[2 + j]) - 8);
      out[j + 16] = d * static_cast<float>(high(src[2 + j]) - 8);
    }
  }
}

// d, m, 16 bytes as in Q4_0. x = d q + m.
void q4_1(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 20, out += 32) {
    const float d = half(src), m = half(src + 2);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(low(src[4 + j])) + m;
      out[j + 16] = d * static_cast<float>(high(src[4 + j])) + m;
    }
  }
}

// Fifth bits: bit j of a 32-bit word belongs to code j.
int fifth(std::uint32_t bits, int j) { return static_cast<int>((bits >> j) & 1u) << 4; }

// d, 32 fifth bits, 16 bytes as in Q4_0. x = d (q - 16).
void q5_0(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 22, out += 32) {
    const float d = half(src);
    const auto bits = load<std::uint32_t>(src + 2);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>((low(src[6 + j]) | fifth(bits, j)) - 16);
      out[j + 16] = d * static_cast<float>((high(src[6 + j]) | fifth(bits, j + 16)) - 16);
    }
  }
}

// d, m, 32 fifth bits, 16 bytes as in Q4_0. x = d q + m.
void q5_1(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 24, out += 32) {
    const float d = half(src), m = half(src + 2);
    const auto bits = load<std::uint32_t>(src + 4);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * static_cast<float>(low(src[8 + j]) | fifth(bits, j)) + m;
      out[j + 16] = d * static_cast<float>(high(src[8 + j]) | fifth(bits, j + 16)) + m;
    }
  }
}

// The K types: super-blocks of 256. Two-bit codes (Q2_K, Q3_K): 32 bytes hold 128 codes, code 32 s + l in bits [2s, 2s + 2)
// of byte l.

// 16 bytes scales (low nibble: scale, high nibble: minimum; one a 16 codes), 64 bytes codes, d, m.
// x = (d sc) q - (m mn).
void q2_K(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 84, out += 256) {
    const std::byte *scales = src, *codes = src + 16;
    const float d = half(src + 80), m = half(src + 82);
    for (int i = 0; i < 256; ++i) {
      const std::byte s = scales[i / 16];
      const int q = twoBits(codes[i / 128 * 32 + i % 32], i % 128 / 32 * 2);
      out[i] = d * static_cast<float>(low(s)) * static_cast<float>(q) - m * static_cast<float>(high(s));
    }
  }
}

// 32 bytes third bits (bit i / 32 of byte i % 32), 64 bytes two-bit codes, 12 bytes of sixteen 6-bit scales, d.
// Scale i: low nibbles of bytes 0..7, then their high nibbles; its upper two bits are bits [2 (i / 4), ..) of byte 8 + i
// % 4. x = d (sc - 32) (q - 4), q = two bits plus 4 where the third bit is set.
void q3_K(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 110, out += 256) {
    const std::byte *third = src, *codes = src + 32, *scales = src + 96;
    const float d = half(src + 108);
    float scale[16];
    for (int i = 0; i < 16; ++i) {
      const int nibble = i < 8 ? low(scales[i]) : high(scales[i - 8]);
      scale[i] = d * static_cast<float>((nibble | twoBits(scales[8 + i % 4], i / 4 * 2) << 4) - 32);
    }
    for (int i = 0; i < 256; ++i) {
      const int bit = (std::to_integer<int>(third[i % 32]) >> (i / 32)) & 1;
      const int q = twoBits(codes[i / 128 * 32 + i % 32], i % 128 / 32 * 2) + 4 * bit - 4;
      out[i] = scale[i / 16] * static_cast<float>(q);
    }
  }
}

// Q4_K and Q5_K: 12 bytes hold eight 6-bit scales and eight 6-bit minimums, one pair a 32 codes. Pairs 0..3: low six bits of
// bytes j and j + 4. Pairs 4..7: nibbles of byte j + 4, with the upper two bits of bytes j - 4 and j.
struct ScaleMin {
  float scale, min;
};
ScaleMin scaleMin(const std::byte *packed, int j) {
  const auto at = [&](int i) { return std::to_integer<int>(packed[i]); };
  if (j < 4) return {static_cast<float>(at(j) & 63), static_cast<float>(at(j + 4) & 63)};
  return {static_cast<float>((at(j + 4) & 15) | at(j - 4) >> 6 << 4), static_cast<float>(at(j + 4) >> 4 | at(j) >> 6 << 4)};
}

// d, m, 12 bytes scales and minimums, 128 bytes codes: byte 32 c + l holds code 64 c + l (low) and 64 c + 32 + l (high).
// x = (d sc) q - (m mn).
void q4_K(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 144, out += 256) {
    const float d = half(src), m = half(src + 2);
    for (int j = 0; j < 8; ++j) {
      const ScaleMin s = scaleMin(src + 4, j);
      const float scale = d * s.scale, min = m * s.min;
      const std::byte *codes = src + 16 + j / 2 * 32;
      for (int l = 0; l < 32; ++l)
        out[32 * j + l] = scale * static_cast<float>(j % 2 == 0 ? low(codes[l]) : high(codes[l])) - min;
    }
  }
}

// As Q4_K, with 32 bytes of fifth bits before the codes: bit j of byte l belongs to code 32 j + l.
void q5_K(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 176, out += 256) {
    const float d = half(src), m = half(src + 2);
    const std::byte *bits = src + 16;
    for (int j = 0; j < 8; ++j) {
      const ScaleMin s = scaleMin(src + 4, j);
      const float scale = d * s.scale, min = m * s.min;
      const std::byte *codes = src + 48 + j / 2 * 32;
      for (int l = 0; l < 32; ++l) {
        const int q = (j % 2 == 0 ? low(codes[l]) : high(codes[l])) | fifth(std::to_integer<std::uint32_t>(bits[l]), j);
        out[32 * j + l] = scale * static_cast<float>(q) - min;
      }
    }
  }
}

// 128 bytes low nibbles, 64 bytes upper two bits, 16 signed scales (one a 16 codes), d. In each half of 128 codes, code
// 32 s + l: nibble s / 2 (0 low, 1 high) of byte 32 (s % 2) + l, upper bits [2s, 2s + 2) of byte l. x = (d sc) (q - 32).
void q6_K(const std::byte *src, Index blocks, float *out) {
  for (; blocks > 0; --blocks, src += 210, out += 256) {
    const float d = half(src + 208);
    for (int i = 0; i < 256; ++i) {
      const int part = i / 128, s = i % 128 / 32, l = i % 32;
      const std::byte b = src[part * 64 + s % 2 * 32 + l];
      const int q = (s < 2 ? low(b) : high(b)) | twoBits(src[128 + part * 32 + l], 2 * s) << 4;
      out[i] = d * static_cast<float>(signedByte(src[192 + i / 16])) * static_cast<float>(q - 32);
    }
  }
}

constexpr BlockType kBlockTypes[] = {
    {"F32", 0, 1, 4, f32},        {"F16", 1, 1, 2, f16},        {"BF16", 30, 1, 2, bf16},     {"Q8_0", 8, 32, 34, q8_0},
    {"Q4_0", 2, 32, 18, q4_0},    {"Q4_1", 3, 32, 20, q4_1},    {"Q5_0", 6, 32, 22, q5_0},    {"Q5_1", 7, 32, 24, q5_1},
    {"Q2_K", 10, 256, 84, q2_K},  {"Q3_K", 11, 256, 110, q3_K}, {"Q4_K", 12, 256, 144, q4_K}, {"Q5_K", 13, 256, 176, q5_K},
    {"Q6_K", 14, 256, 210, q6_K},
};

/// Types that exist and are not read: a message should name them.
constexpr struct {
  std::uint32_t id;
  const char *name;
} kOtherTypes[] = {
    {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"},
    {21, "IQ3_S"}, {22, "IQ2_S"}, {23, "IQ4_XS"},  {24, "I8"},     {25, "I16"},     {26, "I32"},   {27, "I64"},
    {28, "F64"},   {29, "IQ1_M"}, {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"},
};

} // namespace

std::span<const BlockType> blockTypes() { return kBlockTypes; }

const BlockType *findBlockType(std::uint32_t id) {
  for (const BlockType &type : kBlockTypes)
    if (type.id == id) return &type;
  return nullptr;
}

std::string blockTypeName(std::uint32_t id) {
  if (const BlockType *type = findBlockType(id)) return type->name;
  for (const auto &other : kOtherTypes)
    if (other.id == id) return other.name;
  return "type " + std::to_string(id);
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

// Device: one token's stored row, whatever it is made of, as single values or as slices of 64 FP16 channels.

#include "launch.h"
#include "ptx.h"
#include "stored.h"

namespace xqs::cuda {

/// Where the channels of one token lie: `outliers` FP16 values, then the body.
struct TokenRow {
  const std::byte *body = nullptr;
  const Half *scales = nullptr, *zeros = nullptr; ///< of the token, or of its group of tokens
  const Half *outliers = nullptr;
  Body kind = Body::None;
};

__device__ inline const StoredBlock *tableOf(const StoredRows &rows) {
  return rows.blocks <= StoredRows::kFewBlocks ? rows.few : rows.more;
}

/// None beyond the last token.
__device__ inline TokenRow tokenRow(const StoredRows &rows, int token) {
  TokenRow row;
  if (token >= rows.tokens) return row;
  if (token < rows.sinkRows) { // FP16, all channels
    row.outliers = rows.sinks + static_cast<Index>(token) * rows.sinkStride;
    row.body = reinterpret_cast<const std::byte *>(row.outliers + rows.outliers);
    row.kind = Body::F16;
    return row;
  }
  const StoredBlock *table = tableOf(rows);
  const StoredBlock &b = table[blockOf(table, rows.blocks, token)];
  const int local = token - b.first;
  row.kind = b.kind;
  row.body = b.body + static_cast<Index>(local) * b.bodyStride;
  row.outliers = b.outliers + static_cast<Index>(local) * b.outlierStride;
  if (b.kind == Body::Codes) {
    const Index at = rows.perChannel ? static_cast<Index>(local / rows.group) * (rows.width - rows.outliers)
                                     : static_cast<Index>(local) * rows.groupsPerRow;
    row.scales = b.scales + at;
    row.zeros = b.zeros + at;
  }
  return row;
}

__device__ inline int codeBytes(const StoredRows &rows) { return ((rows.width - rows.outliers) * rows.bits + 7) / 8; }

/// Code `channel` of a row of codes.
__device__ inline std::uint32_t readCode(const std::byte *row, int channel, int bits) {
  const int bit = channel * bits, shift = bit % 8;
  std::uint32_t word = static_cast<std::uint32_t>(row[bit / 8]);
  if (shift + bits > 8) word |= static_cast<std::uint32_t>(row[bit / 8 + 1]) << 8;
  return (word >> shift) & ((1u << bits) - 1u);
}

/// Group of channel `c` of the body where scales are per token.
__device__ inline int groupOf(const StoredRows &rows, int c) {
  const int segment = c / rows.segment;
  return segment * rows.groupsPerSegment + (c - segment * rows.segment) / rows.group;
}

/// Channel `channel` of a row, as `Backend::dequantize` gives it.
__device__ inline float valueOf(const StoredRows &rows, const TokenRow &row, int channel) {
  if (row.kind == Body::None) return 0;
  if (channel < rows.outliers) return widen(row.outliers[channel]);
  const int c = channel - rows.outliers;
  if (row.kind == Body::F16) return widen(reinterpret_cast<const Half *>(row.body)[c]);
  if (row.kind == Body::F32) return reinterpret_cast<const float *>(row.body)[c];
  const int s = rows.perChannel ? c : groupOf(rows, c);
  return dequantizeValue(readCode(row.body, c, rows.bits), row.scales[s], row.zeros[s]);
}

/// Channels [channel, channel + 8) of a row; not beyond its width, `channel` a multiple of 8.
__device__ inline void octetOf(const StoredRows &rows, const TokenRow &row, int channel, float (&value)[kOctet]) {
  const int c = channel - rows.outliers;
  const bool inBody = c >= 0 && rows.outliers % kOctet == 0;
  if (inBody && row.kind == Body::F16) {
    const Half *from = reinterpret_cast<const Half *>(row.body) + c;
    if (reinterpret_cast<std::uintptr_t>(from) % 16 == 0) {
      const uint4 four = *reinterpret_cast<const uint4 *>(from);
      const Half2 pair[4] = {four.x, four.y, four.z, four.w};
      for (int i = 0; i < kOctet; ++i) value[i] = widen(static_cast<Half>(pair[i / 2] >> (16 * (i % 2))));
      return;
    }
  }
  if (inBody && row.kind == Body::Codes && (rows.perChannel || (rows.group % kOctet == 0 && rows.segment % kOctet == 0))) {
    const std::byte *from = row.body + c / kOctet * rows.bits;
    std::uint64_t codes = 0;
    for (int i = 0; i < rows.bits; ++i) codes |= static_cast<std::uint64_t>(from[i]) << (8 * i);
    const int first = rows.perChannel ? c : groupOf(rows, c), step = rows.perChannel ? 1 : 0;
    for (int i = 0; i < kOctet; ++i) {
      const auto code = static_cast<std::uint32_t>(codes >> (i * rows.bits)) & ((1u << rows.bits) - 1u);
      value[i] = dequantizeValue(code, row.scales[first + i * step], row.zeros[first + i * step]);
    }
    return;
  }
  for (int i = 0; i < kOctet; ++i) value[i] = valueOf(rows, row, channel + i);
}

/// The low 32 bits of (high, low) >> shift, shift < 32.
__device__ inline std::uint32_t funnel(std::uint32_t low, std::uint32_t high, int shift) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(high) << 32 | low) >> shift);
}

constexpr std::uint32_t kMagic = 0x64006400u; ///< 1024 in both halves: a small integer put in its low bits is added to it

/// Codes 8 j .. 8 j + 7 of a slice as FP16 integers; pair i has codes 2 i and 2 i + 1.
template <int kBits> __device__ inline void unpackOctet(const std::uint32_t *raw, int j, Half2 (&pair)[4]) {
  if constexpr (kBits == 2) {
    const std::uint32_t word = raw[j / 2] >> (16 * (j % 2));
    const std::uint32_t spread = (word & 0x3333u) | (word & 0xccccu) << 14; // even codes low, odd codes high
    for (int i = 0; i < 4; ++i) pair[i] = andOr(spread >> (4 * i), 0x00030003u, kMagic);
  } else if constexpr (kBits == 4) {
    const std::uint32_t even = raw[j] & 0x0f0f0f0fu, odd = (raw[j] >> 4) & 0x0f0f0f0fu;
    const std::uint32_t low = (even & 0xffffu) | odd << 16, high = even >> 16 | (odd & 0xffff0000u);
    pair[0] = andOr(low, 0x000f000fu, kMagic), pair[1] = andOr(low >> 8, 0x000f000fu, kMagic);
    pair[2] = andOr(high, 0x000f000fu, kMagic), pair[3] = andOr(high >> 8, 0x000f000fu, kMagic);
  } else if constexpr (kBits == 8) {
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t two = raw[2 * j + i / 2] >> (16 * (i % 2));
      pair[i] = (two & 0xffu) | (two & 0xff00u) << 8 | kMagic;
    }
  } else {
    const int bit = 24 * j, word = bit / 32;
    const std::uint32_t codes = funnel(raw[word], bit % 32 > 8 ? raw[word + 1] : 0u, bit % 32);
    for (int i = 0; i < 4; ++i) pair[i] = ((codes >> (6 * i)) & 7u) | ((codes >> (6 * i + 3)) & 7u) << 16 | kMagic;
  }
  for (int i = 0; i < 4; ++i) pair[i] = subtractHalf2(pair[i], kMagic);
}

constexpr int kSlice = 64; ///< channels of a row that a thread holds at a time

/// One token's row in slices of 64 channels, ascending from channel 0. `load` fetches the codes of a slice, `unpack` turns
/// them into FP16: fp16(code * scale + zero) rounded once, FP32 rows rounded. The order of the calls is load, unpack, load,
/// unpack ...; between the two the codes are on their way.
template <int kBits> class SliceLoader {
public:
  __device__ SliceLoader(const StoredRows &rows, int token)
      : m_rows(rows), m_row(tokenRow(rows, token)), m_groupEnd(rows.outliers), m_segmentEnd(rows.outliers) {
    if (rows.perChannel) m_groupEnd = rows.width;
  }

  __device__ void load(int channel) {
    if constexpr (kBits < 16) {
      if (m_row.kind != Body::Codes || channel >= m_rows.width) return;
      if (!m_rows.perChannel) enterGroup(channel > m_rows.outliers ? channel : m_rows.outliers);
      const int bit = (channel - m_rows.outliers) * kBits; // below 0 where FP16 channels come first
      const int bytes = codeBytes(m_rows);
      const std::byte *at = m_row.body + (bit >> 3);
      const auto address = reinterpret_cast<std::uintptr_t>(at);
      if (bit >= 0 && (bit >> 3) + 8 * kBits <= bytes && address % 16 == 0 && bit % 8 == 0 && kBits % 2 == 0) {
        for (int i = 0; i < kWords / 4; ++i) {
          const uint4 four = reinterpret_cast<const uint4 *>(at)[i];
          m_raw[4 * i] = four.x, m_raw[4 * i + 1] = four.y, m_raw[4 * i + 2] = four.z, m_raw[4 * i + 3] = four.w;
        }
        return;
      }
      // Words that hold a byte of the row, shifted into place.
      const int shift = static_cast<int>(address % 4) * 8 + (bit & 7);
      const int begin = (bit >> 3) - static_cast<int>(address % 4);
      const std::byte *words = m_row.body + begin;
      const auto word = [&](int i) {
        const int byte = begin + 4 * i;
        return byte + 3 >= 0 && byte < bytes ? reinterpret_cast<const std::uint32_t *>(words)[i] : 0u;
      };
      std::uint32_t low = word(0);
#pragma unroll
      for (int i = 0; i < kWords; ++i) {
        const std::uint32_t high = word(i + 1);
        m_raw[i] = funnel(low, high, shift);
        low = high;
      }
    }
  }

  /// put(j, uint4): channels 8 j .. 8 j + 7 of the slice; 0 beyond the width and for tokens that are not there.
  template <typename Put> __device__ void unpack(int channel, const Put &put) {
    const bool oneGroup = !m_rows.perChannel && channel >= m_rows.outliers && channel + kSlice <= m_groupEnd;
    if (kBits == 16 || m_row.kind != Body::Codes || !oneGroup) return unpackMixed(channel, put);
    if constexpr (kBits < 16) {
#pragma unroll
      for (int j = 0; j < kSlice / kOctet; ++j) {
        Half2 pair[4];
        unpackOctet<kBits>(m_raw, j, pair);
        for (int i = 0; i < 4; ++i) pair[i] = fmaHalf2(pair[i], m_scale, m_zero);
        put(j, make_uint4(pair[0], pair[1], pair[2], pair[3]));
      }
    }
  }

private:
  static constexpr int kWords = kBits < 16 ? 2 * kBits : 1; ///< of 64 codes

  /// Octet by octet; those that are cut (by the FP16 channels, a group, the width) come last, value by value, in one rolled
  /// loop.
  template <typename Put> __device__ void unpackMixed(int channel, const Put &put) {
    unsigned cut = 0;
#pragma unroll
    for (int j = 0; j < kSlice / kOctet; ++j) {
      Half2 pair[4] = {};
      if (octet(channel + j * kOctet, j, pair))
        put(j, make_uint4(pair[0], pair[1], pair[2], pair[3]));
      else
        cut |= 1u << j;
    }
#pragma unroll 1
    for (int j = 0; cut != 0; ++j, cut >>= 1) {
      if ((cut & 1u) == 0) continue;
      std::uint64_t low = 0, high = 0;
#pragma unroll 1
      for (int i = 0; i < kOctet; ++i) {
        const int c = channel + j * kOctet + i;
        const Half value = c < m_rows.width ? narrow(valueOf(m_rows, m_row, c)) : Half{0};
        low = low >> 16 | high << 48, high = high >> 16 | static_cast<std::uint64_t>(value) << 48;
      }
      put(j, make_uint4(static_cast<unsigned>(low), static_cast<unsigned>(low >> 32), static_cast<unsigned>(high),
                        static_cast<unsigned>(high >> 32)));
    }
  }

  /// Moves to the group of `channel`, at or behind the present one.
  __device__ void enterGroup(int channel) {
    while (channel >= m_groupEnd && m_groupEnd < m_rows.width) {
      if (m_groupEnd == m_segmentEnd) m_segmentEnd += m_rows.segment;
      m_groupEnd += m_rows.group;
      if (m_groupEnd > m_segmentEnd) m_groupEnd = m_segmentEnd;
      if (m_groupEnd > m_rows.width) m_groupEnd = m_rows.width;
      ++m_group;
      if (channel < m_groupEnd) m_scale = twice(m_row.scales[m_group]), m_zero = twice(m_row.zeros[m_group]);
    }
  }
  __device__ static Half2 twice(Half h) { return pairOf(h, h); }

  /// False where the octet is cut or its row is not aligned.
  __device__ bool octet(int channel, int j, Half2 (&pair)[4]) {
    if (m_row.kind == Body::None || channel >= m_rows.width) return true;
    if (channel < m_rows.outliers || channel + kOctet > m_rows.width) return false;
    if constexpr (kBits < 16)
      if (m_row.kind == Body::Codes) {
        if (!m_rows.perChannel) enterGroup(channel);
        if (channel + kOctet > m_groupEnd) return false;
        unpackOctet<kBits>(m_raw, j, pair);
        const int c = channel - m_rows.outliers;
        for (int i = 0; i < 4; ++i)
          pair[i] = m_rows.perChannel ? fmaHalf2(pair[i], pairOf(m_row.scales[c + 2 * i], m_row.scales[c + 2 * i + 1]),
                                                 pairOf(m_row.zeros[c + 2 * i], m_row.zeros[c + 2 * i + 1]))
                                      : fmaHalf2(pair[i], m_scale, m_zero);
        return true;
      }
    const std::byte *from = m_row.body + (channel - m_rows.outliers) * 2;
    if (m_row.kind != Body::F16 || reinterpret_cast<std::uintptr_t>(from) % 16 != 0) return false;
    const uint4 four = *reinterpret_cast<const uint4 *>(from);
    pair[0] = four.x, pair[1] = four.y, pair[2] = four.z, pair[3] = four.w;
    return true;
  }

  const StoredRows &m_rows;
  TokenRow m_row;
  std::uint32_t m_raw[kWords] = {};
  int m_groupEnd, m_segmentEnd, m_group = -1; ///< channels of the row; per token only
  Half2 m_scale = 0, m_zero = 0;
};

/// Shared scores [heads, kTileTokens] of `count` tokens to weights exp(score - maximum) and {maximum, sum}; 0 beyond. A warp
/// takes a head at a time. Sums in one fixed order.
__device__ inline void tileSoftmax(const Decode &d, const float *scores, int heads, int firstHead, int tile) {
  constexpr int kEach = kTileTokens / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, left = d.tokens - tile * kTileTokens;
  for (int h = static_cast<int>(threadIdx.x) / kWarp; h < heads; h += static_cast<int>(blockDim.x) / kWarp) {
    float value[kEach], max = -INFINITY, sum = 0;
    for (int i = 0; i < kEach; ++i) {
      value[i] = scores[h * kTileTokens + i * kWarp + lane];
      if (i * kWarp + lane < left) max = fmaxf(max, value[i]);
    }
    max = warpMax(max);
    float *to = d.weights + (static_cast<Index>(firstHead + h) * d.tiles + tile) * kTileTokens;
    for (int i = 0; i < kEach; ++i) {
      const float weight = i * kWarp + lane < left ? expf(value[i] - max) : 0.0f;
      to[i * kWarp + lane] = weight;
      sum += weight;
    }
    sum = warpSum(sum);
    if (lane == 0) d.stats[static_cast<Index>(firstHead + h) * d.tiles + tile] = {max, sum};
  }
}

/// Maximum over the tiles of a split.
__device__ inline float splitMax(const Decode &d, int head, int split) {
  float max = -INFINITY;
  const int end = (split + 1) * d.tilesPerSplit;
  for (int tile = split * d.tilesPerSplit; tile < end && tile < d.tiles; ++tile)
    max = fmaxf(max, d.stats[static_cast<Index>(head) * d.tiles + tile].x);
  return max;
}

} // namespace xqs::cuda

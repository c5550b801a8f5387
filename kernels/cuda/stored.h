// SPDX-License-Identifier: Apache-2.0
#pragma once

// Attention of one query, and rebuilt rows, from K and V as the cache stores them (StoredSide): what the kernels see and
// their launches. Tokens are cut into tiles of kTileTokens by their index, whatever blocks they lie in; all sums are in an
// order that depends on the shape alone.
//
// What is rounded where, besides FP32 sums:
//   rows through a map         x^ to FP16, once, from code * scale + zero; an FP32 map to FP16. Beyond +-65504: infinite
//   rows without a map         nothing where they go through a tile in shared memory
//   scores, streamed           q, times scales per channel, to two FP16 parts (22 bits); codes and FP16 rows are exact
//   weights, streamed          times scales per token, to two FP16 parts; one where a block has more than 8 query heads

#include "pack_math.h"

#include <cuda_runtime.h>

namespace xqs::cuda {

constexpr int kTileTokens = 128;
constexpr int kTileColumns = 128; ///< channels of K or V that a block makes at a time
constexpr int kMaxPairs = 128;    ///< of a rotated head

enum class Body : std::int32_t { Codes, F16, F32, None };

/// Some tokens of a side behind each other. Pointers are those of the first token.
struct StoredBlock {
  const std::byte *body;
  const Half *scales, *zeros; ///< of codes
  const Half *outliers;
  std::int32_t first;         ///< token
  std::int32_t bodyStride;    ///< bytes from row to row
  std::int32_t outlierStride; ///< values from row to row
  Body kind;
};

/// A side's rows [tokens, width] as kernels read them; a parameter by value. Tables of more than kFewBlocks blocks lie in
/// device memory, written there by `storeTable`.
struct StoredRows {
  static constexpr int kFewBlocks = 64;
  int tokens, width, outliers, sinkRows, sinkStride;
  int bits; ///< of codes; 16: no block is packed
  int group, segment, groupsPerSegment, groupsPerRow;
  bool perChannel;
  int blocks;
  const Half *sinks;
  const StoredBlock *more;
  StoredBlock few[kFewBlocks];
};

/// Block of a table that holds `token`.
XQS_HD inline int blockOf(const StoredBlock *table, int blocks, int token) {
  int low = 0, high = blocks - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table[middle].first <= token)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

/// The block that has all of tokens [begin, end) in the form that the streaming kernels read: rows of the side's own kind,
/// aligned to 16 bytes, no sinks, one group of tokens where scales are per channel. -1: there is none. `table`: rows.few or
/// rows.more, on the host its copy.
XQS_HD inline int streamedBlock(const StoredRows &rows, const StoredBlock *table, int begin, int end) {
  if (begin < rows.sinkRows) return -1;
  const int index = blockOf(table, rows.blocks, begin);
  const StoredBlock &b = table[index];
  if (index + 1 < rows.blocks && table[index + 1].first < end) return -1;
  if (b.kind != (rows.bits == 16 ? Body::F16 : Body::Codes)) return -1;
  if (rows.perChannel && (begin - b.first) / rows.group != (end - 1 - b.first) / rows.group) return -1;
  return reinterpret_cast<std::uintptr_t>(b.body) % 16 == 0 && b.bodyStride % 16 == 0 ? index : -1;
}

/// K or V from stored rows: row map^T + bias, rotated.
struct StoredImage {
  StoredRows rows;
  const Half *map;   ///< [heads * dh, width], rows aligned to 16 bytes; null: the row itself
  const float *bias; ///< [heads * dh]; null: none
  int mapStride;
  int heads, dh;
  int pairs; ///< dh / 2 where rotated, else 0
  double frequency[kMaxPairs];
};

/// Softmax over tokens in two levels. A tile's weights are exp(score - maximum of the tile); {maximum, sum of weights} stand
/// beside. What weighs values multiplies by exp(maximum of the tile - maximum of its split), `combine` by
/// exp(maximum of the split - maximum of all) and divides by the sum.
struct Decode {
  const float *q; ///< [H * dh]
  int queryHeads; ///< H
  float scale;
  int tokens, tiles;
  float *weights; ///< [H, tiles * kTileTokens]
  float2 *stats;  ///< [H, tiles]
  int dv, splits, tilesPerSplit;
  float *partials; ///< [slots, H, dv]: sums of weights times values of a split; those of the streaming kernel first
  float *out;      ///< [H * dv]
};

/// Writes a table of blocks to device memory, from kernel parameters.
void storeTable(cudaStream_t stream, const StoredBlock *blocks, int count, StoredBlock *table);

/// Tiles, or splits, [first, first + count). `mixed`: tiles that the streaming kernels take are left out.
struct Part {
  int first, count;
  bool mixed;
};
// Any form; values without a map.
void tileScores(cudaStream_t stream, const StoredImage &k, const Decode &decode, Part tiles);
void tileValues(cudaStream_t stream, const StoredImage &v, const Decode &decode, Part splits, int firstSlot);
/// Tokens [first, first + count) to out [count, heads * dh], fp32 or fp16.
void tileRows(cudaStream_t stream, const StoredImage &image, int first, int count, std::byte *out, Index outStride,
              bool outHalf);
/// Bytes of shared memory of `tileScores`.
Index tileScoresShared(const StoredImage &k, int queryHeads);

// Streaming: rows without a map, straight from memory to tensor cores.
bool canStreamScores(const StoredImage &k, int queryHeads);
bool canStreamValues(const StoredImage &v);
void streamScores(cudaStream_t stream, const StoredImage &k, const Decode &decode);
void streamValues(cudaStream_t stream, const StoredImage &v, const Decode &decode);
/// Query heads that a block of streamValues takes.
int streamedHeads(int headsPerGroup);

/// out[h, :] from partial sums: slot i of split i, of the first `streamed`; behind them those of the splits `tiled`.
void combine(cudaStream_t stream, const Decode &decode, int streamed, Part tiled);

} // namespace xqs::cuda

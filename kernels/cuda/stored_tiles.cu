// SPDX-License-Identifier: Apache-2.0
// K or V of a tile of 128 tokens and up to 128 channels in shared memory, FP32, made from stored rows of any form: for
// scores of the query's heads, for rows in memory, and, without a map, for sums of weighted values. K or V through a map is
// a product of the dequantized tile with the map on tensor cores; nothing but codes, map and result goes through memory.
#include "stored_rows.h"

#include "rotation.h"

namespace xqs::cuda {
namespace {

constexpr int kBlock = 128;                ///< threads: one a token where rows are unpacked
constexpr int kPitch = kTileColumns + 4;   ///< floats: 16-byte rows in different banks
constexpr int kSliceHalves = 128 * kSlice; ///< of one operand's slice
constexpr int kTileBytes = kTileTokens * kPitch * 4;
static_assert(4 * kSliceHalves * 2 <= kTileBytes); // two stages of both operands lie where the tile comes to lie
constexpr int kDirect = 0;                         ///< instead of bits: no map
constexpr int kHeadsAtOnce = 8;                    ///< query heads that a thread weighs a channel of values for

/// How columns [0, heads * dh) are cut: whole heads of up to 128 channels in all, or pieces of a head.
struct ColumnTiles {
  int heads;  ///< in a tile; 1 where a tile is a piece of one
  int pieces; ///< of a head
  int count;
};
ColumnTiles columnTiles(int heads, int dh) {
  const int fit = dh < kTileColumns ? kTileColumns / dh : 1;
  ColumnTiles c{fit < heads ? fit : heads, (dh + kTileColumns - 1) / kTileColumns, 0};
  c.count = (heads + c.heads - 1) / c.heads * c.pieces;
  return c;
}

struct TileArgs {
  StoredImage image;
  Decode decode;
  ColumnTiles columns;
  Part part;        ///< tiles, or splits
  int first, count; ///< tokens of tileRows
  int firstSlot, groups;
  std::byte *out; ///< null: scores
  Index outStride;
  bool outHalf;
};

struct Columns {
  int head, heads; ///< KV heads that the tile has (a part of)
  int first, count;
};
__device__ Columns columnsOf(const TileArgs &a, int index) {
  const int head = index / a.columns.pieces * a.columns.heads, piece = index % a.columns.pieces;
  const int left = a.image.heads - head;
  Columns c{head, left < a.columns.heads ? left : a.columns.heads, head * a.image.dh + piece * kTileColumns, 0};
  const int end = (head + c.heads) * a.image.dh;
  c.count = end - c.first < kTileColumns ? end - c.first : kTileColumns;
  return c;
}

// Making the tile ---------------------------------------------------------------------------------------------------------

/// Rows themselves: values as the reference dequantizes them. `table`: shared, 128 rows.
__device__ void readTile(const TileArgs &a, int firstToken, const Columns &columns, float *tile, TokenRow *table) {
  const int thread = static_cast<int>(threadIdx.x), octets = columns.count / kOctet;
  const StoredRows &rows = a.image.rows;
  table[thread] = tokenRow(rows, firstToken + thread);
  __syncthreads();
  if (columns.count % kOctet == 0 && columns.first % kOctet == 0) {
#pragma unroll 4
    for (int i = thread; i < kTileTokens * octets; i += kBlock) {
      const int token = i / octets, c = i % octets * kOctet;
      float value[kOctet];
      octetOf(rows, table[token], columns.first + c, value);
      float4 *to = reinterpret_cast<float4 *>(tile + token * kPitch + c);
      to[0] = make_float4(value[0], value[1], value[2], value[3]);
      to[1] = make_float4(value[4], value[5], value[6], value[7]);
    }
  } else if (thread < columns.count) {
    for (int t = 0; t < kTileTokens; ++t) tile[t * kPitch + thread] = valueOf(rows, table[t], columns.first + thread);
  }
  __syncthreads();
}

/// Index of chunk `chunk` (8 FP16 values) of row `row` of a slice [128, 64]: eight neighbouring rows lie in different banks.
__device__ int swizzled(int row, int chunk) { return row * kSlice + ((chunk ^ (row & 7)) * kOctet); }

/// Rows [first, first + count) of the map, channels [channel, channel + 64), 0 outside, in the background.
__device__ void loadMap(const StoredImage &image, int first, int count, int channel, Half *slice) {
  constexpr int kChunks = kSlice / kOctet, kStep = kBlock / kChunks; // a thread has a chunk of every 16th row
  const int chunk = static_cast<int>(threadIdx.x) % kChunks, row0 = static_cast<int>(threadIdx.x) / kChunks;
  const int inside = image.rows.width - (channel + chunk * kOctet); // channels that there are
  const int used = inside <= 0 ? 0 : inside < kOctet ? 2 * inside : 16;
  const Half *from = image.map + static_cast<Index>(first + row0) * image.mapStride + channel + chunk * kOctet;
#pragma unroll
  for (int i = 0; i < 128 / kStep; ++i) {
    const bool there = used > 0 && row0 + i * kStep < count;
    copyAsync16(slice + swizzled(row0 + i * kStep, chunk),
                there ? from + static_cast<Index>(i * kStep) * image.mapStride : image.map, there ? used : 0);
  }
}

/// Rows through the map: tile [128, columns] = X^ map^T. Four warps own 64 x 64 each and walk the stored channels in slices
/// of 64; while one slice is multiplied the next one's codes and map are on their way.
template <int kBits> __device__ void mapTile(const TileArgs &a, int firstToken, const Columns &columns, float *tile) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int warpRow = warp / 2 * 64, warpColumn = warp % 2 * 64;
  Half *const x = reinterpret_cast<Half *>(tile), *const w = x + 2 * kSliceHalves;
  const int slices = (a.image.rows.width + kSlice - 1) / kSlice;
  SliceLoader<kBits> loader(a.image.rows, firstToken + thread);
  float sum[4][8][4] = {};
#pragma unroll 1
  for (int slice = 0; slice <= slices; ++slice) { // makes this slice while it multiplies the one before
    const int channel = slice * kSlice, here = slice % 2 * kSliceHalves, before = kSliceHalves - here;
    if (slice < slices) {
      loader.load(channel);
      loadMap(a.image, columns.first, columns.count, channel, w + here);
      commitCopies();
    }
    if (slice > 0)
#pragma unroll
      for (int k = 0; k < kSlice / 16; ++k) {
        const int i = lane / 8, r = lane % 8;
        Half2 left[4][4];
#pragma unroll
        for (int m = 0; m < 4; ++m)
          loadMatrix4(left[m], x + before + swizzled(warpRow + 16 * m + i % 2 * 8 + r, 2 * k + i / 2));
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          Half2 both[4];
          loadMatrix4(both, w + before + swizzled(warpColumn + 16 * n + i / 2 * 8 + r, 2 * k + i % 2));
          const Half2 right[2][2] = {{both[0], both[1]}, {both[2], both[3]}};
#pragma unroll
          for (int m = 0; m < 4; ++m) {
            mma16816(sum[m][2 * n], left[m], right[0]);
            mma16816(sum[m][2 * n + 1], left[m], right[1]);
          }
        }
      }
    if (slice < slices)
      loader.unpack(channel,
                    [&](int j, uint4 eight) { *reinterpret_cast<uint4 *>(x + here + swizzled(thread, j)) = eight; });
    waitCopies<0>();
    __syncthreads();
  }

#pragma unroll
  for (int m = 0; m < 4; ++m)
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float *to = tile + (warpRow + 16 * m + 8 * half + lane / 4) * kPitch + warpColumn + 8 * n + 2 * (lane % 4);
        to[0] = sum[m][n][2 * half], to[1] = sum[m][n][2 * half + 1];
      }
  __syncthreads();
}

/// Bias and rotation, in place. A thread has a pair of channels of every other token; position 16 a + b is rotated by the
/// product of two rotations, which makes 16 sines instead of 64.
__device__ void finishTile(const TileArgs &a, int firstToken, const Columns &columns, float *tile) {
  constexpr int kPairs = kTileColumns / 2, kStep = kBlock / kPairs, kNear = 16 / kStep;
  const StoredImage &image = a.image;
  if (image.bias == nullptr && image.pairs == 0) return;
  const int c = static_cast<int>(threadIdx.x) % kPairs * 2, first = static_cast<int>(threadIdx.x) / kPairs;
  const bool both = c + 1 < columns.count;
  if (c < columns.count) {
    const float2 bias = {image.bias == nullptr ? 0.0f : image.bias[columns.first + c],
                         image.bias == nullptr || !both ? 0.0f : image.bias[columns.first + c + 1]};
    const double frequency = image.pairs > 0 ? image.frequency[(columns.first + c) % image.dh / 2] : 0;
    float2 near[kNear];
    for (int i = 0; i < kNear; ++i) near[i] = rotation(first + i * kStep, frequency);
    for (int far = 0; far < kTileTokens; far += 16) {
      const float2 base = rotation(firstToken + far, frequency);
#pragma unroll
      for (int i = 0; i < kNear; ++i) {
        float *at = tile + (far + first + i * kStep) * kPitch + c;
        float2 pair = {at[0] + bias.x, at[1] + bias.y};
        if (image.pairs > 0) pair = rotate(pair, rotate(near[i], base));
        at[0] = pair.x;
        if (both) at[1] = pair.y;
      }
    }
  }
  __syncthreads();
}

__device__ bool isStreamed(const TileArgs &a, int tile) {
  if (!a.part.mixed) return false;
  const StoredRows &rows = a.image.rows;
  const int begin = tile * kTileTokens, end = begin + kTileTokens;
  return streamedBlock(rows, tableOf(rows), begin, end < rows.tokens ? end : rows.tokens) >= 0;
}

// Using it ----------------------------------------------------------------------------------------------------------------

template <int kBits> constexpr std::size_t tableBytes() { return kBits == kDirect ? kTileTokens * sizeof(TokenRow) : 0; }

/// Rows of a tile to memory.
__device__ void writeRows(const TileArgs &a, int index, const Columns &columns, const float *tile) {
  const int thread = static_cast<int>(threadIdx.x), left = a.count - index * kTileTokens;
  if (thread >= columns.count) return;
  for (int t = 0; t < kTileTokens && t < left; ++t) {
    const Index at = (static_cast<Index>(index) * kTileTokens + t) * a.outStride + columns.first + thread;
    if (a.outHalf)
      reinterpret_cast<Half *>(a.out)[at] = narrow(tile[t * kPitch + thread]);
    else
      reinterpret_cast<float *>(a.out)[at] = tile[t * kPitch + thread];
  }
}

/// scores[h, token] += q_h . K over the tile's part of every head. A thread has a token; ascending channels.
__device__ void addScores(const TileArgs &a, int heads, int firstHead, int piece, int width, const float *tile,
                          float *scores) {
  const int group = a.decode.queryHeads / a.image.heads, dh = a.image.dh, thread = static_cast<int>(threadIdx.x);
  for (int h = 0; h < heads; ++h) {
    const float *k = tile + thread * kPitch + (a.columns.pieces > 1 ? 0 : h / group * dh);
    const float *q = a.decode.q + static_cast<Index>(firstHead + h) * dh + piece * kTileColumns;
    float sum = scores[h * kTileTokens + thread];
    int c = 0;
    if (width % 4 == 0)
#pragma unroll 4
      for (; c < width; c += 4) {
        const float4 four = *reinterpret_cast<const float4 *>(k + c);
        sum += q[c] * four.x;
        sum += q[c + 1] * four.y;
        sum += q[c + 2] * four.z;
        sum += q[c + 3] * four.w;
      }
    for (; c < width; ++c) sum += q[c] * k[c];
    scores[h * kTileTokens + thread] = sum;
  }
}

/// Scores, or rows where there is `out`. Launch: tiles * column tiles (of a whole head for scores) blocks of 128 threads,
/// the heads of one tile of tokens neighbours so that its codes are read from L2; 68 KB of shared memory and 512 bytes a
/// query head. Mapped, a block does 2 * 128 * 128 * width FLOP on tensor cores (the limiter where width is large) and reads
/// the map's part (256 * width bytes, from L2) and 128 packed rows; direct, it reads the rows once, which is the limiter.
template <int kBits> __global__ void __launch_bounds__(kBlock, kBits == kDirect ? 3 : 2)
    tileKernel(const __grid_constant__ TileArgs a) {
  float *const tile = dynamicShared<float>(), *const scores = tile + kTileTokens * kPitch;
  const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
  const bool rows = a.out != nullptr;
  const int pieces = rows ? 1 : a.columns.pieces; // that this block makes
  const int units = a.columns.count / pieces, unit = block % units, index = a.part.first + block / units;
  if (!rows && isStreamed(a, index)) return;
  const Columns all = columnsOf(a, unit * pieces);
  const int group = a.decode.queryHeads / a.image.heads, heads = all.heads * group, firstHead = all.head * group;
  TokenRow *const table = reinterpret_cast<TokenRow *>(scores + heads * kTileTokens);
  for (int h = 0; h < heads; ++h) scores[h * kTileTokens + thread] = 0;
  for (int piece = 0; piece < pieces; ++piece) {
    const Columns columns = columnsOf(a, unit * pieces + piece);
    const int firstToken = a.first + index * kTileTokens;
    if constexpr (kBits == kDirect)
      readTile(a, firstToken, columns, tile, table);
    else
      mapTile<kBits>(a, firstToken, columns, tile);
    finishTile(a, firstToken, columns, tile);
    if (rows) return writeRows(a, index, columns, tile);
    addScores(a, heads, firstHead, piece, a.columns.pieces > 1 ? columns.count : a.image.dh, tile, scores);
    __syncthreads();
  }
  for (int h = 0; h < heads; ++h) scores[h * kTileTokens + thread] *= a.decode.scale;
  __syncthreads();
  tileSoftmax(a.decode, scores, heads, firstHead, index);
}

/// Launch: splits * column tiles * groups of 8 query heads, blocks of 128 threads, 74 KB of shared memory. A block walks the
/// tiles of its split; a thread owns a channel and sums over ascending tokens in FP32. Reads the rows once for every 8 query
/// heads; 2 * 128 * 8 FLOP a token on ordinary units. Limiter: latency where few tiles are left to it, else FLOPs.
__global__ void __launch_bounds__(kBlock, 3) valuesKernel(const __grid_constant__ TileArgs a) {
  float *const tile = dynamicShared<float>();
  TokenRow *const table = reinterpret_cast<TokenRow *>(tile + kTileTokens * kPitch);
  const Decode &d = a.decode;
  const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
  const int headGroup = block % a.groups, unit = block / a.groups % a.columns.count;
  const int slot = block / a.groups / a.columns.count, split = a.part.first + slot;
  const Columns columns = columnsOf(a, unit);
  const bool active = thread < columns.count;
  const int column = columns.first + (active ? thread : 0), dh = a.image.dh, group = d.queryHeads / a.image.heads;
  const int firstHead = column / dh * group + headGroup * kHeadsAtOnce;
  const int heads = group - headGroup * kHeadsAtOnce < kHeadsAtOnce ? group - headGroup * kHeadsAtOnce : kHeadsAtOnce;

  float sum[kHeadsAtOnce] = {}, max[kHeadsAtOnce];
  for (int h = 0; h < kHeadsAtOnce; ++h) max[h] = h < heads ? splitMax(d, firstHead + h, split) : 0.0f;
  for (int i = 0; i < d.tilesPerSplit; ++i) {
    const int index = split * d.tilesPerSplit + i;
    if (index >= d.tiles || isStreamed(a, index)) continue;
    readTile(a, index * kTileTokens, columns, tile, table);
    finishTile(a, index * kTileTokens, columns, tile);
    for (int h = 0; h < kHeadsAtOnce; ++h)
      if (active && h < heads) {
        const Index at = static_cast<Index>(firstHead + h) * d.tiles + index;
        const float *weights = d.weights + at * kTileTokens;
        float here = 0;
        for (int t = 0; t < kTileTokens; t += 4) {
          const float4 four = *reinterpret_cast<const float4 *>(weights + t);
          const float *v = tile + t * kPitch + thread;
          here += four.x * v[0];
          here += four.y * v[kPitch];
          here += four.z * v[2 * kPitch];
          here += four.w * v[3 * kPitch];
        }
        sum[h] += expf(d.stats[at].x - max[h]) * here;
      }
    __syncthreads();
  }
  for (int h = 0; h < kHeadsAtOnce; ++h)
    if (active && h < heads)
      d.partials[(static_cast<Index>(a.firstSlot + slot) * d.queryHeads + firstHead + h) * d.dv + column % dh] = sum[h];
}

template <int kBits> void launchTiles(cudaStream_t stream, Index blocks, std::size_t scoreBytes, const TileArgs &a) {
  launch(stream, tileKernel<kBits>, static_cast<unsigned>(blocks), kBlock, kTileBytes + tableBytes<kBits>() + scoreBytes,
         "stored tiles launch", {a.image.rows.tokens, a.image.rows.width}, a);
}

void launchTiles(cudaStream_t stream, Index blocks, std::size_t scoreBytes, const TileArgs &a) {
  if (a.image.map == nullptr) return launchTiles<kDirect>(stream, blocks, scoreBytes, a);
  switch (a.image.rows.bits) {
  case 2: return launchTiles<2>(stream, blocks, scoreBytes, a);
  case 3: return launchTiles<3>(stream, blocks, scoreBytes, a);
  case 4: return launchTiles<4>(stream, blocks, scoreBytes, a);
  case 8: return launchTiles<8>(stream, blocks, scoreBytes, a);
  default: return launchTiles<16>(stream, blocks, scoreBytes, a);
  }
}

TileArgs argsFor(const StoredImage &image) {
  TileArgs a{};
  a.image = image;
  a.columns = columnTiles(image.heads, image.dh);
  return a;
}

std::size_t scoreBytes(const TileArgs &a, int queryHeads) {
  return static_cast<std::size_t>(a.columns.heads) * (queryHeads / a.image.heads) * kTileTokens * 4;
}

} // namespace

Index tileScoresShared(const StoredImage &k, int queryHeads) {
  return static_cast<Index>(kTileBytes + tableBytes<kDirect>() + scoreBytes(argsFor(k), queryHeads));
}

void tileScores(cudaStream_t stream, const StoredImage &k, const Decode &decode, Part tiles) {
  TileArgs a = argsFor(k);
  a.decode = decode, a.part = tiles;
  launchTiles(stream, Index{tiles.count} * (a.columns.count / a.columns.pieces), scoreBytes(a, decode.queryHeads), a);
}

void tileValues(cudaStream_t stream, const StoredImage &v, const Decode &decode, Part splits, int firstSlot) {
  TileArgs a = argsFor(v);
  a.decode = decode, a.part = splits, a.firstSlot = firstSlot;
  a.groups = static_cast<int>(ceilDiv(decode.queryHeads / v.heads, kHeadsAtOnce));
  launch(stream, valuesKernel, static_cast<unsigned>(Index{splits.count} * a.columns.count * a.groups), kBlock,
         kTileBytes + tableBytes<kDirect>(), "stored values launch", {decode.tokens, v.rows.width}, a);
}

void tileRows(cudaStream_t stream, const StoredImage &image, int first, int count, std::byte *out, Index outStride,
              bool outHalf) {
  TileArgs a = argsFor(image);
  a.first = first, a.count = count, a.out = out, a.outStride = outStride, a.outHalf = outHalf;
  launchTiles(stream, ceilDiv(count, kTileTokens) * a.columns.count, 0, a);
}

} // namespace xqs::cuda

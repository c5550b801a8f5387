// SPDX-License-Identifier: Apache-2.0
// Sums of weighted values over stored rows that no map stands before: FP16 rows or codes of 2, 4 or 8 bits with scales per
// token, 128 channels at a time. Two tokens' words are merged so that a 32-bit word has the same channel of both: the
// fragment that tensor cores take, with codes as FP16 subnormals (stream_scores.cu). Scales are moved into the weights.
#include "stored_rows.h"

namespace xqs::cuda {
namespace {

constexpr int kChannels = 128, kBlock = 128, kWarps = kBlock / kWarp;
constexpr int kWeightPitch = kTileTokens + 8; ///< halves: ldmatrix without bank conflicts
constexpr int kSumPitch = kChannels + 4;
constexpr int kSteps = kTileTokens / 16 / kWarps; ///< products of 16 tokens that a warp makes of a tile
constexpr int kFew = 8, kMany = 32;               ///< query heads of a block: with weights of 22 bits, or of 11

template <int kBits> constexpr int kWords = kBits / 2; ///< of a lane's 16 channels of a token

/// Lane g's channels of a token: 16 behind each other, FP16 in two pieces of 8.
template <int kBits> __device__ void loadWords(const std::byte *row, int g, std::uint32_t (&words)[kWords<kBits>]) {
  if constexpr (kBits == 2) {
    words[0] = reinterpret_cast<const std::uint32_t *>(row)[g];
  } else if constexpr (kBits == 4) {
    const uint2 two = reinterpret_cast<const uint2 *>(row)[g];
    words[0] = two.x, words[1] = two.y;
  } else {
#pragma unroll
    for (int i = 0; i < kWords<kBits> / 4; ++i) {
      const uint4 four = reinterpret_cast<const uint4 *>(row)[8 * i + g];
      words[4 * i] = four.x, words[4 * i + 1] = four.y, words[4 * i + 2] = four.z, words[4 * i + 3] = four.w;
    }
  }
}
/// Channel of tile `n` (of 16) and column `g`, and the place of its code.
template <int kBits> __device__ int channelOf(int n, int g) {
  return kBits < 16 ? 16 * g + n : 64 * (n / 8) + 8 * g + n % 8;
}
template <int kBits> __device__ int placeOf(int n) {
  return kBits == 2 ? 2 * (n % 8 < 5 ? n % 8 : n % 8 - 5) : kBits == 4 ? 4 * (n % 2) : 0;
}
/// The channel of tile `n` of two tokens.
template <int kBits> __device__ Half2 fragment(const std::uint32_t *first, const std::uint32_t *second, int n) {
  constexpr int kCodes = 16 / kBits; // in half a word
  const int part = n / kCodes, i = n % kCodes;
  const std::uint32_t a = first[part / 2], b = second[part / 2];
  const std::uint32_t both = part % 2 == 0 ? (a & 0xffffu) | b << 16 : a >> 16 | (b & 0xffff0000u);
  if constexpr (kBits == 2) return i < 5 ? both & (0x00030003u << (2 * i)) : (both >> 10) & (0x00030003u << (2 * (i - 5)));
  if constexpr (kBits == 4) return (i < 2 ? both : both >> 8) & (0x000f000fu << (4 * (i % 2)));
  if constexpr (kBits == 8) return (i == 0 ? both : both >> 8) & 0x00ff00ffu;
  return both;
}

template <int kRows, int kHeads> struct Shared {
  alignas(16) Half weights[kRows * kWeightPitch];
  alignas(16) float scales[kTileTokens], zeros[kTileTokens];
  float largest[kWarps], added[kHeads];
  float sums[kRows * kSumPitch];
};

struct ValueArgs {
  StoredImage image;
  Decode decode;
  int chunks, groups;
};

/// Launch: splits * (KV heads * chunks of 128 channels * groups of query heads) blocks of 128 threads; 13 KB of shared
/// memory for up to 8 query heads (kTall = 1), 26 KB for up to 32 (kTall = 2). A block walks its split's tiles of 128
/// tokens, a warp every fourth 16 of them; the warps' sums are added in order at the end. Reads each row's chunk once and
/// its scale and zero; 2 * 16 * kTall * 128 FLOP a token on tensor cores. Limiter: memory for FP16 rows, instructions for 2
/// bits. Weights times scales are FP16: split into a high and a low part that takes empty rows (kTall = 1), else rounded
/// once. They are brought to FP16's upper end by a power of two that only falls from tile to tile.
template <int kBits, int kTall> __global__ void __launch_bounds__(kBlock)
    streamValuesKernel(const __grid_constant__ ValueArgs a) {
  constexpr bool kCodes = kBits < 16;
  constexpr int kRows = 16 * kTall, kHeads = kTall == 1 ? kFew : kMany;
  constexpr int kLanes = kBlock / kHeads; // threads that prepare one head's weights
  __shared__ Shared<kRows, kHeads> shared;
  const Decode &d = a.decode;
  const StoredRows &rows = a.image.rows;
  const StoredBlock *table = tableOf(rows);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp, g = lane / 4, t = lane % 4;
  int unit = static_cast<int>(blockIdx.x);
  const int headGroup = unit % a.groups;
  unit /= a.groups;
  const int chunk = unit % a.chunks;
  unit /= a.chunks;
  const int head = unit % a.image.heads, split = unit / a.image.heads;
  const int group = d.queryHeads / a.image.heads, firstHead = head * group + headGroup * kHeads;
  const int heads = group - headGroup * kHeads < kHeads ? group - headGroup * kHeads : kHeads;
  const int firstChannel = head * a.image.dh + chunk * kChannels;
  const int scaleAt = groupOf(rows, firstChannel);

  const int myHead = thread / kLanes, myLane = thread % kLanes;
  const bool active = myHead < heads;
  const float max = active ? splitMax(d, firstHead + myHead, split) : 0.0f;
  float constant = 0; // what zeros add, of this thread's tokens
  int exponent = 100;
  float sum[kTall][16][4] = {};

  for (int i = 0; i < d.tilesPerSplit; ++i) {
    const int tile = split * d.tilesPerSplit + i;
    if (tile >= d.tiles) break;
    const int begin = tile * kTileTokens, end = begin + kTileTokens < rows.tokens ? begin + kTileTokens : rows.tokens;
    const int index = streamedBlock(rows, table, begin, end);
    if (index < 0) continue;
    const StoredBlock &block = table[index];
    const int local = begin - block.first, last = end - begin - 1;
    const std::byte *body = block.body + static_cast<Index>(local) * block.bodyStride + firstChannel * kBits / 8;

    // The warp's rows, on their way while weights are prepared. Rows beyond the last are its copies, of weight 0.
    std::uint32_t words[kSteps][4][kWords<kBits>];
    const auto loadStep = [&](int s) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int token = (s * kWarps + warp) * 16 + 2 * t + k / 2 * 8 + k % 2;
        loadWords<kBits>(body + static_cast<Index>(token < last ? token : last) * block.bodyStride, g, words[s][k]);
      }
    };
    constexpr int kAhead = kTall == 1 || kBits < 8 ? kSteps : 1; // as many as registers hold
#pragma unroll
    for (int s = 0; s < kAhead; ++s) loadStep(s);

    if (kCodes) {
      const Index at = static_cast<Index>(local + (thread < last ? thread : last)) * rows.groupsPerRow + scaleAt;
      const float scale = widen(block.scales[at]);
      shared.scales[thread] = scale, shared.zeros[thread] = widen(block.zeros[at]);
      const float most = warpMax(scale);
      if (lane == 0) shared.largest[warp] = most;
    }
    __syncthreads();
    int fits = 14;
    if (kCodes) {
      float most = 0;
      for (int w = 0; w < kWarps; ++w) most = fmaxf(most, shared.largest[w]);
      fits = most > 0 && most <= FLT_MAX ? 14 - ilogbf(most) : 100;
    }
    if (fits < exponent) {
      const float factor = ldexpf(1.0f, fits - exponent);
      for (int m = 0; m < kTall; ++m)
        for (int n = 0; n < 16; ++n)
          for (int r = 0; r < 4; ++r) sum[m][n][r] *= factor;
      exponent = fits;
    }
    const float norm = ldexpf(1.0f, exponent);
    const Index statAt = static_cast<Index>(firstHead + (active ? myHead : 0)) * d.tiles + tile;
    const float factor = active ? expf(d.stats[statAt].x - max) : 0.0f;
    const float *from = d.weights + statAt * kTileTokens;
#pragma unroll
    for (int j = 0; j < kTileTokens / (4 * kLanes); ++j) {
      const int token = 4 * (j * kLanes + myLane);
      float weight[4] = {};
      if (active) {
        const float4 four = *reinterpret_cast<const float4 *>(from + token);
        weight[0] = four.x * factor, weight[1] = four.y * factor, weight[2] = four.z * factor, weight[3] = four.w * factor;
      }
      SplitHalf part[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        if (kCodes) constant += weight[k] * shared.zeros[token + k];
        part[k] = splitHalf(weight[k] * (kCodes ? shared.scales[token + k] : 1.0f) * norm);
      }
      *reinterpret_cast<uint2 *>(shared.weights + myHead * kWeightPitch + token) =
          make_uint2(pairOf(part[0].high, part[1].high), pairOf(part[2].high, part[3].high));
      if constexpr (kTall == 1)
        *reinterpret_cast<uint2 *>(shared.weights + (kFew + myHead) * kWeightPitch + token) =
            make_uint2(pairOf(part[0].low, part[1].low), pairOf(part[2].low, part[3].low));
    }
    __syncthreads();

#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      if (s >= kAhead) loadStep(s);
      Half2 left[kTall][4];
      const int matrix = lane / 8, r = lane % 8, k = (s * kWarps + warp) * 16 + matrix / 2 * 8;
#pragma unroll
      for (int m = 0; m < kTall; ++m)
        loadMatrix4(left[m], shared.weights + (16 * m + matrix % 2 * 8 + r) * kWeightPitch + k);
#pragma unroll
      for (int n = 0; n < 16; ++n) {
        const Half2 right[2] = {fragment<kBits>(words[s][0], words[s][1], n), fragment<kBits>(words[s][2], words[s][3], n)};
#pragma unroll
        for (int m = 0; m < kTall; ++m) mma16816(sum[m][n], left[m], right);
      }
    }
    __syncthreads();
  }

  // Sums of the warps in order, then of high and low parts.
  for (int step = kLanes / 2; step > 0; step /= 2) constant += __shfl_xor_sync(kAllLanes, constant, step);
  if (myLane == 0) shared.added[myHead] = constant;
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp)
#pragma unroll
      for (int m = 0; m < kTall; ++m)
#pragma unroll
        for (int n = 0; n < 16; ++n)
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            float &to = shared.sums[(16 * m + r / 2 * 8 + g) * kSumPitch + channelOf<kBits>(n, 2 * t + r % 2)];
            const float value = sum[m][n][r] * ldexpf(1.0f, (kCodes ? 24 : 0) - placeOf<kBits>(n));
            to = w == 0 ? value : to + value;
          }
    __syncthreads();
  }
  const float back = ldexpf(1.0f, -exponent);
  for (int h = 0; h < heads; ++h) {
    float value = shared.sums[h * kSumPitch + thread];
    if constexpr (kTall == 1) value += shared.sums[(kFew + h) * kSumPitch + thread];
    const Index row = static_cast<Index>(split) * d.queryHeads + firstHead + h;
    d.partials[row * d.dv + chunk * kChannels + thread] = value * back + shared.added[h];
  }
}

template <int kBits> void launchValues(cudaStream_t stream, const ValueArgs &a) {
  const auto blocks = static_cast<unsigned>(Index{a.decode.splits} * a.image.heads * a.chunks * a.groups);
  const int group = a.decode.queryHeads / a.image.heads;
  launch(stream, group <= kFew ? streamValuesKernel<kBits, 1> : streamValuesKernel<kBits, 2>, blocks, kBlock, 0,
         "streamed values launch", {a.decode.tokens, a.image.rows.width}, a);
}

} // namespace

bool canStreamValues(const StoredImage &v) {
  const StoredRows &r = v.rows;
  const bool oneGroup = r.bits == 16 || (!r.perChannel && r.group % kChannels == 0 && r.segment % kChannels == 0);
  return v.map == nullptr && v.bias == nullptr && v.dh % kChannels == 0 && r.outliers == 0 && r.bits != 3 && oneGroup;
}

int streamedHeads(int headsPerGroup) { return headsPerGroup <= kFew ? kFew : kMany; }

void streamValues(cudaStream_t stream, const StoredImage &v, const Decode &decode) {
  ValueArgs a{v, decode, v.dh / kChannels, 1};
  const int group = decode.queryHeads / v.heads;
  a.groups = static_cast<int>(ceilDiv(group, streamedHeads(group)));
  switch (v.rows.bits) {
  case 2: return launchValues<2>(stream, a);
  case 4: return launchValues<4>(stream, a);
  case 8: return launchValues<8>(stream, a);
  default: return launchValues<16>(stream, a);
  }
}

} // namespace xqs::cuda

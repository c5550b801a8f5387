// SPDX-License-Identifier: Apache-2.0
// Scores of stored K that no map stands before: FP16 rows or codes of 2, 4 or 8 bits, heads of 128 channels. Codes go from
// memory to the fragments of tensor cores as they are: a field of a 16-bit half is the FP16 subnormal code * 2^(place - 24),
// exactly, so unpacking is an AND; places and scales are moved into q.
#include "stored_rows.h"

namespace xqs::cuda {
namespace {

constexpr int kHead = 128, kBlock = 128, kWarps = kBlock / kWarp;
constexpr int kHeads = 8;          ///< query heads of one KV head
constexpr int kSteps = kHead / 16; ///< products of 16 channels
constexpr int kRows = 2 * kHeads;  ///< of q in shared memory: high and low parts
constexpr int kQPitch = kHead + 2; ///< halves
constexpr float kSubnormal = 0x1p24f;

/// Where lane t of a quad finds half `part` (0: k = 2 t.., 1: k = 2 t + 8..) of step `s`: channels `first` and first +
/// partner, as code * 2^(place - 24). The order of the channels is free, as long as q has the same.
struct Field {
  int first, partner, place;
};
template <int kBits> __device__ Field fieldOf(int t, int s, int part) {
  if constexpr (kBits == 2) {
    const int i = 2 * (s % 4) + part;
    return {32 * t + 16 * (s / 4) + i, 8, 2 * (i < 5 ? i : i - 5)};
  } else if constexpr (kBits == 4) {
    const int i = 2 * (s % 2) + part;
    return {32 * t + 8 * (s / 2) + i, 4, 4 * part};
  } else if constexpr (kBits == 8) {
    return {32 * t + 4 * s + part, 2, 0};
  } else {
    return {32 * (s / 2) + 8 * t + 4 * (s % 2) + 2 * part, 1, 0};
  }
}
/// The two channels of a field from the words that `loadRow` gave the lane.
template <int kBits> __device__ Half2 fragment(const std::uint32_t *words, int s, int part) {
  if constexpr (kBits == 2) {
    const int i = 2 * (s % 4) + part;
    const std::uint32_t word = words[s / 4];
    return i < 5 ? word & (0x00030003u << (2 * i)) : (word >> 10) & (0x00030003u << (2 * (i - 5)));
  } else if constexpr (kBits == 4) {
    const std::uint32_t word = s % 2 == 0 ? words[s / 2] : words[s / 2] >> 8;
    return word & (0x000f000fu << (4 * part));
  } else if constexpr (kBits == 8) {
    return (part == 0 ? words[s] : words[s] >> 8) & 0x00ff00ffu;
  } else {
    return words[2 * s + part];
  }
}

/// A quad reads one row of a head, 16 * kBits bytes: 8, 16 or 32 bytes a lane behind each other, FP16 in pieces of 16.
template <int kBits> __device__ void loadRow(const std::byte *row, int t, std::uint32_t (&words)[kBits]) {
  if constexpr (kBits == 2) {
    const uint2 two = *reinterpret_cast<const uint2 *>(row + 8 * t);
    words[0] = two.x, words[1] = two.y;
  } else {
#pragma unroll
    for (int i = 0; i < kBits / 4; ++i) {
      const int piece = kBits == 16 ? 4 * i + t : kBits / 4 * t + i;
      const uint4 four = *reinterpret_cast<const uint4 *>(row + 16 * piece);
      words[4 * i] = four.x, words[4 * i + 1] = four.y, words[4 * i + 2] = four.z, words[4 * i + 3] = four.w;
    }
  }
}

struct Shared {
  Half q[kRows * kQPitch];
  float scores[kHeads * kTileTokens];
  float largest[kWarps];
  float constant[kWarps][kHeads];
};

/// Launch: tiles * KV heads blocks of 128 threads, the heads of a tile neighbours; 9 KB of shared memory. A warp has 32
/// tokens. Reads 16 * kBits bytes a token and head and the scales, each once: memory is the limiter for FP16 and 8 bits, the
/// preparation of q (about as many instructions as 32 tokens take a warp) for 2 bits. 2 * 128 * 8 FLOP a token and head on
/// tensor cores, twice that where a KV head has more than 4 query heads. Writes 4 bytes a token and query head.
template <int kBits> __global__ void __launch_bounds__(kBlock)
    streamScoresKernel(const __grid_constant__ StoredImage image, const __grid_constant__ Decode d) {
  __shared__ Shared shared;
  constexpr bool kCodes = kBits < 16;
  const StoredRows &rows = image.rows;
  const int tile = static_cast<int>(blockIdx.x) / image.heads, head = static_cast<int>(blockIdx.x) % image.heads;
  const int begin = tile * kTileTokens, end = begin + kTileTokens < rows.tokens ? begin + kTileTokens : rows.tokens;
  const StoredBlock *table = tableOf(rows);
  const int index = streamedBlock(rows, table, begin, end);
  if (index < 0) return;
  const StoredBlock &block = table[index];
  const int local = begin - block.first; // row of the tile's first token
  const int group = d.queryHeads / image.heads, firstHead = head * group;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp, g = lane / 4, t = lane % 4;
  const bool wide = group > kHeads / 2; // high and low part in tiles of their own

  // Rows of this thread, on their way while q is prepared.
  std::uint32_t words[2][2][kBits];
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = warp * 32 + m * 16 + half * 8 + g, last = end - begin - 1;
      loadRow<kBits>(block.body + static_cast<Index>(local + (token < last ? token : last)) * block.bodyStride +
                         head * kHead * kBits / 8,
                     t, words[m][half]);
    }

  // q times scale, and times the channel's scale of codes; what the zeros add is one number a head.
  float q[kHeads], constant[kHeads];
  float scale = 1, zero = 1;
  if (kCodes && rows.perChannel) {
    const Index at = static_cast<Index>(local / rows.group) * rows.width + head * kHead + thread;
    scale = widen(block.scales[at]), zero = widen(block.zeros[at]);
  }
  float largest = 0;
  for (int h = 0; h < kHeads; ++h) {
    const float value = h < group ? d.q[static_cast<Index>(firstHead + h) * kHead + thread] * d.scale : 0.0f;
    q[h] = value * scale;
    constant[h] = kCodes ? value * zero : 0.0f;
    largest = fmaxf(largest, fabsf(q[h]));
  }
  largest = warpMax(largest);
  if (lane == 0) shared.largest[warp] = largest;
  if (kCodes)
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      if (h >= group) break;
      constant[h] = warpSum(constant[h]);
      if (lane == 0) shared.constant[warp][h] = constant[h];
    }
  __syncthreads();
  for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, shared.largest[w]);
  // A power of two brings q to the upper end of FP16, so that no place moves it below.
  int exponent = largest > 0 && largest <= FLT_MAX ? 14 - ilogbf(largest) : 0;
  exponent = exponent > 100 ? 100 : exponent < -100 ? -100 : exponent;
  const float norm = ldexpf(1.0f, exponent);
  for (int h = 0; h < kHeads; ++h) {
    const SplitHalf part = splitHalf(q[h] * norm);
    const int low = wide ? kHeads + h : h + kHeads / 2;
    if (wide || h < kHeads / 2) {
      shared.q[h * kQPitch + thread] = part.high;
      shared.q[low * kQPitch + thread] = part.low;
    }
  }
  __syncthreads();

  // Column g of q as fragments, places taken out.
  float sum[2][2][4] = {};
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    Half2 right[2][2] = {};
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const Field f = fieldOf<kBits>(t, s, part);
      const Half factor = narrow(ldexpf(1.0f, -f.place));
      for (int n = 0; n < 2; ++n) {
        if (n == 1 && !wide) continue;
        const Half *from = shared.q + (n * kHeads + g) * kQPitch + f.first;
        right[n][part] = pairOf(from[0], from[f.partner]);
        if (kCodes) right[n][part] = fmaHalf2(right[n][part], pairOf(factor, factor), 0);
      }
    }
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const Half2 left[4] = {fragment<kBits>(words[m][0], s, 0), fragment<kBits>(words[m][1], s, 0),
                             fragment<kBits>(words[m][0], s, 1), fragment<kBits>(words[m][1], s, 1)};
      mma16816(sum[m][0], left, right[0]);
      if (wide) mma16816(sum[m][1], left, right[1]);
    }
  }

  const float back = ldexpf(kCodes ? kSubnormal : 1.0f, -exponent);
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = warp * 32 + m * 16 + half * 8 + g;
      float rowScale = 1, rowZero = 1;
      if (kCodes && !rows.perChannel) {
        const int last = end - begin - 1;
        const Index at =
            static_cast<Index>(local + (token < last ? token : last)) * rows.groupsPerRow + groupOf(rows, head * kHead);
        rowScale = widen(block.scales[at]), rowZero = widen(block.zeros[at]);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float high = sum[m][0][2 * half + i];
        const float low = wide ? sum[m][1][2 * half + i] : __shfl_xor_sync(kAllLanes, high, 2);
        const int h = 2 * t + i;
        if (h >= group) continue; // behind the exchange
        float added = 0;
        if (kCodes)
          for (int w = 0; w < kWarps; ++w) added += shared.constant[w][h];
        shared.scores[h * kTileTokens + token] = (high + low) * back * rowScale + rowZero * added;
      }
    }
  __syncthreads();
  tileSoftmax(d, shared.scores, group, firstHead, tile);
}

template <int kBits> void launchScores(cudaStream_t stream, const StoredImage &k, const Decode &d) {
  launch(stream, streamScoresKernel<kBits>, static_cast<unsigned>(Index{d.tiles} * k.heads), kBlock, 0,
         "streamed scores launch", {d.tokens, k.rows.width}, k, d);
}

} // namespace

bool canStreamScores(const StoredImage &k, int queryHeads) {
  const StoredRows &r = k.rows;
  const bool oneGroup = r.bits == 16 || r.perChannel || (r.group % kHead == 0 && r.segment % kHead == 0);
  return k.map == nullptr && k.bias == nullptr && k.pairs == 0 && k.dh == kHead && queryHeads / k.heads <= kHeads &&
         r.outliers == 0 && r.bits != 3 && oneGroup;
}

void streamScores(cudaStream_t stream, const StoredImage &k, const Decode &decode) {
  switch (k.rows.bits) {
  case 2: return launchScores<2>(stream, k, decode);
  case 4: return launchScores<4>(stream, k, decode);
  case 8: return launchScores<8>(stream, k, decode);
  default: return launchScores<16>(stream, k, decode);
  }
}

} // namespace xqs::cuda

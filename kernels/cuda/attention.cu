// SPDX-License-Identifier: Apache-2.0
// Tiled attention with a running softmax (arXiv 2307.08691) in FP32 accuracy: every product is three TF32 products of high
// and low parts, which keep FP32's range, so that K and V go to the tensor cores as they lie in memory.
#include "attention.h"

#include "launch.h"
#include "ptx.h"

#include <algorithm>
#include <type_traits>

namespace xqs::cuda {
namespace {

constexpr int kTile = 64;  // tokens of a pass
constexpr int kSlice = 64; // channels of K or V in shared memory at a time
constexpr int kStages = 3; // slices in shared memory: one in use, two on their way
constexpr int kQuads = kSlice / 4;
// Shared rows: the 16-byte reads of eight neighbouring lanes (two tokens of K, four pairs of V) lie in different banks.
constexpr int kKeyPitch = kSlice + 16, kValuePitch = kSlice + 4;
constexpr int kStageFloats = kTile * kKeyPitch;
constexpr int kWarpRows = 16; // rows of an mma
constexpr int kCells = kTile / 8;
constexpr int kBlocks = 512; // that fill a device: about four a multiprocessor
constexpr Index kFewQueries = 8;
constexpr int kNever = 0x7fffffff;
constexpr float kLog2E = 1.4426950408889634f;

/// Tokens dealt to several blocks, and where each leaves what it summed; parts = 1: none of it.
struct Parts {
  int parts, tiles; ///< tiles: of one part
  float *sums;      ///< [parts, n, heads, pitch]: weights times values
  float *states;    ///< [parts, n, heads, 2]: maximum, sum
  Index pitch;      ///< dv, whole quads
};

// Which tokens are read from where --------------------------------------------------------------------------------------

/// First token of the chunk that the query at position t reads exact; may be before the chunk.
__device__ int exactFrom(const AttentionRows &side, Index t, Index first) {
  if (side.block > 0) return static_cast<int>(t / side.block * side.block - first);
  if (side.window > 0) return static_cast<int>((t > side.window ? t - side.window : 0) - first);
  return kNever;
}

/// Tokens that one query sees, counted from the chunk's first.
struct Sight {
  int end, keyFrom, valueFrom; ///< own token + 1; first token with exact K, exact V
};
__device__ Sight sightOf(const AttentionChunk &a, Index query) {
  const Index t = a.firstQuery + query;
  return {static_cast<int>(t + 1 - a.first), exactFrom(a.k, t, a.first), exactFrom(a.v, t, a.first)};
}

/// A tile of tokens with K from one side and V from one side. A tile that lies on both is passed several times, and a query
/// takes part in the pass that reads what it reads: its bits depend on its own sides only.
struct Pass {
  int begin;  ///< of the tile
  int lo, hi; ///< tokens that some query of the block may read in this pass
  bool exactKey, exactValue;
};

/// The passes of a block over tokens [begin, end) of the chunk. `first`, `last`: sight of its first and its last query.
class Passes {
public:
  __device__ Passes(Sight first, Sight last, int begin, int end)
      : m_first(first), m_last(last), m_tile(begin - kTile), m_end(end < last.end ? end : last.end) {}

  __device__ bool next(Pass &pass) {
    while (true) {
      m_sides = (m_sides + 1) % 4;
      if (m_sides == 0) m_tile += kTile;
      if (m_tile >= m_end) return false;
      pass = {m_tile, m_tile, min(m_tile + kTile, m_end), m_sides / 2 != 0, m_sides % 2 != 0};
      narrowTo(pass, pass.exactKey, m_first.keyFrom, m_last.keyFrom);
      narrowTo(pass, pass.exactValue, m_first.valueFrom, m_last.valueFrom);
      if (pass.lo < pass.hi) return true;
    }
  }

private:
  __device__ static void narrowTo(Pass &pass, bool exact, int firstFrom, int lastFrom) {
    if (exact)
      pass.lo = max(pass.lo, firstFrom);
    else
      pass.hi = min(pass.hi, lastFrom);
  }
  Sight m_first, m_last;
  int m_tile, m_end, m_sides = 3;
};

// Slices of K and V in shared memory ------------------------------------------------------------------------------------

/// Four floats, 0 from `count` on.
__device__ float4 loadQuad(const float *from, int count, bool aligned) {
  if (aligned && count >= 4) return *reinterpret_cast<const float4 *>(from);
  float v[4];
  for (int i = 0; i < 4; ++i) v[i] = i < count ? from[i] : 0.0f;
  return make_float4(v[0], v[1], v[2], v[3]);
}

/// Channels [channel, channel + kSlice) of a pass's tokens; 0 where nobody reads and beyond the width, so that what lies
/// there, a NaN say, meets no weight.
template <int kThreadsOfBlock> __device__ void loadSlice(float *to, int pitch, const AttentionRows &side, bool exact,
                                                         const Pass &pass, int head, int channel) {
  const int column = static_cast<int>(threadIdx.x) % kQuads * 4;
  const int used = side.width - channel - column;
  const Index stride = exact ? side.exactStride : side.storedStride;
  const float *const base = (exact ? side.exact - side.exactShift * stride : side.stored) +
                            static_cast<Index>(head) * side.width + channel + column;
  for (int row = static_cast<int>(threadIdx.x) / kQuads; row < kTile; row += kThreadsOfBlock / kQuads) {
    const int token = pass.begin + row;
    float *const at = to + row * pitch + column;
    if (token < pass.lo || token >= pass.hi || used <= 0)
      *reinterpret_cast<float4 *>(at) = make_float4(0, 0, 0, 0);
    else if (side.aligned)
      copyAsync16(at, base + token * stride, min(used, 4) * 4);
    else
      *reinterpret_cast<float4 *>(at) = loadQuad(base + token * stride, used, false);
  }
}

/// Slices of the passes in the order of their use: those of K, then those of V.
template <int kThreadsOfBlock, int kValueSlices> class Slices {
public:
  __device__ Slices(const AttentionChunk &a, const Passes &passes, int keyHead, int valueHead, int valueChannel)
      : m_a(a), m_passes(passes), m_keyHead(keyHead), m_valueHead(valueHead), m_valueChannel(valueChannel),
        m_keySlices((a.k.width + kSlice - 1) / kSlice) {
    m_more = m_passes.next(m_pass);
    for (int i = 0; i < kStages - 1; ++i) load();
  }
  __device__ int keySlices() const { return m_keySlices; }

  /// The next slice; what the last call gave is overwritten from here on.
  __device__ const float *take() {
    waitCopies<kStages - 2>();
    __syncthreads();
    load();
    const float *slice = dynamicShared<float>() + m_taken * kStageFloats;
    m_taken = (m_taken + 1) % kStages;
    return slice;
  }

private:
  __device__ void load() {
    if (m_more) {
      float *const to = dynamicShared<float>() + m_loaded * kStageFloats;
      if (m_slice < m_keySlices)
        loadSlice<kThreadsOfBlock>(to, kKeyPitch, m_a.k, m_pass.exactKey, m_pass, m_keyHead, m_slice * kSlice);
      else
        loadSlice<kThreadsOfBlock>(to, kValuePitch, m_a.v, m_pass.exactValue, m_pass, m_valueHead,
                                   m_valueChannel + (m_slice - m_keySlices) * kSlice);
      m_loaded = (m_loaded + 1) % kStages;
      if (++m_slice == m_keySlices + kValueSlices) m_slice = 0, m_more = m_passes.next(m_pass);
    }
    commitCopies();
  }

  const AttentionChunk &m_a;
  Passes m_passes;
  Pass m_pass;
  bool m_more;
  int m_keyHead, m_valueHead, m_valueChannel, m_keySlices;
  int m_slice = 0, m_loaded = 0, m_taken = 0;
};

// Products --------------------------------------------------------------------------------------------------------------

struct SplitA {
  float high[4], low[4];
  __device__ SplitA(float a0, float a1, float a2, float a3) {
    const SplitTf32 s[4] = {splitTf32(a0), splitTf32(a1), splitTf32(a2), splitTf32(a3)};
    for (int i = 0; i < 4; ++i) high[i] = s[i].high, low[i] = s[i].low;
  }
};

/// d[i] += a b[i] for four tiles, small products first; neighbouring instructions do not wait for each other.
__device__ void multiplySplit(float (&d)[4][4], const SplitA &a, const float (&b)[4][2]) {
  float high[4][2], low[4][2];
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const SplitTf32 s = splitTf32(b[i][j]);
      high[i][j] = s.high, low[i][j] = s.low;
    }
#pragma unroll
  for (int i = 0; i < 4; ++i) mma1688(d[i], a.high, low[i]);
#pragma unroll
  for (int i = 0; i < 4; ++i) mma1688(d[i], a.low, high[i]);
#pragma unroll
  for (int i = 0; i < 4; ++i) mma1688(d[i], a.high, high[i]);
}

/// score += q K^T over one slice of channels: 16 rows x 64 tokens of a warp. q0, q1: rows g and g + 8 of the slice. An mma's
/// k = t and t + 4 are channels 4 t and 4 t + 1, then 4 t + 2 and 4 t + 3, of 16: both operands are read in quads.
__device__ void addScores(float (&score)[2][4][4], const float *q0, const float *q1, int channels, bool aligned,
                          const float *keys) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll 1
  for (int c = 0; c < kSlice; c += 16) {
    const int at = c + 4 * t;
    const float4 a = loadQuad(q0 + at, channels - at, aligned), b = loadQuad(q1 + at, channels - at, aligned);
    const SplitA front(a.x, b.x, a.y, b.y), back(a.z, b.z, a.w, b.w);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float first[4][2], second[4][2];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float4 k = *reinterpret_cast<const float4 *>(keys + (half * 32 + 8 * i + g) * kKeyPitch + at);
        first[i][0] = k.x, first[i][1] = k.y, second[i][0] = k.z, second[i][1] = k.w;
      }
      multiplySplit(score[half], front, first);
      multiplySplit(score[half], back, second);
    }
  }
}

/// sum += weight V for one slice of channels. An mma's k = t and t + 4 are tokens 2 t and 2 t + 1, as the scores lie; its
/// n = g of tile i is channel 32 c + 4 g + i.
__device__ void addValues(float (&sum)[2][4][4], const float (&weight)[2][4][4], const float *values) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int cell = 0; cell < kCells; ++cell) {
    const float(&w)[4] = weight[cell / 4][cell % 4];
    const SplitA a(w[0], w[2], w[1], w[3]);
    const float *const row = values + (8 * cell + 2 * t) * kValuePitch + 4 * g;
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const float4 even = *reinterpret_cast<const float4 *>(row + 32 * c);
      const float4 odd = *reinterpret_cast<const float4 *>(row + kValuePitch + 32 * c);
      const float b[4][2] = {{even.x, odd.x}, {even.y, odd.y}, {even.z, odd.z}, {even.w, odd.w}};
      multiplySplit(sum[c], a, b);
    }
  }
}

// Softmax ---------------------------------------------------------------------------------------------------------------

/// Weights of scores are 2^((score - max) log2 e). Of rows g (0) and g + 8 (1); `sum` is that of the lane's own tokens.
struct Softmax {
  float max = -INFINITY, sum = 0;
};

__device__ float weightOf(float score, float max) { return exp2f((score - max) * kLog2E); }
/// What a maximum is compared with: nothing seen yet counts as 0, since infinities have no difference.
__device__ float reference(float max) { return max == -INFINITY ? 0.0f : max; }

/// Scores of row `kRow` become weights, 0 outside [lo, hi); returns what the sums so far are to be multiplied by.
template <int kRow>
__device__ float toWeights(float (&score)[2][4][4], int firstToken, int lo, int hi, float scale, Softmax &state) {
  const int t = static_cast<int>(threadIdx.x) % 4;
  float max = -INFINITY;
#pragma unroll
  for (int cell = 0; cell < kCells; ++cell)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      float &s = score[cell / 4][cell % 4][2 * kRow + j];
      const int token = firstToken + 8 * cell + 2 * t + j;
      s = token >= lo && token < hi ? s * scale : -INFINITY;
      max = fmaxf(max, s);
    }
  max = fmaxf(max, __shfl_xor_sync(kAllLanes, max, 1));
  max = fmaxf(state.max, fmaxf(max, __shfl_xor_sync(kAllLanes, max, 2)));
  const float shift = reference(max), factor = weightOf(state.max, shift);
  float sum = 0;
#pragma unroll
  for (int cell = 0; cell < kCells; ++cell)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      float &s = score[cell / 4][cell % 4][2 * kRow + j];
      s = weightOf(s, shift);
      sum += s;
    }
  state = {max, state.sum * factor + sum};
  return factor;
}

// A row of the output, as a warp holds it -------------------------------------------------------------------------------

/// Sums of one lane: [slice][32 channels][tile][mma]. Of row kRow it holds channels 8 t .. 8 t + 8 of every 32.
template <int kValueSlices> using Sums = float[kValueSlices][2][4][4];

template <int kRow, int kValueSlices>
__device__ void readRow(Sums<kValueSlices> &sum, const float *row, int channels, bool aligned) {
  const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int c = 0; c < 2 * kValueSlices; ++c)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = 32 * c + 8 * t + 4 * half;
      const float4 v = loadQuad(row + at, channels - at, aligned);
      float(&to)[4][4] = sum[c / 2][c % 2];
      to[0][2 * kRow + half] = v.x, to[1][2 * kRow + half] = v.y;
      to[2][2 * kRow + half] = v.z, to[3][2 * kRow + half] = v.w;
    }
}

template <int kRow, int kValueSlices>
__device__ void writeRow(const Sums<kValueSlices> &sum, float factor, float *row, int channels, bool aligned) {
  const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int c = 0; c < 2 * kValueSlices; ++c)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = 32 * c + 8 * t + 4 * half;
      float v[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) v[i] = sum[c / 2][c % 2][i][2 * kRow + half] * factor;
      if (aligned && at + 4 <= channels) {
        *reinterpret_cast<float4 *>(row + at) = make_float4(v[0], v[1], v[2], v[3]);
        continue;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (at + i < channels) row[at + i] = v[i];
    }
}

template <int kRow, int kValueSlices> __device__ void rescale(Sums<kValueSlices> &sum, float factor) {
#pragma unroll
  for (int c = 0; c < 2 * kValueSlices; ++c)
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 2; ++j) sum[c / 2][c % 2][i][2 * kRow + j] *= factor;
}

/// One row of a warp: a query under one head.
struct Row {
  int query, head;
  bool inside; ///< else a copy of the last row that nobody writes
  Sight sight;
  Softmax state;
};

__device__ Row rowOf(const AttentionChunk &a, Index row, Index keyHead) {
  const Index group = a.heads / a.k.heads, rows = a.n * group;
  const bool inside = row < rows;
  if (!inside) row = rows - 1;
  return {
      static_cast<int>(row / group), static_cast<int>(keyHead * group + row % group), inside, sightOf(a, row / group), {}};
}

__device__ float sumOfQuad(float v) {
  v += __shfl_xor_sync(kAllLanes, v, 1);
  return v + __shfl_xor_sync(kAllLanes, v, 2);
}

template <int kRow, int kValueSlices>
__device__ void beginRow(const AttentionChunk &a, int channel, Row &row, Sums<kValueSlices> &sum) {
  const float *state = a.runningBefore + row.query * a.runningBeforeStride + 2 * row.head;
  row.state = {state[0], threadIdx.x % 4 == 0 ? state[1] : 0.0f};
  readRow<kRow, kValueSlices>(sum, a.out + row.query * a.outStride + row.head * a.v.width + channel, a.v.width - channel,
                              a.outAligned);
}

template <int kRow, int kValueSlices> __device__ void endRow(const AttentionChunk &a, const Parts &parts, int channel,
                                                             const Row &row, const Sums<kValueSlices> &sum) {
  const float total = sumOfQuad(row.state.sum);
  if (!row.inside) return;
  const bool writesState = channel == 0 && threadIdx.x % 4 == 0;
  if (parts.parts > 1) {
    const Index at = (blockIdx.z * a.n + row.query) * a.heads + row.head;
    writeRow<kRow, kValueSlices>(sum, 1.0f, parts.sums + at * parts.pitch + channel, a.v.width - channel, true);
    if (writesState) parts.states[2 * at] = row.state.max, parts.states[2 * at + 1] = total;
    return;
  }
  writeRow<kRow, kValueSlices>(sum, a.last ? 1.0f / total : 1.0f,
                               a.out + row.query * a.outStride + row.head * a.v.width + channel, a.v.width - channel,
                               a.outAligned);
  if (a.last || !writesState) return;
  float *state = a.running + row.query * a.runningStride + 2 * row.head;
  state[0] = row.state.max, state[1] = total;
}

// Kernels ---------------------------------------------------------------------------------------------------------------

/// Launch: x = blocks of 16 kWarps rows (query, head of one K head's group) * parts of dv (64 kValueSlices channels),
/// y = heads of K, z = parts of the tokens; kWarps warps, 60 KB of shared memory. Every block reads q of its rows and K and
/// V of one head up to its last query once (4 bytes an element, mostly from L2) and multiplies 3 * 2 * 64 * 16 kWarps * (dh
/// + dv) FLOP a tile of 64 tokens.
template <int kWarps, int kValueSlices> __global__ void __launch_bounds__(kWarps *kWarp)
    attendKernel(const AttentionChunk a, const Parts parts) {
  const Index keyHead = blockIdx.y, valueHead = keyHead / (a.k.heads / a.v.heads);
  const int across = (a.v.width + kSlice * kValueSlices - 1) / (kSlice * kValueSlices);
  const int channel = static_cast<int>(blockIdx.x) % across * kSlice * kValueSlices;
  // The last rows see most tokens: they start first.
  const Index block = (gridDim.x - 1 - blockIdx.x) / across;
  const Index firstRow = block * kWarps * kWarpRows;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const Index own = firstRow + warp * kWarpRows + lane / 4;
  Row row0 = rowOf(a, own, keyHead), row1 = rowOf(a, own + 8, keyHead);
  const float *const q0 = a.q + row0.query * a.qStride + row0.head * a.k.width;
  const float *const q1 = a.q + row1.query * a.qStride + row1.head * a.k.width;

  Sums<kValueSlices> sum = {};
  if (a.more && parts.parts == 1) {
    beginRow<0, kValueSlices>(a, channel, row0, sum);
    beginRow<1, kValueSlices>(a, channel, row1, sum);
  }

  const int partTokens = parts.tiles * kTile, begin = static_cast<int>(blockIdx.z) * partTokens;
  Passes passes(rowOf(a, firstRow, keyHead).sight, rowOf(a, firstRow + kWarps * kWarpRows - 1, keyHead).sight, begin,
                min(begin + partTokens, static_cast<int>(a.tokens)));
  Slices<kWarps * kWarp, kValueSlices> slices(a, passes, static_cast<int>(keyHead), static_cast<int>(valueHead), channel);
  for (Pass pass; passes.next(pass);) {
    float score[2][4][4] = {};
    for (int slice = 0; slice < slices.keySlices(); ++slice)
      addScores(score, q0 + slice * kSlice, q1 + slice * kSlice, a.k.width - slice * kSlice, a.qAligned, slices.take());

    const auto weigh = [&](auto which, Row &row) {
      constexpr int kRow = decltype(which)::value;
      const Sight &s = row.sight;
      const int lo = max(pass.lo, max(pass.exactKey ? s.keyFrom : 0, pass.exactValue ? s.valueFrom : 0));
      const int hi =
          min(min(pass.hi, s.end), min(pass.exactKey ? kNever : s.keyFrom, pass.exactValue ? kNever : s.valueFrom));
      const float factor = toWeights<kRow>(score, pass.begin, lo, hi, a.scale, row.state);
      if (factor != 1.0f) rescale<kRow, kValueSlices>(sum, factor);
    };
    weigh(std::integral_constant<int, 0>{}, row0);
    weigh(std::integral_constant<int, 1>{}, row1);

    addValues(sum[0], score, slices.take());
    if constexpr (kValueSlices == 2) addValues(sum[1], score, slices.take());
  }
  endRow<0, kValueSlices>(a, parts, channel, row0, sum);
  endRow<1, kValueSlices>(a, parts, channel, row1, sum);
}

/// Launch: one block a query and head. Brings what earlier chunks gave, then the parts in order, to one maximum and adds
/// them. Reads 4 parts * dv bytes, writes 4 dv.
__global__ void __launch_bounds__(kThreads) mergeKernel(const AttentionChunk a, const Parts parts) {
  const Index query = blockIdx.x / a.heads, head = blockIdx.x % a.heads, rows = a.n * a.heads;
  float *const state = a.running + query * a.runningStride + 2 * head;
  const float before = a.more ? state[0] : -INFINITY, beforeSum = a.more ? state[1] : 0.0f;
  const float *const states = parts.states + 2 * static_cast<Index>(blockIdx.x);
  float max = before;
  for (int p = 0; p < parts.parts; ++p) max = fmaxf(max, states[2 * p * rows]);
  const float shift = reference(max), factor = weightOf(before, shift);
  float total = beforeSum * factor;
  for (int p = 0; p < parts.parts; ++p) total += states[2 * p * rows + 1] * weightOf(states[2 * p * rows], shift);

  float *const out = a.out + query * a.outStride + head * a.v.width;
  const float *const sums = parts.sums + static_cast<Index>(blockIdx.x) * parts.pitch;
  for (int c = static_cast<int>(threadIdx.x); c < a.v.width; c += kThreads) {
    float sum = a.more ? out[c] * factor : 0.0f;
    for (int p = 0; p < parts.parts; ++p) sum += sums[p * rows * parts.pitch + c] * weightOf(states[2 * p * rows], shift);
    out[c] = a.last ? sum / total : sum;
  }
  __syncthreads(); // every thread has read the state
  if (threadIdx.x == 0 && !a.last) state[0] = max, state[1] = total;
}

// Launches --------------------------------------------------------------------------------------------------------------

int valueSlices(const AttentionChunk &a) { return a.v.width > kSlice ? 2 : 1; }
Index valueParts(const AttentionChunk &a) { return ceilDiv(a.v.width, kSlice * valueSlices(a)); }

/// A matter of the chunk's shape and of n <= 8 alone, so that a query's bits do not depend on the queries beside it.
Parts partsOf(const AttentionChunk &a, float *scratch) {
  const Index tiles = ceilDiv(a.tokens, kTile);
  Index parts = 1;
  if (a.n <= kFewQueries) parts = std::clamp<Index>(kBlocks / (a.k.heads * valueParts(a)), 1, std::max<Index>(tiles, 1));
  const Index each = std::max<Index>(ceilDiv(tiles, parts), 1), pitch = ceilDiv(a.v.width, 4) * 4;
  parts = std::max<Index>(ceilDiv(tiles, each), 1);
  return {static_cast<int>(parts), static_cast<int>(each), scratch, scratch + parts * a.n * a.heads * pitch, pitch};
}

bool copiesRunning(const AttentionChunk &a, const Parts &parts) {
  return parts.parts == 1 && a.more && !a.last && valueParts(a) > 1;
}

template <int kWarps, int kValueSlices>
void launchAttend(cudaStream_t stream, const AttentionChunk &a, const Parts &parts, Index rows) {
  const Index across = ceilDiv(rows, kWarps * kWarpRows) * valueParts(a);
  launch(stream, attendKernel<kWarps, kValueSlices>,
         dim3(static_cast<unsigned>(across), static_cast<unsigned>(a.k.heads), static_cast<unsigned>(parts.parts)),
         kWarps * kWarp, kStages * kStageFloats * sizeof(float), "attention launch", {a.n, a.heads, a.tokens}, a, parts);
}

/// Blocks as high as the rows and as a full device allow: the height changes no bit.
template <int kValueSlices> void launchRows(cudaStream_t stream, const AttentionChunk &a, const Parts &parts) {
  const Index rows = a.n * (a.heads / a.k.heads);
  const auto fits = [&](Index warps) {
    return rows > kWarpRows * warps / 2 &&
           ceilDiv(rows, kWarpRows * warps) * valueParts(a) * a.k.heads * parts.parts >= kBlocks / 2;
  };
  if (fits(4)) return launchAttend<4, kValueSlices>(stream, a, parts, rows);
  if (fits(2)) return launchAttend<2, kValueSlices>(stream, a, parts, rows);
  launchAttend<1, kValueSlices>(stream, a, parts, rows);
}

} // namespace

Index attentionScratch(const AttentionChunk &a) {
  const Parts parts = partsOf(a, nullptr);
  if (copiesRunning(a, parts)) return a.n * 2 * a.heads * static_cast<Index>(sizeof(float));
  if (parts.parts == 1) return 0;
  return parts.parts * a.n * a.heads * (parts.pitch + 2) * static_cast<Index>(sizeof(float));
}

void attend(cudaStream_t stream, AttentionChunk a, float *scratch) {
  const Parts parts = partsOf(a, scratch);
  a.runningBefore = a.running, a.runningBeforeStride = a.runningStride;
  if (copiesRunning(a, parts)) { // the block of the first channels writes what the others read
    const std::size_t width = static_cast<std::size_t>(2 * a.heads) * sizeof(float);
    check(cudaMemcpy2DAsync(scratch, width, a.running,
                            static_cast<std::size_t>(a.n == 1 ? 2 * a.heads : a.runningStride) * sizeof(float), width,
                            static_cast<std::size_t>(a.n), cudaMemcpyDefault, stream),
          "cudaMemcpy2DAsync", {a.n, a.heads});
    a.runningBefore = scratch, a.runningBeforeStride = 2 * a.heads;
  }
  if (valueSlices(a) == 1)
    launchRows<1>(stream, a, parts);
  else
    launchRows<2>(stream, a, parts);
  if (parts.parts > 1)
    launch(stream, mergeKernel, static_cast<unsigned>(a.n * a.heads), kThreads, 0, "attention launch, merge",
           {a.n, a.heads, parts.parts}, a, parts);
}

} // namespace xqs::cuda

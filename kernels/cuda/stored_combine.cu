// SPDX-License-Identifier: Apache-2.0
// What stands before and behind the kernels that read stored rows: the table of blocks, the sum of the splits.
#include "stored_rows.h"

namespace xqs::cuda {
namespace {

constexpr int kTablePart = 512;
struct TablePart {
  StoredBlock blocks[kTablePart];
};

/// Launch: one block of 512 threads for 512 entries, which arrive as the kernel's parameters (24 KB).
__global__ void __launch_bounds__(kTablePart)
    storeTableKernel(const __grid_constant__ TablePart part, int count, StoredBlock *table) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < count) table[i] = part.blocks[i];
}

constexpr int kChannels = 128; ///< of a block

/// Launch: ceil(dv / 128) * H blocks of 128 threads, 4 * splits bytes of shared memory. Reads 4 * slots * dv * H bytes of
/// partial sums, most of them from L2, and 8 bytes a head and tile; bound by latency. Every sum in ascending order.
__global__ void __launch_bounds__(kChannels) combineKernel(const __grid_constant__ Decode d, int streamed, Part tiled) {
  __shared__ float partial[kChannels / kWarp];
  float *const factors = dynamicShared<float>(); // [splits]
  const int pieces = (d.dv + kChannels - 1) / kChannels, thread = static_cast<int>(threadIdx.x);
  const int head = static_cast<int>(blockIdx.x) / pieces;
  const int channel = static_cast<int>(blockIdx.x) % pieces * kChannels + thread;
  const float2 *stats = d.stats + static_cast<Index>(head) * d.tiles;

  float max = -INFINITY, sum = 0;
  for (int i = thread; i < d.tiles; i += kChannels) max = fmaxf(max, stats[i].x);
  max = warpMax(max);
  if (thread % kWarp == 0) partial[thread / kWarp] = max;
  __syncthreads();
  for (int w = 0; w < kChannels / kWarp; ++w) max = fmaxf(max, partial[w]);
  __syncthreads();
  for (int i = thread; i < d.tiles; i += kChannels) sum += expf(stats[i].x - max) * stats[i].y;
  sum = blockSum(sum, partial);
  for (int i = thread; i < d.splits; i += kChannels) factors[i] = expf(splitMax(d, head, i) - max);
  __syncthreads();
  if (channel >= d.dv) return;

  float out = 0;
#pragma unroll 4
  for (int slot = 0; slot < streamed + tiled.count; ++slot) {
    const int split = slot < streamed ? slot : tiled.first + slot - streamed;
    out += factors[split] * d.partials[(static_cast<Index>(slot) * d.queryHeads + head) * d.dv + channel];
  }
  d.out[static_cast<Index>(head) * d.dv + channel] = out / sum;
}

} // namespace

void storeTable(cudaStream_t stream, const StoredBlock *blocks, int count, StoredBlock *table) {
  for (int first = 0; first < count; first += kTablePart) {
    const int n = count - first < kTablePart ? count - first : kTablePart;
    TablePart part{};
    for (int i = 0; i < n; ++i) part.blocks[i] = blocks[first + i];
    launch(stream, storeTableKernel, 1, kTablePart, 0, "table of blocks launch", {count}, part, n, table + first);
  }
}

void combine(cudaStream_t stream, const Decode &d, int streamed, Part tiled) {
  launch(stream, combineKernel, static_cast<unsigned>(ceilDiv(d.dv, kChannels) * d.queryHeads), kChannels,
         static_cast<std::size_t>(d.splits) * 4, "stored attention launch, sum of splits", {d.queryHeads, d.dv, d.splits}, d,
         streamed, tiled);
}

} // namespace xqs::cuda

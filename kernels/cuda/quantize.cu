// SPDX-License-Identifier: Apache-2.0
#include "quantize.h"

#include "launch.h"

namespace xqs::cuda {
namespace {

__device__ void storeScale(const PackedPointers &packed, Index at, Extremes e, unsigned long long *saturated) {
  const ScaleZero result = scaleAndZero(e, packed.shape.bits);
  packed.scales[at] = result.scale;
  packed.zeros[at] = result.zero;
  if (result.saturated > 0) atomicAdd(saturated, static_cast<unsigned long long>(result.saturated));
}

/// Launch: one warp a group, n * groupsPerRow of them. Reads 4 bytes an element, writes 4 bytes a group.
__global__ void scalesPerToken(const float *x, Index xStride, Index n, PackedPointers packed, Index firstToken,
                               unsigned long long *saturated) {
  const PackShape &shape = packed.shape;
  const Index warp = (static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  if (warp >= n * shape.groupsPerRow) return; // whole warps leave: the shuffles below stay complete
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Index row = warp / shape.groupsPerRow, group = warp - row * shape.groupsPerRow;
  const ChannelRange channels = groupChannels(shape, group);
  const float *values = x + row * xStride;

  // A lane without an element has the group's first one: merging a value twice changes nothing.
  const float first = finite(values[channels.begin]);
  Extremes e = {first, first};
  for (Index c = channels.begin + lane; c < channels.end; c += kWarp) e = merge(e, {finite(values[c]), finite(values[c])});
  for (int step = kWarp / 2; step > 0; step /= 2)
    e = merge(e, {__shfl_xor_sync(0xffffffffu, e.min, step), __shfl_xor_sync(0xffffffffu, e.max, step)});
  if (lane == 0) storeScale(packed, (firstToken + row) * shape.groupsPerRow + group, e, saturated);
}

/// Launch: one thread a channel of a group of tokens, n / group * width of them, so that a warp reads neighbouring channels.
/// Reads 4 bytes an element, writes 4 bytes a group.
__global__ void scalesPerChannel(const float *x, Index xStride, Index n, PackedPointers packed, Index firstToken,
                                 unsigned long long *saturated) {
  const PackShape &shape = packed.shape;
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n / shape.group * shape.width) return;
  const Index group = i / shape.width, channel = i - group * shape.width;
  const Index firstRow = group * shape.group;
  const float *column = x + firstRow * xStride + channel;
  Extremes e = {finite(column[0]), finite(column[0])};
  for (Index r = 1; r < shape.group; ++r) e = merge(e, {finite(column[r * xStride]), finite(column[r * xStride])});
  storeScale(packed, scaleIndex(shape, firstToken + firstRow, channel), e, saturated);
}

/// Launch: one thread an octet (8 codes, `bits` whole bytes), n * octetsPerRow of them, after the scales on the same stream.
/// Reads 4 bytes an element and its scale and zero (from cache), writes bits / 8 bytes an element. A second pass over x
/// costs 4 bytes an element and keeps groups free to end inside a byte.
__global__ void packKernel(const float *x, Index xStride, Index n, PackedPointers packed, Index firstToken,
                           unsigned long long *saturated) {
  const PackShape &shape = packed.shape;
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n * shape.octetsPerRow) return;
  const Index row = i / shape.octetsPerRow, octet = i - row * shape.octetsPerRow;
  const int broken = packOctet(shape, x + row * xStride, packed.scales, packed.zeros, packed.codes, firstToken + row, octet);
  if (broken > 0) atomicAdd(saturated, static_cast<unsigned long long>(broken));
}

/// Launch: one thread an element, tokens * width of them. Reads bits / 8 bytes an element and its scale and zero (from
/// cache), writes 4 (reads them too where `accumulate`).
__global__ void dequantizeKernel(PackedPointers packed, Index firstToken, Index tokens, float *out, Index outStride,
                                 bool accumulate) {
  const PackShape &shape = packed.shape;
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= tokens * shape.width) return;
  const Index row = i / shape.width, channel = i - row * shape.width;
  const Index token = firstToken + row;
  const Index s = scaleIndex(shape, token, channel);
  const std::uint32_t code = codeAt(shape, packed.codes + token * shape.rowBytes, channel);
  const float value = dequantizeValue(code, packed.scales[s], packed.zeros[s]);
  float &to = out[row * outStride + channel];
  to = accumulate ? plus(to, value) : value;
}

} // namespace

void quantizeRows(cudaStream_t stream, const float *x, Index xStride, Index n, const PackedPointers &packed,
                  Index firstToken, unsigned long long *saturated) {
  const PackShape &shape = packed.shape;
  if (shape.perChannel)
    launch(stream, scalesPerChannel, blocksFor(n / shape.group * shape.width), kThreads, 0, "quantize launch, scales",
           {n, shape.width}, x, xStride, n, packed, firstToken, saturated);
  else
    launch(stream, scalesPerToken, blocksFor(n * shape.groupsPerRow * kWarp), kThreads, 0, "quantize launch, scales",
           {n, shape.width}, x, xStride, n, packed, firstToken, saturated);
  launch(stream, packKernel, blocksFor(n * shape.octetsPerRow), kThreads, 0, "quantize launch, codes", {n, shape.width}, x,
         xStride, n, packed, firstToken, saturated);
}

void dequantizeRows(cudaStream_t stream, const PackedPointers &packed, TokenRange range, float *out, Index outStride,
                    bool accumulate) {
  launch(stream, dequantizeKernel, blocksFor(range.size() * packed.shape.width), kThreads, 0, "dequantize launch",
         {range.size(), packed.shape.width}, packed, range.begin, range.size(), out, outStride, accumulate);
}

} // namespace xqs::cuda

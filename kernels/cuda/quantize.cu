// SPDX-License-Identifier: Apache-2.0
#include "quantize.h"

#include "launch.h"

#include <algorithm>
#include <bit>

namespace xqs::cuda {
namespace {

/// One octet of values; what a row does not have is 0.
struct Octet {
  float v[kOctet];
  int count;
};
__device__ Octet loadValues(const float *from, Index left, bool aligned) {
  Octet o = {{}, static_cast<int>(left < 0 ? 0 : left < kOctet ? left : kOctet)};
  if (aligned && o.count == kOctet) {
    const float4 low = *reinterpret_cast<const float4 *>(from), high = *reinterpret_cast<const float4 *>(from + 4);
    return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}, kOctet};
  }
#pragma unroll
  for (int i = 0; i < kOctet; ++i)
    if (i < o.count) o.v[i] = from[i];
  return o;
}
__device__ void storeValues(float *to, const Octet &o, bool aligned) {
  if (aligned && o.count == kOctet) {
    *reinterpret_cast<float4 *>(to) = make_float4(o.v[0], o.v[1], o.v[2], o.v[3]);
    *reinterpret_cast<float4 *>(to + 4) = make_float4(o.v[4], o.v[5], o.v[6], o.v[7]);
    return;
  }
#pragma unroll
  for (int i = 0; i < kOctet; ++i)
    if (i < o.count) to[i] = o.v[i];
}

/// Eight neighbouring halves.
__device__ void loadHalves(const Half *from, int count, Half (&to)[kOctet]) {
  if (count == kOctet && reinterpret_cast<std::uintptr_t>(from) % 16 == 0) {
    const uint4 q = *reinterpret_cast<const uint4 *>(from);
    const std::uint32_t pairs[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
    for (int i = 0; i < kOctet; ++i) to[i] = static_cast<Half>(pairs[i / 2] >> (16 * (i % 2)));
    return;
  }
#pragma unroll
  for (int i = 0; i < kOctet; ++i) to[i] = i < count ? from[i] : Half{0};
}

/// Scales and zeros of one octet. `shared`: groups along channels end at octets, so that one pair serves all eight.
struct OctetScales {
  Half scale[kOctet], zero[kOctet];
};
__device__ OctetScales loadScales(const PackedPointers &packed, Index token, Index channel, int count, bool shared) {
  const Index at = scaleIndex(packed.shape, token, channel);
  OctetScales s;
  if (packed.shape.perChannel) {
    loadHalves(packed.scales + at, count, s.scale);
    loadHalves(packed.zeros + at, count, s.zero);
    return s;
  }
  const Half scale = packed.scales[at], zero = packed.zeros[at];
#pragma unroll
  for (int i = 0; i < kOctet; ++i) s.scale[i] = scale, s.zero[i] = zero;
  if (shared) return s;
#pragma unroll
  for (int i = 1; i < kOctet; ++i) {
    if (i >= count) continue;
    const Index own = scaleIndex(packed.shape, token, channel + i);
    s.scale[i] = packed.scales[own], s.zero[i] = packed.zeros[own];
  }
  return s;
}

/// Codes of an octet, code i at i * bits: in two words of four.
template <typename CodeOf>
__device__ std::uint64_t packCodes(const Octet &o, int bits, const CodeOf &codeOfValue, int &broken) {
  std::uint32_t half[2] = {};
#pragma unroll
  for (int i = 0; i < kOctet; ++i) {
    if (i >= o.count) continue;
    broken += isFinite(o.v[i]) ? 0 : 1;
    half[i / 4] |= codeOfValue(i) << (i % 4 * bits);
  }
  return half[0] | static_cast<std::uint64_t>(half[1]) << (4 * bits);
}

__device__ void storeScale(const PackedPointers &packed, Index at, Extremes e, unsigned long long *saturated) {
  const ScaleZero result = scaleAndZero(e, packed.shape.bits);
  packed.scales[at] = result.scale;
  packed.zeros[at] = result.zero;
  if (result.saturated > 0) atomicAdd(saturated, static_cast<unsigned long long>(result.saturated));
}

/// Groups along channels of whole octets: one lane a few octets, which it reads once and keeps. Launch: `lanes` (a power of
/// two up to a warp) lanes a group, n * groupsPerRow groups, lanes * kOctets octets at most. Reads 4 bytes an element,
/// writes bits / 8, and 4 bytes a group.
template <int kOctets> __global__ void __launch_bounds__(kThreads)
    quantizeTokens(const float *x, Index xStride, Index n, PackedPointers packed, Index firstToken, int lanes, bool aligned,
                   unsigned long long *saturated) {
  const PackShape &shape = packed.shape;
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x, groups = n * shape.groupsPerRow;
  const int lane = static_cast<int>(threadIdx.x) & (lanes - 1);
  const bool inside = i / lanes < groups; // the others stay for the shuffles
  const Index item = inside ? i / lanes : 0;
  const Index row = item / shape.groupsPerRow, group = item - row * shape.groupsPerRow;
  const ChannelRange channels = groupChannels(shape, group);

  Octet own[kOctets];
  Extremes e = {FLT_MAX, -FLT_MAX}; // merging them changes nothing: values are finite
#pragma unroll
  for (int k = 0; k < kOctets; ++k) {
    const Index channel = channels.begin + (k * lanes + lane) * kOctet;
    own[k] = loadValues(x + row * xStride + channel, channels.end - channel, aligned);
#pragma unroll
    for (int j = 0; j < kOctet; ++j)
      if (j < own[k].count) e = merge(e, {finite(own[k].v[j]), finite(own[k].v[j])});
  }
  for (int step = lanes / 2; step > 0; step /= 2)
    e = merge(e, {__shfl_xor_sync(kAllLanes, e.min, step), __shfl_xor_sync(kAllLanes, e.max, step)});
  if (!inside) return;
  const Index token = firstToken + row;
  if (lane == 0) storeScale(packed, token * shape.groupsPerRow + group, e, saturated);

  const ScaleZero s = scaleAndZero(e, shape.bits);
  const GroupCoder coder = groupCoder(s.scale, s.zero, shape.bits);
  int broken = 0;
#pragma unroll
  for (int k = 0; k < kOctets; ++k) {
    const auto code = [&](int j) { return codeOf(own[k].v[j], coder); };
    const std::uint64_t word = packCodes(own[k], shape.bits, code, broken);
    if (own[k].count > 0)
      storeOctet(shape, packed.codes + token * shape.rowBytes, channels.begin / kOctet + k * lanes + lane, word);
  }
  if (broken > 0) atomicAdd(saturated, static_cast<unsigned long long>(broken));
}

/// Any groups along channels. Launch: one warp a group, n * groupsPerRow of them. Reads 4 bytes an element, writes 4 bytes a
/// group.
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
    e = merge(e, {__shfl_xor_sync(kAllLanes, e.min, step), __shfl_xor_sync(kAllLanes, e.max, step)});
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
/// Reads 4 bytes an element and its scale and zero (neighbouring ones: 16 bytes at once), writes bits / 8 bytes an element.
/// A second pass over x costs 4 bytes an element and keeps groups free to end inside a byte.
__global__ void __launch_bounds__(kThreads)
    packKernel(const float *x, Index xStride, Index n, PackedPointers packed, Index firstToken, bool shared, bool aligned,
               unsigned long long *saturated) {
  const PackShape &shape = packed.shape;
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n * shape.octetsPerRow) return;
  const Index row = i / shape.octetsPerRow, octet = i - row * shape.octetsPerRow;
  const Index token = firstToken + row, channel = octet * kOctet;
  const Octet values = loadValues(x + row * xStride + channel, shape.width - channel, aligned);
  const OctetScales s = loadScales(packed, token, channel, values.count, shared);
  int broken = 0;
  const auto code = [&](int j) { return quantizeValue(values.v[j], s.scale[j], s.zero[j], shape.bits); };
  storeOctet(shape, packed.codes + token * shape.rowBytes, octet, packCodes(values, shape.bits, code, broken));
  if (broken > 0) atomicAdd(saturated, static_cast<unsigned long long>(broken));
}

/// Launch: one thread an octet, tokens * octetsPerRow of them. Reads bits / 8 bytes an element and its scale and zero as
/// above, writes 4 (reads them too where `accumulate`). A code c becomes FP32 as (2^23 + c) - 2^23: no conversion.
__global__ void __launch_bounds__(kThreads)
    dequantizeKernel(PackedPointers packed, Index firstToken, Index tokens, float *out, Index outStride, bool accumulate,
                     bool shared, bool aligned) {
  const PackShape &shape = packed.shape;
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= tokens * shape.octetsPerRow) return;
  const Index row = i / shape.octetsPerRow, octet = i - row * shape.octetsPerRow;
  const Index token = firstToken + row, channel = octet * kOctet;
  const int count = octetCodes(shape, octet);
  const std::uint64_t word = loadOctet(shape, packed.codes + token * shape.rowBytes, octet);
  const std::uint32_t half[2] = {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> (4 * shape.bits))};
  const OctetScales s = loadScales(packed, token, channel, count, shared);
  const std::uint32_t mask = (1u << shape.bits) - 1u;
  float *const to = out + row * outStride + channel;
  Octet values = accumulate ? loadValues(to, count, aligned) : Octet{{}, count};
#pragma unroll
  for (int j = 0; j < kOctet; ++j) {
    const std::uint32_t code = half[j / 4] >> (j % 4 * shape.bits) & mask;
    const float value = plus(multiply(minus(floatOf(bitsOf(kWholes) | code), kWholes), widen(s.scale[j])), widen(s.zero[j]));
    values.v[j] = accumulate ? plus(values.v[j], value) : value;
  }
  storeValues(to, values, aligned);
}

/// Rows of x or out may be read in quads.
/// Groups along channels that begin and end between octets.
bool wholeOctets(const PackShape &shape) {
  return !shape.perChannel && shape.group % kOctet == 0 && (shape.segment % kOctet == 0 || shape.segment == shape.width);
}

} // namespace

void quantizeRows(cudaStream_t stream, const float *x, Index xStride, Index n, const PackedPointers &packed,
                  Index firstToken, unsigned long long *saturated) {
  const PackShape &shape = packed.shape;
  const bool shared = wholeOctets(shape), aligned = aligned16(x, xStride * 4);
  const Index octets = ceilDiv(std::min(shape.group, shape.segment), kOctet); // of a group
  if (shared && octets <= 4 * kWarp) {
    const int lanes = static_cast<int>(std::min<Index>(std::bit_ceil(static_cast<std::uint64_t>(octets)), kWarp));
    const auto kernel = octets <= kWarp ? quantizeTokens<1> : octets <= 2 * kWarp ? quantizeTokens<2> : quantizeTokens<4>;
    return launch(stream, kernel, blocksFor(n * shape.groupsPerRow * lanes), kThreads, 0, "quantize launch",
                  {n, shape.width}, x, xStride, n, packed, firstToken, lanes, aligned, saturated);
  }
  if (shape.perChannel)
    launch(stream, scalesPerChannel, blocksFor(n / shape.group * shape.width), kThreads, 0, "quantize launch, scales",
           {n, shape.width}, x, xStride, n, packed, firstToken, saturated);
  else
    launch(stream, scalesPerToken, blocksFor(n * shape.groupsPerRow * kWarp), kThreads, 0, "quantize launch, scales",
           {n, shape.width}, x, xStride, n, packed, firstToken, saturated);
  launch(stream, packKernel, blocksFor(n * shape.octetsPerRow), kThreads, 0, "quantize launch, codes", {n, shape.width}, x,
         xStride, n, packed, firstToken, shared, aligned, saturated);
}

void dequantizeRows(cudaStream_t stream, const PackedPointers &packed, TokenRange range, float *out, Index outStride,
                    bool accumulate) {
  launch(stream, dequantizeKernel, blocksFor(range.size() * packed.shape.octetsPerRow), kThreads, 0, "dequantize launch",
         {range.size(), packed.shape.width}, packed, range.begin, range.size(), out, outStride, accumulate,
         wholeOctets(packed.shape), aligned16(out, outStride * 4));
}

} // namespace xqs::cuda

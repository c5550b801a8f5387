// SPDX-License-Identifier: Apache-2.0
// The packed cache on the fast backend: the same bits as the reference.
#include "cpu_backend.h"
#include "quant_groups.h"
#include "simd_pack.h"

#include <cstring>

namespace xqs {

namespace {
constexpr Index kTokenTile = 16; ///< rows a task takes

std::vector<std::uint8_t> &codeScratch(Index width) {
  thread_local std::vector<std::uint8_t> codes;
  codes.resize(static_cast<std::size_t>(width));
  return codes;
}
} // namespace

void CpuBackend::convert(Queue, ConstView src, View dst) {
  XQS_ASSERT(sameShape(src, dst));
  const Op op(*this, "convert", bytesOf(src) + bytesOf(dst), 0);
  forRows(src.rows, elementwiseTile(src.cols), [&](Index begin, Index end) {
    Index saturated = 0;
    for (Index r = begin; r < end; ++r) {
      if (src.type == dst.type) {
        const Index element = sizeOf(src.type);
        std::memcpy(dst.data + r * dst.stride * element, src.data + r * src.stride * element,
                    static_cast<std::size_t>(src.cols * element));
      } else if (src.type == DType::F32) {
        saturated += simd::toHalf(src.row(r), src.cols, dst.halfRow(r));
      } else {
        simd::toFloat(src.halfRow(r), src.cols, dst.row(r));
      }
    }
    countSaturated(saturated);
  });
}

void CpuBackend::quantize(Queue, ConstView x, const PackedView &dst, Index firstRow) {
  checkPacked(dst);
  XQS_ASSERT(isF32(x) && x.cols == dst.width && firstRow >= 0 && firstRow + x.rows <= dst.rows);
  const Op op(*this, "quantize", bytesOf(x) + packedBytes(dst, x.rows), 6.0 * static_cast<double>(x.rows * x.cols));
  if (dst.format.axis == Axis::Token)
    quantizeTokenGroups(x, dst, firstRow);
  else
    quantizeChannelGroups(x, dst, firstRow);
}

void CpuBackend::quantizeTokenGroups(ConstView x, const PackedView &dst, Index firstRow) {
  const int levels = (1 << dst.format.bits) - 1;
  const Index groups = dst.format.groupsPerRow(dst.width);
  forRows(x.rows, kTokenTile, [&](Index begin, Index end) {
    Index saturated = 0;
    std::uint8_t *codes = codeScratch(dst.width).data();
    for (Index r = begin; r < end; ++r) {
      const float *in = x.row(r);
      forEachGroup(dst.format, dst.width, [&](Index group, Index first, Index last) {
        const simd::Range range = simd::range(in + first, last - first);
        const GroupScale g = groupScale(range.min, range.max, levels);
        dst.scales[(firstRow + r) * groups + group] = g.scaleBits;
        dst.zeros[(firstRow + r) * groups + group] = g.zeroBits;
        saturated += range.broken + g.saturated;
        simd::encode(in + first, last - first, g.scale, g.zero, levels, codes + first);
      });
      simd::packCodes(codes, dst.width, dst.format.bits, dst.codes + (firstRow + r) * dst.rowBytes());
    }
    countSaturated(saturated);
  });
}

void CpuBackend::quantizeChannelGroups(ConstView x, const PackedView &dst, Index firstRow) {
  const int levels = (1 << dst.format.bits) - 1;
  const Index group = dst.format.group, width = dst.width;
  XQS_ASSERT(firstRow % group == 0 && x.rows % group == 0);
  forRows(x.rows, group, [&](Index begin, Index end) {
    std::uint8_t *codes = codeScratch(width).data();
    std::vector<float> low(static_cast<std::size_t>(width), FLT_MAX), high(static_cast<std::size_t>(width), -FLT_MAX);
    Index saturated = 0;
    for (Index r = begin; r < end; ++r) saturated += simd::rangeColumns(x.row(r), width, low.data(), high.data());
    for (Index c = 0; c < width; ++c) { // low and high become scale and zero
      const auto i = static_cast<std::size_t>(c);
      const GroupScale g = groupScale(low[i], high[i], levels);
      const Index at = (firstRow + begin) / group * width + c;
      dst.scales[at] = g.scaleBits;
      dst.zeros[at] = g.zeroBits;
      saturated += g.saturated;
      low[i] = g.scale;
      high[i] = g.zero;
    }
    for (Index r = begin; r < end; ++r) {
      simd::encodeColumns(x.row(r), width, low.data(), high.data(), levels, codes);
      simd::packCodes(codes, width, dst.format.bits, dst.codes + (firstRow + r) * dst.rowBytes());
    }
    countSaturated(saturated);
  });
}

namespace {

void dequantizeTokenGroups(const PackedView &src, Index token, const std::uint8_t *codes, bool accumulate, float *out) {
  const Index first = token * src.format.groupsPerRow(src.width);
  forEachGroup(src.format, src.width, [&](Index group, Index begin, Index end) {
    simd::decode(codes + begin, end - begin, toFloat(src.scales[first + group]), toFloat(src.zeros[first + group]),
                 accumulate, out + begin);
  });
}

/// Scales and zeros of one group of tokens as FP32, kept while the tokens stay in the group.
struct ChannelScales {
  std::vector<float> scale, zero;
  Index group = -1;
  void load(const PackedView &src, Index wanted) {
    if (wanted == group) return;
    group = wanted;
    scale.resize(static_cast<std::size_t>(src.width));
    zero.resize(static_cast<std::size_t>(src.width));
    simd::toFloat(src.scales + group * src.width, src.width, scale.data());
    simd::toFloat(src.zeros + group * src.width, src.width, zero.data());
  }
};

} // namespace

void dequantizeRows(const PackedView &src, TokenRange range, View out, bool accumulate) {
  std::uint8_t *codes = codeScratch(src.width).data();
  ChannelScales channels;
  for (Index token = range.begin; token < range.end; ++token) {
    float *row = out.row(token - range.begin);
    simd::unpackCodes(src.codes + token * src.rowBytes(), src.width, src.format.bits, codes);
    if (src.format.axis == Axis::Token) {
      dequantizeTokenGroups(src, token, codes, accumulate, row);
    } else {
      channels.load(src, token / src.format.group);
      simd::decodeColumns(codes, src.width, channels.scale.data(), channels.zero.data(), accumulate, row);
    }
  }
}

void CpuBackend::dequantize(Queue, const PackedView &src, TokenRange range, View out, bool accumulate) {
  checkPacked(src);
  XQS_ASSERT(isF32(out) && out.rows == range.size() && out.cols == src.width && range.begin >= 0 && range.end <= src.rows);
  const Op op(*this, "dequantize", bytesOf(out) + packedBytes(src, range.size()),
              2.0 * static_cast<double>(out.rows * out.cols));
  forRows(out.rows, kTokenTile, [&](Index begin, Index end) {
    dequantizeRows(src, {range.begin + begin, range.begin + end}, out.rowRange(begin, end - begin), accumulate);
  });
}

} // namespace xqs

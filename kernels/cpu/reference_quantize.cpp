// SPDX-License-Identifier: Apache-2.0
// The packed cache, as defined (method.md 2): one value at a time.
#include "quant_groups.h"
#include "reference_backend.h"

#include <cmath>
#include <cstring>

namespace xqs {

namespace {

unsigned encode(float x, const GroupScale &g, int levels) {
  if (g.scale == 0) return 0;
  const float code = std::nearbyint((finite(x) - g.zero) / g.scale);
  return static_cast<unsigned>(std::clamp(code, 0.0f, static_cast<float>(levels)));
}

std::int64_t countBroken(ConstView x) {
  std::int64_t broken = 0;
  for (Index r = 0; r < x.rows; ++r)
    for (Index c = 0; c < x.cols; ++c) broken += isFinite(x.row(r)[c]) ? 0 : 1;
  return broken;
}

} // namespace

void ReferenceBackend::convert(Queue, ConstView src, View dst) {
  XQS_ASSERT(sameShape(src, dst));
  const Op op(*this, "convert", bytesOf(src) + bytesOf(dst), 0);
  forRows(src.rows, elementwiseTile(src.cols), [&](Index begin, Index end) {
    std::int64_t saturated = 0;
    for (Index r = begin; r < end; ++r) {
      if (src.type == dst.type) {
        const auto element = sizeOf(src.type);
        std::memcpy(dst.data + r * dst.stride * element, src.data + r * src.stride * element,
                    static_cast<std::size_t>(src.cols * element));
      } else if (src.type == DType::F32) {
        for (Index c = 0; c < src.cols; ++c) {
          const float x = src.row(r)[c];
          saturated += saturates(x) ? 1 : 0;
          dst.halfRow(r)[c] = toHalf(x);
        }
      } else {
        for (Index c = 0; c < src.cols; ++c) dst.row(r)[c] = toFloat(src.halfRow(r)[c]);
      }
    }
    countSaturated(saturated);
  });
}

void ReferenceBackend::quantize(Queue, ConstView x, const PackedView &dst, Index firstRow) {
  checkPacked(dst);
  XQS_ASSERT(isF32(x) && x.cols == dst.width && firstRow >= 0 && firstRow + x.rows <= dst.rows);
  const Op op(*this, "quantize", bytesOf(x) + packedBytes(dst, x.rows), 6.0 * static_cast<double>(x.rows * x.cols));
  if (dst.format.axis == Axis::Token)
    quantizeTokenGroups(x, dst, firstRow);
  else
    quantizeChannelGroups(x, dst, firstRow);
}

void ReferenceBackend::quantizeTokenGroups(ConstView x, const PackedView &dst, Index firstRow) {
  const int bits = dst.format.bits, levels = (1 << bits) - 1;
  const Index groups = dst.format.groupsPerRow(dst.width);
  forRows(x.rows, elementwiseTile(x.cols), [&](Index begin, Index end) {
    std::int64_t saturated = countBroken(x.rowRange(begin, end - begin));
    for (Index r = begin; r < end; ++r) {
      const float *in = x.row(r);
      std::byte *codes = dst.codes + (firstRow + r) * dst.rowBytes();
      std::memset(codes, 0, static_cast<std::size_t>(dst.rowBytes()));
      forEachGroup(dst.format, dst.width, [&](Index group, Index first, Index last) {
        float min = finite(in[first]), max = min;
        for (Index c = first; c < last; ++c) {
          min = std::min(min, finite(in[c]));
          max = std::max(max, finite(in[c]));
        }
        const GroupScale g = groupScale(min, max, levels);
        dst.scales[(firstRow + r) * groups + group] = g.scaleBits;
        dst.zeros[(firstRow + r) * groups + group] = g.zeroBits;
        saturated += g.saturated;
        for (Index c = first; c < last; ++c) writeCode(codes, c, bits, encode(in[c], g, levels));
      });
    }
    countSaturated(saturated);
  });
}

void ReferenceBackend::quantizeChannelGroups(ConstView x, const PackedView &dst, Index firstRow) {
  const int bits = dst.format.bits, levels = (1 << bits) - 1;
  const Index group = dst.format.group;
  XQS_ASSERT(firstRow % group == 0 && x.rows % group == 0);
  forRows(x.rows, group, [&](Index begin, Index end) {
    std::int64_t saturated = countBroken(x.rowRange(begin, end - begin));
    std::byte *codes = dst.codes + (firstRow + begin) * dst.rowBytes();
    std::memset(codes, 0, static_cast<std::size_t>((end - begin) * dst.rowBytes()));
    for (Index c = 0; c < x.cols; ++c) {
      float min = finite(x.row(begin)[c]), max = min;
      for (Index r = begin; r < end; ++r) {
        min = std::min(min, finite(x.row(r)[c]));
        max = std::max(max, finite(x.row(r)[c]));
      }
      const GroupScale g = groupScale(min, max, levels);
      dst.scales[(firstRow + begin) / group * dst.width + c] = g.scaleBits;
      dst.zeros[(firstRow + begin) / group * dst.width + c] = g.zeroBits;
      saturated += g.saturated;
      for (Index r = begin; r < end; ++r)
        writeCode(codes + (r - begin) * dst.rowBytes(), c, bits, encode(x.row(r)[c], g, levels));
    }
    countSaturated(saturated);
  });
}

void ReferenceBackend::dequantize(Queue, const PackedView &src, TokenRange range, View out, bool accumulate) {
  checkPacked(src);
  XQS_ASSERT(isF32(out) && out.rows == range.size() && out.cols == src.width && range.begin >= 0 && range.end <= src.rows);
  const Op op(*this, "dequantize", bytesOf(out) + packedBytes(src, range.size()),
              2.0 * static_cast<double>(out.rows * out.cols));
  const QuantFormat &format = src.format;
  const Index groups = format.groupsPerRow(src.width);
  const auto put = [accumulate](float &o, unsigned code, Half scale, Half zero) {
    const float value = static_cast<float>(code) * toFloat(scale) + toFloat(zero);
    o = accumulate ? o + value : value;
  };
  forRows(out.rows, elementwiseTile(out.cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const Index token = range.begin + r;
      const std::byte *codes = src.codes + token * src.rowBytes();
      float *o = out.row(r);
      if (format.axis == Axis::Channel) {
        const Half *scales = src.scales + token / format.group * src.width,
                   *zeros = src.zeros + token / format.group * src.width;
        for (Index c = 0; c < src.width; ++c) put(o[c], readCode(codes, c, format.bits), scales[c], zeros[c]);
      } else {
        const Half *scales = src.scales + token * groups, *zeros = src.zeros + token * groups;
        forEachGroup(format, src.width, [&](Index group, Index first, Index last) {
          for (Index c = first; c < last; ++c) put(o[c], readCode(codes, c, format.bits), scales[group], zeros[group]);
        });
      }
    }
  });
}

} // namespace xqs

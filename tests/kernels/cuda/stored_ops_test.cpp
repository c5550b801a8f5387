// SPDX-License-Identifier: Apache-2.0
// Attention and rebuilt rows from K and V as the cache stores them, against double over the rows that the reference backend
// dequantizes.
#include "cuda_test.h"

#include <algorithm>
#include <optional>

namespace xqs::test {
namespace {

constexpr double kU = 0x1p-24;        ///< rounding of one FP32 operation
constexpr double kTensor = 0x1p-23;   ///< of one addition of tensor cores, which may truncate
constexpr double kHalfU = 0x1p-11;    ///< rounding to FP16
constexpr double kHalfTiny = 0x1p-25; ///< the same below FP16's normal range

enum class Map { None, F16, F32 };

struct SideCase {
  QuantFormat format{4, 128, Axis::Token, 0};
  Index packed = 0; ///< tokens in codes; the others are plain
  DType plain = DType::F16;
  Index outliers = 0, sinks = 0;
  Index cut = 512;    ///< tokens of a block
  Index firstRow = 0; ///< of the first block in its packed tensor
  float growth = 1;   ///< of packed values behind the first block
  Index heads = 1, dh = 16;
  Map map = Map::None;
  Index width = 0; ///< of stored rows, where there is a map
  bool bias = false, rope = false;
  Index columns() const { return heads * dh; }
  Index stored() const { return map == Map::None ? columns() : width; }
};

std::ostream &operator<<(std::ostream &o, const SideCase &c) {
  return o << c.packed << " tokens of " << c.format.bits << " bits, group " << c.format.group
           << (c.format.axis == Axis::Token ? " per token" : " per channel") << ", segment " << c.format.segment
           << ", plain " << (c.plain == DType::F16 ? "fp16" : "fp32") << ", outliers " << c.outliers << ", sinks " << c.sinks
           << ", blocks of " << c.cut << " from row " << c.firstRow << ", " << c.heads << " heads of " << c.dh << ", map "
           << static_cast<int>(c.map) << " from " << c.stored() << (c.bias ? ", bias" : "") << (c.rope ? ", rope" : "");
}

using Doubles = std::vector<double>;

/// A bias and a scale a channel, so that zeros and scales differ.
HostMatrix<float> storedValues(Index rows, Index cols, std::mt19937 &random) {
  std::normal_distribution<float> normal;
  std::vector<float> centre(static_cast<std::size_t>(cols)), deviation(centre);
  for (std::size_t c = 0; c < centre.size(); ++c) centre[c] = normal(random), deviation[c] = 0.5f + std::abs(normal(random));
  HostMatrix<float> m(rows, cols, cols + 8);
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < cols; ++c)
      m.at(r, c) = centre[static_cast<std::size_t>(c)] + deviation[static_cast<std::size_t>(c)] * normal(random);
  return m;
}
HostMatrix<Half> narrowed(HostMatrix<float> &from, Index pad = 0) {
  HostMatrix<Half> to(from.rows, from.cols, from.cols + pad);
  for (Index r = 0; r < from.rows; ++r)
    for (Index c = 0; c < from.cols; ++c) to.at(r, c) = toHalf(from.at(r, c));
  return to;
}

class StoredOps : public CudaTest {
protected:
  /// A side on the device, its rows and its image in double, and how far FP16 tiles may be from the image.
  struct Side {
    SideCase c;
    Index tokens;
    StoredSide side;
    std::vector<Buffer> buffers;
    std::vector<double> frequency;
    Doubles rows, size;   ///< [tokens, stored]: values; |code * scale| + |zero|
    Doubles image, error; ///< [tokens, columns]: K or V; bound of what a product with FP16 operands makes of it
    double largest = 0;   ///< of `size`

    Side(const SideCase &shape, Index count, unsigned seed) : c(shape), tokens(count) {
      std::mt19937 random(seed);
      const Index width = c.stored(), body = width - c.outliers;
      rows.resize(static_cast<std::size_t>(tokens * width));
      size = rows;
      for (Index first = 0; first < tokens;) {
        const bool packed = first < c.packed;
        Index n = std::min(c.cut, (packed ? c.packed : tokens) - first);
        StoredSide::Block block;
        block.rows = n;
        if (packed) {
          block.firstRow = first == 0 ? c.firstRow : 0;
          addPacked(block, first, body, random);
        } else {
          addPlain(block, first, body, random);
        }
        if (c.outliers > 0) addOutliers(block, first, random);
        side.blocks.push_back(block);
        first += n;
      }
      if (c.sinks > 0) addSinks(random);
      side.width = width;
      side.heads = c.heads;
      for (const double s : size) largest = std::max(largest, s);
      makeImage(random);
    }

    double &row(Index t, Index channel) { return rows[static_cast<std::size_t>(t * c.stored() + channel)]; }
    double &sizeOf(Index t, Index channel) { return size[static_cast<std::size_t>(t * c.stored() + channel)]; }

    void addPacked(StoredSide::Block &block, Index first, Index body, std::mt19937 &random) {
      const Index group = c.format.axis == Axis::Channel ? c.format.group : 1;
      PackedCase shape{c.format, (block.firstRow + block.rows + group - 1) / group * group, body};
      HostPacked host(shape), zero(shape);
      auto x = storedValues(shape.tokens, body, random);
      for (float &value : x.values) value *= first > 0 ? c.growth : 1.0f;
      s_reference->quantize(kQ, x.view(), host.view(), 0);
      zero.scales = host.scales, zero.zeros = host.zeros;
      std::fill(zero.codes.begin(), zero.codes.end(), std::byte{0});
      HostMatrix<float> values(block.rows, body), zeros(block.rows, body);
      const TokenRange range{block.firstRow, block.firstRow + block.rows};
      s_reference->dequantize(kQ, host.view(), range, values.view(), false);
      s_reference->dequantize(kQ, zero.view(), range, zeros.view(), false);
      for (Index t = 0; t < block.rows; ++t)
        for (Index i = 0; i < body; ++i) {
          row(first + t, c.outliers + i) = values.at(t, i);
          sizeOf(first + t, c.outliers + i) = std::abs(double(values.at(t, i)) - zeros.at(t, i)) + std::abs(zeros.at(t, i));
        }
      DevicePacked device(host);
      block.packed = device.view;
      buffers.push_back(std::move(device.codes));
      buffers.push_back(std::move(device.scales));
      buffers.push_back(std::move(device.zeros));
    }
    void addPlain(StoredSide::Block &block, Index first, Index body, std::mt19937 &random) {
      auto x = storedValues(block.rows, body, random);
      auto half = narrowed(x, 8);
      const bool narrow = c.plain == DType::F16;
      buffers.push_back(narrow ? toDevice(half.values) : toDevice(x.values));
      block.plain = narrow ? half.viewOf(buffers.back()) : x.viewOf(buffers.back());
      for (Index t = 0; t < block.rows; ++t)
        for (Index i = 0; i < body; ++i) {
          row(first + t, c.outliers + i) = narrow ? toFloat(half.at(t, i)) : x.at(t, i);
          sizeOf(first + t, c.outliers + i) = std::abs(row(first + t, c.outliers + i));
        }
    }
    void addOutliers(StoredSide::Block &block, Index first, std::mt19937 &random) {
      auto x = storedValues(block.rows, c.outliers, random);
      auto half = narrowed(x, 1);
      buffers.push_back(toDevice(half.values));
      block.outliers = half.viewOf(buffers.back());
      for (Index t = 0; t < block.rows; ++t)
        for (Index i = 0; i < c.outliers; ++i) {
          row(first + t, i) = toFloat(half.at(t, i));
          sizeOf(first + t, i) = std::abs(row(first + t, i));
        }
    }
    void addSinks(std::mt19937 &random) {
      auto x = storedValues(c.sinks, c.stored(), random);
      auto half = narrowed(x, 1);
      buffers.push_back(toDevice(half.values));
      side.sinks = half.viewOf(buffers.back());
      for (Index t = 0; t < std::min(c.sinks, tokens); ++t)
        for (Index i = 0; i < c.stored(); ++i) {
          row(t, i) = toFloat(half.at(t, i));
          sizeOf(t, i) = std::abs(row(t, i));
        }
    }

    /// A value x^ of the tile is off by 2^-11 |x^| or 2^-25, one of an FP32 map as much again; a sum of n products and a
    /// bias adds (n + 1) 2^-23 of its magnitude. A rotation mixes the errors of a pair and adds 16 u of its size: twice 1.6
    /// u of the reduction and u of the sine, three roundings where two rotations are multiplied, three where a pair is
    /// rotated.
    void makeImage(std::mt19937 &random) {
      const Index columns = c.columns(), width = c.stored();
      std::normal_distribution<float> normal;
      HostMatrix<float> map(c.map == Map::None ? 0 : columns, width, width + 8), bias(1, columns);
      for (float &v : map.values) v = normal(random) / std::sqrt(static_cast<float>(width));
      for (float &v : bias.values) v = normal(random);
      auto half = narrowed(map, 8);
      if (c.map != Map::None) {
        buffers.push_back(c.map == Map::F16 ? toDevice(half.values) : toDevice(map.values));
        side.map = c.map == Map::F16 ? half.viewOf(buffers.back()) : map.viewOf(buffers.back());
      }
      if (c.bias) {
        buffers.push_back(toDevice(bias.values));
        side.bias = bias.viewOf(buffers.back());
      }
      if (c.rope)
        for (Index j = 0; j < c.dh / 2; ++j) frequency.push_back(std::pow(1e4, -2.0 * double(j) / double(c.dh)));
      side.rope = frequency;
      image.resize(static_cast<std::size_t>(tokens * columns));
      error = image;
      for (Index t = 0; t < tokens; ++t)
        for (Index o = 0; o < columns; ++o) {
          double sum = row(t, o % width), off = 0;
          if (c.map != Map::None) {
            double magnitude = 0, tiny = 0;
            sum = 0;
            for (Index i = 0; i < width; ++i) {
              const double w = c.map == Map::F16 ? toFloat(half.at(o, i)) : map.at(o, i);
              sum += row(t, i) * w;
              magnitude += std::abs(row(t, i) * w);
              tiny += kHalfTiny * (std::abs(w) + (c.map == Map::F32 ? std::abs(row(t, i)) : 0));
            }
            off = magnitude * (kHalfU * (c.map == Map::F32 ? 2.001 : 1) + double(width + 1) * kTensor) + tiny;
          }
          if (c.bias) {
            off += kTensor * (std::abs(sum) + std::abs(bias.at(0, o)));
            sum += bias.at(0, o);
          }
          image[static_cast<std::size_t>(t * columns + o)] = sum;
          error[static_cast<std::size_t>(t * columns + o)] = off;
        }
      if (!c.rope) return;
      for (Index t = 0; t < tokens; ++t)
        for (Index o = 0; o < columns; o += 2) {
          double *x = &image[static_cast<std::size_t>(t * columns + o)],
                 *e = &error[static_cast<std::size_t>(t * columns + o)];
          const double angle = double(t) * frequency[static_cast<std::size_t>(o % c.dh / 2)];
          const double cosine = std::cos(angle), sine = std::sin(angle);
          const double a = x[0], b = x[1], added = 16 * kU * (std::abs(a) + std::abs(b)), ea = e[0], eb = e[1];
          x[0] = a * cosine - b * sine, x[1] = a * sine + b * cosine;
          e[0] = std::abs(cosine) * ea + std::abs(sine) * eb + added;
          e[1] = std::abs(sine) * ea + std::abs(cosine) * eb + added;
        }
    }
    /// |x| as sums see it: where rows are used themselves, a code's product and its zero are summed apart.
    double magnitude(Index t, Index column) {
      const double value = std::abs(image[static_cast<std::size_t>(t * c.columns() + column)]);
      return c.map == Map::None && !c.rope && !c.bias ? std::max(value, sizeOf(t, column)) : value;
    }
  };

  struct Result {
    std::vector<float> out;
    bool done;
  };
  static constexpr float kGuard = -777.25f;

  static Result attend(Side &k, Side &v, Index heads, HostMatrix<float> &q) {
    const Index columns = heads * v.c.dh;
    HostMatrix<float> out(1, columns, columns + 4);
    std::fill(out.values.begin(), out.values.end(), kGuard);
    const Buffer qOn = toDevice(q.values), outOn = toDevice(out.values);
    StoredAttention args{q.viewOf(qOn), k.side, v.side, heads, 1 / std::sqrt(static_cast<float>(k.c.dh)), out.viewOf(outOn)};
    const bool done = s_cuda->attendStored(kQ, args);
    return {toHost<float>(outOn), done};
  }

  /// A score errs by what K errs by, by (dh + 16) 2^-23 + 2^-21 of sum |q| |k| (the sum; q in two FP16 parts, 22 bits, times
  /// a scale) and by 2^-30 max |q| for every channel (parts of q below FP16's normal range; the power of two that they are
  /// brought up with leaves 2^-31 of the largest, both parts). A weight errs by a factor of 1 + that + u (3 |score - max| +
  /// 16): three exponentials (tile, split, whole), each of a rounded difference and good for 2 units. Its product with a
  /// scale is FP16 in two parts (2^-21) or, where a block has more than 8 query heads, in one (2^-11); what is lost below
  /// FP16's normal range is 2^-38 of the largest value for every token. Sums over tokens: (T + 8) 2^-23, above and below.
  static void expectAttention(Side &k, Side &v, Index heads, const std::string &name) {
    SCOPED_TRACE(name);
    const Index dh = k.c.dh, dv = v.c.dh, tokens = k.tokens;
    auto q = randomMatrix(1, heads * dh, heads * dh, 77);
    const Result result = attend(k, v, heads, q);
    ASSERT_TRUE(result.done);
    for (std::size_t i = static_cast<std::size_t>(heads * dv); i < result.out.size(); ++i) ASSERT_EQ(result.out[i], kGuard);
    if (heads < 100) {
      EXPECT_TRUE(attend(k, v, heads, q).out == result.out) << "the same call gives the same bits";
    }

    double worst = 0, largestQ = 0;
    for (const float x : q.values) largestQ = std::max(largestQ, double(std::abs(x)));
    const double scale = 1 / std::sqrt(static_cast<float>(dh));
    const double weightPart = heads / v.c.heads > 8 ? kHalfU : 0x1p-21;
    for (Index h = 0; h < heads; ++h) {
      Doubles score(static_cast<std::size_t>(tokens));
      double off = 0;
      for (Index t = 0; t < tokens; ++t) {
        double sum = 0, size = 0, fromK = 0;
        for (Index c = 0; c < dh; ++c) {
          const Index column = h / (heads / k.c.heads) * dh + c;
          const double x = q.at(0, h * dh + c);
          sum += x * k.image[static_cast<std::size_t>(t * k.c.columns() + column)];
          size += std::abs(x) * k.magnitude(t, column);
          fromK += std::abs(x) * k.error[static_cast<std::size_t>(t * k.c.columns() + column)];
        }
        score[static_cast<std::size_t>(t)] = sum * scale;
        off = std::max(off, scale * (fromK + size * (double(dh + 16) * kTensor + 0x1p-21) +
                                     double(dh) * 0x1p-30 * largestQ * 2.1 * k.largest));
      }
      const auto [low, high] = std::minmax_element(score.begin(), score.end());
      const double top = *high, spread = *high - *low;
      double total = 0;
      for (double &s : score) total += s = std::exp(s - top);
      const double relative = 2 * (off + kU * (3 * spread + 16)) + weightPart + 2 * double(tokens + 8) * kTensor;
      for (Index c = 0; c < dv; ++c) {
        const Index column = h / (heads / v.c.heads) * dv + c;
        double sum = 0, size = 0, fromV = 0;
        for (Index t = 0; t < tokens; ++t) {
          const double p = score[static_cast<std::size_t>(t)] / total;
          sum += p * v.image[static_cast<std::size_t>(t * v.c.columns() + column)];
          size += p * v.magnitude(t, column);
          fromV += p * v.error[static_cast<std::size_t>(t * v.c.columns() + column)];
        }
        const double bound = relative * (size + fromV) + fromV + double(tokens) * 0x1p-38 * v.largest;
        const double share = std::abs(result.out[static_cast<std::size_t>(h * dv + c)] - sum) / bound;
        if (!(share <= worst)) worst = share;
      }
    }
    if (!kEmulated) std::cout << name << ": " << 100 * worst << " % of the bound\n";
    EXPECT_LE(worst, 1.0);
  }
  static void expectAttention(const SideCase &k, const SideCase &v, Index tokens, Index heads) {
    Side kSide(k, tokens, 1), vSide(v, tokens, 2);
    std::ostringstream name;
    name << tokens << " tokens, " << heads << " query heads; K: " << k << "; V: " << v;
    expectAttention(kSide, vSide, heads, name.str());
  }

  static void expectRows(const SideCase &c, Index tokens, TokenRange range, DType type) {
    Side side(c, tokens, 3);
    std::ostringstream name;
    name << "[" << range.begin << ", " << range.end << ") of " << tokens << ": " << c;
    SCOPED_TRACE(name.str());
    const Index columns = c.columns();
    HostMatrix<float> out(range.size(), columns, columns + 3);
    std::fill(out.values.begin(), out.values.end(), kGuard);
    HostMatrix<Half> outHalf(range.size(), columns, columns + 3);
    const bool half = type == DType::F16;
    const Buffer on = half ? toDevice(outHalf.values) : toDevice(out.values);
    ASSERT_TRUE(s_cuda->rebuildStored(kQ, side.side, range, half ? outHalf.viewOf(on) : out.viewOf(on)));
    if (half)
      outHalf.values = toHost<Half>(on);
    else
      out.values = toHost<float>(on);
    double worst = 0;
    for (Index t = 0; t < range.size(); ++t)
      for (Index o = 0; o < columns; ++o) {
        const auto at = static_cast<std::size_t>((range.begin + t) * columns + o);
        const double bound =
            side.error[at] * (half ? 1.001 : 1) + (half ? kHalfU * std::abs(side.image[at]) + kHalfTiny : 0);
        const double off = std::abs((half ? toFloat(outHalf.at(t, o)) : out.at(t, o)) - side.image[at]);
        const double share = off == 0 ? 0 : off / bound;
        if (!(share <= worst)) worst = share;
      }
    EXPECT_LE(worst, 1.0);
    for (Index t = 0; t < range.size(); ++t)
      for (Index o = columns; o < columns + 3; ++o)
        ASSERT_EQ(half ? outHalf.at(t, o) == Half{0} : out.at(t, o) == kGuard, true) << "written beyond the row";
  }
};

SideCase plainSide(Index heads, Index dh, DType type = DType::F16) {
  SideCase c;
  c.heads = heads, c.dh = dh, c.plain = type;
  return c;
}
SideCase packedSide(int bits, Index group, Axis axis, Index segment, Index packed, Index heads, Index dh) {
  SideCase c = plainSide(heads, dh);
  c.format = {bits, group, axis, segment}, c.packed = packed;
  return c;
}
SideCase mapped(SideCase c, Index width, Map map, bool bias, bool rope) {
  c.width = width, c.map = map, c.bias = bias, c.rope = rope;
  return c;
}

TEST_F(StoredOps, PlainRowsOfEveryShape) {
  for (const DType type : {DType::F16, DType::F32})
    for (const Index tokens : {1, 127, 130, 300}) {
      expectAttention(plainSide(2, 128, type), plainSide(2, 128, type), tokens, 2);
      expectAttention(plainSide(1, 128, type), plainSide(1, 128, type), tokens, 7);
      expectAttention(plainSide(3, 16, type), plainSide(3, 16, type), tokens, 6);
    }
  expectAttention(plainSide(2, 80), plainSide(2, 80), 33, 4);
  expectAttention(plainSide(2, 64), plainSide(2, 64), 129, 6);
  expectAttention(plainSide(1, 192), plainSide(1, 192), 70, 2);
  expectAttention(plainSide(2, 33), plainSide(2, 33), 70, 2);
}

TEST_F(StoredOps, KiviOfEveryWidthOfCode) {
  for (const int bits : {2, 3, 4, 8})
    for (const Index heads : {2, 8, 14}) {
      SideCase k = packedSide(bits, 128, Axis::Channel, 0, 256, 2, 128),
               v = packedSide(bits, 128, Axis::Token, 128, 200, 2, 128);
      expectAttention(k, v, 275, heads);
      k.packed = v.packed = 275, k.format.axis = Axis::Token, k.cut = v.cut = 128;
      expectAttention(k, v, 275, heads);
    }
}

TEST_F(StoredOps, FormsOfStoredRows) {
  for (const int bits : {2, 3, 4, 8})
    for (const Index outliers : {0, 1, 5})
      for (const Index group : {32, 48, 128}) {
        SideCase k = packedSide(bits, group, Axis::Channel, 0, 96, 2, 16),
                 v = packedSide(bits, group, Axis::Token, 16, 77, 2, 16);
        k.outliers = v.outliers = outliers;
        k.sinks = outliers, v.sinks = 5;
        k.cut = group, v.cut = 33;
        k.firstRow = group, v.firstRow = 3;
        if (group == 128) k.packed = 100;
        v.plain = DType::F32;
        expectAttention(k, v, 101, 4);
        if (HasFailure()) return;
      }
}

TEST_F(StoredOps, ThroughAMap) {
  for (const int bits : {2, 3, 4, 8})
    for (const Index outliers : {0, 1, 5, 8})
      for (const Index group : {32, 48, 128}) {
        SideCase k = mapped(packedSide(bits, group, Axis::Token, 0, 120, 2, 64), 192, Map::F16, outliers == 1, true);
        SideCase v = packedSide(bits, group, Axis::Token, 0, 120, 2, 16);
        k.outliers = outliers, k.sinks = outliers % 4, k.cut = 50, k.firstRow = outliers;
        k.map = outliers == 5 ? Map::F32 : Map::F16;
        if (outliers == 8) k.format.segment = 64, k.format.group = std::min<Index>(group, 64);
        if ((bits + outliers + group) % 3 != 0 && bits != 2) continue; // some of the products
        expectAttention(k, v, 133, 4);
        if (HasFailure()) return;
      }
  // Per channel, FP16 and FP32 rows, odd widths, other heads.
  expectAttention(mapped(packedSide(2, 32, Axis::Channel, 0, 64, 2, 16), 64, Map::F16, false, true), plainSide(2, 16), 70,
                  2);
  expectAttention(mapped(plainSide(3, 128), 65, Map::F16, true, true), plainSide(3, 32), 70, 3);
  expectAttention(mapped(plainSide(1, 80, DType::F32), 100, Map::F32, false, true), plainSide(1, 32), 130, 2);
  expectAttention(mapped(plainSide(1, 160), 64, Map::F16, false, true), plainSide(1, 32), 5, 3);
  // Rotated and shifted without a map.
  SideCase k = packedSide(4, 32, Axis::Channel, 0, 64, 2, 32), v = packedSide(4, 32, Axis::Token, 0, 64, 2, 32);
  k.rope = k.bias = v.bias = true;
  expectAttention(k, v, 100, 4);
}

TEST_F(StoredOps, AbsorbedMaps) {
  for (const int bits : {2, 3, 4, 8})
    for (const Index heads : {3, 16, 40}) {
      SideCase k = mapped(packedSide(bits, 128, Axis::Token, 0, 256, 1, 16), 256, Map::F16, false, true);
      SideCase v = packedSide(bits, 128, Axis::Token, 0, 256, 1, 256);
      v.sinks = bits == 4 ? 1 : 0;
      expectAttention(k, v, 256, heads);
      if (heads == 3) expectAttention(packedSide(bits, 128, Axis::Token, 0, 130, 1, 256), v, 256, heads);
    }
  expectAttention(plainSide(1, 192), plainSide(1, 256), 140, 12);
}

TEST_F(StoredOps, ManyBlocks) {
  SideCase k = packedSide(4, 128, Axis::Token, 0, 600, 1, 16), v = k;
  k.cut = 1, v.cut = 9;
  expectAttention(k, v, 601, 2);
}

/// So many that a split is all tiles: weights of one are brought to those of another.
TEST_F(StoredOps, ManyHeads) {
  expectAttention(plainSide(265, 8, DType::F32), plainSide(265, 8, DType::F32), 140, 265);
  SideCase v = packedSide(2, 128, Axis::Token, 128, 130, 265, 128);
  v.cut = 128, v.growth = 5; // larger scales: what is summed is brought to another power of two
  expectAttention(plainSide(265, 8, DType::F32), v, 130, 265);
}

TEST_F(StoredOps, RebuiltRows) {
  for (const int bits : {2, 3, 4, 8})
    for (const DType type : {DType::F32, DType::F16}) {
      SideCase c = mapped(packedSide(bits, 48, Axis::Token, 0, 150, 2, 64), 160, Map::F16, bits == 3, true);
      c.outliers = bits == 8 ? 5 : 0, c.sinks = 2;
      expectRows(c, 160, {0, 160}, type);
      expectRows(c, 160, {17, 150}, type);
      expectRows(c, 160, {159, 160}, type);
      expectRows(c, 160, {0, 8}, type);
      c.map = Map::None, c.width = 0, c.rope = bits != 2, c.outliers = 0;
      expectRows(c, 160, {3, 140}, type);
    }
  expectRows(mapped(plainSide(3, 80), 72, Map::F32, true, true), 20, {1, 19}, DType::F16);
  expectRows(mapped(plainSide(1, 200), 72, Map::F16, false, false), 20, {0, 20}, DType::F32);
}

/// A tile's rebuild and that of few rows (a matrix-vector product) say the same work: the map, once.
TEST_F(StoredOps, TheMapOfRebuiltRowsIsCountedOnce) {
  for (const Index tokens : {8, 20}) {
    Side k(mapped(packedSide(2, 32, Axis::Token, 0, 20, 2, 32), 96, Map::F16, false, false), 20, 1);
    HostMatrix<float> out(tokens, 64, 64);
    const Buffer on = toDevice(out.values);
    double flops = 0;
    s_cuda->setTrace([&](const KernelRecord &record) { flops += record.flops; });
    ASSERT_TRUE(s_cuda->rebuildStored(kQ, k.side, {0, tokens}, out.viewOf(on)));
    s_cuda->sync(kQ);
    s_cuda->setTrace({});
    EXPECT_EQ(flops, 2.0 * static_cast<double>(tokens) * 64 * 96) << tokens;
  }
}

TEST_F(StoredOps, ABrokenKeyIsSeen) {
  Side k(plainSide(1, 128, DType::F32), 40, 1), v(plainSide(1, 128), 40, 2);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  s_cuda->upload(kQ, const_cast<std::byte *>(k.side.blocks[0].plain.data), &nan, 4);
  auto q = randomMatrix(1, 128, 128, 3);
  EXPECT_TRUE(std::isnan(attend(k, v, 1, q).out[0]));
}

TEST_F(StoredOps, OtherFormsAreLeftToTheCaller) {
  const auto refused = [](SideCase kCase, SideCase vCase, const auto &change) {
    Side k(kCase, 20, 1), v(vCase, 20, 2);
    change(k.side, v.side);
    auto q = randomMatrix(1, 32, 32, 3);
    const Result result = attend(k, v, 2, q);
    EXPECT_FALSE(result.done);
    EXPECT_THAT(result.out, testing::Each(kGuard));
  };
  const SideCase plain = plainSide(2, 16), packed = packedSide(4, 16, Axis::Channel, 0, 16, 2, 16);
  const std::vector<double> frequency(8, 0.5);
  refused(plain, plain, [&](StoredSide &, StoredSide &v) { v.rope = frequency; });
  refused(plain, mapped(plain, 24, Map::F16, false, false), [](StoredSide &, StoredSide &) {});
  refused(plain, plain, [&](StoredSide &k, StoredSide &) { k.rope = std::span(frequency).first(4); });
  refused(plain, plain, [](StoredSide &k, StoredSide &) { k.blocks[0].rows = 19; });
  refused(plain, plain, [](StoredSide &k, StoredSide &v) { k.blocks.clear(), v.blocks.clear(); });
  refused(plain, plain, [](StoredSide &k, StoredSide &) { k.heads = 3; });
  refused(packed, packed, [](StoredSide &k, StoredSide &) { k.blocks[0].firstRow = 1; });
}

} // namespace
} // namespace xqs::test

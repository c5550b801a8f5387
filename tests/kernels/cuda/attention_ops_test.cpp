// SPDX-License-Identifier: Apache-2.0
// Attention over K and V in memory: the cases and the bound of the CPU backends.
#include "../attention_cases.h"
#include "cuda_test.h"

using namespace xqs;
using namespace xqs::test;

namespace {

/// TF32 products of high and low parts: three parts of a product are kept, the fourth is below 2^-22 of it and what is cut
/// off the low parts of both operands 2^-22 each: 12 units. An addition on tensor cores may cut where FP32 rounds: 2 units.
constexpr AttentionUnits kUnits{2, 12};

/// K or V of a case in both versions, on the host and on the device; rows that nobody may read hold NaN.
struct Side {
  HostMatrix<float> stored, exact;
  Index begin;
  ExactFrom from;

  Side(const AttentionCase &c, Index width, ExactFrom f, unsigned seed)
      : stored(randomMatrix(c.firstQuery + c.n, c.kvHeads * width, pitch(c, width), seed)),
        exact(randomMatrix(f.never() ? 0 : c.firstQuery + c.n - exactBegin(f, c.firstQuery), c.kvHeads * width,
                           pitch(c, width), seed + 1)),
        begin(exactBegin(f, c.firstQuery)), from(f) {
    if (f.never()) return;
    for (Index j = f(c.firstQuery + c.n - 1); j < c.firstQuery + c.n; ++j)
      for (Index i = 0; i < c.kvHeads * width; ++i) stored.at(j, i) = NAN;
  }
  /// Rows of whole quads where heads are: 16-byte loads. Else rows that start anywhere.
  static Index pitch(const AttentionCase &c, Index width) { return c.kvHeads * width + (width % 4 == 0 ? 4 : 3); }
  float at(Index query, Index j, Index column) {
    return j >= from(query) ? exact.at(j - begin, column) : stored.at(j, column);
  }
};

class CudaAttention : public CudaTest {
protected:
  struct Problem {
    AttentionCase c;
    HostMatrix<float> q, out;
    Side k, v;
    Buffer qOn, outOn, kStored, kExact, vStored, vExact;

    explicit Problem(const AttentionCase &shape, Index pad = 4)
        : c(shape), q(randomMatrix(c.n, c.heads * c.dh, c.heads * c.dh + pad, 1)),
          out(randomMatrix(c.n, c.heads * c.dv, c.heads * c.dv + pad, 2)), k(c, c.dh, c.kFrom, 3), v(c, c.dv, c.vFrom, 5) {
      for (float &x : q.values) x *= 2;
      upload();
    }
    void upload() {
      qOn = toDevice(q.values), outOn = toDevice(out.values);
      kStored = toDevice(k.stored.values), kExact = toDevice(k.exact.values);
      vStored = toDevice(v.stored.values), vExact = toDevice(v.exact.values);
    }
    AttentionArgs args() const {
      AttentionArgs a;
      a.q = q.viewOf(qOn), a.firstQuery = c.firstQuery, a.heads = c.heads;
      a.k = {k.stored.viewOf(kStored), k.exact.viewOf(kExact), k.begin, k.from, c.kvHeads};
      a.v = {v.stored.viewOf(vStored), v.exact.viewOf(vExact), v.begin, v.from, c.kvHeads};
      a.scale = 1 / std::sqrt(static_cast<float>(c.dh));
      a.out = out.viewOf(outOn);
      return a;
    }
    /// Fetches `out`; what lies between its rows must be as it was.
    void fetch() {
      const HostMatrix<float> before = out;
      out.values = toHost<float>(outOn);
      for (Index i = 0; i < out.rows; ++i)
        for (Index x = out.cols; x < out.stride; ++x) {
          const auto at = static_cast<std::size_t>(i * out.stride + x);
          ASSERT_EQ(out.values[at], before.values[at]) << "written beyond the row";
        }
    }
    std::vector<float> row(Index i) const {
      const auto at = out.values.begin() + i * out.stride;
      return {at, at + out.cols};
    }
  };

  static void expectAttention(Problem &p, Index queryStep = 1) {
    p.fetch();
    double worst = 0;
    Index worstQuery = 0, worstHead = 0, worstChannel = 0;
    for (Index i = 0; i < p.c.n; i += i + 1 < p.c.n && i + queryStep >= p.c.n ? p.c.n - 1 - i : queryStep)
      for (Index h = 0; h < p.c.heads; ++h)
        attentionInDouble(
            p.c, i, h, kUnits, [&](Index row, Index column) { return p.q.at(row, column); },
            [&](Index query, Index j, Index column) { return p.k.at(query, j, column); },
            [&](Index query, Index j, Index column) { return p.v.at(query, j, column); },
            [&](Index x, double expected, double bound) {
              const double share = std::abs(p.out.at(i, h * p.c.dv + x) - expected) / bound;
              if (!(share <= worst)) worst = share, worstQuery = i, worstHead = h, worstChannel = x;
            });
    if (!kEmulated) std::cout << p.c << ": " << 100 * worst << " % of the bound\n";
    EXPECT_LE(worst, 1.0) << p.c << ": query " << worstQuery << ", head " << worstHead << ", channel " << worstChannel;
  }

  static void attendInChunks(Problem &p, Index step) {
    const AttentionArgs whole = p.args();
    HostMatrix<float> running(p.c.n, 2 * p.c.heads, 2 * p.c.heads + 1);
    const Buffer runningOn = toDevice(running.values);
    for (Index first = 0; first < p.c.firstQuery + p.c.n; first += step) {
      const Index end = std::min(first + step, p.c.firstQuery + p.c.n);
      AttentionArgs part = whole;
      part.first = first;
      part.running = running.viewOf(runningOn);
      part.k = cut(whole.k, first, end), part.v = cut(whole.v, first, end);
      s_cuda->attention(kQ, part);
    }
  }
};

constexpr ExactFrom kNever{}, kBlock16{16, 0}, kWindow20{0, 20};

/// Beside the common list: several queries in parts, widths of several slices, heads and rows that fill higher blocks.
const std::vector<AttentionCase> kMore = {
    {8, 150, 4, 2, 64, 64, kNever, kWindow20},   {3, 200, 4, 1, 128, 128, kBlock16, kWindow20},
    {2, 70, 2, 1, 300, 260, kNever, kNever},     {20, 50, 4, 2, 128, 300, kWindow20, kBlock16},
    {64, 0, 256, 256, 4, 8, kNever, kNever},     {32, 16, 256, 256, 8, 4, kBlock16, kNever},
    {40, 100, 2, 2, 20, 66, kWindow20, kBlock16}};

} // namespace

TEST_F(CudaAttention, AgainstDouble) {
  for (const auto &list : {attentionCases(), kMore})
    for (const AttentionCase &c : list) {
      Problem p(c, c.dv % 8 == 0 ? 4 : 1);
      s_cuda->attention(kQ, p.args());
      expectAttention(p, c.n > 20 ? 7 : 1);
    }
}

TEST_F(CudaAttention, ChunkByChunkAgainstDouble) {
  for (const auto &list : {attentionCases(), kMore})
    for (const AttentionCase &c : list)
      for (const Index step : {100, 257}) {
        if (kEmulated && (step == 257 ? c.n > 8 : c.heads > 100)) continue; // the emulator is slow
        Problem p(c);
        attendInChunks(p, step);
        expectAttention(p, c.n > 20 ? 11 : 1);
      }
}

TEST_F(CudaAttention, OneValueHeadForAllQueryHeads) {
  // Every KV head holds the same values: reading one of them for all gives the same sums.
  for (const Index n : {Index{2}, Index{40}}) {
    Problem p({n, 30, 6, 3, 32, 48, kNever, kNever});
    for (Index j = 0; j < p.v.stored.rows; ++j)
      for (Index x = 0; x < 48; ++x) p.v.stored.at(j, 48 + x) = p.v.stored.at(j, 96 + x) = p.v.stored.at(j, x);
    p.upload();
    AttentionArgs args = p.args();
    args.v.stored = args.v.stored.colRange(0, 48);
    args.v.heads = 1;
    s_cuda->attention(kQ, args);
    expectAttention(p);
  }
}

TEST_F(CudaAttention, BrokenKeyIsSeen) {
  Problem p({70, 0, 1, 1, 64, 64, kNever, kNever});
  p.k.stored.at(40, 3) = NAN;
  p.upload();
  s_cuda->attention(kQ, p.args());
  p.fetch();
  EXPECT_FALSE(std::isnan(p.out.at(39, 0)));
  EXPECT_TRUE(std::isnan(p.out.at(40, 0)));
  EXPECT_TRUE(std::isnan(p.out.at(69, 0)));
}

/// In both kernels (few queries, many), whatever the height of the blocks, with sides that change inside a tile.
TEST_F(CudaAttention, AQueryDoesNotDependOnTheQueriesBesideIt) {
  struct Group {
    AttentionCase c;
    Index first, count;
  };
  for (const Group &g : {Group{{30, 101, 6, 2, 64, 72, {48, 0}, {0, 37}}, 13, 11},
                         {{8, 101, 6, 2, 64, 72, {48, 0}, {0, 37}}, 5, 1},
                         {{64, 0, 256, 256, 4, 8, kNever, kNever}, 20, 9},
                         {{32, 16, 256, 256, 8, 4, {16, 0}, kNever}, 20, 9}}) {
    Problem p(g.c);
    s_cuda->attention(kQ, p.args());
    p.fetch();
    std::vector<std::vector<float>> all;
    for (Index i = 0; i < g.count; ++i) all.push_back(p.row(g.first + i));
    AttentionArgs args = p.args();
    // The chunk stays as it is: the same cuts give the same bits. Later tokens are not seen.
    args.q = args.q.rowRange(g.first, g.count), args.out = args.out.rowRange(g.first, g.count);
    args.firstQuery += g.first;
    s_cuda->attention(kQ, args);
    p.fetch();
    for (Index i = 0; i < g.count; ++i) expectSameBits(p.row(g.first + i), all[static_cast<std::size_t>(i)]);
  }
}

TEST_F(CudaAttention, NoQueries) {
  Problem p({1, 0, 1, 1, 8, 8, kNever, kNever});
  AttentionArgs args = p.args();
  args.q = args.q.rowRange(0, 0), args.out = args.out.rowRange(0, 0);
  s_cuda->attention(kQ, args);
  s_cuda->sync(kQ);
}

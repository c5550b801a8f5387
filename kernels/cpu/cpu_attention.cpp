// SPDX-License-Identifier: Apache-2.0
// Blocked attention with a running softmax (arXiv 2205.14135): never l x l scores, K and V tiles shared by the query heads
// of a group, BLAS for both products.
#include "attention_args.h"
#include "cpu_backend.h"
#include "simd_rows.h"

#include <cblas.h>
#include <cmath>
#include <cstring>

namespace xqs {

namespace {

constexpr Index kKeyTile = 256;

/// Queries a tile takes, so that the heads of a group together give BLAS about 192 rows.
Index queryTile(Index group) { return std::clamp<Index>(192 / group / 8 * 8, 16, 128); }

/// What one thread needs for a tile: rows are (head of the group, query), head-major.
struct Scratch {
  std::vector<float> q;      ///< [rows, dh], times scale
  std::vector<float> scores; ///< [rows, kKeyTile]: scores, then weights
  std::vector<float> other;  ///< [rows, kKeyTile]: of exact K or V where a tile mixes both
  std::vector<float> out;    ///< [rows, dv]
  std::vector<simd::Softmax> state;
};

/// Tokens of one key tile that some query of the tile reads from each side; they overlap where queries differ.
struct Split {
  Index storedEnd;  ///< stored: [tile begin, storedEnd)
  Index exactBegin; ///< exact: [exactBegin, tile end)
};

class TileWork {
public:
  TileWork(const AttentionArgs &a, Index kHead, Index firstRow, Index count, Scratch &s)
      : m_a(a), m_s(s), m_kHead(kHead), m_firstRow(firstRow), m_count(count), m_group(a.heads / a.k.heads),
        m_rows(count * m_group), m_dh(a.q.cols / a.heads), m_dv(a.out.cols / a.heads), m_first(a.firstQuery + firstRow),
        m_last(m_first + count - 1) {}

  void run() {
    gatherQueries();
    const Index chunkEnd = std::min(m_a.end(), m_last + 1);
    for (Index begin = m_a.first; begin < chunkEnd; begin += kKeyTile) {
      const Index end = std::min(begin + kKeyTile, chunkEnd);
      score(begin, end);
      softmax(begin, end);
      weigh(begin, end);
    }
    writeOut();
  }

private:
  float *scoreRow(Index row) { return m_s.scores.data() + row * kKeyTile; }
  float *otherRow(Index row) { return m_s.other.data() + row * kKeyTile; }
  Index token(Index row) const { return m_first + row % m_count; }

  void gatherQueries() {
    const auto rows = static_cast<std::size_t>(m_rows);
    m_s.q.resize(rows * static_cast<std::size_t>(m_dh));
    m_s.scores.resize(rows * kKeyTile);
    m_s.out.assign(rows * static_cast<std::size_t>(m_dv), 0.0f);
    m_s.state.assign(rows, {-INFINITY, 0});
    for (Index row = 0; row < m_rows; ++row) {
      simd::scale(m_a.q.row(m_firstRow + row % m_count) + head(row) * m_dh, m_a.scale, m_dh, m_s.q.data() + row * m_dh);
      if (m_a.first == 0) continue;
      const float *state = running(row), *sum = outRow(row);
      m_s.state[static_cast<std::size_t>(row)] = {state[0], state[1]};
      std::copy(sum, sum + m_dv, m_s.out.data() + row * m_dv);
    }
  }
  Index head(Index row) const { return m_kHead * m_group + row / m_count; }
  float *outRow(Index row) const { return m_a.out.row(m_firstRow + row % m_count) + head(row) * m_dv; }
  float *running(Index row) const { return m_a.running.row(m_firstRow + row % m_count) + 2 * head(row); }

  Split split(const AttentionSide &side, Index begin, Index end) const {
    if (side.from.never()) return {end, end};
    return {std::clamp(exactFrom(side, m_last), begin, end), std::clamp(exactFrom(side, m_first), begin, end)};
  }
  static bool mixed(const Split &s) { return s.exactBegin < s.storedEnd; }

  /// scores[:, j] = q . K[j] for the tokens of the tile. Where queries differ, both sides are computed and each row takes
  /// its own.
  void score(Index begin, Index end) {
    const Split s = split(m_a.k, begin, end);
    if (s.storedEnd > begin)
      scoreSide(m_a.k.stored.rowRange(begin - m_a.first, s.storedEnd - begin), m_s.scores.data());
    if (s.exactBegin == end) return;
    const ConstView exact = m_a.k.exact.rowRange(s.exactBegin - m_a.k.exactBegin, end - s.exactBegin);
    if (!mixed(s)) return scoreSide(exact, m_s.scores.data() + (s.exactBegin - begin));
    m_s.other.resize(m_s.scores.size());
    scoreSide(exact, m_s.other.data() + (s.exactBegin - begin));
    for (Index row = 0; row < m_rows; ++row) {
      const Index from = std::clamp(exactFrom(m_a.k, token(row)), s.exactBegin, end) - begin;
      std::copy(otherRow(row) + from, otherRow(row) + (end - begin), scoreRow(row) + from);
    }
  }
  void scoreSide(ConstView k, float *scores) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(m_rows), static_cast<int>(k.rows),
                static_cast<int>(m_dh), 1, m_s.q.data(), static_cast<int>(m_dh), k.row(0) + m_kHead * m_dh,
                static_cast<int>(k.stride), 0, scores, static_cast<int>(kKeyTile));
  }

  /// Scores become weights, 0 after the query's own token; what was summed before is brought to the new maximum.
  void softmax(Index begin, Index end) {
    for (Index row = 0; row < m_rows; ++row) {
      const Index seen = std::clamp<Index>(token(row) + 1 - begin, 0, end - begin);
      float *weights = scoreRow(row);
      std::fill(weights + seen, weights + (end - begin), 0.0f);
      if (seen == 0) continue;
      const float factor = simd::softmaxTile(weights, seen, m_s.state[static_cast<std::size_t>(row)]);
      float *out = m_s.out.data() + row * m_dv;
      if (factor != 1.0f) simd::scale(out, factor, m_dv, out);
    }
  }

  /// out += weights V, by sides: in a mixed range each side gets the weights of the rows that read it, and zeros.
  void weigh(Index begin, Index end) {
    const Split s = split(m_a.v, begin, end);
    float *exactWeights = m_s.scores.data();
    if (mixed(s)) {
      m_s.other.resize(m_s.scores.size());
      exactWeights = m_s.other.data();
      for (Index row = 0; row < m_rows; ++row) {
        const Index from = std::clamp(exactFrom(m_a.v, token(row)), s.exactBegin, end) - begin;
        float *weights = scoreRow(row), *other = otherRow(row);
        std::fill(other + (s.exactBegin - begin), other + from, 0.0f);
        std::copy(weights + from, weights + (end - begin), other + from);
        std::fill(weights + from, weights + (end - begin), 0.0f);
      }
    }
    if (s.storedEnd > begin)
      weighSide(m_a.v.stored.rowRange(begin - m_a.first, s.storedEnd - begin), m_s.scores.data());
    if (s.exactBegin < end)
      weighSide(m_a.v.exact.rowRange(s.exactBegin - m_a.v.exactBegin, end - s.exactBegin),
                exactWeights + (s.exactBegin - begin));
  }
  void weighSide(ConstView v, const float *weights) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(m_rows), static_cast<int>(m_dv),
                static_cast<int>(v.rows), 1, weights, static_cast<int>(kKeyTile), v.row(0) + m_kHead * m_a.v.heads / m_a.k.heads * m_dv,
                static_cast<int>(v.stride), 1, m_s.out.data(), static_cast<int>(m_dv));
  }

  void writeOut() {
    const bool last = m_a.last();
    for (Index row = 0; row < m_rows; ++row) {
      const simd::Softmax &state = m_s.state[static_cast<std::size_t>(row)];
      const float *sum = m_s.out.data() + row * m_dv;
      if (last) {
        simd::scale(sum, 1.0f / state.sum, m_dv, outRow(row));
        continue;
      }
      std::copy(sum, sum + m_dv, outRow(row));
      running(row)[0] = state.max, running(row)[1] = state.sum;
    }
  }

  const AttentionArgs &m_a;
  Scratch &m_s;
  const Index m_kHead, m_firstRow, m_count, m_group, m_rows, m_dh, m_dv;
  const Index m_first, m_last; ///< tokens of the first and the last query
};

} // namespace

void CpuBackend::attention(Queue, const AttentionArgs &args) {
  checkAttention(args);
  const Op op(*this, "attention", attentionBytes(args), attentionFlops(args));
  const Index height = queryTile(args.heads / args.k.heads);
  const Index down = (args.q.rows + height - 1) / height;
  m_pool.parallelFor(down * args.k.heads, [&](Index tile) {
    thread_local Scratch scratch;
    const Index row = (down - 1 - tile / args.k.heads) * height; // late queries see most tokens: start with them
    TileWork(args, tile % args.k.heads, row, std::min(height, args.q.rows - row), scratch).run();
  });
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "error.h"
#include "tensor.h"

#include <algorithm>
#include <vector>

namespace xqs {

constexpr Index kBlockTokens = 512; ///< rows of a block; `blockRows` rounds up to whole groups
/// Rows that `needed` rows take where `reserved` are there at once and more come in blocks of `block`.
constexpr Index grownRows(Index needed, Index reserved, Index block) {
  return needed <= reserved ? reserved : reserved + (needed - reserved + block - 1) / block * block;
}

/// Buffers of rows that grow: `reserved` rows at once, more in blocks. A row of one tensor may lie in several buffers
/// (codes, scales, zeros), which grow together.
template <typename Block> class GrowingRows {
public:
  GrowingRows(Index reserved, Index blockRows) : m_reserved(reserved), m_blockRows(blockRows) {}
  /// Makes room for `rows` rows; `make(rows)` gives a new block.
  template <typename Make> void reserve(Index rows, const Make &make) {
    while (m_rows < rows || (m_blocks.empty() && m_reserved > 0)) {
      const Index more = m_blocks.empty() && m_reserved > 0 ? m_reserved : m_blockRows;
      // A vector that doubles would hold memory that no ledger counts.
      m_blocks.reserve(m_blocks.size() + 1);
      m_blocks.push_back(make(more));
      m_starts.push_back(m_rows);
      m_rows += more;
    }
  }
  /// fn(block, range inside it, rows of `range` before it) for every block that `range` touches.
  template <typename Fn> void forRange(TokenRange range, const Fn &fn) const { visit(*this, range, fn); }
  template <typename Fn> void forRange(TokenRange range, const Fn &fn) { visit(*this, range, fn); }
  /// Gives back the blocks that `rows` rows do not reach; never what is reserved.
  void release(Index rows) {
    while (!m_blocks.empty() && m_starts.back() >= rows && (m_blocks.size() > 1 || m_reserved == 0)) {
      m_rows = m_starts.back();
      m_blocks.pop_back();
      m_starts.pop_back();
    }
  }
  Index rows() const { return m_rows; }

private:
  template <typename Self, typename Fn> static void visit(Self &self, TokenRange range, const Fn &fn) {
    XQS_ASSERT(range.empty() || range.end <= self.m_rows);
    for (std::size_t i = 0; i < self.m_blocks.size(); ++i) {
      const Index begin = self.m_starts[i], end = i + 1 < self.m_blocks.size() ? self.m_starts[i + 1] : self.m_rows;
      const TokenRange part{std::max(range.begin, begin), std::min(range.end, end)};
      if (!part.empty()) fn(self.m_blocks[i], TokenRange{part.begin - begin, part.end - begin}, part.begin - range.begin);
    }
  }

  Index m_reserved, m_blockRows, m_rows = 0;
  std::vector<Block> m_blocks;
  std::vector<Index> m_starts;
};

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "call_observer.h"
#include "cupti/session.h"

namespace xqs::cuda {

/// Cuts operations into ranges by their tags while they are counted. A range begins with the first operation after a change
/// of the tag, so that tags without operations make none; the device is idle between two ranges, so that each has what its
/// operations moved, on whatever queue. Where every kernel is a range, it is idle between two operations.
class TagRanges final : public CallObserver {
public:
  explicit TagRanges(RangeBy by) : m_by(by) {}

  void beginPass(cupti::RangeCounter &counter);
  bool endPass(); ///< the device is idle; true: that was the last one; throws Internal where it differed from the first
  Instruments::Counted counted(cupti::RangeCounter::Result result, int passes) const;

  /// RangeBy::Kernel: a kernel of the operation under way was launched.
  void launched(const std::string &function) { m_records.push_back({m_tag, function, {}}); }

  void begin(const KernelRecord &operation) override;
  void end() noexcept override {}
  bool gathers() const override { return false; }

private:
  void beginRange(const Tag &tag);

  RangeBy m_by;
  cupti::RangeCounter *m_counter = nullptr;
  std::vector<RangeRecord> m_records; ///< without figures
  std::size_t m_next = 0;             ///< range of this pass
  bool m_first = true;                ///< pass
  bool m_differs = false;             ///< this pass, from the first: no more ranges begin
  Tag m_tag;                          ///< of the operation under way
};

} // namespace xqs::cuda

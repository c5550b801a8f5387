// SPDX-License-Identifier: Apache-2.0
#include "tag_ranges.h"

#include "cuda_check.h"

#include <string_view>

namespace xqs::cuda {
namespace {

bool sameRange(const Tag &a, const Tag &b) { return a.layer == b.layer && std::string_view(a.op) == b.op; }

} // namespace

void TagRanges::beginPass(cupti::RangeCounter &counter) {
  m_counter = &counter;
  m_next = 0;
  counter.beginPass();
}

bool TagRanges::endPass() {
  if (m_next > 0) m_counter->endRange();
  if (m_by != RangeBy::Kernel && (m_differs || m_next != m_records.size()))
    throw Error(Code::Internal, "counted work ran other operations in a later pass than in its first");
  m_first = false;
  return m_counter->endPass();
}

void TagRanges::begin(const KernelRecord &operation) {
  m_tag = operation.tag;
  // Kernels are numbered as they run: those of two queues must not pass each other.
  if (m_by == RangeBy::Kernel) return check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  if (m_differs) return;
  if (m_by == RangeBy::Layer) m_tag = {m_tag.layer, -1, ""};
  if (m_next == 0 || !sameRange(m_tag, m_records[m_next - 1].tag)) beginRange(m_tag);
}

void TagRanges::beginRange(const Tag &tag) {
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  if (m_next > 0) m_counter->endRange();
  if (m_first) m_records.push_back({tag, {}, {}});
  m_differs = m_next == m_records.size() || !sameRange(tag, m_records[m_next].tag);
  if (m_differs) return; // said when the pass ends: work is not left halfway
  ++m_next;
  m_counter->beginRange();
}

Instruments::Counted TagRanges::counted(cupti::RangeCounter::Result result, int passes) const {
  Instruments::Counted counted{{}, result.dropped, passes};
  const std::size_t kept = m_by == RangeBy::Kernel ? static_cast<std::size_t>(result.dropped) : 0; // kernels beyond the last
  const bool known = result.ranges.size() + kept == m_records.size();
  if (known) counted.ranges = m_records;
  for (std::size_t i = 0; i < result.ranges.size(); ++i) {
    // Where CUPTI has seen other kernels than were launched by us, none has a name: better none than a wrong one.
    if (!known) counted.ranges.push_back({{}, "kernel " + std::to_string(i + 1), {}});
    counted.ranges[i].figures = result.ranges[i];
  }
  return counted;
}

} // namespace xqs::cuda

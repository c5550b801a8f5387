// SPDX-License-Identifier: Apache-2.0
#include "capture/operations.h"

#include <cmath>

namespace xqs {

OperationSums::OperationSums(Backend &backend, std::vector<std::int64_t> policies)
    : m_backend(backend), m_policies(std::move(policies)) {
  resume();
}

OperationSums::~OperationSums() { pause(); }

void OperationSums::pause() { m_backend.setTrace({}); }

void OperationSums::resume() {
  m_backend.setTrace([this](const KernelRecord &record) { add(record); });
}

void OperationSums::add(const KernelRecord &record) {
  const char *op = *record.tag.op != '\0' ? record.tag.op : record.kernel;
  const auto lane = static_cast<std::size_t>(record.tag.lane);
  const bool own = record.tag.lane >= 0 && lane < m_policies.size();
  const std::span<const std::int64_t> lanes = own ? std::span(m_policies).subspan(lane, 1) : std::span(m_policies);
  const double share = 1.0 / static_cast<double>(lanes.size());
  for (const std::int64_t policy : lanes) {
    Sum &sum = m_sums[{policy, op}];
    sum.calls += 1;
    sum.nanoseconds += share * static_cast<double>(record.durationNs);
    sum.bytes += share * record.bytes;
    sum.flops += share * record.flops;
  }
}

void OperationSums::emit(RowId run, Index window, const Emit &emit) const {
  for (const auto &[key, sum] : m_sums) {
    OperationRow row;
    row.run = run, row.policy = key.first, row.window = window, row.operation = key.second;
    row.calls = sum.calls, row.nanoseconds = std::llround(sum.nanoseconds);
    row.bytes = sum.bytes, row.flops = sum.flops;
    emit(row);
  }
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cupti_activity.h>

#include <cstring>
#include <vector>

namespace xqs::test {

/// Bytes of activity records behind each other, as CUPTI leaves them in a buffer.
class ActivityBuffer {
public:
  template <typename Record> ActivityBuffer &operator<<(const Record &record) {
    static_assert(sizeof record % ACTIVITY_RECORD_ALIGNMENT == 0);
    const auto *bytes = reinterpret_cast<const std::uint8_t *>(&record);
    m_bytes.insert(m_bytes.end(), bytes, bytes + sizeof record);
    return *this;
  }
  std::uint8_t *data() { return m_bytes.data(); }
  std::size_t size() const { return m_bytes.size(); }
  void cut(std::ptrdiff_t bytes) { m_bytes.erase(m_bytes.end() - bytes, m_bytes.end()); }

private:
  std::vector<std::uint8_t> m_bytes; // operator new aligns to 16
};

// Records with what a test asks of them; everything else is 0.

inline CUpti_ActivityKernel10 kernelRecord(const char *name, std::uint64_t start, std::uint64_t end,
                                           std::uint32_t correlation, std::uint64_t node = 0) {
  CUpti_ActivityKernel10 r{};
  r.kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
  r.name = name, r.start = start, r.end = end, r.correlationId = correlation, r.graphNodeId = node;
  return r;
}
inline CUpti_ActivityMemcpy6 copyRecord(CUpti_ActivityMemcpyKind kind, std::uint64_t start, std::uint64_t end,
                                        std::uint32_t correlation, std::uint64_t node = 0) {
  CUpti_ActivityMemcpy6 r{};
  r.kind = CUPTI_ACTIVITY_KIND_MEMCPY;
  r.copyKind = static_cast<std::uint8_t>(kind);
  r.start = start, r.end = end, r.correlationId = correlation, r.graphNodeId = node;
  return r;
}
inline CUpti_ActivityMemset4 fillRecord(std::uint64_t start, std::uint64_t end, std::uint32_t correlation,
                                        std::uint64_t node = 0) {
  CUpti_ActivityMemset4 r{};
  r.kind = CUPTI_ACTIVITY_KIND_MEMSET;
  r.start = start, r.end = end, r.correlationId = correlation, r.graphNodeId = node;
  return r;
}
inline CUpti_ActivityExternalCorrelation
externalRecord(std::uint64_t id, std::uint32_t correlation,
               CUpti_ExternalCorrelationKind kind = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0) {
  CUpti_ActivityExternalCorrelation r{};
  r.kind = CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION;
  r.externalKind = kind, r.externalId = id, r.correlationId = correlation;
  return r;
}
inline CUpti_ActivityAPI callRecord(std::uint64_t start, std::uint64_t end, std::uint32_t correlation,
                                    CUpti_ActivityKind kind = CUPTI_ACTIVITY_KIND_RUNTIME) {
  CUpti_ActivityAPI r{};
  r.kind = kind;
  r.start = start, r.end = end, r.correlationId = correlation;
  return r;
}
inline CUpti_ActivityOverhead3 overheadRecord(CUpti_ActivityOverheadKind kind, std::uint64_t start, std::uint64_t end) {
  CUpti_ActivityOverhead3 r{};
  r.kind = CUPTI_ACTIVITY_KIND_OVERHEAD;
  r.overheadKind = kind, r.start = start, r.end = end;
  return r;
}

/// Bytes of a record of this kind; 0: there is none.
inline std::size_t recordBytes(CUpti_ActivityKind kind) {
  switch (kind) {
  case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: return sizeof(CUpti_ActivityKernel10);
  case CUPTI_ACTIVITY_KIND_MEMCPY: return sizeof(CUpti_ActivityMemcpy6);
  case CUPTI_ACTIVITY_KIND_MEMSET: return sizeof(CUpti_ActivityMemset4);
  case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION: return sizeof(CUpti_ActivityExternalCorrelation);
  case CUPTI_ACTIVITY_KIND_RUNTIME:
  case CUPTI_ACTIVITY_KIND_DRIVER: return sizeof(CUpti_ActivityAPI);
  case CUPTI_ACTIVITY_KIND_OVERHEAD: return sizeof(CUpti_ActivityOverhead3);
  default: return 0;
  }
}

/// cuptiActivityGetNextRecord: from one record to the next by their kinds.
inline CUptiResult nextRecord(std::uint8_t *buffer, std::size_t bytes, CUpti_Activity **record) {
  std::uint8_t *at = buffer;
  if (*record != nullptr) {
    at = reinterpret_cast<std::uint8_t *>(*record);
    at += recordBytes((*record)->kind);
  }
  const std::size_t left = bytes - static_cast<std::size_t>(at - buffer);
  if (left == 0) return CUPTI_ERROR_MAX_LIMIT_REACHED;
  if (left < sizeof(CUpti_Activity)) return CUPTI_ERROR_INVALID_KIND;
  auto *const next = reinterpret_cast<CUpti_Activity *>(at);
  if (recordBytes(next->kind) == 0 || recordBytes(next->kind) > left) return CUPTI_ERROR_INVALID_KIND;
  *record = next;
  return CUPTI_SUCCESS;
}

} // namespace xqs::test

// SPDX-License-Identifier: Apache-2.0
#include "activity_records.h"

#include <cstdlib>
#include <iterator>

namespace xqs::cuda::cupti {
namespace {

/// By CUpti_ActivityMemcpyKind.
constexpr const char *kCopies[] = {"memcpy",      "memcpy HtoD", "memcpy DtoH", "memcpy HtoA", "memcpy AtoH", "memcpy AtoA",
                                   "memcpy AtoD", "memcpy DtoA", "memcpy DtoD", "memcpy HtoH", "memcpy PtoP"};

/// Where CUPTI had no memory for a launch's times, they are 0.
template <typename Record> void addLaunch(const Record &record, const char *name, Activities &to) {
  if (record.start == 0 || record.end < record.start)
    ++to.dropped;
  else
    to.launches.push_back({to.intern(name), record.start, record.end, record.correlationId, record.graphNodeId});
}

void add(const CUpti_ActivityExternalCorrelation &record, Activities &to) {
  if (record.externalKind == kExternalKind) to.externalIds[record.correlationId] = record.externalId;
}

/// Others are the driver's and the compiler's own time.
bool isCuptis(CUpti_ActivityOverheadKind kind) {
  return kind == CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH || kind == CUPTI_ACTIVITY_OVERHEAD_CUPTI_INSTRUMENTATION ||
         kind == CUPTI_ACTIVITY_OVERHEAD_CUPTI_RESOURCE || kind == CUPTI_ACTIVITY_OVERHEAD_ACTIVITY_BUFFER_REQUEST;
}

void add(const CUpti_ActivityOverhead3 &record, Activities &to) {
  if (isCuptis(record.overheadKind) && record.start != 0 && record.end > record.start)
    to.overheadNs += static_cast<std::int64_t>(record.end - record.start);
  // Only this kind has more to say; the reader frees it.
  if (record.overheadKind == CUPTI_ACTIVITY_OVERHEAD_COMMAND_BUFFER_FULL) std::free(record.overheadData);
}

template <typename Record> const Record &as(const CUpti_Activity &record) {
  return reinterpret_cast<const Record &>(record);
}

void addRecord(const CUpti_Activity &record, Activities &to) {
  switch (record.kind) {
  case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
    const auto &kernel = as<CUpti_ActivityKernel10>(record);
    return addLaunch(kernel, kernel.name != nullptr ? kernel.name : "kernel", to);
  }
  case CUPTI_ACTIVITY_KIND_MEMCPY: {
    const auto &copy = as<CUpti_ActivityMemcpy6>(record);
    return addLaunch(copy, kCopies[copy.copyKind < std::size(kCopies) ? copy.copyKind : 0], to);
  }
  case CUPTI_ACTIVITY_KIND_MEMSET: return addLaunch(as<CUpti_ActivityMemset4>(record), "memset", to);
  case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION: return add(as<CUpti_ActivityExternalCorrelation>(record), to);
  case CUPTI_ACTIVITY_KIND_OVERHEAD: return add(as<CUpti_ActivityOverhead3>(record), to);
  default: return; // calls of the runtime and of the driver
  }
}

} // namespace

void readRecords(const Library &cupti, std::uint8_t *buffer, std::size_t bytes, Activities &to) {
  CUpti_Activity *record = nullptr;
  CUptiResult result = CUPTI_SUCCESS;
  while ((result = cupti.cuptiActivityGetNextRecord.pointer(buffer, bytes, &record)) == CUPTI_SUCCESS)
    addRecord(*record, to);
  if (result != CUPTI_ERROR_MAX_LIMIT_REACHED) ++to.dropped;
}

} // namespace xqs::cuda::cupti

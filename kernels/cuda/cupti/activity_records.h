// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "activities.h"
#include "library.h"

namespace xqs::cuda::cupti {

/// The kinds of records that a timeline is made of. External ids come with records of calls, and only of kinds that are
/// enabled: ours go through the runtime, a library's may go to the driver (cuBLAS: cuLaunchKernelEx). A call of the driver's
/// inside of one of the runtime's is a second record with the same ids. Never KIND_KERNEL, which runs kernels one after the
/// other, nor GRAPH_TRACE, which takes the place of a graph's kernels.
constexpr CUpti_ActivityKind kActivityKinds[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                                 CUPTI_ACTIVITY_KIND_MEMCPY,
                                                 CUPTI_ACTIVITY_KIND_MEMSET,
                                                 CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION,
                                                 CUPTI_ACTIVITY_KIND_RUNTIME,
                                                 CUPTI_ACTIVITY_KIND_DRIVER,
                                                 CUPTI_ACTIVITY_KIND_OVERHEAD};
/// What operations and steps are pushed as.
constexpr CUpti_ExternalCorrelationKind kExternalKind = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0;

/// Adds what a complete buffer holds; its `bytes` are whole records. A record that cannot be read ends it and counts as
/// dropped, as what lies behind it is lost.
void readRecords(const Library &cupti, std::uint8_t *buffer, std::size_t bytes, Activities &to);

} // namespace xqs::cuda::cupti

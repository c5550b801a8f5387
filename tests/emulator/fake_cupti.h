// SPDX-License-Identifier: Apache-2.0
#pragma once

// A CUPTI for tests (XQSCOPE_CUPTI), on the emulated device: it works, and answers whatever it is told to. Environment
// variables, read at every call:
//   XQS_FAKE_CUPTI_ANSWERS      "cuptiRangeProfilerEnable=35,cuptiPmSamplingEnable=26": what these functions answer
//   XQS_FAKE_CUPTI_UNSUPPORTED  "wsl": a field of cuptiProfilerDeviceSupported that is UNSUPPORTED ("vGpuDisabled": DISABLED)
//   XQS_FAKE_CUPTI_CHIP         its name; GH100
//   XQS_FAKE_CUPTI_LACKS        metrics that the chip lacks, separated by commas
//   XQS_FAKE_CUPTI_FACTOR       what counters read of what was moved; 1
//   XQS_FAKE_CUPTI_DROPPED      ranges that decoding loses, the last ones
//   XQS_FAKE_CUPTI_OVERFLOWS    decodings of samples that report a full buffer, the first ones of each sampling
//   XQS_FAKE_CUPTI_CLOCK        "own": samples have a clock of their own, not that of cuptiGetTimestamp
// What would crash, and what is no use of CUPTI as its headers describe it, aborts with a sentence.
#include "profiler_hooks.h"

#include <cupti_callbacks.h>
#include <cupti_result.h>

namespace xqs::fake {

/// What a function is to answer; CUPTI_SUCCESS: it does its work.
CUptiResult answerOf(const char *function);

// fake_activity.cpp
/// From now on the emulator tells this library what it does.
void listen();
void tellSubscriber(CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *data);

// fake_counters.cpp
/// The device has run this: kernels count as 16 bytes read and 16 written a thread.
void counted(const emulator::Launch &launch, std::int64_t startNs, std::int64_t endNs);

} // namespace xqs::fake

// SPDX-License-Identifier: Apache-2.0
#pragma once

// A CUPTI for tests (XQSCOPE_CUPTI), on the emulated device: it works, and answers whatever it is told to. Environment
// variables, read at every call:
//   XQS_FAKE_CUPTI_ANSWERS      "cuptiRangeProfilerEnable=35,cuptiPmSamplingEnable=26": what these functions answer
//   XQS_FAKE_CUPTI_UNSUPPORTED  "wsl": a field of cuptiProfilerDeviceSupported that is UNSUPPORTED ("vGpuDisabled":
//   DISABLED) XQS_FAKE_CUPTI_CHIP         its name; GH100 XQS_FAKE_CUPTI_LACKS        metrics that the chip lacks, separated
//   by commas XQS_FAKE_CUPTI_FACTOR       what counters read of what was moved; 1 XQS_FAKE_CUPTI_DROPPED      ranges that
//   decoding loses, the last ones XQS_FAKE_CUPTI_OVERFLOWS    decodings of samples that report a full buffer, the first ones
//   of each sampling XQS_FAKE_CUPTI_CLOCK        "own": samples have a clock of their own, not that of cuptiGetTimestamp
// What would crash, and what is no use of CUPTI as its headers describe it, aborts with a sentence.
#include "profiler_hooks.h"

#include <cupti_callbacks.h>
#include <cupti_result.h>

#include <cstddef>
#include <string>

namespace xqs::fake {

/// An environment variable; empty where it is not set.
std::string setting(const char *name);
/// Whether `item` stands in the list of an environment variable.
bool listed(const char *name, const std::string &item);
[[noreturn]] void misused(const char *function, const char *why);
/// A struct of parameters must have its size and no private data.
template <typename P> void mustBe(const char *function, const P *params, std::size_t size) {
  if (params == nullptr || params->structSize != size || params->pPriv != nullptr)
    misused(function, "its struct of parameters has another size, or private data");
}
/// What a function is to answer; CUPTI_SUCCESS: it does its work.
CUptiResult answerOf(const char *function);
#define XQS_FAKE_ANSWER()                                                                                                   \
  if (const CUptiResult answer = ::xqs::fake::answerOf(__func__); answer != CUPTI_SUCCESS) return answer

/// Objects that programs made and did not destroy.
extern int s_held;

// fake_activity.cpp
/// From now on the emulator tells this library what it does.
void listen();
void tellSubscriber(CUpti_CallbackDomain domain, CUpti_CallbackId id, const void *data);
/// CUPTI's clock at a time of the steady clock.
std::uint64_t cuptiTime(std::int64_t steadyNs);

// fake_counters.cpp
/// The device has run this: kernels count as 16 bytes read and 16 written a thread.
void counted(const emulator::Launch &launch, std::int64_t startNs, std::int64_t endNs);

} // namespace xqs::fake

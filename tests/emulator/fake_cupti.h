// SPDX-License-Identifier: Apache-2.0
#pragma once

// A CUPTI for tests (XQSCOPE_CUPTI), on the emulated device: it works, and answers whatever it is told to. Environment
// variables, read at every call:
//   XQS_FAKE_CUPTI_ANSWERS      "cuptiRangeProfilerEnable=35,cuptiPmSamplingEnable=26": what these functions answer
//   XQS_FAKE_CUPTI_UNSUPPORTED  "wsl": a field of cuptiProfilerDeviceSupported that is UNSUPPORTED; "vGpuDisabled": DISABLED
//   XQS_FAKE_CUPTI_CHIP         its name; GH100
//   XQS_FAKE_CUPTI_LACKS        metrics that the chip lacks, separated by commas
//   XQS_FAKE_CUPTI_FACTOR       what counters read of what was moved; 1
//   XQS_FAKE_CUPTI_DROPPED      ranges that decoding loses, the last ones
//   XQS_FAKE_CUPTI_SILENT       "1": no launch has a record, and nothing says so; "sampled": once samples were taken
//   XQS_FAKE_CUPTI_CLOCK        "own": samples have a clock of their own, not that of cuptiGetTimestamp
//   XQS_FAKE_CUPTI_FIRST        "nan": the first sample holds NaN at a time that is none
//   XQS_FAKE_CUPTI_HOLDS        samples that an image of counter data has room for, whatever was asked for
//   XQS_FAKE_CUPTI_OVERFLOWS    decodings that report a full buffer of the device, the first ones of each sampling
//   XQS_FAKE_CUPTI_DECODINGS    those of each sampling that succeed: from then on the device's buffer is full for good
// What is reported of GPUs is always so: the first sample of a session holds all that was moved for a while before it, a
// full image loses what it has no room for, and the last decoding has a sample of no length. What would crash, and what is
// no use of CUPTI as its headers describe it, aborts with a sentence.
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
/// Samples that the last image was asked to hold.
extern int s_samplesAsked;
/// Samples were taken, and silence launches from then on.
extern bool s_sampled;

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

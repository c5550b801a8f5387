// SPDX-License-Identifier: Apache-2.0
#pragma once

// Files of this folder alone include CUPTI's headers; the rest of the module goes through headers of plain types.
#include "states.h"

#include <cupti_activity.h>
#include <cupti_callbacks.h>
#include <cupti_driver_cbid.h>
#include <cupti_pmsampling.h>
#include <cupti_profiler_host.h>
#include <cupti_profiler_target.h>
#include <cupti_range_profiler.h>
#include <cupti_result.h>
#include <cupti_target.h>
#include <cupti_version.h>

#include <cstddef>
#include <functional>
#include <string>

namespace xqs::cuda::cupti {

/// Every function that is called, once.
#define XQS_CUPTI_FUNCTIONS(X)                                                                                              \
  X(cuptiGetVersion)                                                                                                        \
  X(cuptiGetResultString)                                                                                                   \
  X(cuptiGetErrorMessage)                                                                                                   \
  X(cuptiGetTimestamp)                                                                                                      \
  X(cuptiSubscribe)                                                                                                         \
  X(cuptiUnsubscribe)                                                                                                       \
  X(cuptiEnableCallback)                                                                                                    \
  X(cuptiGetGraphNodeId)                                                                                                    \
  X(cuptiActivityRegisterCallbacks)                                                                                         \
  X(cuptiActivityEnable)                                                                                                    \
  X(cuptiActivityDisable)                                                                                                   \
  X(cuptiActivityFlushAll)                                                                                                  \
  X(cuptiActivityGetNextRecord)                                                                                             \
  X(cuptiActivityGetNumDroppedRecords)                                                                                      \
  X(cuptiActivityPushExternalCorrelationId)                                                                                 \
  X(cuptiActivityPopExternalCorrelationId)                                                                                  \
  X(cuptiProfilerInitialize)                                                                                                \
  X(cuptiProfilerDeInitialize)                                                                                              \
  X(cuptiProfilerDeviceSupported)                                                                                           \
  X(cuptiProfilerGetCounterAvailability)                                                                                    \
  X(cuptiDeviceGetChipName)                                                                                                 \
  X(cuptiProfilerHostInitialize)                                                                                            \
  X(cuptiProfilerHostDeinitialize)                                                                                          \
  X(cuptiProfilerHostGetSupportedChips)                                                                                     \
  X(cuptiProfilerHostConfigAddMetrics)                                                                                      \
  X(cuptiProfilerHostGetConfigImageSize)                                                                                    \
  X(cuptiProfilerHostGetConfigImage)                                                                                        \
  X(cuptiProfilerHostGetNumOfPasses)                                                                                        \
  X(cuptiProfilerHostEvaluateToGpuValues)                                                                                   \
  X(cuptiRangeProfilerEnable)                                                                                               \
  X(cuptiRangeProfilerDisable)                                                                                              \
  X(cuptiRangeProfilerGetCounterDataSize)                                                                                   \
  X(cuptiRangeProfilerCounterDataImageInitialize)                                                                           \
  X(cuptiRangeProfilerSetConfig)                                                                                            \
  X(cuptiRangeProfilerStart)                                                                                                \
  X(cuptiRangeProfilerStop)                                                                                                 \
  X(cuptiRangeProfilerPushRange)                                                                                            \
  X(cuptiRangeProfilerPopRange)                                                                                             \
  X(cuptiRangeProfilerDecodeData)                                                                                           \
  X(cuptiRangeProfilerGetCounterDataInfo)                                                                                   \
  X(cuptiRangeProfilerCounterDataGetRangeInfo)                                                                              \
  X(cuptiPmSamplingGetCounterAvailability)                                                                                  \
  X(cuptiPmSamplingEnable)                                                                                                  \
  X(cuptiPmSamplingDisable)                                                                                                 \
  X(cuptiPmSamplingGetCounterDataSize)                                                                                      \
  X(cuptiPmSamplingCounterDataImageInitialize)                                                                              \
  X(cuptiPmSamplingSetConfig)                                                                                               \
  X(cuptiPmSamplingStart)                                                                                                   \
  X(cuptiPmSamplingStop)                                                                                                    \
  X(cuptiPmSamplingDecodeData)                                                                                              \
  X(cuptiPmSamplingGetCounterDataInfo)                                                                                      \
  X(cuptiPmSamplingCounterDataGetSampleInfo)

/// A function of the library with its name for messages.
template <typename F> struct Function {
  const char *name;
  F *pointer = nullptr;
};

/// CUPTI, opened at run time: types come from its headers, functions from the library, so that the module loads where there
/// is none. Environment variable XQSCOPE_CUPTI: a file to open, or `off`. Stays open until the program ends: it has threads
/// and exit handlers of its own.
class Library {
public:
  /// Finds a function by its name; null: there is none.
  using Resolve = std::function<void *(const char *name)>;

  Library();                                ///< throws Failure (NoLibrary) where there is none that can be used
  explicit Library(const Resolve &resolve); ///< of functions from elsewhere

#define XQS_CUPTI_MEMBER(function) Function<decltype(::function)> function{#function};
  XQS_CUPTI_FUNCTIONS(XQS_CUPTI_MEMBER)
#undef XQS_CUPTI_MEMBER

  /// "CUPTI 13.0"
  const std::string &description() const { return m_description; }

  /// Throws Failure where the answer is not CUPTI_SUCCESS: cupti.call(cupti.cuptiRangeProfilerStart, &params).
  template <typename F, typename... A> void call(const Function<F> &function, A... arguments) const {
    check(function.pointer(arguments...), function.name);
  }
  void check(CUptiResult result, const char *function) const {
    if (result != CUPTI_SUCCESS) throw Failure(findingOf(result, function, text(result)));
  }
  /// CUPTI's words for a result.
  std::string text(CUptiResult result) const;

private:
  /// Why not; empty where it is open.
  std::string open(const std::string &file);
  /// Takes every function; why one of them could not be taken.
  std::string bind(const Resolve &resolve);

  bool m_loaded = false; ///< by the last `open`, whether it could be used or not
  std::string m_description;
};

/// The struct of a call's parameters, zeroed and with its size: auto p = XQS_CUPTI_PARAMS(RangeProfiler_Start).
#define XQS_CUPTI_PARAMS(call) ::xqs::cuda::cupti::sized<CUpti_##call##_Params>(CUpti_##call##_Params_STRUCT_SIZE)
template <typename P> P sized(std::size_t size) {
  P params{};
  params.structSize = size;
  return params;
}

} // namespace xqs::cuda::cupti

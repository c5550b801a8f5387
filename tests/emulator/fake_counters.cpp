// SPDX-License-Identifier: Apache-2.0
// The fake CUPTI's device: ranges and samples of what the emulator runs. See fake_cupti.h.
#include "fake_cupti.h"
#include "fake_images.h"

#include <cupti_pmsampling.h>
#include <cupti_profiler_target.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <utility>

using namespace xqs;

struct CUpti_RangeProfiler_Object {
  CUpti_ProfilerRange kind = CUPTI_Range_INVALID; ///< invalid: not configured
  std::uint8_t *image = nullptr;
  std::size_t most = 0, passes = 0, pass = 0, lost = 0;
  bool inPass = false, inRange = false;
  std::vector<fake::Entry> entries; ///< of the last pass
};
struct CUpti_PmSampling_Object {
  bool configured = false, started = false;
  bool behind = false; ///< an image was full
  std::int64_t startNs = 0, lastEndNs = 0;
  int decodings = 0;
  std::vector<fake::Entry> waiting;
};

namespace {

constexpr std::int64_t kNoTime = std::numeric_limits<std::int64_t>::min(); ///< what the program sees as 0

std::mutex s_mutex; ///< of what follows: samples are decoded on a thread
int s_hooks = 0;
CUpti_RangeProfiler_Object *s_ranges = nullptr;
CUpti_PmSampling_Object *s_sampling = nullptr;

std::int64_t steadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
int number(const char *name) { return std::atoi(fake::setting(name).c_str()); }

/// Functions that need a device crash before the profiler has been initialized.
CUptiResult onDevice(const char *function) {
  if (s_hooks == 0) fake::misused(function, "called before cuptiProfilerInitialize has succeeded, it would crash");
  return fake::answerOf(function);
}
#define ON_DEVICE()                                                                                                         \
  if (const CUptiResult answer = onDevice(__func__); answer != CUPTI_SUCCESS) return answer
void require(bool condition, const char *function, const char *why) {
  if (!condition) fake::misused(function, why);
}

void add(fake::Entry &to, const emulator::Launch &launch) {
  constexpr int kHtoD = 1, kDtoH = 2;
  const bool kernel = launch.kind == emulator::Launch::Kernel;
  const auto bytes = static_cast<double>(launch.bytes);
  if (kernel || (launch.kind == emulator::Launch::Copy && launch.copyKind != kHtoD)) to.read += bytes;
  if (kernel || launch.kind == emulator::Launch::Fill || launch.copyKind != kDtoH) to.written += bytes;
  if (kernel) to.cycles += bytes;
  to.nanoseconds += 1000;
}

fake::Entry named(std::size_t number) {
  fake::Entry entry;
  std::snprintf(entry.name, sizeof entry.name, "%zu", number);
  return entry;
}

/// What was moved since the device last gave a sample.
fake::Entry firstSample(std::int64_t nowNs) {
  fake::Entry entry;
  entry.startNs = nowNs - 300'000'000, entry.endNs = nowNs;
  entry.read = entry.written = 1e6;
  if (fake::setting("XQS_FAKE_CUPTI_FIRST") != "nan") return entry;
  entry.startNs = 17, entry.endNs = 4711;
  entry.read = entry.written = std::numeric_limits<double>::quiet_NaN();
  return entry;
}

bool fullForGood(const CUpti_PmSampling_Object &sampling) {
  const std::string decodings = fake::setting("XQS_FAKE_CUPTI_DECODINGS");
  return !decodings.empty() && sampling.decodings >= std::atoi(decodings.c_str());
}

/// Moves samples to an image. Of those that one had no room for, the next one has some without times; the others are gone.
CUpti_PmSampling_DecodeStopReason take(CUpti_PmSampling_Object &sampling, std::uint8_t *image) {
  const int holds = number("XQS_FAKE_CUPTI_HOLDS");
  const std::size_t room = holds > 0 ? static_cast<std::size_t>(holds) : fake::CounterData::headerOf(image).capacity;
  const bool behind = std::exchange(sampling.behind, false), full = !behind && sampling.waiting.size() > room;
  auto &waiting = sampling.waiting;
  const auto end = waiting.begin() + static_cast<std::ptrdiff_t>(std::min(waiting.size(), room));
  if (behind) std::for_each(waiting.begin(), end, [](fake::Entry &entry) { entry.startNs = entry.endNs = kNoTime; });
  fake::CounterData::write(image, {waiting.begin(), end});
  waiting.erase(waiting.begin(), behind ? waiting.end() : end);
  sampling.behind = full;
  return full ? CUPTI_PM_SAMPLING_DECODE_STOP_REASON_COUNTER_DATA_FULL : CUPTI_PM_SAMPLING_DECODE_STOP_REASON_END_OF_RECORDS;
}

} // namespace

void fake::counted(const emulator::Launch &launch, std::int64_t /*startNs*/, std::int64_t endNs) {
  const std::lock_guard lock(s_mutex);
  if (s_ranges != nullptr && s_ranges->inPass) {
    auto &entries = s_ranges->entries;
    if (s_ranges->kind == CUPTI_AutoRange && launch.kind == emulator::Launch::Kernel) {
      if (entries.size() < s_ranges->most)
        entries.push_back(named(entries.size())), add(entries.back(), launch);
      else
        ++s_ranges->lost;
    }
    if (s_ranges->inRange) add(entries.back(), launch);
  }
  if (s_sampling != nullptr && s_sampling->started) {
    Entry entry;
    entry.startNs = std::exchange(s_sampling->lastEndNs, endNs), entry.endNs = endNs;
    add(entry, launch);
    s_sampling->waiting.push_back(entry);
  }
}

extern "C" {
CUptiResult cuptiProfilerInitialize(CUpti_Profiler_Initialize_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_Initialize_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  ++s_hooks, ++fake::s_held;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiProfilerDeInitialize(CUpti_Profiler_DeInitialize_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_DeInitialize_Params_STRUCT_SIZE);
  require(s_hooks > 0 && s_ranges == nullptr && s_sampling == nullptr, __func__, "a profiler is still enabled");
  --s_hooks, --fake::s_held;
  return fake::answerOf(__func__);
}
CUptiResult cuptiProfilerDeviceSupported(CUpti_Profiler_DeviceSupported_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_DeviceSupported_Params_STRUCT_SIZE);
  ON_DEVICE();
  const std::string field = fake::setting("XQS_FAKE_CUPTI_UNSUPPORTED");
  const auto level = [&](const char *name) {
    return field == name                             ? CUPTI_PROFILER_CONFIGURATION_UNSUPPORTED
           : field == std::string(name) + "Disabled" ? CUPTI_PROFILER_CONFIGURATION_DISABLED
                                                     : CUPTI_PROFILER_CONFIGURATION_SUPPORTED;
  };
  p->isSupported = field.empty() ? CUPTI_PROFILER_CONFIGURATION_SUPPORTED : CUPTI_PROFILER_CONFIGURATION_UNSUPPORTED;
  p->architecture = level("architecture"), p->sli = level("sli"), p->vGpu = level("vGpu"), p->cmp = level("cmp");
  p->confidentialCompute = level("confidentialCompute"), p->wsl = level("wsl");
  return CUPTI_SUCCESS;
}
CUptiResult cuptiDeviceGetChipName(CUpti_Device_GetChipName_Params *p) {
  fake::mustBe(__func__, p, CUpti_Device_GetChipName_Params_STRUCT_SIZE);
  ON_DEVICE();
  static std::string chip;
  chip = fake::setting("XQS_FAKE_CUPTI_CHIP");
  if (chip.empty()) chip = "GH100";
  p->pChipName = chip.c_str();
  return CUPTI_SUCCESS;
}
CUptiResult cuptiProfilerGetCounterAvailability(CUpti_Profiler_GetCounterAvailability_Params *p) {
  fake::mustBe(__func__, p, CUpti_Profiler_GetCounterAvailability_Params_STRUCT_SIZE);
  ON_DEVICE();
  require(p->ctx != nullptr, __func__, "no context");
  p->counterAvailabilityImageSize = 16;
  return CUPTI_SUCCESS;
}

// Ranges ------------------------------------------------------------------------------------------------------------------

CUptiResult cuptiRangeProfilerEnable(CUpti_RangeProfiler_Enable_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_Enable_Params_STRUCT_SIZE);
  ON_DEVICE();
  require(p->ctx != nullptr && s_ranges == nullptr && s_sampling == nullptr, __func__, "no context, or enabled already");
  fake::listen();
  s_ranges = p->pRangeProfilerObject = new CUpti_RangeProfiler_Object;
  ++fake::s_held;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiRangeProfilerDisable(CUpti_RangeProfiler_Disable_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_Disable_Params_STRUCT_SIZE);
  require(p->pRangeProfilerObject == s_ranges && !s_ranges->inPass, __func__, "another object, or in a pass");
  delete std::exchange(s_ranges, nullptr);
  --fake::s_held;
  return fake::answerOf(__func__);
}
CUptiResult cuptiRangeProfilerGetCounterDataSize(CUpti_RangeProfiler_GetCounterDataSize_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_GetCounterDataSize_Params_STRUCT_SIZE);
  ON_DEVICE();
  require(p->maxNumRangeTreeNodes >= p->maxNumOfRanges && p->numMetrics > 0, __func__,
          "fewer nodes than ranges, no metrics");
  p->counterDataSize = fake::CounterData::bytesFor(p->maxNumOfRanges);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiRangeProfilerCounterDataImageInitialize(CUpti_RangeProfiler_CounterDataImage_Initialize_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_CounterDataImage_Initialize_Params_STRUCT_SIZE);
  ON_DEVICE();
  fake::CounterData::clear(p->pCounterData, p->counterDataSize);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiRangeProfilerSetConfig(CUpti_RangeProfiler_SetConfig_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_SetConfig_Params_STRUCT_SIZE);
  ON_DEVICE();
  fake::Config config;
  std::memcpy(&config, p->pConfig, sizeof config);
  const auto data = fake::CounterData::headerOf(p->pCounterDataImage);
  require(config.magic == fake::Config::kMagic && data.magic == fake::CounterData::kMagic, __func__, "an image is none");
  require(p->numNestingLevels == 1 && p->minNestingLevel == 1 && p->maxRangesPerPass <= data.capacity, __func__,
          "nesting levels or ranges");
  require((p->range == CUPTI_UserRange && p->replayMode == CUPTI_UserReplay) ||
              (p->range == CUPTI_AutoRange && p->replayMode == CUPTI_KernelReplay),
          __func__, "modes that do not go together");
  CUpti_RangeProfiler_Object &ranges = *p->pRangeProfilerObject;
  ranges.kind = p->range, ranges.image = p->pCounterDataImage, ranges.most = p->maxRangesPerPass;
  ranges.passes = p->range == CUPTI_AutoRange ? 1 : config.passes;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiRangeProfilerStart(CUpti_RangeProfiler_Start_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_Start_Params_STRUCT_SIZE);
  ON_DEVICE();
  const std::lock_guard lock(s_mutex);
  require(s_ranges->kind != CUPTI_Range_INVALID && !s_ranges->inPass, __func__, "not configured, or started already");
  s_ranges->inPass = true;
  s_ranges->entries.clear();
  return CUPTI_SUCCESS;
}
CUptiResult cuptiRangeProfilerPushRange(CUpti_RangeProfiler_PushRange_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_PushRange_Params_STRUCT_SIZE);
  ON_DEVICE();
  const std::lock_guard lock(s_mutex);
  require(s_ranges->inPass && !s_ranges->inRange && s_ranges->kind == CUPTI_UserRange, __func__, "no range can begin");
  require(s_ranges->entries.size() < s_ranges->most, __func__, "more ranges than were configured");
  for (const fake::Entry &entry : s_ranges->entries)
    require(std::string(entry.name) != p->pRangeName, __func__, "a name that was used in this pass");
  s_ranges->entries.emplace_back();
  std::snprintf(s_ranges->entries.back().name, sizeof(fake::Entry::name), "%s", p->pRangeName);
  s_ranges->inRange = true;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiRangeProfilerPopRange(CUpti_RangeProfiler_PopRange_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_PopRange_Params_STRUCT_SIZE);
  const std::lock_guard lock(s_mutex);
  require(std::exchange(s_ranges->inRange, false), __func__, "no range has begun");
  return fake::answerOf(__func__);
}
CUptiResult cuptiRangeProfilerStop(CUpti_RangeProfiler_Stop_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_Stop_Params_STRUCT_SIZE);
  const std::lock_guard lock(s_mutex);
  require(std::exchange(s_ranges->inPass, false) && !s_ranges->inRange, __func__, "not started, or a range is open");
  p->passIndex = ++s_ranges->pass;
  p->isAllPassSubmitted = s_ranges->pass >= s_ranges->passes;
  return fake::answerOf(__func__);
}
CUptiResult cuptiRangeProfilerDecodeData(CUpti_RangeProfiler_DecodeData_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_DecodeData_Params_STRUCT_SIZE);
  ON_DEVICE();
  require(!s_ranges->inPass && s_ranges->pass >= s_ranges->passes, __func__, "not all passes are in");
  std::vector<fake::Entry> kept = s_ranges->entries;
  const auto lost = std::min(static_cast<std::size_t>(number("XQS_FAKE_CUPTI_DROPPED")), kept.size());
  kept.resize(kept.size() - lost);
  std::reverse(kept.begin(), kept.end()); // no order is promised, but that kernels are numbered
  fake::CounterData::write(s_ranges->image, kept);
  p->numOfRangeDropped = lost + s_ranges->lost;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiRangeProfilerGetCounterDataInfo(CUpti_RangeProfiler_GetCounterDataInfo_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_GetCounterDataInfo_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  p->numTotalRanges = fake::CounterData::headerOf(p->pCounterDataImage).count;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiRangeProfilerCounterDataGetRangeInfo(CUpti_RangeProfiler_CounterData_GetRangeInfo_Params *p) {
  fake::mustBe(__func__, p, CUpti_RangeProfiler_CounterData_GetRangeInfo_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  static std::string name;
  name = fake::CounterData::entryOf(p->pCounterDataImage, p->rangeIndex).name;
  p->rangeName = name.c_str();
  return CUPTI_SUCCESS;
}

// Samples -----------------------------------------------------------------------------------------------------------------

CUptiResult cuptiPmSamplingGetCounterAvailability(CUpti_PmSampling_GetCounterAvailability_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_GetCounterAvailability_Params_STRUCT_SIZE);
  ON_DEVICE();
  p->counterAvailabilityImageSize = 16;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiPmSamplingEnable(CUpti_PmSampling_Enable_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_Enable_Params_STRUCT_SIZE);
  ON_DEVICE();
  require(s_ranges == nullptr && s_sampling == nullptr, __func__, "enabled already");
  fake::listen();
  s_sampling = p->pPmSamplingObject = new CUpti_PmSampling_Object;
  ++fake::s_held, fake::s_sampled = fake::setting("XQS_FAKE_CUPTI_SILENT") == "sampled";
  return CUPTI_SUCCESS;
}
CUptiResult cuptiPmSamplingDisable(CUpti_PmSampling_Disable_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_Disable_Params_STRUCT_SIZE);
  const std::lock_guard lock(s_mutex);
  require(p->pPmSamplingObject == s_sampling && !s_sampling->started, __func__, "another object, or not stopped");
  delete std::exchange(s_sampling, nullptr);
  --fake::s_held;
  return fake::answerOf(__func__);
}
CUptiResult cuptiPmSamplingGetCounterDataSize(CUpti_PmSampling_GetCounterDataSize_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_GetCounterDataSize_Params_STRUCT_SIZE);
  ON_DEVICE();
  p->counterDataSize = fake::CounterData::bytesFor(p->maxSamples);
  fake::s_samplesAsked = static_cast<int>(p->maxSamples);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiPmSamplingCounterDataImageInitialize(CUpti_PmSampling_CounterDataImage_Initialize_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_CounterDataImage_Initialize_Params_STRUCT_SIZE);
  ON_DEVICE();
  fake::CounterData::clear(p->pCounterData, p->counterDataSize);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiPmSamplingSetConfig(CUpti_PmSampling_SetConfig_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_SetConfig_Params_STRUCT_SIZE);
  ON_DEVICE();
  fake::Config config;
  std::memcpy(&config, p->pConfig, sizeof config);
  const std::string chip = fake::setting("XQS_FAKE_CUPTI_CHIP");
  const bool cycles = p->triggerMode == CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_SYSCLK_INTERVAL;
  if (config.passes != 1 || (!cycles && (chip.starts_with("TU") || chip == "GA100"))) return CUPTI_ERROR_NOT_SUPPORTED;
  require(p->samplingInterval > 0 && p->hardwareBufferSize > 0, __func__, "no interval or no buffer");
  p->pPmSamplingObject->configured = true;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiPmSamplingStart(CUpti_PmSampling_Start_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_Start_Params_STRUCT_SIZE);
  ON_DEVICE();
  const std::lock_guard lock(s_mutex);
  require(s_sampling->configured && !s_sampling->started, __func__, "not configured, or started already");
  s_sampling->started = true;
  s_sampling->startNs = s_sampling->lastEndNs = steadyNs();
  s_sampling->waiting = {firstSample(s_sampling->startNs)};
  return CUPTI_SUCCESS;
}
CUptiResult cuptiPmSamplingStop(CUpti_PmSampling_Stop_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_Stop_Params_STRUCT_SIZE);
  const std::lock_guard lock(s_mutex);
  require(std::exchange(s_sampling->started, false), __func__, "not started");
  fake::Entry &none = s_sampling->waiting.emplace_back();
  none.startNs = none.endNs = s_sampling->startNs;
  if (fullForGood(*s_sampling)) return CUPTI_ERROR_INVALID_OPERATION;
  return fake::answerOf(__func__);
}
CUptiResult cuptiPmSamplingDecodeData(CUpti_PmSampling_DecodeData_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_DecodeData_Params_STRUCT_SIZE);
  ON_DEVICE();
  const std::lock_guard lock(s_mutex);
  require(fake::CounterData::headerOf(p->pCounterDataImage).count == 0, __func__, "the image holds earlier samples");
  if (fullForGood(*s_sampling)) return CUPTI_ERROR_OUT_OF_MEMORY;
  p->overflow = s_sampling->decodings++ < number("XQS_FAKE_CUPTI_OVERFLOWS");
  p->decodeStopReason = take(*s_sampling, p->pCounterDataImage);
  return CUPTI_SUCCESS;
}
CUptiResult cuptiPmSamplingGetCounterDataInfo(CUpti_PmSampling_GetCounterDataInfo_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_GetCounterDataInfo_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  const auto data = fake::CounterData::headerOf(p->pCounterDataImage);
  p->numTotalSamples = data.capacity, p->numPopulatedSamples = p->numCompletedSamples = data.count;
  return CUPTI_SUCCESS;
}
CUptiResult cuptiPmSamplingCounterDataGetSampleInfo(CUpti_PmSampling_CounterData_GetSampleInfo_Params *p) {
  fake::mustBe(__func__, p, CUpti_PmSampling_CounterData_GetSampleInfo_Params_STRUCT_SIZE);
  XQS_FAKE_ANSWER();
  const fake::Entry entry = fake::CounterData::entryOf(p->pCounterDataImage, p->sampleIndex);
  const bool own = fake::setting("XQS_FAKE_CUPTI_CLOCK") == "own";
  const auto time = [=](std::int64_t ns) {
    return ns == kNoTime ? 0u : own ? static_cast<std::uint64_t>(ns) + 12'345'678'901'234u : fake::cuptiTime(ns);
  };
  p->startTimestamp = time(entry.startNs), p->endTimestamp = time(entry.endNs);
  return CUPTI_SUCCESS;
}
}

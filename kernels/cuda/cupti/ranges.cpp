// SPDX-License-Identifier: Apache-2.0
#include "ranges.h"

#include "launch_name.h"

#include <cstdlib>

namespace xqs::cuda::cupti {
namespace {

/// Of the driver, for every way to launch a kernel.
constexpr CUpti_driver_api_trace_cbid kLaunchCalls[] = {CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel,
                                                        CUPTI_DRIVER_TRACE_CBID_cuLaunchKernel_ptsz,
                                                        CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx,
                                                        CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx_ptsz,
                                                        CUPTI_DRIVER_TRACE_CBID_cuLaunchCooperativeKernel,
                                                        CUPTI_DRIVER_TRACE_CBID_cuLaunchCooperativeKernel_ptsz};

} // namespace

/// Called through CUPTI and the driver, which are C: no exception may pass them.
void RangeProfiler::onLaunch(void *profiler, CUpti_CallbackDomain, CUpti_CallbackId, const void *data) noexcept {
  const auto &call = *static_cast<const CUpti_CallbackData *>(data);
  if (call.callbackSite != CUPTI_API_ENTER) return;
  auto &self = *static_cast<RangeProfiler *>(profiler);
  try {
    self.m_launched(call.symbolName != nullptr ? launchName(call.symbolName) : "unnamed");
  } catch (...) {
    self.m_launchError = std::current_exception();
  }
}

void RangeProfiler::Disable::operator()(CUpti_RangeProfiler_Object *object) const noexcept {
  auto p = XQS_CUPTI_PARAMS(RangeProfiler_Disable);
  p.pRangeProfilerObject = object;
  (void)cupti->cuptiRangeProfilerDisable.pointer(&p);
}

/// Calls a function of the profiler object.
template <typename P, typename F> P RangeProfiler::run(const Function<F> &function, P params) const {
  params.pRangeProfilerObject = m_object.get();
  m_cupti.call(function, &params);
  return params;
}

RangeProfiler::RangeProfiler(std::unique_ptr<Hooks> hooks, void *context, const Chip &chip, MetricSet set,
                             const LaunchSink &launched)
    : m_hooks(std::move(hooks)), m_cupti(m_hooks->cupti()), m_host(m_cupti, CUPTI_PROFILER_TYPE_RANGE_PROFILER, chip),
      m_set(std::move(set)), m_object(nullptr, Disable{&m_cupti}), m_launched(launched) {
  enable(context);
  makeImage();
  if (launched)
    m_launches = std::make_unique<Subscription>(m_cupti, CUPTI_CB_DOMAIN_DRIVER_API, kLaunchCalls, &onLaunch, this);
  configure();
}

RangeProfiler::~RangeProfiler() {
  if (!m_inPass) return; // else the work threw: nobody reads what was counted
  auto pop = XQS_CUPTI_PARAMS(RangeProfiler_PopRange);
  auto stop = XQS_CUPTI_PARAMS(RangeProfiler_Stop);
  pop.pRangeProfilerObject = stop.pRangeProfilerObject = m_object.get();
  if (m_inRange) (void)m_cupti.cuptiRangeProfilerPopRange.pointer(&pop);
  (void)m_cupti.cuptiRangeProfilerStop.pointer(&stop);
}

void RangeProfiler::enable(void *context) {
  auto p = XQS_CUPTI_PARAMS(RangeProfiler_Enable);
  p.ctx = static_cast<CUcontext>(context);
  m_cupti.call(m_cupti.cuptiRangeProfilerEnable, &p);
  m_object.reset(p.pRangeProfilerObject);
}

void RangeProfiler::makeImage() {
  std::vector<const char *> names = m_set.pointers();
  auto size = XQS_CUPTI_PARAMS(RangeProfiler_GetCounterDataSize);
  size.pMetricNames = names.data();
  size.numMetrics = names.size();
  size.maxNumOfRanges = kMaxRanges;
  size.maxNumRangeTreeNodes = kMaxRanges;
  m_image.resize(run(m_cupti.cuptiRangeProfilerGetCounterDataSize, size).counterDataSize);
  auto image = XQS_CUPTI_PARAMS(RangeProfiler_CounterDataImage_Initialize);
  image.counterDataSize = m_image.size();
  image.pCounterData = m_image.data();
  run(m_cupti.cuptiRangeProfilerCounterDataImageInitialize, image);
}

void RangeProfiler::configure() {
  auto p = XQS_CUPTI_PARAMS(RangeProfiler_SetConfig);
  p.configSize = m_set.config.size();
  p.pConfig = m_set.config.data();
  p.counterDataImageSize = m_image.size();
  p.pCounterDataImage = m_image.data();
  p.range = m_launches ? CUPTI_AutoRange : CUPTI_UserRange;
  p.replayMode = m_launches ? CUPTI_KernelReplay : CUPTI_UserReplay;
  p.maxRangesPerPass = kMaxRanges;
  p.numNestingLevels = p.minNestingLevel = p.targetNestingLevel = 1;
  run(m_cupti.cuptiRangeProfilerSetConfig, p);
}

void RangeProfiler::beginPass() {
  run(m_cupti.cuptiRangeProfilerStart, XQS_CUPTI_PARAMS(RangeProfiler_Start));
  m_inPass = true;
  m_begun = 0;
}

/// A range's name is its number in the pass: CUPTI takes ranges of one name for the same.
void RangeProfiler::beginRange() {
  const std::size_t number = m_begun++;
  if (number >= kMaxRanges) return;
  const std::string name = std::to_string(number);
  auto p = XQS_CUPTI_PARAMS(RangeProfiler_PushRange);
  p.pRangeName = name.c_str();
  run(m_cupti.cuptiRangeProfilerPushRange, p);
  m_inRange = true;
}

void RangeProfiler::endRange() {
  if (!std::exchange(m_inRange, false)) return;
  run(m_cupti.cuptiRangeProfilerPopRange, XQS_CUPTI_PARAMS(RangeProfiler_PopRange));
}

bool RangeProfiler::endPass() {
  m_inPass = false;
  return run(m_cupti.cuptiRangeProfilerStop, XQS_CUPTI_PARAMS(RangeProfiler_Stop)).isAllPassSubmitted != 0;
}

std::size_t RangeProfiler::rangesInImage() const {
  auto p = XQS_CUPTI_PARAMS(RangeProfiler_GetCounterDataInfo);
  p.pCounterDataImage = m_image.data();
  p.counterDataImageSize = m_image.size();
  m_cupti.call(m_cupti.cuptiRangeProfilerGetCounterDataInfo, &p);
  return p.numTotalRanges;
}

/// Which range of the pass lies at `index` of the image: kernels are numbered by CUPTI as ours are by us.
std::size_t RangeProfiler::ordinal(std::size_t index) const {
  auto p = XQS_CUPTI_PARAMS(RangeProfiler_CounterData_GetRangeInfo);
  p.pCounterDataImage = m_image.data();
  p.counterDataImageSize = m_image.size();
  p.rangeIndex = index;
  p.rangeDelimiter = "/";
  m_cupti.call(m_cupti.cuptiRangeProfilerCounterDataGetRangeInfo, &p);
  char *end = nullptr;
  const unsigned long long number = std::strtoull(p.rangeName, &end, 10);
  if (end == p.rangeName || *end != '\0' || number >= kMaxRanges) throw Failure(strangeRange(p.rangeName));
  return number;
}

RangeCounter::Result RangeProfiler::result() {
  if (m_launchError) std::rethrow_exception(m_launchError);
  Result result;
  const std::size_t missing =
      run(m_cupti.cuptiRangeProfilerDecodeData, XQS_CUPTI_PARAMS(RangeProfiler_DecodeData)).numOfRangeDropped;
  const std::size_t beyond = m_begun > kMaxRanges ? m_begun - kMaxRanges : 0; // were never begun
  result.dropped = static_cast<std::int64_t>(missing + beyond);
  result.ranges.resize(m_begun);
  for (std::size_t i = 0, n = rangesInImage(); i < n; ++i) {
    const std::size_t range = ordinal(i);
    if (range >= result.ranges.size()) result.ranges.resize(range + 1);
    result.ranges[range] = m_host.evaluate(m_set, m_image, i);
  }
  return result;
}

} // namespace xqs::cuda::cupti

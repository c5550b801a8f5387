// SPDX-License-Identifier: Apache-2.0
#include "hooks.h"

namespace xqs::cuda::cupti {
namespace {

void requireSupport(const Library &cupti, int device, CUpti_Profiler_API api) {
  auto p = XQS_CUPTI_PARAMS(Profiler_DeviceSupported);
  p.cuDevice = device;
  p.api = api;
  cupti.call(cupti.cuptiProfilerDeviceSupported, &p);
  static_assert(DeviceSupport::kUnsupported == CUPTI_PROFILER_CONFIGURATION_UNSUPPORTED &&
                DeviceSupport::kDisabled == CUPTI_PROFILER_CONFIGURATION_DISABLED);
  if (const auto finding = findingOf({p.isSupported, p.architecture, p.sli, p.vGpu, p.confidentialCompute, p.cmp, p.wsl}))
    throw Failure(*finding);
}

std::string chipName(const Library &cupti, int device) {
  auto p = XQS_CUPTI_PARAMS(Device_GetChipName);
  p.deviceIndex = static_cast<std::size_t>(device);
  cupti.call(cupti.cuptiDeviceGetChipName, &p);
  return p.pChipName;
}

/// Asked twice, first for the size.
template <typename F, typename P> std::vector<std::uint8_t> availability(const Library &cupti, const Function<F> &get, P p) {
  cupti.call(get, &p);
  std::vector<std::uint8_t> image(p.counterAvailabilityImageSize);
  p.pCounterAvailabilityImage = image.data();
  cupti.call(get, &p);
  return image;
}

} // namespace

Hooks::Hooks(const Library &cupti) : m_cupti(cupti) {
  auto p = XQS_CUPTI_PARAMS(Profiler_Initialize);
  cupti.call(cupti.cuptiProfilerInitialize, &p);
}

Hooks::~Hooks() {
  auto p = XQS_CUPTI_PARAMS(Profiler_DeInitialize);
  (void)m_cupti.cuptiProfilerDeInitialize.pointer(&p); // there is nothing that could be done
}

Chip chipForRanges(const Hooks &hooks, void *context, int device) {
  const Library &cupti = hooks.cupti();
  requireSupport(cupti, device, CUPTI_PROFILER_RANGE_PROFILING);
  auto p = XQS_CUPTI_PARAMS(Profiler_GetCounterAvailability);
  p.ctx = static_cast<CUcontext>(context);
  return {chipName(cupti, device), availability(cupti, cupti.cuptiProfilerGetCounterAvailability, p)};
}

Chip chipForSampling(const Hooks &hooks, int device) {
  const Library &cupti = hooks.cupti();
  requireSupport(cupti, device, CUPTI_PROFILER_PM_SAMPLING);
  auto p = XQS_CUPTI_PARAMS(PmSampling_GetCounterAvailability);
  p.deviceIndex = static_cast<std::size_t>(device);
  return {chipName(cupti, device), availability(cupti, cupti.cuptiPmSamplingGetCounterAvailability, p)};
}

} // namespace xqs::cuda::cupti

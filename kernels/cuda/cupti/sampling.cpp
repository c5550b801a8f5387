// SPDX-License-Identifier: Apache-2.0
#include "sampling.h"

#include <chrono>

namespace xqs::cuda::cupti {
namespace {

constexpr std::size_t kHardwareBuffer = std::size_t{128} << 20; ///< bytes
constexpr std::chrono::milliseconds kDecodePeriod{10};
constexpr int kTurnsAClock = 100;    ///< of decoding
constexpr double kCyclesPerNs = 1.5; ///< of the system clock, about; samples say themselves how long they are

} // namespace

void SampleClock::start() {
  adjust();
  m_startNs = steadyNs();
}

void SampleClock::adjust() { m_cupti.check(readClocks(m_cupti, m_pairs), m_cupti.cuptiGetTimestamp.name); }

std::int64_t SampleClock::toSteady(std::uint64_t sampleNs) {
  constexpr std::int64_t kSlackNs = 10'000'000;
  const auto ns = static_cast<std::int64_t>(sampleNs);
  if (!m_ownDifference) {
    const std::int64_t first = m_pairs(ns);
    const bool cuptis = first >= m_startNs - kSlackNs && first <= steadyNs() + kSlackNs;
    m_ownDifference = cuptis ? 0 : m_startNs - ns;
  }
  return *m_ownDifference == 0 ? m_pairs(ns) : ns + *m_ownDifference;
}

void PmSampler::Disable::operator()(CUpti_PmSampling_Object *object) const noexcept {
  auto p = XQS_CUPTI_PARAMS(PmSampling_Disable);
  p.pPmSamplingObject = object;
  (void)cupti->cuptiPmSamplingDisable.pointer(&p);
}

/// Calls a function of the sampling object.
template <typename P, typename F> P PmSampler::run(const Function<F> &function, P params) const {
  params.pPmSamplingObject = m_object.get();
  m_cupti.call(function, &params);
  return params;
}

PmSampler::PmSampler(std::unique_ptr<Hooks> hooks, int device, const Chip &chip, MetricSet set, std::int64_t intervalNs)
    : m_hooks(std::move(hooks)), m_cupti(m_hooks->cupti()), m_host(m_cupti, CUPTI_PROFILER_TYPE_PM_SAMPLING, chip),
      m_set(std::move(set)), m_object(nullptr, Disable{&m_cupti}), m_clock(m_cupti) {
  enable(device);
  makeImage();
  const bool cycles = sampledByCycles(chip.name);
  const double interval = static_cast<double>(intervalNs) * (cycles ? kCyclesPerNs : 1);
  configure(static_cast<std::uint64_t>(interval), cycles);
  m_clock.start();
  run(m_cupti.cuptiPmSamplingStart, XQS_CUPTI_PARAMS(PmSampling_Start));
  m_running = true;
  m_thread = std::thread([this] { decodeUntilStopped(); });
}

PmSampler::~PmSampler() { (void)halt(); }

void PmSampler::stop() { m_cupti.check(halt(), m_cupti.cuptiPmSamplingStop.name); }

CUptiResult PmSampler::halt() {
  if (!m_thread.joinable()) return CUPTI_SUCCESS;
  auto p = XQS_CUPTI_PARAMS(PmSampling_Stop);
  p.pPmSamplingObject = m_object.get();
  const CUptiResult result = m_cupti.cuptiPmSamplingStop.pointer(&p);
  m_running = false;
  m_thread.join();
  return result;
}

void PmSampler::enable(int device) {
  auto p = XQS_CUPTI_PARAMS(PmSampling_Enable);
  p.deviceIndex = static_cast<std::size_t>(device);
  m_cupti.call(m_cupti.cuptiPmSamplingEnable, &p);
  m_object.reset(p.pPmSamplingObject);
}

void PmSampler::makeImage() {
  std::vector<const char *> names = m_set.pointers();
  auto size = XQS_CUPTI_PARAMS(PmSampling_GetCounterDataSize);
  size.pMetricNames = names.data();
  size.numMetrics = names.size();
  size.maxSamples = kSamplesInImage;
  m_image.resize(run(m_cupti.cuptiPmSamplingGetCounterDataSize, size).counterDataSize);
  clearImage();
}

void PmSampler::clearImage() {
  auto p = XQS_CUPTI_PARAMS(PmSampling_CounterDataImage_Initialize);
  p.counterDataSize = m_image.size();
  p.pCounterData = m_image.data();
  run(m_cupti.cuptiPmSamplingCounterDataImageInitialize, p);
}

void PmSampler::configure(std::uint64_t interval, bool cycles) {
  auto p = XQS_CUPTI_PARAMS(PmSampling_SetConfig);
  p.configSize = m_set.config.size();
  p.pConfig = m_set.config.data();
  p.hardwareBufferSize = kHardwareBuffer;
  p.samplingInterval = interval;
  p.triggerMode =
      cycles ? CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_SYSCLK_INTERVAL : CUPTI_PM_SAMPLING_TRIGGER_MODE_GPU_TIME_INTERVAL;
  p.hwBufferAppendMode = CUPTI_PM_SAMPLING_HARDWARE_BUFFER_APPEND_MODE_KEEP_OLDEST;
  run(m_cupti.cuptiPmSamplingSetConfig, p);
}

void PmSampler::decodeUntilStopped() {
  try {
    int turn = 0;
    for (bool last = false; !last;) {
      if (turn++ % kTurnsAClock == 0) m_clock.adjust();
      last = !m_running; // what the hardware had then is complete
      while (decode()) {
      }
      if (!last) std::this_thread::sleep_for(kDecodePeriod);
    }
  } catch (...) {
    const std::lock_guard lock(m_mutex);
    m_failure = std::current_exception();
  }
}

/// True where the image was too small for what the hardware has.
bool PmSampler::decode() {
  auto p = XQS_CUPTI_PARAMS(PmSampling_DecodeData);
  p.pPmSamplingObject = m_object.get();
  p.pCounterDataImage = m_image.data();
  p.counterDataImageSize = m_image.size();
  const CUptiResult result = m_cupti.cuptiPmSamplingDecodeData.pointer(&p);
  const bool overflow = p.overflow != 0 || result == CUPTI_ERROR_OUT_OF_MEMORY; // either is documented
  if (overflow) ++m_overflows;
  if (result != CUPTI_ERROR_OUT_OF_MEMORY) m_cupti.check(result, m_cupti.cuptiPmSamplingDecodeData.name);
  readImage();
  clearImage();
  return p.decodeStopReason == CUPTI_PM_SAMPLING_DECODE_STOP_REASON_COUNTER_DATA_FULL;
}

void PmSampler::readImage() {
  auto info = XQS_CUPTI_PARAMS(PmSampling_GetCounterDataInfo);
  info.pCounterDataImage = m_image.data();
  info.counterDataImageSize = m_image.size();
  m_cupti.call(m_cupti.cuptiPmSamplingGetCounterDataInfo, &info);
  for (std::size_t i = 0; i < info.numCompletedSamples; ++i) {
    auto p = XQS_CUPTI_PARAMS(PmSampling_CounterData_GetSampleInfo);
    p.pCounterDataImage = m_image.data();
    p.counterDataImageSize = m_image.size();
    p.sampleIndex = i;
    p = run(m_cupti.cuptiPmSamplingCounterDataGetSampleInfo, p);
    const CounterFigures figures = m_host.evaluate(m_set, m_image, i);
    const std::lock_guard lock(m_mutex);
    m_samples.push_back(
        {m_clock.toSteady(p.startTimestamp), m_clock.toSteady(p.endTimestamp), figures.dramRead, figures.dramWrite});
  }
}

std::vector<ThroughputSample> PmSampler::take() {
  const std::lock_guard lock(m_mutex);
  if (m_failure) std::rethrow_exception(std::exchange(m_failure, nullptr));
  return std::exchange(m_samples, {});
}

} // namespace xqs::cuda::cupti

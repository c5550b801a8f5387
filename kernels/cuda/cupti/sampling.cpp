// SPDX-License-Identifier: Apache-2.0
#include "sampling.h"

#include <chrono>
#include <condition_variable>

namespace xqs::cuda::cupti {
namespace {

constexpr std::size_t kHardwareBuffer = std::size_t{128} << 20; ///< bytes
constexpr std::chrono::milliseconds kDecodePeriod{50};
constexpr std::int64_t kShortestIntervalNs = 25'000;
constexpr int kTurnsAClock = 20;     ///< of decoding
constexpr double kCyclesPerNs = 1.5; ///< of the system clock, about; samples say themselves how long they are

/// That an image of counter data is to hold: those of two periods, as the thread may be late. Not more: each takes about
/// 16 KB (measured on an H100), which are initialized anew for every decoding. Throws Usage where that is too much.
std::uint32_t samplesInImage(std::int64_t intervalNs) {
  if (intervalNs < kShortestIntervalNs)
    throw Error(Code::Usage, "the GPU's traffic cannot be sampled every " + std::to_string(intervalNs / 1000) +
                                 " us, samples would be lost: ask for " + std::to_string(kShortestIntervalNs / 1000) +
                                 " us or more");
  constexpr std::int64_t kHeldNs = 2 * std::chrono::nanoseconds(kDecodePeriod).count();
  return static_cast<std::uint32_t>(kHeldNs / intervalNs) + 64;
}

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
  const std::uint32_t samples = samplesInImage(intervalNs);
  enable(device);
  makeImage(samples);
  const bool cycles = sampledByCycles(chip.name);
  const double interval = static_cast<double>(intervalNs) * (cycles ? kCyclesPerNs : 1);
  configure(static_cast<std::uint64_t>(interval), cycles);
  m_clock.start();
  run(m_cupti.cuptiPmSamplingStart, XQS_CUPTI_PARAMS(PmSampling_Start));
  m_thread = std::jthread([this](const std::stop_token &stopped) { guard([&] { decodeUntil(stopped); }); });
}

PmSampler::~PmSampler() { (void)halt(); }

void PmSampler::stop() {
  if (!m_thread.joinable()) return;
  const CUptiResult result = halt();
  if (!m_failure) guard([&] { decode(); });                                // what the hardware has now is complete
  if (!m_failure) m_cupti.check(result, m_cupti.cuptiPmSamplingStop.name); // else that is why, which `take` tells
}

CUptiResult PmSampler::halt() {
  if (!m_thread.joinable()) return CUPTI_SUCCESS;
  m_thread.request_stop();
  m_thread.join();
  auto p = XQS_CUPTI_PARAMS(PmSampling_Stop);
  p.pPmSamplingObject = m_object.get();
  return m_cupti.cuptiPmSamplingStop.pointer(&p);
}

void PmSampler::enable(int device) {
  auto p = XQS_CUPTI_PARAMS(PmSampling_Enable);
  p.deviceIndex = static_cast<std::size_t>(device);
  m_cupti.call(m_cupti.cuptiPmSamplingEnable, &p);
  m_object.reset(p.pPmSamplingObject);
}

void PmSampler::makeImage(std::uint32_t samples) {
  std::vector<const char *> names = m_set.pointers();
  auto size = XQS_CUPTI_PARAMS(PmSampling_GetCounterDataSize);
  size.pMetricNames = names.data();
  size.numMetrics = names.size();
  size.maxSamples = samples;
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

/// What goes wrong in `work` is told by `take`.
template <typename Work> void PmSampler::guard(const Work &work) noexcept {
  try {
    work();
  } catch (...) {
    const std::lock_guard lock(m_mutex);
    m_failure = std::current_exception();
  }
}

void PmSampler::decodeUntil(const std::stop_token &stopped) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any wake;
  for (int turn = 0; !stopped.stop_requested(); ++turn) {
    if (turn % kTurnsAClock == 0) m_clock.adjust();
    decode();
    (void)wake.wait_for(lock, stopped, kDecodePeriod, [&] { return stopped.stop_requested(); });
  }
}

/// Once: what an image was too small for is lost, and the next decoding catches up with the hardware.
void PmSampler::decode() {
  auto p = XQS_CUPTI_PARAMS(PmSampling_DecodeData);
  p.pPmSamplingObject = m_object.get();
  p.pCounterDataImage = m_image.data();
  p.counterDataImageSize = m_image.size();
  const CUptiResult result = m_cupti.cuptiPmSamplingDecodeData.pointer(&p);
  const bool overflow = p.overflow != 0 || result == CUPTI_ERROR_OUT_OF_MEMORY; // either is documented
  if (overflow) m_sieve.full();
  if (result == CUPTI_ERROR_OUT_OF_MEMORY) throw Failure(samplesOverflowed());
  m_cupti.check(result, m_cupti.cuptiPmSamplingDecodeData.name);
  readImage();
  clearImage();
  if (p.decodeStopReason == CUPTI_PM_SAMPLING_DECODE_STOP_REASON_COUNTER_DATA_FULL) m_sieve.full();
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
    if (!m_sieve.keep(p.startTimestamp, p.endTimestamp, figures)) continue;
    keep({m_clock.toSteady(p.startTimestamp), m_clock.toSteady(p.endTimestamp), figures.dramRead, figures.dramWrite});
  }
}

/// Nobody takes samples while a run is paused, for a night maybe: then the last one grows, and no byte is lost.
void PmSampler::keep(const ThroughputSample &sample) {
  const std::lock_guard lock(m_mutex);
  if (m_samples.size() < kMostWaiting) return m_samples.push_back(sample);
  ThroughputSample &last = m_samples.back();
  last.endNs = sample.endNs, last.dramRead += sample.dramRead, last.dramWrite += sample.dramWrite;
}

std::vector<ThroughputSample> PmSampler::take() {
  const std::lock_guard lock(m_mutex);
  if (m_samples.empty() && m_failure && !std::exchange(m_told, true)) std::rethrow_exception(m_failure);
  return std::exchange(m_samples, {});
}

} // namespace xqs::cuda::cupti

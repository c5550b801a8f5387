// SPDX-License-Identifier: Apache-2.0
#include "cuda_instruments.h"

#include "cupti/states.h"
#include "known_copy.h"
#include "tag_ranges.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace xqs::cuda {
namespace {

constexpr double kTolerance = 0.03; ///< of a self test
constexpr std::int64_t kTestIntervalNs = 100'000;
constexpr std::chrono::milliseconds kSettle{10};

/// The context of the runtime, which libcuda knows; nothing here links it.
void *currentContext() {
  void *function = nullptr, *context = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion("cuCtxGetCurrent", &function, 12000, cudaEnableDefault, &found),
        "cudaGetDriverEntryPointByVersion");
  using GetCurrent = int (*)(void **); // cuCtxGetCurrent(CUcontext *)
  if (function == nullptr || reinterpret_cast<GetCurrent>(function)(&context) != 0 || context == nullptr)
    throw Error(Code::BackendUnusable, "backend cuda: the driver has no context on this thread; start the run again");
  return context;
}

std::string driverParameters() {
  const char *const file = std::getenv("XQSCOPE_NVIDIA_PARAMS");
  return file != nullptr ? file : "/proc/driver/nvidia/params";
}

/// Writes the figures of a test into `status`, of bytes read and written those that are further off; throws where they are
/// not what was moved.
void judge(double expected, double read, double written, InstrumentStatus &status) {
  const auto error = [=](double bytes) { return std::abs(bytes - expected); };
  status.selfTestExpected = expected;
  status.selfTestRead = error(read) > error(written) ? read : written;
  const bool agrees = error(read) <= kTolerance * expected && error(written) <= kTolerance * expected; // not where NaN
  if (!agrees) throw cupti::Failure(cupti::selfTestFailed(expected, read, written));
}

std::string measuredSentence(const InstrumentStatus &status, const char *what) {
  char text[200];
  std::snprintf(text, sizeof text, "%s measured by %s (a copy of %.4g MB was read back as %.4g MB)", what,
                status.source.c_str(), status.selfTestExpected / 1e6, status.selfTestRead / 1e6);
  return text;
}

InstrumentStatus eventsInstead(const Error &why) {
  return {Instrument::Timeline,
          InstrumentState::Fallback,
          std::string("operations are timed by CUDA events, one by one: ") + why.what(),
          "CUDA events",
          {}};
}

void append(std::vector<ThroughputSample> &to, const std::vector<ThroughputSample> &more) {
  to.insert(to.end(), more.begin(), more.end());
}

/// Runs passes until all are in.
template <typename Pass> void untilCounted(const cupti::RangeCounter &counter, const Pass &pass) {
  for (int i = 0; !pass(); ++i)
    if (i > counter.passes()) throw cupti::Failure(cupti::findingOf(0, "cuptiRangeProfilerStop", "passes do not end"));
}

/// Nobody observes the backend any more at the end of the scope.
class Observation {
public:
  Observation(CudaBackend &backend, CallObserver &observer) : m_backend(backend) { backend.observe(&observer); }
  ~Observation() { m_backend.observe(nullptr); }
  Observation(const Observation &) = delete;
  Observation &operator=(const Observation &) = delete;

private:
  CudaBackend &m_backend;
};

} // namespace

CudaInstruments::~CudaInstruments() { dropRecording(); }

std::vector<InstrumentStatus> CudaInstruments::status() {
  if (!m_status.empty()) return m_status;
  const InstrumentStatus counters = tested(Instrument::Counters, &CudaInstruments::testCounters);
  const InstrumentStatus sampling = tested(Instrument::Sampling, &CudaInstruments::testSampling);
  // Last: the others are reported to silence timelines that come after them, which its test then sees.
  return m_status = {timelineStatus(), counters, sampling};
}

InstrumentStatus CudaInstruments::timelineStatus() {
  struct Drop {
    CudaInstruments &instruments;
    ~Drop() { instruments.dropRecording(); }
  } const drop{*this};
  try {
    testTimeline();
    return {Instrument::Timeline,
            InstrumentState::Ready,
            "every launch is timed by " + session().description(),
            session().description(),
            {}};
  } catch (const cupti::Failure &failure) {
    return eventsInstead(failure);
  }
}

/// The launches of three operations come back as theirs: one by itself, one in a graph, one in that graph's executable
/// updated.
void CudaInstruments::testTimeline() {
  constexpr Index kFloats = 4096;
  const Buffer values = m_cuda.allocate(kFloats * 4, Purpose::Activations);
  startRecording();
  const std::uint64_t before = m_cuda.operations();
  for (const bool gathered : {false, true, true}) {
    Gathered step(m_cuda, gathered);
    m_cuda.scale(Queue::Compute, values.f32(1, kFloats), 1.0f);
    step.submit();
  }
  std::uint64_t found = before;
  for (const KernelRecord &record : stopRecording().records)
    if (record.call == found + 1 && record.durationNs > 0 && record.bytes > 0) ++found;
  if (found != m_cuda.operations()) throw cupti::Failure(cupti::timelineTestFailed());
}

void CudaInstruments::startRecording() {
  waitForDevice();
  m_recording = session().record();
  m_cuda.observe(m_recording.get());
}

Instruments::Timeline CudaInstruments::stopRecording() {
  m_cuda.observe(nullptr);
  const std::unique_ptr<cupti::Recording> recording = std::move(m_recording);
  waitForDevice();
  return recording->finish();
}

void CudaInstruments::dropRecording() {
  if (m_recording) m_cuda.observe(nullptr);
  m_recording.reset();
}

void CudaInstruments::startTimeline() {
  XQS_ASSERT(!m_recording);
  if (m_sampler) throw Error(Code::Unsupported, "samples are being taken: stop sampling first, launches may go unseen");
  try {
    if (status()[static_cast<std::size_t>(Instrument::Timeline)].state == InstrumentState::Ready) return startRecording();
  } catch (const cupti::Failure &failure) { // another program may have come since the test
    useEvents(failure);
  }
  Instruments::startTimeline();
}

Instruments::Timeline CudaInstruments::stopTimeline() {
  if (!m_recording) return Instruments::stopTimeline();
  try {
    Timeline timeline = stopRecording();
    m_status[static_cast<std::size_t>(Instrument::Timeline)].dropped += timeline.dropped;
    return timeline;
  } catch (const cupti::Failure &failure) { // what has run is not told by anybody
    useEvents(failure);
    throw;
  }
}

void CudaInstruments::useEvents(const Error &why) {
  InstrumentStatus &status = m_status[static_cast<std::size_t>(Instrument::Timeline)];
  const std::int64_t dropped = status.dropped;
  status = eventsInstead(why), status.dropped = dropped;
}

InstrumentStatus CudaInstruments::tested(Instrument instrument, Test test) {
  InstrumentStatus status;
  status.instrument = instrument;
  try {
    status.source = session().description();
    if (const auto finding = cupti::restrictedByDriver(driverParameters(), "/proc/self/status"))
      throw cupti::Failure(*finding);
    (this->*test)(status);
    status.state = InstrumentState::Ready;
  } catch (const cupti::Failure &failure) {
    status.state = failure.state();
    status.sentence = failure.what();
  } catch (const Error &error) { // no memory for the test
    if (error.code() != Code::OutOfMemory) throw;
    status.state = InstrumentState::SelfTestFailed;
    status.sentence = std::string("counters were not tested: ") + error.what();
  }
  return status;
}

void CudaInstruments::testCounters(InstrumentStatus &status) {
  status.metrics = session().metrics(CounterSet::Traffic);
  KnownCopy copy;
  const auto counter = session().count(CounterSet::Traffic, {});
  copy.warm();
  untilCounted(*counter, [&] {
    counter->beginPass();
    counter->beginRange();
    copy.run();
    counter->endRange();
    return counter->endPass();
  });
  const CounterFigures figures = counter->result().ranges.at(0);
  judge(copy.bytes(), figures.dramRead, figures.dramWrite, status);
  status.sentence = measuredSentence(status, "memory traffic, L2 cache and time of operations are");
}

void CudaInstruments::testSampling(InstrumentStatus &status) {
  status.metrics = session().samplingMetrics();
  KnownCopy copy;
  copy.warm();
  const auto sampler = session().sample(kTestIntervalNs);
  std::this_thread::sleep_for(kSettle); // what is moved in a sample that is cut off is not seen
  copy.run();
  std::this_thread::sleep_for(kSettle);
  sampler->stop();
  double read = 0, written = 0;
  for (auto samples = sampler->take(); !samples.empty(); samples = sampler->take()) // ends in what has gone wrong
    for (const ThroughputSample &sample : samples) read += sample.dramRead, written += sample.dramWrite;
  judge(copy.bytes(), read, written, status);
  status.sentence = measuredSentence(status, "the memory traffic of the whole GPU, other programs included, is");
}

cupti::Session &CudaInstruments::session() {
  if (!m_session) m_session = cupti::openSession(currentContext(), 0);
  return *m_session;
}

void CudaInstruments::require(Instrument instrument) {
  const InstrumentStatus found = status()[static_cast<std::size_t>(instrument)];
  if (!found.usable()) throw Error(Code::Unsupported, found.sentence);
  if (m_recording) throw Error(Code::Unsupported, "a timeline is being recorded: stop it first");
  if (m_sampler) throw Error(Code::Unsupported, "samples are being taken: stop sampling first, it holds the GPU's counters");
}

void CudaInstruments::waitForDevice() {
  for (const Queue queue : {Queue::Copy, Queue::Rebuild, Queue::Compute}) m_cuda.sync(queue);
}

Instruments::Counted CudaInstruments::count(CounterSet set, RangeBy by, const std::function<void()> &work) {
  require(Instrument::Counters);
  TagRanges ranges(by);
  const auto counter = session().count(
      set, by != RangeBy::Kernel ? cupti::LaunchSink() : [&](const std::string &name) { ranges.launched(name); });
  waitForDevice();
  {
    const Observation observation(m_cuda, ranges);
    untilCounted(*counter, [&] {
      ranges.beginPass(*counter);
      work();
      waitForDevice();
      return ranges.endPass();
    });
  }
  Counted counted = ranges.counted(counter->result(), counter->passes());
  m_status[static_cast<std::size_t>(Instrument::Counters)].dropped += counted.dropped;
  return counted;
}

void CudaInstruments::startSampling(std::int64_t intervalNs) {
  require(Instrument::Sampling);
  m_sampler = session().sample(intervalNs);
}

std::vector<ThroughputSample> CudaInstruments::takeSamples() {
  if (m_sampler) append(m_samples, m_sampler->take());
  return std::exchange(m_samples, {});
}

void CudaInstruments::stopSampling() {
  if (!m_sampler) return;
  const std::unique_ptr<cupti::Sampler> sampler = std::move(m_sampler);
  sampler->stop();
  m_status[static_cast<std::size_t>(Instrument::Sampling)].dropped += sampler->losses();
  append(m_samples, sampler->take());
  append(m_samples, sampler->take()); // none, or what has ended the sampling before
}

} // namespace xqs::cuda

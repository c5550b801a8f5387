// SPDX-License-Identifier: Apache-2.0
#include "host_instruments.h"

#include <cmath>
#include <string_view>

namespace xqs {

namespace {
/// Cuts what runs into ranges.
class RangeCounter final : public HostBackend::Listener {
public:
  RangeCounter(const PerfCounters &counters, RangeBy by) : m_counters(counters), m_by(by) {}

  void begin(const Tag &tag, const char *kernel) override {
    if (m_open && sameRange(tag)) return;
    const PerfCounters::Moment moment = m_counters.now();
    close(moment);
    m_open = true;
    m_tag = tag;
    m_range = {m_by == RangeBy::Layer ? Tag{tag.layer, -1, ""} : tag, m_by == RangeBy::Kernel ? kernel : "", {}};
    m_begin = moment;
    m_beginNs = steadyNowNs();
  }
  void end() noexcept override { m_endNs = steadyNowNs(); }

  void finish() { close(m_counters.now()); }
  std::vector<RangeRecord> ranges;
  double share = 1;

private:
  bool sameRange(const Tag &tag) const {
    if (m_by == RangeBy::Kernel || tag.layer != m_tag.layer) return false;
    return m_by == RangeBy::Layer || std::string_view(tag.op) == m_tag.op;
  }
  void close(const PerfCounters::Moment &moment) {
    if (!m_open) return;
    const PerfCounters::Interval interval = m_counters.between(m_begin, moment);
    m_range.figures = interval.figures;
    m_range.figures.seconds = static_cast<double>(m_endNs - m_beginNs) * 1e-9;
    share = std::min(share, interval.share);
    ranges.push_back(std::move(m_range));
    m_open = false;
  }

  const PerfCounters &m_counters;
  RangeBy m_by;
  bool m_open = false;
  Tag m_tag;
  RangeRecord m_range;
  PerfCounters::Moment m_begin;
  std::int64_t m_beginNs = 0, m_endNs = 0;
};

/// A backend is listened to while it lives.
class Listening {
public:
  Listening(HostBackend &backend, HostBackend::Listener &listener) : m_backend(backend) { backend.setListener(&listener); }
  ~Listening() { m_backend.setListener(nullptr); }
  Listening(const Listening &) = delete;
  Listening &operator=(const Listening &) = delete;

private:
  HostBackend &m_backend;
};
} // namespace

/// Reads the memory controllers at even intervals on a thread of its own.
class HostInstruments::Sampler {
public:
  Sampler(const PerfSystem &system, const std::vector<MemoryController> &memory, std::int64_t intervalNs) {
    addMemory(m_counters, system, memory);
    m_last = m_counters.now();
    m_lastNs = steadyNowNs();
    m_thread =
        std::jthread([this, intervalNs](const std::stop_token &stop) { run(stop, std::chrono::nanoseconds(intervalNs)); });
  }
  std::vector<ThroughputSample> take() {
    const std::lock_guard lock(m_mutex);
    if (m_error) std::rethrow_exception(std::exchange(m_error, nullptr));
    return std::exchange(m_samples, {});
  }
  void stop() {
    m_thread.request_stop();
    if (m_thread.joinable()) m_thread.join();
    m_counters = {};
  }

private:
  void run(const std::stop_token &stop, std::chrono::nanoseconds interval) {
    std::unique_lock lock(m_mutex);
    try {
      for (auto next = std::chrono::steady_clock::now(); !stop.stop_requested();) {
        next = std::max(next + interval, std::chrono::steady_clock::now()); // late: what was missed is one longer sample
        m_wake.wait_until(lock, stop, next, [] { return false; });
        PerfCounters::Moment moment = m_counters.now();
        const std::int64_t nowNs = steadyNowNs();
        const CounterFigures figures = m_counters.between(m_last, moment).figures;
        keep({m_lastNs, nowNs, figures.dramRead, figures.dramWrite});
        m_last = std::move(moment), m_lastNs = nowNs;
      }
    } catch (...) {
      m_error = std::current_exception();
    }
  }

  /// Nobody takes samples while a run is paused, for a night maybe: then the last one grows, and no byte is lost.
  void keep(const ThroughputSample &sample) {
    constexpr std::size_t kMostWaiting = std::size_t{1} << 20;
    if (m_samples.size() < kMostWaiting) return m_samples.push_back(sample);
    ThroughputSample &last = m_samples.back();
    last.endNs = sample.endNs, last.dramRead += sample.dramRead, last.dramWrite += sample.dramWrite;
  }

  PerfCounters m_counters;
  PerfCounters::Moment m_last;
  std::int64_t m_lastNs = 0;
  std::mutex m_mutex; ///< of what follows
  std::condition_variable_any m_wake;
  std::vector<ThroughputSample> m_samples;
  std::exception_ptr m_error;
  std::jthread m_thread; ///< last member: joined before the rest goes
};

HostInstruments::HostInstruments(HostBackend &backend, PerfSystem system)
    : Instruments(backend), m_host(backend), m_system(std::move(system)) {}
HostInstruments::~HostInstruments() = default;

const PerfStatus &HostInstruments::perf() {
  if (!m_perf) m_perf = findPerfStatus(m_system);
  return *m_perf;
}

std::vector<InstrumentStatus> HostInstruments::status() {
  std::vector<InstrumentStatus> all = {Instruments::status().front(), perf().counters, perf().sampling};
  if (m_share < 1)
    all[static_cast<std::size_t>(Instrument::Counters)].sentence +=
        "; the processor's counters were shared with others: some ranges were counted for only " +
        std::to_string(std::lround(m_share * 100)) + " % of their time and scaled";
  return all;
}

Instruments::Counted HostInstruments::count(CounterSet set, RangeBy by, const std::function<void()> &work) {
  const PerfStatus &status = perf();
  if (!status.counters.usable()) return Instruments::count(set, by, work); // throws the sentence
  PerfCounters counters;
  if (!status.thread.empty())
    for (const int thread : m_host.threadIds()) counters.add(PerfGroup(m_system, status.thread, {thread, -1}));
  addMemory(counters, m_system, status.memory);
  RangeCounter ranges(counters, by);
  {
    const Listening listening(m_host, ranges);
    work();
  }
  ranges.finish();
  m_share = std::min(m_share, ranges.share);
  return {.ranges = std::move(ranges.ranges)};
}

void HostInstruments::startSampling(std::int64_t intervalNs) {
  const PerfStatus &status = perf();
  if (!status.sampling.usable()) return Instruments::startSampling(intervalNs); // throws the sentence
  constexpr std::int64_t kShortestNs = 1'000'000;
  m_sampler.reset();
  m_sampler = std::make_unique<Sampler>(m_system, status.memory, std::max(intervalNs, kShortestNs));
}

std::vector<ThroughputSample> HostInstruments::takeSamples() {
  return m_sampler ? m_sampler->take() : std::vector<ThroughputSample>();
}

void HostInstruments::stopSampling() {
  if (m_sampler) m_sampler->stop();
}

} // namespace xqs

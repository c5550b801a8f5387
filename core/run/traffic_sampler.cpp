// SPDX-License-Identifier: Apache-2.0
#include "run/traffic_sampler.h"

#include <exception>
#include <utility>

namespace xqs {

TrafficSampler::TrafficSampler(Instruments &instruments, const PointKey &key, std::int64_t microseconds,
                               std::optional<std::int64_t> &runsFirstNs)
    : m_instruments(instruments), m_key(key), m_runsFirstNs(runsFirstNs), m_lostBefore(lostSoFar()) {
  m_instruments.startSampling(microseconds * 1000);
  m_running = true;
}

/// Where an exception is on its way, that is the error to tell; else whoever wants samples has called `stop`.
TrafficSampler::~TrafficSampler() {
  try {
    stop();
    m_instruments.takeSamples();
  } catch (const std::exception &) {
  }
}

std::vector<ThroughputRow> TrafficSampler::take() {
  const std::vector<ThroughputSample> samples = m_instruments.takeSamples();
  if (samples.empty()) return {};
  if (!m_runsFirstNs) m_runsFirstNs = samples.front().startNs;
  return throughputRows(m_key, samples, *m_runsFirstNs);
}

void TrafficSampler::stop() {
  if (std::exchange(m_running, false)) m_instruments.stopSampling();
}

/// A backend counts over all of its runs.
std::int64_t TrafficSampler::lostSoFar() const {
  return m_instruments.status()[static_cast<std::size_t>(Instrument::Sampling)].dropped;
}

} // namespace xqs

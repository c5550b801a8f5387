// SPDX-License-Identifier: Apache-2.0
#include "perf_counters.h"

#include "stream_copy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace xqs {

PerfSystem PerfSystem::real() {
  return {.open =
              [](perf_event_attr &attributes, int thread, int cpu, int leader) {
                const long fd = syscall(SYS_perf_event_open, &attributes, thread, cpu, leader, PERF_FLAG_FD_CLOEXEC);
                return fd < 0 ? -errno : static_cast<int>(fd);
              },
          .read =
              [](int descriptor, std::uint64_t *values, std::size_t n) {
                const ssize_t bytes = ::read(descriptor, values, n * sizeof *values);
                return static_cast<std::int64_t>(bytes < 0 ? -errno : bytes);
              },
          .close = [](int descriptor) { ::close(descriptor); },
          .prepareCopy = prepareStreamCopy};
}

namespace {
/// Kernel code is left out where a thread counts, because most machines let a person count only their own code; controllers
/// know no such distinction and refuse it.
perf_event_attr attributesOf(const PerfEvent &event, PerfPlace place) {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = event.type;
  attributes.config = event.config[0];
  attributes.config1 = event.config[1];
  attributes.config2 = event.config[2];
  attributes.read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  attributes.exclude_kernel = attributes.exclude_hv = place.thread >= 0 ? 1 : 0;
  return attributes;
}

int openEvent(const PerfSystem &system, const PerfEvent &event, PerfPlace place, int leader) {
  perf_event_attr attributes = attributesOf(event, place);
  return system.open(attributes, place.thread, place.cpu, leader);
}
} // namespace

int whyNotCounted(const PerfSystem &system, const PerfEvent &event, PerfPlace place) {
  const int descriptor = openEvent(system, event, place, -1);
  if (descriptor < 0) return -descriptor;
  system.close(descriptor);
  return 0;
}

PerfGroup::PerfGroup(const PerfSystem &system, std::vector<PerfEvent> events, PerfPlace place)
    : m_system(&system), m_events(std::move(events)) {
  for (const PerfEvent &event : m_events) {
    const int descriptor = openEvent(system, event, place, m_descriptors.empty() ? -1 : m_descriptors.front());
    if (descriptor < 0) {
      closeAll();
      throw Error(Code::Unsupported, "counter " + event.name + " cannot be opened any more: " + std::strerror(-descriptor) +
                                         "; go on without counters");
    }
    m_descriptors.push_back(descriptor);
  }
}

PerfGroup::~PerfGroup() { closeAll(); }

void PerfGroup::closeAll() noexcept {
  for (const int descriptor : m_descriptors) m_system->close(descriptor);
  m_descriptors.clear();
}

PerfGroup::Reading PerfGroup::read() const {
  constexpr std::size_t kHead = 3; // number of events, time enabled, time running
  std::vector<std::uint64_t> values(kHead + m_events.size());
  const std::int64_t bytes = m_system->read(m_descriptors.front(), values.data(), values.size());
  if (bytes != static_cast<std::int64_t>(values.size() * sizeof values[0]))
    throw Error(Code::Unsupported, "counter " + m_events.front().name + " cannot be read: " +
                                       (bytes < 0 ? std::strerror(static_cast<int>(-bytes)) : "it gives too little") +
                                       "; go on without counters");
  return {values[1], values[2], {values.begin() + kHead, values.end()}};
}

PerfCounters::Moment PerfCounters::now() const {
  Moment moment;
  for (const PerfGroup &group : m_groups) moment.push_back(group.read());
  return moment;
}

PerfCounters::Interval PerfCounters::between(const Moment &begin, const Moment &end) const {
  Interval interval;
  for (const PerfGroup &group : m_groups)
    for (const PerfEvent &event : group.events()) interval.figures.*event.figure = 0;
  for (std::size_t g = 0; g < m_groups.size(); ++g) {
    const auto enabled = static_cast<double>(end[g].enabledNs - begin[g].enabledNs);
    const auto running = static_cast<double>(end[g].runningNs - begin[g].runningNs);
    if (enabled > 0) interval.share = std::min(interval.share, running / enabled);
    const double stretch = running > 0 ? enabled / running : enabled > 0 ? kNotMeasured : 1; // a sleeping thread counts 0
    const std::vector<PerfEvent> &events = m_groups[g].events();
    for (std::size_t e = 0; e < events.size(); ++e)
      interval.figures.*events[e].figure +=
          static_cast<double>(end[g].counts[e] - begin[g].counts[e]) * stretch * events[e].scale;
  }
  return interval;
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "instruments.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

struct perf_event_attr;

/// Hardware counters of the processor and its memory controllers through Linux's perf_event_open(2).
namespace xqs {

/// What counting asks of the system; tests answer in its place.
struct PerfSystem {
  std::function<int(perf_event_attr &, int thread, int cpu, int leader)> open;            ///< a descriptor, or -errno
  std::function<std::int64_t(int descriptor, std::uint64_t *values, std::size_t n)> read; ///< bytes, or -errno
  std::function<void(int descriptor)> close;
  /// Makes memory ready, then each call of the result copies `bytes` from memory to memory past the caches.
  std::function<std::function<void()>(std::int64_t bytes)> prepareCopy;
  std::filesystem::path devices = "/sys/bus/event_source/devices";
  std::filesystem::path paranoid = "/proc/sys/kernel/perf_event_paranoid";

  static PerfSystem real();
};

struct PerfEvent {
  std::string name; ///< "cycles", "cas_count_read"
  std::uint32_t type = 0;
  std::array<std::uint64_t, 3> config{};
  double CounterFigures::*figure = nullptr; ///< what it adds to
  double scale = 1;                         ///< of one count, in the figure's unit
};

/// One thread's user code on any CPU; or, with thread = -1, what belongs to a CPU's package, whoever caused it.
struct PerfPlace {
  int thread = -1, cpu = -1;
};

/// 0 where the event can be counted there, else errno.
int whyNotCounted(const PerfSystem &system, const PerfEvent &event, PerfPlace place);

/// Events that count together at one place for as long as it lives.
class PerfGroup {
public:
  PerfGroup(const PerfSystem &system, std::vector<PerfEvent> events, PerfPlace place); ///< throws Unsupported
  ~PerfGroup();
  PerfGroup(PerfGroup &&o) noexcept
      : m_system(o.m_system), m_events(std::move(o.m_events)), m_descriptors(std::move(o.m_descriptors)) {
    o.m_descriptors.clear();
  }
  PerfGroup &operator=(PerfGroup &&) = delete;

  /// Nanoseconds for which the group was asked for and did count: less where it shares the hardware with others.
  struct Reading {
    std::uint64_t enabledNs = 0, runningNs = 0;
    std::vector<std::uint64_t> counts; ///< one an event
  };
  Reading read() const;
  const std::vector<PerfEvent> &events() const { return m_events; }

private:
  void closeAll() noexcept;

  const PerfSystem *m_system;
  std::vector<PerfEvent> m_events;
  std::vector<int> m_descriptors; ///< the first leads
};

/// Groups that are read together, and what they say of the time between two readings.
class PerfCounters {
public:
  void add(PerfGroup group) { m_groups.push_back(std::move(group)); }

  using Moment = std::vector<PerfGroup::Reading>;
  Moment now() const;

  struct Interval {
    CounterFigures figures; ///< sums over groups; kNotMeasured where an event of the sum did not run
    double share = 1;       ///< of the time for which the least served group counted: its counts are scaled by 1 / share
  };
  Interval between(const Moment &begin, const Moment &end) const;

private:
  std::vector<PerfGroup> m_groups;
};

} // namespace xqs

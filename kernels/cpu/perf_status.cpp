// SPDX-License-Identifier: Apache-2.0
#include "perf_status.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <linux/perf_event.h>
#include <optional>
#include <unistd.h>

namespace xqs {

namespace {
constexpr std::int64_t kCopyBytes = 128 << 20;
constexpr int kCopies = 3;
constexpr double kTolerance = 0.03;

/// Largest perf_event_paranoid that lets a user without CAP_PERFMON count: their own threads, a whole machine.
constexpr int kOwnThreads = 2, kWholeMachine = 0;

const std::vector<PerfEvent> &threadEvents() {
  static const std::vector<PerfEvent> kEvents = {
      {"cycles", PERF_TYPE_HARDWARE, {PERF_COUNT_HW_CPU_CYCLES}, &CounterFigures::cycles},
      {"cache-references", PERF_TYPE_HARDWARE, {PERF_COUNT_HW_CACHE_REFERENCES}, &CounterFigures::cacheAccesses},
      {"cache-misses", PERF_TYPE_HARDWARE, {PERF_COUNT_HW_CACHE_MISSES}, &CounterFigures::cacheMisses}};
  return kEvents;
}

/// Why something is not counted.
struct Refusal {
  InstrumentState state = InstrumentState::Ready; ///< Ready: it is counted
  std::string why = {};
  explicit operator bool() const { return state != InstrumentState::Ready; }
};

std::optional<int> paranoidOf(const PerfSystem &system) {
  int value = 0;
  if (std::ifstream(system.paranoid) >> value) return value;
  return std::nullopt;
}

Refusal sandboxed() {
  return {InstrumentState::NoPermission,
          "the sandbox or container that this program runs in forbids perf_event_open; give it "
          "CAP_PERFMON and a seccomp profile that lets perf_event_open pass"};
}

Refusal notPermitted(const PerfSystem &system, int allowed) {
  const std::optional<int> paranoid = paranoidOf(system);
  if (!paranoid || *paranoid <= allowed) return sandboxed();
  const char *const cure =
      allowed == kOwnThreads ? "'sysctl kernel.perf_event_paranoid=2' or lower allows counting one's own programs, 0 or "
                               "lower the memory controllers too; so does the capability CAP_PERFMON"
                             : "they count the whole machine, which 'sysctl kernel.perf_event_paranoid=0' or lower allows, "
                               "or the capability CAP_PERFMON";
  return {InstrumentState::NoPermission,
          "the kernel does not permit it, " + system.paranoid.string() + " is " + std::to_string(*paranoid) + "; " + cure};
}

Refusal refusalOf(const PerfSystem &system, int error, int allowed) {
  switch (error) {
  case EACCES:
  case EPERM: return notPermitted(system, allowed);
  case ENOSYS:
    if (paranoidOf(system)) return sandboxed(); // the kernel has perf events, and something hides them
    return {InstrumentState::NotOnThisDevice, "this kernel was built without perf events"};
  case ENOENT:
  case ENODEV:
  case ENXIO:
  case EOPNOTSUPP:
    return {InstrumentState::NotOnThisDevice, "the processor shows no such counters: a virtual machine without a PMU, or a "
                                              "processor that Linux cannot count on"};
  case EBUSY: return {InstrumentState::InUse, "another profiler holds them; end it and try again"};
  default:
    return {InstrumentState::Broken, "perf_event_open answers " + std::to_string(error) + " (" + std::strerror(error) + ")"};
  }
}

std::string joined(const std::vector<std::string> &names, const char *separator) {
  std::string all;
  for (const std::string &name : names) all += (all.empty() ? "" : separator) + name;
  return all;
}

/// A copy whose bytes are known, and what was counted of it.
struct SelfTest {
  double expected = static_cast<double>(kCopyBytes); ///< read, and as many written
  double read = kNotMeasured, written = kNotMeasured;
  double error() const { return std::max(std::fabs(read - expected), std::fabs(written - expected)) / expected; }
  bool passed() const { return error() <= kTolerance; }
  std::string text() const {
    const auto bytes = [](double value) {
      return std::isnan(value) ? "an unknown number of" : std::to_string(std::llround(value));
    };
    return "a copy of " + bytes(expected) + " bytes read back as " + bytes(read) + " read and " + bytes(written) +
           " written";
  }
};

SelfTest testMemory(const PerfSystem &system, const std::vector<MemoryController> &memory) {
  SelfTest best;
  PerfCounters counters;
  addMemory(counters, system, memory);
  for (int i = 0; i < kCopies && !best.passed(); ++i) {
    const std::function<void()> copy = system.prepareCopy(kCopyBytes);
    const PerfCounters::Moment before = counters.now();
    copy();
    const CounterFigures figures = counters.between(before, counters.now()).figures;
    SelfTest test;
    test.read = figures.dramRead, test.written = figures.dramWrite;
    if (!(best.error() <= test.error())) best = test;
  }
  return best;
}

/// Finds and tests the memory controllers; on a refusal there are none.
Refusal findMemory(const PerfSystem &system, PerfStatus &status, std::optional<SelfTest> &test) {
  std::vector<MemoryController> memory = findMemoryControllers(system.devices);
  if (memory.empty())
    return {InstrumentState::NotOnThisDevice,
            "the kernel shows no memory controller (virtual machines have none, some processors no counters of it)"};
  for (const PerfEvent &event : memory.front().events)
    if (const int error = whyNotCounted(system, event, {-1, memory.front().cpus.front()}))
      return refusalOf(system, error, kWholeMachine);
  try {
    test = testMemory(system, memory);
  } catch (const Error &e) {
    return {InstrumentState::Broken, e.what()};
  }
  if (!test->passed())
    return {InstrumentState::SelfTestFailed,
            test->text() +
                ", more than 3 % away: other programs move data, or the units are not known; close them and try again"};
  status.memory = std::move(memory);
  return {};
}

Refusal findThreadEvents(const PerfSystem &system, PerfStatus &status, std::vector<std::string> &missing) {
  Refusal first;
  for (const PerfEvent &event : threadEvents()) {
    const int error = whyNotCounted(system, event, {static_cast<int>(gettid()), -1});
    if (error == 0)
      status.thread.push_back(event);
    else
      missing.push_back(event.name);
    if (error != 0 && !first) first = refusalOf(system, error, kOwnThreads);
  }
  return first;
}

std::vector<std::string> namesOf(const std::vector<PerfEvent> &events) {
  std::vector<std::string> names;
  for (const PerfEvent &event : events) names.push_back(event.name);
  return names;
}

std::string threadSentence(const PerfStatus &status, const Refusal &refusal, const std::vector<std::string> &missing) {
  const std::string why = missing.empty() ? "" : "no " + joined(missing, ", ") + ": " + refusal.why;
  if (status.thread.empty()) return why;
  return "counted in user code of the threads that compute: " + joined(namesOf(status.thread), ", ") +
         " (cache: the last level on Intel, L2 on AMD Zen)" + (why.empty() ? "" : "; " + why);
}

std::string memorySentence(const PerfStatus &status, const Refusal &refusal, const std::optional<SelfTest> &test) {
  if (refusal) return "bytes are counted from shapes, not measured at the memory controllers: " + refusal.why;
  return "bytes at " + std::to_string(status.memory.size()) + " memory controllers (" + status.memory.front().name +
         " ...), other programs' included; " + test->text();
}
} // namespace

void addMemory(PerfCounters &counters, const PerfSystem &system, const std::vector<MemoryController> &memory) {
  for (const MemoryController &controller : memory)
    for (const int cpu : controller.cpus) counters.add(PerfGroup(system, controller.events, {-1, cpu}));
}

PerfStatus findPerfStatus(const PerfSystem &system) {
  PerfStatus status;
  std::vector<std::string> missing;
  std::optional<SelfTest> test;
  const Refusal thread = findThreadEvents(system, status, missing), memory = findMemory(system, status, test);
  const std::string memoryText = memorySentence(status, memory, test);
  const bool any = !status.thread.empty() || !status.memory.empty();
  std::vector<std::string> metrics = namesOf(status.thread), bytes;
  if (!status.memory.empty()) bytes = namesOf(status.memory.front().events);
  metrics.insert(metrics.end(), bytes.begin(), bytes.end());
  status.counters = {Instrument::Counters, any ? InstrumentState::Ready : thread.state,
                     threadSentence(status, thread, missing) + "; " + memoryText, any ? "perf" : "", joined(metrics, " ")};
  status.sampling = {Instrument::Sampling, memory.state, memoryText, memory ? "" : "perf", joined(bytes, " ")};
  if (test)
    for (InstrumentStatus *const s : {&status.counters, &status.sampling})
      s->selfTestExpected = 2 * test->expected, s->selfTestRead = test->read + test->written;
  return status;
}

} // namespace xqs

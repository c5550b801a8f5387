// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "perf_counters.h"

#include <cerrno>
#include <fstream>
#include <linux/perf_event.h>
#include <map>
#include <mutex>
#include <unistd.h>

namespace xqs::test {

/// A kernel that answers as a test says: groups of events with descriptors, files of sysfs in a folder of its own.
class FakePerf {
public:
  struct Opened {
    perf_event_attr attributes;
    int thread, cpu, leader; ///< leader: -1 leads
  };
  std::function<int(const Opened &)> refuse = [](const Opened &) { return 0; };                         ///< errno, or 0
  std::function<std::uint64_t(const Opened &)> value = [](const Opened &) { return std::uint64_t{0}; }; ///< of a counter now
  std::function<std::uint64_t()> enabledNs = [] { return 1000; }, runningNs = [] { return 1000; };
  std::function<void(std::int64_t)> copied = [](std::int64_t) {}; ///< the self test moved so many bytes

  FakePerf() : m_folder(std::filesystem::temp_directory_path() / ("xqs-perf-" + std::to_string(getpid()))) {
    std::filesystem::remove_all(m_folder);
    file("perf_event_paranoid", "2");
    std::filesystem::create_directories(m_folder / "devices");
  }
  ~FakePerf() { std::filesystem::remove_all(m_folder); }
  FakePerf(const FakePerf &) = delete;
  FakePerf &operator=(const FakePerf &) = delete;

  void file(const std::string &name, const std::string &text) {
    std::filesystem::create_directories((m_folder / name).parent_path());
    std::ofstream(m_folder / name) << text << '\n';
  }
  std::filesystem::path path(const std::string &name) const { return m_folder / name; }
  void remove(const std::string &name) { std::filesystem::remove_all(m_folder / name); }

  /// A controller as Intel's servers show it: counts of 64 bytes.
  void intelController(const std::string &name, int type, const std::string &cpus) {
    const std::string device = "devices/" + name + "/";
    file(device + "type", std::to_string(type));
    file(device + "cpumask", cpus);
    file(device + "format/event", "config:0-7");
    file(device + "format/umask", "config:8-15");
    for (const auto &[event, terms] :
         {std::pair{"cas_count_read", "event=0x04,umask=0x03"}, std::pair{"cas_count_write", "event=0x04,umask=0x0c"}}) {
      file(device + "events/" + event, terms);
      file(device + "events/" + event + ".scale", "6.103515625e-5");
      file(device + "events/" + event + ".unit", "MiB");
    }
  }

  PerfSystem system() {
    return {.open =
                [this](perf_event_attr &a, int thread, int cpu, int leader) {
                  return open({a, thread, cpu, leader});
                },
            .read = [this](int d, std::uint64_t *values, std::size_t n) { return read(d, values, n); },
            .close = [this](int d) { close(d); },
            .prepareCopy = [this](std::int64_t bytes) { return [this, bytes] { copied(bytes); }; },
            .devices = m_folder / "devices",
            .paranoid = m_folder / "perf_event_paranoid"};
  }
  std::size_t open() const { return m_open.size(); } ///< descriptors now
  std::vector<Opened> everOpened;

private:
  int open(const Opened &event) {
    const std::lock_guard lock(m_mutex);
    if (const int error = refuse(event)) return -error;
    m_open[++m_last] = event;
    everOpened.push_back(event);
    return m_last;
  }
  std::int64_t read(int descriptor, std::uint64_t *values, std::size_t n) {
    const std::lock_guard lock(m_mutex);
    std::vector<std::uint64_t> all = {0, enabledNs(), runningNs()};
    for (const auto &[d, event] : m_open)
      if (d == descriptor || event.leader == descriptor) all.push_back(value(event)), ++all[0];
    if (all.size() > n) return -ENOSPC;
    std::copy(all.begin(), all.end(), values);
    return static_cast<std::int64_t>(all.size() * sizeof all[0]);
  }
  void close(int descriptor) {
    const std::lock_guard lock(m_mutex);
    m_open.erase(descriptor);
  }

  std::filesystem::path m_folder;
  std::mutex m_mutex;
  std::map<int, Opened> m_open;
  int m_last = 2;
};

} // namespace xqs::test

// SPDX-License-Identifier: Apache-2.0
#include "run/machine.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <thread>

namespace xqs {

namespace {

/// The text that a loaded library's version function gives, empty where it is not loaded. Looked up by name because this
/// library links neither BLAS nor the store's engine directly.
std::string loadedVersion(const char *function) {
  using Version = const char *();
  auto *const version = reinterpret_cast<Version *>(dlsym(RTLD_DEFAULT, function));
  return version != nullptr ? version() : "";
}

std::string processorName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

} // namespace

std::string utcNow() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const std::time_t seconds = milliseconds / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, milliseconds % 1000);
}

std::string newUuid() {
  std::random_device random;
  std::uint32_t w[4];
  std::generate(std::begin(w), std::end(w), std::ref(random));
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}", w[0], w[1] >> 16, w[1] & 0xfffu, 0x8000u | (w[2] >> 18),
                     w[2] & 0xffffu, w[3]);
}

int coreCount() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::int64_t availableMemory() {
  std::ifstream info("/proc/meminfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("MemAvailable:")) return 1024 * std::strtoll(line.c_str() + line.find(':') + 1, nullptr, 10);
  return -1;
}

std::string machineName() {
  utsname system{};
  uname(&system);
  const double gib = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE)) / (1 << 30);
  return fmt::format("{}, {} cores, {:.0f} GiB, {} {} {}", processorName(), coreCount(), gib, system.sysname, system.release,
                     system.machine);
}

std::string libraryVersions() {
  std::string versions =
      fmt::format("nlohmann_json {}.{}.{}, fmt {}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                  NLOHMANN_JSON_VERSION_PATCH, FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
  if (const std::string blas = loadedVersion("openblas_get_config"); !blas.empty()) versions += ", " + blas;
  if (const std::string sqlite = loadedVersion("sqlite3_libversion"); !sqlite.empty()) versions += ", SQLite " + sqlite;
#ifdef __VERSION__
  versions += ", compiler " __VERSION__;
#endif
  return versions;
}

} // namespace xqs

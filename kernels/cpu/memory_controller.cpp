// SPDX-License-Identifier: Apache-2.0
#include "memory_controller.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

namespace xqs {

namespace {
namespace fs = std::filesystem;

/// How a family of controllers says what it counts. Where a machine fits several, the first is used: the same bytes pass
/// the free-running counters of newer Intel processors too.
struct Family {
  std::string_view device;      ///< start of its name
  std::string_view read, write; ///< start of its events' names: cas_count_read, cas_count_read_sch0; data_read, data_reads
  /// Where sysfs lists no events: what they are, and bytes a count; empty: what sysfs says.
  std::string_view readTerms = {}, writeTerms = {};
  double bytes = 0;
};
// AMD: events umc_cas_cmd.rd and .wr, Processor Programming Reference of family 19h model 11h, "UMC Performance Monitors".
constexpr Family kFamilies[] = {
    {"uncore_imc", "cas_count_read", "cas_count_write"},
    {"uncore_imc", "data_read", "data_write"},
    {"amd_umc", "umc_cas_cmd.rd", "umc_cas_cmd.wr", "event=0x0a,rdwrmask=0x1", "event=0x0a,rdwrmask=0x2", 64},
};

/// The first line of a file of sysfs; empty where there is none.
std::string firstLine(const fs::path &file) {
  std::string line;
  std::ifstream in(file);
  std::getline(in, line);
  return line;
}

std::vector<std::string> split(const std::string &text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

/// Decimal, or hexadecimal behind 0x.
std::optional<std::uint64_t> number(std::string_view text) {
  const int base = text.starts_with("0x") ? 16 : 10;
  if (base == 16) text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "0,28" or "0-1": the numbers of a list.
std::vector<int> listed(const std::string &text) {
  std::vector<int> all;
  for (const std::string &range : split(text, ',')) {
    const std::size_t dash = range.find('-');
    const auto first = number(range.substr(0, dash));
    const auto last = dash == std::string::npos ? first : number(range.substr(dash + 1));
    if (first && last)
      for (std::uint64_t i = *first; i <= *last && *last < 65536; ++i) all.push_back(static_cast<int>(i));
  }
  return all;
}

/// Puts a value, from its lowest bit on, where a format such as "config:0-7,32-35" or "config1:3" says.
bool place(PerfEvent &event, const std::string &format, std::uint64_t value) {
  const std::size_t colon = format.find(':');
  if (!format.starts_with("config") || colon == std::string::npos) return false;
  const auto word = colon == 6 ? 0 : number(format.substr(6, colon - 6));
  if (!word || *word >= event.config.size()) return false;
  for (const int bit : listed(format.substr(colon + 1))) {
    if (bit >= 64) return false;
    event.config[*word] |= (value & 1) << bit;
    value >>= 1;
  }
  return value == 0;
}

/// "event=0x04,umask=0x03" in the formats of a device.
bool encode(PerfEvent &event, const fs::path &device, const std::string &terms) {
  if (terms.empty()) return false;
  for (const std::string &term : split(terms, ',')) {
    const std::size_t equals = term.find('=');
    const auto value = equals == std::string::npos ? 1 : number(term.substr(equals + 1));
    if (!value || !place(event, firstLine(device / "format" / term.substr(0, equals)), *value)) return false;
  }
  return true;
}

/// Bytes of one count of a listed event; 0 where sysfs does not say.
double bytesOfCount(const fs::path &event) {
  double scale = 0;
  std::istringstream(firstLine(event.string() + ".scale")) >> scale;
  const std::string unit = firstLine(event.string() + ".unit");
  return unit == "MiB" ? scale * 1048576 : unit == "KiB" ? scale * 1024 : unit == "Bytes" || unit == "B" ? scale : 0;
}

/// Names of a device's events that start so, in order; without their scales and units.
std::vector<std::string> eventsNamed(const fs::path &device, std::string_view start) {
  std::vector<std::string> names;
  std::error_code none;
  for (const fs::directory_entry &file : fs::directory_iterator(device / "events", none)) {
    const std::string name = file.path().filename();
    if (name.starts_with(start) && name.find('.') == std::string::npos) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Adds one direction; false where the device does not count all of it.
bool addDirection(MemoryController &controller, const fs::path &device, std::uint32_t type, std::string_view name,
                  std::string_view terms, double bytes, double CounterFigures::*figure) {
  const auto add = [&](const std::string &event, const std::string &how, double scale) {
    PerfEvent perf{event, type, {}, figure, scale};
    const bool usable = scale > 0 && encode(perf, device, how);
    if (usable) controller.events.push_back(perf);
    return usable;
  };
  if (!terms.empty()) return add(std::string(name), std::string(terms), bytes);
  const std::vector<std::string> listedEvents = eventsNamed(device, name);
  return !listedEvents.empty() && std::all_of(listedEvents.begin(), listedEvents.end(), [&](const std::string &event) {
    const fs::path file = device / "events" / event;
    return add(event, firstLine(file), bytesOfCount(file));
  });
}

std::optional<MemoryController> controllerAt(const fs::path &device, const Family &family) {
  MemoryController controller{device.filename(), {}, listed(firstLine(device / "cpumask"))};
  const auto type = number(firstLine(device / "type"));
  if (!controller.name.starts_with(family.device) || !type || controller.cpus.empty()) return std::nullopt;
  const auto word = static_cast<std::uint32_t>(*type);
  if (!addDirection(controller, device, word, family.read, family.readTerms, family.bytes, &CounterFigures::dramRead) ||
      !addDirection(controller, device, word, family.write, family.writeTerms, family.bytes, &CounterFigures::dramWrite))
    return std::nullopt;
  return controller;
}
} // namespace

std::vector<MemoryController> findMemoryControllers(const fs::path &devices) {
  for (const Family &family : kFamilies) {
    std::vector<MemoryController> found;
    std::error_code none;
    for (const fs::directory_entry &device : fs::directory_iterator(devices, none))
      if (auto controller = controllerAt(device.path(), family)) found.push_back(std::move(*controller));
    std::sort(found.begin(), found.end(), [](const auto &a, const auto &b) { return a.name < b.name; });
    if (!found.empty()) return found;
  }
  return {};
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "perf_counters.h"

namespace xqs {

/// One memory controller as the kernel shows it: events whose figures are bytes read and written, and a CPU of each package
/// that has it.
struct MemoryController {
  std::string name; ///< "uncore_imc_0"
  std::vector<PerfEvent> events;
  std::vector<int> cpus;
};

/// The controllers under `devices` (/sys/bus/event_source/devices) whose reads and writes can both be counted in bytes:
/// Intel's uncore_imc* by the events, scales and units in sysfs, AMD's amd_umc* (Zen 4 and later, Linux 6.6) by commands of
/// 64 bytes. Empty where there are none: virtual machines, and processors that count elsewhere.
std::vector<MemoryController> findMemoryControllers(const std::filesystem::path &devices);

} // namespace xqs

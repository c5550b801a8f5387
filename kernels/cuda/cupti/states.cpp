// SPDX-License-Identifier: Apache-2.0
#include "states.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>

namespace xqs::cuda::cupti {
namespace {

/// What remains where an instrument is not there; every sentence ends with it.
constexpr const char *kInstead = "; until then bytes are counted from shapes, not measured";

struct Row {
  int result; ///< CUptiResult, cupti_result.h
  InstrumentState state;
  const char *sentence;
};
constexpr Row kRows[] = {
    {23, InstrumentState::InUse,
     "another profiler has switched CUPTI off in this process: end nsys, ncu or the debugger that started it"},
    {26, InstrumentState::InUse,
     "another program holds the GPU's counters: end it, or pause DCGM (dcgmi profile --pause) while this one measures"},
    {27, InstrumentState::NotOnThisDevice,
     "this GPU or driver does not support this kind of measurement: try a newer driver"},
    {33, InstrumentState::Virtualized,
     "this is a virtual GPU without performance counters: use a whole GPU, or a machine that is not virtual"},
    {35, InstrumentState::NoPermission,
     "the NVIDIA driver keeps the GPU's counters from this user: run with the capability CAP_SYS_ADMIN (containers: "
     "--cap-add SYS_ADMIN) or, where the driver asks for no more, CAP_PERFMON, or have the administrator load the nvidia "
     "module with NVreg_RestrictProfilingToAdminUsers=0"},
    {38, InstrumentState::NotOnThisDevice, "this GPU is too old for these counters: compute capability 7.5 is needed"},
    {39, InstrumentState::InUse, "another NVIDIA tool is attached to this process: start it without nsys, ncu and cuda-gdb"},
    {40, InstrumentState::Virtualized,
     "the host of this virtual GPU does not allow profiling: its administrator can allow it for this machine"},
    {41, InstrumentState::Confidential,
     "confidential computing is on, which hides the GPU's counters: use a GPU that runs without it"},
    {42, InstrumentState::NotOnThisDevice, "mining processors have no performance counters: use another GPU"},
    {43, InstrumentState::Mig,
     "this is a MIG slice of a GPU, which cannot be measured by itself: use a whole GPU (nvidia-smi -mig 0 by the "
     "administrator)"},
    {44, InstrumentState::NotOnThisDevice, "GPUs joined by SLI have no performance counters: switch SLI off"},
    {45, InstrumentState::Wsl, "the Windows Subsystem for Linux gives no GPU counters: use Linux itself"},
    {46, InstrumentState::NotOnThisDevice, "this CUPTI does not know the GPU's chip: install a newer CUDA toolkit"},
};

Finding finding(InstrumentState state, std::string sentence) { return {state, std::move(sentence) + kInstead}; }

Finding findingOfResult(int result) {
  const auto row = std::find_if(std::begin(kRows), std::end(kRows), [=](const Row &r) { return r.result == result; });
  XQS_ASSERT(row != std::end(kRows));
  return finding(row->state, row->sentence);
}

/// The number behind `key` in a file of "key value" lines.
std::optional<std::uint64_t> numberBehind(const std::string &file, const std::string &key, int base) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, base);
  return {};
}

} // namespace

Finding findingOf(int result, std::string_view call, std::string_view text) {
  if (std::any_of(std::begin(kRows), std::end(kRows), [=](const Row &r) { return r.result == result; }))
    return findingOfResult(result);
  return finding(InstrumentState::Broken, std::string(call) + " reports " + std::to_string(result) + ": " +
                                              std::string(text) + "; a newer driver or CUDA toolkit may help");
}

std::optional<Finding> findingOf(const DeviceSupport &s) {
  const auto lacks = [](int field) { return field == DeviceSupport::kUnsupported || field == DeviceSupport::kDisabled; };
  if (!lacks(s.supported)) return {};
  if (lacks(s.confidentialCompute)) return findingOfResult(41);
  if (lacks(s.wsl)) return findingOfResult(45);
  if (lacks(s.vGpu)) return findingOfResult(s.vGpu == DeviceSupport::kDisabled ? 40 : 33);
  if (lacks(s.cmp)) return findingOfResult(42);
  if (lacks(s.sli)) return findingOfResult(44);
  if (lacks(s.architecture)) return findingOfResult(38);
  return findingOfResult(27);
}

std::optional<Finding> restrictedByDriver(const std::string &driverParameters, const std::string &processStatus) {
  // Either will do: os_check_access of the driver's open module. Numbers: capability.h.
  constexpr std::uint64_t kSysAdmin = std::uint64_t{1} << 21, kPerfmon = std::uint64_t{1} << 38;
  if (numberBehind(driverParameters, "RmProfilingAdminOnly:", 10).value_or(0) == 0) return {};
  const std::optional<std::uint64_t> capabilities = numberBehind(processStatus, "CapEff:", 16);
  if (!capabilities || (*capabilities & (kSysAdmin | kPerfmon)) != 0) return {};
  return findingOfResult(35);
}

Finding libraryOff() { return finding(InstrumentState::NoLibrary, "CUPTI is switched off: unset XQSCOPE_CUPTI to use it"); }
Finding libraryMissing(const std::string &name) {
  return finding(InstrumentState::NoLibrary, "CUPTI is not installed: install NVIDIA's CUDA toolkit or the Python package "
                                             "nvidia-cuda-cupti, or set XQSCOPE_CUPTI to the path of " +
                                                 name);
}
Finding libraryUnusable(const std::string &why, const std::string &name) {
  return finding(InstrumentState::NoLibrary,
                 "CUPTI cannot be used: " + why + "; set XQSCOPE_CUPTI to a complete " + name + " or to off");
}
Finding headersMissing() {
  return finding(InstrumentState::NoLibrary,
                 "this program was built without CUPTI's headers: build it where CUDA 13's toolkit has them");
}
Finding noTrafficCounters(const std::string &chip) {
  return finding(InstrumentState::NotOnThisDevice,
                 "this GPU (" + chip +
                     ") has no counters of memory traffic that CUPTI can read in one pass: try a newer one");
}
Finding noHitRate(const std::string &chip) {
  return {InstrumentState::NotOnThisDevice,
          "this GPU (" + chip + ") has no counter of the L2 hit rate: look at accesses and fills instead"};
}
Finding strangeRange(const std::string &name) {
  return finding(InstrumentState::Broken,
                 "CUPTI gave a range '" + name + "' that nobody began: a newer CUDA toolkit may help");
}
Finding timelineTestFailed() {
  return finding(InstrumentState::SelfTestFailed,
                 "CUPTI did not give the launches of a test back, or not as those of their operations: try a newer driver");
}
Finding timelineEmpty() {
  return finding(InstrumentState::Broken, "CUPTI reported no error and gave no launch of any operation, which another "
                                          "measurement may have caused: end other profilers and start again");
}
Finding samplesOverflowed() {
  return {InstrumentState::Broken, "the GPU's buffer of samples was full, and CUPTI gives none until sampling begins anew: "
                                   "sample at longer intervals"};
}
Finding selfTestFailed(double expected, double read, double written) {
  char text[200];
  std::snprintf(
      text, sizeof text,
      "a copy of %.0f bytes was measured as %.0f bytes read and %.0f written: end other programs on this GPU and try "
      "again",
      expected, read, written);
  return finding(InstrumentState::SelfTestFailed, text);
}

} // namespace xqs::cuda::cupti

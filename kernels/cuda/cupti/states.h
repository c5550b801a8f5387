// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "instruments.h"

#include <optional>
#include <string>
#include <string_view>

namespace xqs::cuda::cupti {

/// Why an instrument cannot be used: its state and one sentence with what would change it.
struct Finding {
  InstrumentState state;
  std::string sentence;
};

/// A finding on its way to the status; whoever asks for figures sees its sentence.
class Failure : public Error {
public:
  explicit Failure(const Finding &finding) : Error(Code::Unsupported, finding.sentence), m_state(finding.state) {}
  InstrumentState state() const { return m_state; }

private:
  InstrumentState m_state;
};

/// What CUPTI's answer means. `result`: CUptiResult, not 0; `text`: CUPTI's own words for it.
Finding findingOf(int result, std::string_view call, std::string_view text);

/// What cuptiProfilerDeviceSupported says: values of CUpti_Profiler_Support_Level.
struct DeviceSupport {
  static constexpr int kUnsupported = 1, kDisabled = 2;
  int supported = 0; ///< of all fields together
  int architecture = 0, sli = 0, vGpu = 0, confidentialCompute = 0, cmp = 0, wsl = 0;
};
/// Nothing where nothing speaks against it.
std::optional<Finding> findingOf(const DeviceSupport &support);

/// What can be known before CUPTI is asked: the driver keeps counters for administrators (RmProfilingAdminOnly in its
/// parameters, `driverParameters`) and this process has neither CAP_SYS_ADMIN nor CAP_PERFMON (CapEff in `processStatus`,
/// proc(5)). Files that are not there say nothing.
std::optional<Finding> restrictedByDriver(const std::string &driverParameters, const std::string &processStatus);

Finding libraryOff();
Finding libraryMissing(const std::string &name);
Finding libraryUnusable(const std::string &why, const std::string &name);
Finding headersMissing();
/// No counters of memory traffic that one pass can take.
Finding noTrafficCounters(const std::string &chip);
Finding noHitRate(const std::string &chip);
/// CUPTI named a range that was not begun.
Finding strangeRange(const std::string &name);
Finding timelineTestFailed();
Finding timelineEmpty();
Finding samplesOverflowed();
/// `expected`, `read`, `written`: bytes.
Finding selfTestFailed(double expected, double read, double written);

} // namespace xqs::cuda::cupti

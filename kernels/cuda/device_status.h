// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace xqs::cuda {

/// What the runtime said about the machine; plain numbers so that the sentences are tested without a GPU.
struct DeviceStatus {
  int error = 0;         ///< of cudaGetDeviceCount
  std::string errorText; ///< CUDA's text of `error`
  int devices = 0;
  int driverVersion = 0;  ///< 1000 * major + 10 * minor; 0 = no driver
  int runtimeVersion = 0; ///< the version compiled in
};

/// Why no device can be used, one sentence without a full stop; empty where one can.
inline std::string deviceProblem(const DeviceStatus &s) {
  constexpr int kInsufficientDriver = 35, kNoDevice = 100;
  const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
  if (s.error == kInsufficientDriver && s.driverVersion > 0 && s.driverVersion < s.runtimeVersion)
    return "driver supports CUDA " + version(s.driverVersion) + ", " + version(s.runtimeVersion) + " needed";
  if (s.error == kNoDevice || (s.error == kInsufficientDriver && s.driverVersion == 0) || (s.error == 0 && s.devices == 0))
    return "no NVIDIA driver or GPU";
  if (s.error != 0) return "the NVIDIA driver reports: " + s.errorText + " (" + std::to_string(s.error) + ")";
  return {};
}

/// Asks the runtime, then loads a kernel on device 0: a busy GPU, or one this build has no code for, is named here and not
/// at the first operation. Never throws for what the machine lacks. Empty where the device can be used.
std::string probeDevice();

} // namespace xqs::cuda

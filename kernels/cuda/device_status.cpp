// SPDX-License-Identifier: Apache-2.0
#include "device_status.h"

#include "rows.h"

#include <cuda_runtime_api.h>

namespace xqs::cuda {

std::string probeDevice() {
  DeviceStatus status;
  const cudaError_t error = cudaGetDeviceCount(&status.devices);
  status.error = error;
  status.errorText = cudaGetErrorString(error);
  if (cudaDriverGetVersion(&status.driverVersion) != cudaSuccess) status.driverVersion = 0;
  if (cudaRuntimeGetVersion(&status.runtimeVersion) != cudaSuccess) status.runtimeVersion = CUDART_VERSION;
  (void)cudaGetLastError(); // a missing driver is an answer, not an error for the next call to report
  if (std::string problem = deviceProblem(status); !problem.empty()) return problem;

  const cudaError_t loaded = probeKernels();
  if (loaded == cudaSuccess) return {};
  (void)cudaGetLastError();
  int major = 0, minor = 0;
  if (loaded == cudaErrorNoKernelImageForDevice &&
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess &&
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) == cudaSuccess)
    return "this build has no code for compute capability " + std::to_string(major) + "." + std::to_string(minor);
  return std::string("the GPU cannot be used: ") + cudaGetErrorString(loaded) + " (" + std::to_string(loaded) + ")";
}

} // namespace xqs::cuda

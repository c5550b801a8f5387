// SPDX-License-Identifier: Apache-2.0
#include "cuda_backend.h"
#include "device_status.h"

namespace {

using namespace xqs;

/// Asked once: the answer does not change while the process lives.
const char *unusable() {
  static const std::string problem = cuda::probeDevice();
  return problem.empty() ? nullptr : problem.c_str();
}

Backend *create(int /*threads*/) {
  if (const char *why = unusable())
    throw Error(Code::BackendUnusable,
                std::string("backend cuda cannot be used: ") + why + "; compute on the CPU (backend cpu)");
  return new cuda::CudaBackend;
}

void destroy(Backend *backend) { delete backend; }

constexpr XqsBackendModule kModule = {
    kBackendAbi, "cuda", "NVIDIA GPU: FP16 weights, FP32 sums, packed cache read where it lies", unusable, create, destroy};

} // namespace

extern "C" __attribute__((visibility("default"))) const xqs::XqsBackendModule *xqsBackendModule() { return &kModule; }

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensor.h"

#include <cuda_runtime_api.h>

#include <initializer_list>
#include <string>

namespace xqs::cuda {

/// "call [1, 2, 3]"; without brackets where there is no shape.
std::string callOn(const char *call, std::initializer_list<Index> shape);

/// Throws Error: what was called, on which shape, CUDA's name and text of the failure, what to do. OutOfMemory where the
/// device had none, else BackendUnusable.
[[noreturn]] void throwCuda(cudaError_t status, const char *call, std::initializer_list<Index> shape);

/// Every CUDA call goes through here. A launch is checked as check(cudaGetLastError(), "matmul launch", {n, m, k}); a
/// failure inside a kernel shows at the next call that waits.
inline void check(cudaError_t status, const char *call, std::initializer_list<Index> shape = {}) {
  if (status != cudaSuccess) throwCuda(status, call, shape);
}

} // namespace xqs::cuda

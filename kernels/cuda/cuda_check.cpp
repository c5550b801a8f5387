// SPDX-License-Identifier: Apache-2.0
#include "cuda_check.h"

#include "error.h"

namespace xqs::cuda {

std::string callOn(const char *call, std::initializer_list<Index> shape) {
  std::string where = call;
  const char *separator = " [";
  for (const Index size : shape) {
    where += separator + std::to_string(size);
    separator = ", ";
  }
  if (shape.size() > 0) where += "]";
  return where;
}

void throwCuda(cudaError_t status, const char *call, std::initializer_list<Index> shape) {
  const std::string text = std::string("backend cuda: ") + callOn(call, shape) + ": " + cudaGetErrorString(status) + " (" +
                           cudaGetErrorName(status) + " " + std::to_string(static_cast<int>(status)) + ")";
  if (status == cudaErrorMemoryAllocation)
    throw Error(Code::OutOfMemory, text + "; use a shorter window, fewer policies at once or a smaller model");
  throw Error(Code::BackendUnusable, text + "; start the run again, or compute on the CPU (backend cpu)");
}

} // namespace xqs::cuda

// SPDX-License-Identifier: Apache-2.0
// The part of cuBLAS that kernels/cuda/cublas.cpp calls, as plain loops in the order of an emulated stream: column-major, as
// the library's documentation defines it. XQS_FAKE_CUBLAS_FAIL names the call that reports an error.
#include "emulator/profiler_hooks.h"
#include "half.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kAllocFailed = 3, kInvalidValue = 7, kExecutionFailed = 13;

struct Context {
  void *stream = nullptr;
  void *workspace = nullptr;
};

bool fails(const char *call) {
  const char *named = std::getenv("XQS_FAKE_CUBLAS_FAIL");
  return named != nullptr && std::strcmp(named, call) == 0;
}

struct Product {
  int m, n, k, lda, ldb, ldc;
  float alpha, beta;
  const xqs::Half *a, *b;
  float *c;
};

/// C = alpha A^T B + beta C; column j of a matrix begins at j * its leading dimension.
void run(void *data) {
  const auto *p = static_cast<Product *>(data);
  const auto at = [](int column, int ld, int row) { return static_cast<std::int64_t>(column) * ld + row; };
  for (int j = 0; j < p->n; ++j)
    for (int i = 0; i < p->m; ++i) {
      float sum = 0;
      for (int l = 0; l < p->k; ++l) sum += xqs::toFloat(p->a[at(i, p->lda, l)]) * xqs::toFloat(p->b[at(j, p->ldb, l)]);
      float &c = p->c[at(j, p->ldc, i)];
      c = p->alpha * sum + (p->beta == 0 ? 0 : p->beta * c);
    }
  delete p;
}

/// A kernel of the emulator, which is in the process already.
int enqueue(void *stream, Product *product) {
  void *module = dlopen(XQS_EMULATED_MODULE, RTLD_NOW | RTLD_NOLOAD);
  if (module == nullptr) std::abort();
  return reinterpret_cast<xqs::emulator::LibraryKernel>(dlsym(module, "xqsEmulatorLibraryKernel"))(stream, run, product);
}

} // namespace

extern "C" {
int cublasGetProperty(int type, int *value) {
  *value = 13 - type; // 13.12.11
  return 0;
}
const char *cublasGetStatusName(int status) {
  switch (status) {
  case kAllocFailed: return "CUBLAS_STATUS_ALLOC_FAILED";
  case kExecutionFailed: return "CUBLAS_STATUS_EXECUTION_FAILED";
  default: return "CUBLAS_STATUS_INVALID_VALUE";
  }
}
int cublasCreate_v2(void **handle) {
  if (fails("cublasCreate")) return kAllocFailed;
  *handle = new Context;
  return 0;
}
int cublasDestroy_v2(void *handle) {
  delete static_cast<Context *>(handle);
  return 0;
}
int cublasSetStream_v2(void *handle, void *stream) {
  *static_cast<Context *>(handle) = {stream, nullptr}; // takes the workspace away
  return 0;
}
int cublasSetWorkspace_v2(void *handle, void *workspace, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0 || bytes == 0) return kInvalidValue;
  static_cast<Context *>(handle)->workspace = workspace;
  return 0;
}
int cublasGemmEx(void *handle, int opA, int opB, int m, int n, int k, const void *alpha, const void *a, int typeA, int lda,
                 const void *b, int typeB, int ldb, const void *beta, void *c, int typeC, int ldc, int computeType,
                 int algorithm) {
  if (fails("cublasGemmEx")) return kExecutionFailed;
  const auto *context = static_cast<const Context *>(handle);
  // Transposed FP16 A, FP16 B, FP32 C and sums; a workspace must have been given, or it would be allocated.
  if (opA != 1 || opB != 0 || typeA != 2 || typeB != 2 || typeC != 0 || computeType != 68 || algorithm != -1)
    return kInvalidValue;
  if (m <= 0 || n <= 0 || k <= 0 || lda < k || ldb < k || ldc < m || context->workspace == nullptr) return kInvalidValue;
  return enqueue(context->stream,
                 new Product{m, n, k, lda, ldb, ldc, *static_cast<const float *>(alpha), *static_cast<const float *>(beta),
                             static_cast<const xqs::Half *>(a), static_cast<const xqs::Half *>(b), static_cast<float *>(c)});
}
}

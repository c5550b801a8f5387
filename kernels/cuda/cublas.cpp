// SPDX-License-Identifier: Apache-2.0
#include "cublas.h"

#include "error.h"
#include "libraries.h"
#include "memory.h"

#include <dlfcn.h>

#include <algorithm>
#include <climits>
#include <cstdlib>

namespace xqs::cuda {
namespace {

// Values of library_types.h and cublas_api.h, the same since cuBLAS 11.
constexpr int kSuccess = 0, kAllocFailed = 3;
constexpr int kMajor = 0, kMinor = 1, kPatch = 2; // libraryPropertyType
constexpr int kNoTranspose = 0, kTranspose = 1;   // cublasOperation_t
constexpr int kFp32 = 0, kFp16 = 2;               // cudaDataType
constexpr int kComputeFp32 = 68;                  // cublasComputeType_t
constexpr int kDefaultAlgorithm = -1;             // cublasGemmAlgo_t
constexpr Index kWorkspace = Index{32} << 20;     // what the documentation advises for Hopper

template <typename F> bool bind(F *&function, void *library, const char *name) {
  function = reinterpret_cast<F *>(dlsym(library, name));
  return function != nullptr;
}

} // namespace

Cublas::Cublas() {
  const char *const wanted = std::getenv("XQSCOPE_CUBLAS");
  if (wanted == nullptr || *wanted == '\0') {
    for (const std::string &file : libraryCandidates({"libcublas.so.13", "libcublas.so.12"}))
      if (open(file)) return;
  } else if (std::string(wanted) != "off" && !open(wanted)) {
    const char *const why = dlerror();
    throw Error(Code::BackendUnusable, std::string("backend cuda: XQSCOPE_CUBLAS=") + wanted + ": " +
                                           (why != nullptr ? why : "not a cuBLAS of version 12 or 13") +
                                           "; name a libcublas.so.13 or off");
  }
}

/// The library stays open until the program ends: it has threads and exit handlers of its own.
bool Cublas::open(const std::string &file) {
  void *const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return false;
  Functions f{};
  if (!bind(f.getProperty, library, "cublasGetProperty") || !bind(f.getStatusName, library, "cublasGetStatusName") ||
      !bind(f.create, library, "cublasCreate_v2") || !bind(f.destroy, library, "cublasDestroy_v2") ||
      !bind(f.setStream, library, "cublasSetStream_v2") || !bind(f.setWorkspace, library, "cublasSetWorkspace_v2") ||
      !bind(f.gemmEx, library, "cublasGemmEx"))
    return false;
  int major = 0;
  if (f.getProperty(kMajor, &major) != kSuccess || major < 12) return false;
  m_functions = f;
  m_description = "cuBLAS";
  const char *separator = " ";
  for (const int part : {kMajor, kMinor, kPatch}) {
    int value = 0;
    check(f.getProperty(part, &value), "cublasGetProperty");
    m_description += separator + std::to_string(value);
    separator = ".";
  }
  return true;
}

void Cublas::check(Status status, const char *call, std::initializer_list<Index> shape) const {
  if (status == kSuccess) return;
  throw Error(status == kAllocFailed ? Code::OutOfMemory : Code::BackendUnusable,
              "backend cuda: " + callOn(call, shape) + ": " + m_functions.getStatusName(status) + " (" +
                  std::to_string(status) +
                  "); set XQSCOPE_CUBLAS=off to go without cuBLAS, or compute on the CPU (backend cpu)");
}

/// Rows of 16-byte pieces throughout: which of the library's kernels runs must not depend on where a row happens to lie.
bool Cublas::takes(const MatmulArgs<Half> &a) const {
  const auto aligned = [](const void *data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; };
  return m_functions.gemmEx != nullptr && aligned(a.w) && aligned(a.out) && a.k % 8 == 0 && a.wStride % 8 == 0 &&
         a.outStride % 4 == 0 && std::max({a.n, a.m, splitStride(a.k), a.wStride, a.outStride}) <= INT_MAX;
}

/// The workspace is ours: nothing is allocated while a step is gathered, and sums in parts come in one order. The stream is
/// set first, since that takes the workspace away.
Cublas::Handle Cublas::handleOf(std::size_t queue, cudaStream_t stream) {
  PerQueue &q = m_queues.at(queue);
  if (!q.handle) {
    DeviceMemory workspace = makeDeviceMemory(kWorkspace);
    Handle created = nullptr;
    check(m_functions.create(&created), "cublasCreate");
    std::unique_ptr<void, Destroy> handle(created, Destroy{m_functions.destroy});
    check(m_functions.setStream(handle.get(), stream), "cublasSetStream");
    check(m_functions.setWorkspace(handle.get(), workspace.get(), static_cast<std::size_t>(kWorkspace)),
          "cublasSetWorkspace");
    q.workspace = std::move(workspace), q.handle = std::move(handle);
  }
  return q.handle.get();
}

/// cuBLAS counts columns first: what it takes for a column of `out`, W or x is a row of ours, so it computes out^T = W x^T.
void Cublas::matmul(std::size_t queue, cudaStream_t stream, const SplitRows &x, const MatmulArgs<Half> &a) {
  const Handle handle = handleOf(queue, stream);
  const auto number = [](Index i) { return static_cast<int>(i); };
  const float one = 1, zero = 0;
  const auto add = [&](const Half *part, const float &beta) {
    check(m_functions.gemmEx(handle, kTranspose, kNoTranspose, number(a.m), number(a.n), number(a.k), &one, a.w, kFp16,
                             number(a.wStride), part, kFp16, number(x.stride), &beta, a.out, kFp32, number(a.outStride),
                             kComputeFp32, kDefaultAlgorithm),
          "cublasGemmEx", {a.n, a.m, a.k});
  };
  add(x.high, a.accumulate ? one : zero);
  add(x.low, one);
}

} // namespace xqs::cuda

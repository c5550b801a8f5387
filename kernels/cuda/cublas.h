// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cuda_handles.h"
#include "matmul.h"

#include <array>
#include <memory>
#include <string>

namespace xqs::cuda {

/// NVIDIA's cuBLAS, opened at run time where it is installed; without it the products run on kernels of our own. Environment
/// variable XQSCOPE_CUBLAS: a file to open, or `off`.
class Cublas {
public:
  static constexpr std::size_t kQueues = 3;

  Cublas(); ///< throws where XQSCOPE_CUBLAS names a library that cannot be used
  /// False: absent, switched off, or operands that it has no aligned kernel for.
  bool takes(const MatmulArgs<Half> &args) const;
  /// out = (high + low) W^T (+ out), two products. args.x is not read. `queue`: has a handle and a workspace of its own,
  /// made at its first product.
  void matmul(std::size_t queue, cudaStream_t stream, const SplitRows &x, const MatmulArgs<Half> &args);
  /// Makes the handle of a queue, where the library is used: not to be done while a step is gathered.
  void prepare(std::size_t queue, cudaStream_t stream) {
    if (m_functions.gemmEx != nullptr) (void)handleOf(queue, stream);
  }
  /// For people.
  const std::string &description() const { return m_description; }

private:
  using Handle = void *;
  using Status = int;
  // cuBLAS library documentation, 2.4 (helper functions), 2.8.12 (cublasGemmEx); enumerations are passed as int.
  struct Functions {
    Status (*getProperty)(int type, int *value);
    const char *(*getStatusName)(Status);
    Status (*create)(Handle *);
    Status (*destroy)(Handle);
    Status (*setStream)(Handle, cudaStream_t);
    Status (*setWorkspace)(Handle, void *workspace, std::size_t bytes);
    Status (*gemmEx)(Handle, int opA, int opB, int m, int n, int k, const void *alpha, const void *a, int typeA, int lda,
                     const void *b, int typeB, int ldb, const void *beta, void *c, int typeC, int ldc, int computeType,
                     int algorithm);
  };
  struct Destroy {
    Status (*destroy)(Handle);
    void operator()(Handle handle) const noexcept { (void)destroy(handle); }
  };
  struct PerQueue {
    DeviceMemory workspace;
    std::unique_ptr<void, Destroy> handle;
  };

  bool open(const std::string &file);
  void check(Status status, const char *call, std::initializer_list<Index> shape = {}) const;
  Handle handleOf(std::size_t queue, cudaStream_t stream);

  Functions m_functions{}; ///< all or none
  std::string m_description = "own matrix kernels";
  std::array<PerQueue, kQueues> m_queues;
};

} // namespace xqs::cuda

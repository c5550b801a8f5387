// SPDX-License-Identifier: Apache-2.0
#include "cpu_backend.h"

#include "cpu_backends.h"

#include <cblas.h>

namespace xqs {

CpuBackend::CpuBackend(int threads) : ReferenceBackend(threads) {
  openblas_set_num_threads(1); // ours are the threads; OpenBLAS's own split would change the bits
}

std::string CpuBackend::device() const {
  return std::string("CPU, OpenBLAS ") + openblas_get_corename() + ", " + std::to_string(m_pool.threads()) +
         (m_pool.threads() == 1 ? " thread" : " threads");
}

void CpuBackend::matmul(Queue, ConstView x, ConstView w, View out, bool accumulate) {
  XQS_ASSERT(isF32(x) && isF32(w) && isF32(out) && x.cols == w.cols && out.rows == x.rows && out.cols == w.rows);
  const Op op(*this, "matmul", bytesOf(x) + bytesOf(w) + bytesOf(out), 2.0 * static_cast<double>(x.rows * x.cols * w.rows));
  constexpr Index kRows = 256, kOutputs = 192;
  const Index outputTiles = (w.rows + kOutputs - 1) / kOutputs, rowTiles = (x.rows + kRows - 1) / kRows;
  m_pool.parallelFor(outputTiles * rowTiles, [&](Index tile) {
    const Index row = tile / outputTiles * kRows, output = tile % outputTiles * kOutputs;
    const Index rows = std::min(kRows, x.rows - row), outputs = std::min(kOutputs, w.rows - output);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(rows), static_cast<int>(outputs),
                static_cast<int>(x.cols), 1, x.row(row), static_cast<int>(x.stride), w.row(output),
                static_cast<int>(w.stride), accumulate ? 1.0f : 0.0f, out.row(row) + output, static_cast<int>(out.stride));
  });
}

const XqsBackendModule *cpuBackendModule() {
  static constexpr XqsBackendModule kModule = {
      kBackendAbi,
      "cpu",
      "CPU, BLAS tiles and SIMD on a thread pool",
      [] { return static_cast<const char *>(nullptr); },
      [](int threads) -> Backend * { return new CpuBackend(threads); },
      [](Backend *backend) { delete backend; },
  };
  return &kModule;
}

} // namespace xqs

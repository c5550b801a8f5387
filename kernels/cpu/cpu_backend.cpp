// SPDX-License-Identifier: Apache-2.0
#include "cpu_backend.h"

#include "cpu_backends.h"
#include "simd_rows.h"

#include <cblas.h>

namespace xqs {

CpuBackend::CpuBackend(int threads) : HostBackend(threads) {
  openblas_set_num_threads(1); // the threads are ours; OpenBLAS's own split would change the bits
}

std::string CpuBackend::device() const {
  return std::string("CPU, OpenBLAS for ") + openblas_get_corename() + ", SIMD " + simd::targetName() + ", " +
         std::to_string(m_pool.threads()) + (m_pool.threads() == 1 ? " thread" : " threads");
}

void CpuBackend::rmsNorm(Queue, ConstView x, ConstView weight, float eps, View out) {
  XQS_ASSERT(isF32(x) && isF32(weight) && isF32(out) && sameShape(x, out) && weight.rows == 1 && weight.cols == x.cols);
  const Op op(*this, "rmsNorm", 2 * bytesOf(x) + bytesOf(weight), 4.0 * static_cast<double>(x.rows * x.cols));
  forRows(x.rows, elementwiseTile(x.cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) simd::rmsNorm(x.row(r), weight.row(0), x.cols, eps, out.row(r));
  });
}

void CpuBackend::siluMul(Queue, ConstView gate, ConstView up, View out) {
  XQS_ASSERT(isF32(gate) && isF32(up) && isF32(out) && sameShape(gate, up) && sameShape(gate, out));
  const Op op(*this, "siluMul", 3 * bytesOf(gate), 5.0 * static_cast<double>(gate.rows * gate.cols));
  forRows(gate.rows, elementwiseTile(gate.cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) simd::siluMul(gate.row(r), up.row(r), gate.cols, out.row(r));
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

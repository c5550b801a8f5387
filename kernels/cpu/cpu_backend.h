// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host_backend.h"

namespace xqs {

/// The fast CPU backend: single-threaded BLAS calls on tiles whose bounds depend on shapes alone, SIMD rows between them.
class CpuBackend : public HostBackend {
public:
  explicit CpuBackend(int threads);

  const char *name() const override { return "cpu"; }
  std::string device() const override;

  void rmsNorm(Queue, ConstView x, ConstView weight, float eps, View out) override;
  void matmul(Queue, ConstView x, ConstView w, View out, bool accumulate) override;
  void matmulLanes(Queue, Index lanes, ConstView x, ConstView w, View out, bool accumulate) override;
  void siluMul(Queue, ConstView gate, ConstView up, View out) override;
  void attention(Queue, const AttentionArgs &args) override;
  void score(Queue, ConstView exact, ConstView logits, std::span<const std::int32_t> targets,
             std::span<Score> scores) override;
  void convert(Queue, ConstView src, View dst) override;
  void quantize(Queue, ConstView x, const PackedView &dst, Index firstRow) override;
  void dequantize(Queue, const PackedView &src, TokenRange range, View out, bool accumulate) override;
  void dequantMatmul(Queue, const PackedView &src, TokenRange range, ConstView w, View out) override;
  void summarize(Queue, ConstView x, Summary &summary) override;
  void compare(Queue, ConstView exact, ConstView approx, ErrorSums &sums) override;
  void similarity(Queue, std::span<const ConstView> layers, std::span<float> cosine) override;

private:
  void quantizeTokenGroups(ConstView x, const PackedView &dst, Index firstRow);
  void quantizeChannelGroups(ConstView x, const PackedView &dst, Index firstRow);
};

/// out [range.size(), width] = the packed rows, on the calling thread.
void dequantizeRows(const PackedView &src, TokenRange range, View out, bool accumulate);

} // namespace xqs

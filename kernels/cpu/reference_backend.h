// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host_backend.h"

namespace xqs {

/// The definition of every operation. Each output element is summed in one order that depends on nothing but its own row
/// (token, query): not on the number of rows in the call, not on threads. No SIMD beyond what a compiler may do without
/// reordering.
class ReferenceBackend : public HostBackend {
public:
  using HostBackend::HostBackend;

  const char *name() const override { return "reference"; }
  std::string device() const override;
  bool mayReorder() const override { return false; }

  void rmsNorm(Queue, ConstView x, ConstView weight, float eps, View out) override;
  void matmul(Queue, ConstView x, ConstView w, View out, bool accumulate) override;
  void siluMul(Queue, ConstView gate, ConstView up, View out) override;
  void attention(Queue, const AttentionArgs &args) override;
  void score(Queue, ConstView exact, ConstView logits, std::span<const std::int32_t> targets,
             std::span<Score> scores) override;
  void convert(Queue, ConstView src, View dst) override;
  void quantize(Queue, ConstView x, const PackedView &dst, Index firstRow) override;
  void dequantize(Queue, const PackedView &src, TokenRange range, View out, bool accumulate) override;
  void summarize(Queue, ConstView x, Summary &summary) override;
  void compare(Queue, ConstView exact, ConstView approx, ErrorSums &sums) override;
  void similarity(Queue, std::span<const ConstView> layers, std::span<float> cosine) override;

private:
  void quantizeTokenGroups(ConstView x, const PackedView &dst, Index firstRow);
  void quantizeChannelGroups(ConstView x, const PackedView &dst, Index firstRow);
};

} // namespace xqs

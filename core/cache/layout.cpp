// SPDX-License-Identifier: Apache-2.0
#include "cache/layout.h"

#include "cache/layer_plan.h"

#include <fmt/format.h>

namespace xqs {

State parseState(std::string_view text) {
  if (text == "all") return State::All;
  if (text == "stream") return State::Stream;
  throw Error(Code::Usage,
              fmt::format("unknown state '{}'; use all (everything quantized, as the published tables) or stream "
                          "(what decoding sees)",
                          text));
}

CacheBytes &CacheBytes::operator+=(const CacheBytes &o) {
  codes += o.codes, scales += o.scales, outliers += o.outliers, residual += o.residual;
  allocated += o.allocated, accumulator += o.accumulator, scratch += o.scratch;
  return *this;
}

CacheBytes formatBits(const TensorSpec &spec, Index tokens, Index closed) {
  CacheBytes b;
  if (spec.fp16()) {
    b.codes = tokens * spec.width * 16;
    return b;
  }
  b.codes = closed * spec.packedWidth() * spec.bits;
  b.scales = spec.format().scaleCount(closed, spec.packedWidth()) * 32;
  b.outliers = std::min(tokens, spec.sinks) * spec.width * 16 + tokens * spec.outliers * 16;
  b.residual = (tokens - closed) * spec.packedWidth() * 16;
  return b;
}

TensorRows tensorRows(const TensorSpec &spec, const CacheSize &size, Index tokens) {
  TensorRows rows;
  if (spec.fp16()) {
    rows.half = grownRows(tokens, size.capacity, blockRows(spec));
    return rows;
  }
  rows.sinks = spec.sinks;
  rows.packed = grownRows(spec.closedAt(tokens, size.state), spec.closedAt(size.capacity, size.state), blockRows(spec));
  if (spec.outliers > 0) rows.outliers = grownRows(tokens, size.capacity, kBlockTokens);
  if (size.state == State::All) {
    rows.exactAtRest = size.capacity - rows.packed;
  } else if (!spec.stream.never()) {
    rows.exactAtRest = spec.stream.block > 0 ? spec.stream.block - 1 : spec.stream.window;
    rows.exactInStep = size.maxStep;
  }
  return rows;
}

CacheBytes tensorBytes(const TensorSpec &spec, Index tokens, const CacheSize &size) {
  CacheBytes b = formatBits(spec, tokens, spec.closedAt(tokens, size.state));
  const TensorRows rows = tensorRows(spec, size, tokens);
  const Index half = sizeOf(DType::F16), rowBytes = spec.packedWidth() * half;
  b.allocated =
      (rows.half + rows.sinks) * spec.width * half + rows.outliers * spec.outliers * half + rows.exactAtRest * rowBytes;
  if (!spec.fp16())
    b.allocated += rows.packed * spec.format().codeBytesPerRow(spec.packedWidth()) +
                   2 * half * spec.format().scaleCount(rows.packed, spec.packedWidth());
  b.scratch = rows.exactInStep * rowBytes;
  return b;
}

Index stateBytes(const CacheLayout &layout, Index tokens, State state) {
  Index sum = 0;
  for (const auto &layer : layout.layers)
    for (const TensorSpec &spec : layer) {
      const Index closed = spec.closedAt(tokens, state);
      CacheBytes bits = formatBits(spec, tokens, closed);
      if (!spec.fp16()) bits.codes = 8 * closed * spec.format().codeBytesPerRow(spec.packedWidth());
      sum += bits.formatBits() / 8;
    }
  return sum;
}

Index exactSumRows(const ExactFrom &exact, const CacheSize &size) {
  if (size.state == State::All || exact.never()) return 0;
  return (exact.block > 0 ? exact.block - 1 : exact.window) + size.maxStep;
}

Index sumBytes(const CacheLayout::Sum &sum, Index tokens, const CacheSize &size) {
  return sum.rowBytes * (grownRows(tokens, size.capacity, kBlockTokens) + exactSumRows(sum.exact, size));
}

CacheBytes footprint(const CacheLayout &layout, Index tokens, const CacheSize &size) {
  CacheBytes sum;
  for (const auto &layer : layout.layers)
    for (const TensorSpec &tensor : layer) sum += tensorBytes(tensor, tokens, size);
  for (const CacheLayout::Sum &s : layout.sums) sum.accumulator += sumBytes(s, tokens, size);
  return sum;
}

CacheBytes footprint(const PolicySpec &spec, const ModelShape &shape, Index tokens, State state) {
  return footprint(cacheLayout(spec, shape), tokens, {tokens, tokens, state});
}

CacheLayout cacheLayout(const PolicySpec &spec, const ModelShape &shape) {
  CacheLayout layout;
  for (Index i = 0; i < shape.layers; ++i) {
    const LayerPlan plan = layerPlan(spec, shape, i);
    auto &tensors = layout.layers.emplace_back();
    for (const StoredTensor &t : plan.tensors) tensors.push_back(t.spec);
    if (plan.chain && plan.chain->base)
      layout.sums.push_back({plan.chain->accumulator.rowBytes(shape.d), plan.chain->exact});
  }
  return layout;
}

Index fp16KvBytes(const ModelShape &shape, Index tokens) {
  return shape.layers * 2 * tokens * shape.dkv() * sizeOf(DType::F16);
}

double relativeSize(const PolicySpec &spec, const ModelShape &shape, Index tokens, State state) {
  return static_cast<double>(footprint(spec, shape, tokens, state).formatBits()) /
         (8.0 * static_cast<double>(fp16KvBytes(shape, tokens)));
}

double relativeSizeMha(const PolicySpec &spec, const ModelShape &shape, Index tokens, State state) {
  ModelShape mha = shape;
  mha.kvHeads = mha.heads;
  return relativeSize(spec.withAutoSource(shape.mha() ? "x" : "latent"), mha, tokens, state);
}

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "cache/layout.h"

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
  b.outliers = tokens * spec.outliers * 16;
  b.residual = (tokens - closed) * spec.packedWidth() * 16;
  return b;
}

TensorRows tensorRows(const TensorSpec &spec, const CacheSize &size) {
  TensorRows rows;
  if (spec.fp16()) {
    rows.half = size.capacity;
    return rows;
  }
  rows.packed = spec.closedAt(size.capacity, size.state);
  rows.outliers = spec.outliers > 0 ? size.capacity : 0;
  if (size.state == State::All) {
    rows.exactAtRest = size.capacity - rows.packed;
  } else if (!spec.stream.never()) {
    rows.exactAtRest = std::min(size.capacity, spec.stream.block > 0 ? spec.stream.block - 1 : spec.stream.window);
    rows.exactInStep = std::min(size.capacity, rows.exactAtRest + size.maxStep) - rows.exactAtRest;
  }
  return rows;
}

CacheBytes tensorBytes(const TensorSpec &spec, Index tokens, const CacheSize &size) {
  CacheBytes b = formatBits(spec, tokens, spec.closedAt(tokens, size.state));
  const TensorRows rows = tensorRows(spec, size);
  const Index rowBytes = spec.packedWidth() * sizeOf(DType::F16);
  b.allocated = rows.half * spec.width * sizeOf(DType::F16) + rows.outliers * spec.outliers * sizeOf(DType::F16) +
                rows.exactAtRest * rowBytes;
  if (!spec.fp16())
    b.allocated += rows.packed * spec.format().codeBytesPerRow(spec.packedWidth()) +
                   2 * sizeOf(DType::F16) * spec.format().scaleCount(rows.packed, spec.packedWidth());
  b.scratch = rows.exactInStep * rowBytes;
  return b;
}

CacheBytes footprint(const PolicySpec &spec, const ModelShape &shape, Index tokens, State state) {
  const CacheLayout layout = spec.method().layout(spec, shape);
  const CacheSize size{tokens, tokens, state};
  CacheBytes sum;
  for (const auto &layer : layout.layers)
    for (const TensorSpec &tensor : layer) sum += tensorBytes(tensor, tokens, size);
  sum.accumulator = layout.accumulatorRowBytes * (tokens + accumulatorExactRows(layout, size));
  return sum;
}

Index accumulatorExactRows(const CacheLayout &layout, const CacheSize &size) {
  if (size.state == State::All || layout.accumulatorExact.never()) return 0;
  TensorSpec chain;
  chain.bits = 2; // any packed width: only the rows are asked for
  chain.stream = layout.accumulatorExact;
  const TensorRows rows = tensorRows(chain, size);
  return rows.exactAtRest + rows.exactInStep;
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
  if (!spec.has("source") || spec.choice("source") != "auto") return relativeSize(spec, mha, tokens, state);
  return relativeSize(spec.with("source", shape.mha() ? "x" : "latent"), mha, tokens, state);
}

} // namespace xqs

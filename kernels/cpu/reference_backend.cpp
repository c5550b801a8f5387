// SPDX-License-Identifier: Apache-2.0
#include "reference_backend.h"

#include "attention_args.h"
#include "cpu_backends.h"

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

/// Sum of a[i] * b[i] in the one order of this backend: partial sum i mod 16 takes element i, then halves are folded.
float dot(const float *a, const float *b, Index n) {
  float sum[16] = {};
  Index i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; ++j) sum[j] += a[i + j] * b[i + j];
  for (int j = 0; i + j < n; ++j) sum[j] += a[i + j] * b[i + j];
  for (int half = 8; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) sum[j] += sum[j + half];
  return sum[0];
}

/// The row of token `j` that a query reads, at channel `column`.
const float *tokenRow(const AttentionArgs &a, const AttentionSide &side, Index exactFromToken, Index j, Index column) {
  return (j < exactFromToken ? side.stored.row(j - a.first) : side.exact.row(j - side.exactBegin)) + column;
}

/// One query, one head, the chunk's tokens up to the query's own in order. What was summed before is brought to the new
/// maximum; the last chunk divides by the sum of weights.
void attendOne(const AttentionArgs &a, Index i, Index head, std::vector<float> &weight) {
  const Index t = a.firstQuery + i, end = std::min(t + 1, a.end());
  const Index dh = a.q.cols / a.heads, dv = a.out.cols / a.heads;
  const Index kFrom = exactFrom(a.k, t), vFrom = exactFrom(a.v, t);
  const Index kColumn = head / (a.heads / a.k.heads) * dh, vColumn = head / (a.heads / a.v.heads) * dv;
  const float *q = a.q.row(i) + head * dh;
  float *out = a.out.row(i) + head * dv;
  float max = -INFINITY, sum = 0;
  if (a.first == 0)
    std::fill_n(out, dv, 0.0f);
  else
    max = a.running.row(i)[2 * head], sum = a.running.row(i)[2 * head + 1];
  if (a.first < end) {
    weight.resize(static_cast<std::size_t>(end - a.first));
    float *w = weight.data() - a.first;
    float newMax = max;
    for (Index j = a.first; j < end; ++j) {
      w[j] = dot(q, tokenRow(a, a.k, kFrom, j, kColumn), dh) * a.scale;
      newMax = std::max(newMax, w[j]);
    }
    if (newMax > max && a.first > 0) {
      const float factor = std::exp(max - newMax);
      sum *= factor;
      for (Index c = 0; c < dv; ++c) out[c] *= factor;
    }
    max = newMax;
    for (Index j = a.first; j < end; ++j) sum += w[j] = std::exp(w[j] - max);
    for (Index j = a.first; j < end; ++j) {
      const float *v = tokenRow(a, a.v, vFrom, j, vColumn);
      for (Index c = 0; c < dv; ++c) out[c] += w[j] * v[c];
    }
  }
  if (a.last())
    for (Index c = 0; c < dv; ++c) out[c] /= sum;
  else
    a.running.row(i)[2 * head] = max, a.running.row(i)[2 * head + 1] = sum;
}

} // namespace

std::string ReferenceBackend::device() const {
  return "CPU, plain loops, " + std::to_string(m_pool.threads()) + (m_pool.threads() == 1 ? " thread" : " threads");
}

void ReferenceBackend::rmsNorm(Queue, ConstView x, ConstView weight, float eps, View out) {
  XQS_ASSERT(isF32(x) && isF32(weight) && isF32(out) && sameShape(x, out) && weight.rows == 1 && weight.cols == x.cols);
  const Op op(*this, "rmsNorm", 2 * bytesOf(x) + bytesOf(weight), 4.0 * static_cast<double>(x.rows * x.cols));
  forRows(x.rows, elementwiseTile(x.cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const float *in = x.row(r), *w = weight.row(0);
      float *o = out.row(r);
      const float inverse = 1.0f / std::sqrt(dot(in, in, x.cols) / static_cast<float>(x.cols) + eps);
      for (Index c = 0; c < x.cols; ++c) o[c] = in[c] * inverse * w[c];
    }
  });
}

void ReferenceBackend::matmul(Queue, ConstView x, ConstView w, View out, bool accumulate) {
  XQS_ASSERT(isF32(x) && isF32(w) && isF32(out) && x.cols == w.cols && out.rows == x.rows && out.cols == w.rows);
  const Op op(*this, "matmul", bytesOf(x) + bytesOf(w) + bytesOf(out), 2.0 * static_cast<double>(x.rows * x.cols * w.rows));
  constexpr Index kRows = 64, kOutputs = 32;
  const Index outputTiles = (w.rows + kOutputs - 1) / kOutputs, rowTiles = (x.rows + kRows - 1) / kRows;
  m_pool.parallelFor(outputTiles * rowTiles, [&](Index tile) {
    const Index row = tile / outputTiles * kRows, output = tile % outputTiles * kOutputs;
    for (Index r = row; r < std::min(x.rows, row + kRows); ++r)
      for (Index o = output; o < std::min(w.rows, output + kOutputs); ++o) {
        const float sum = dot(x.row(r), w.row(o), x.cols);
        out.row(r)[o] = accumulate ? out.row(r)[o] + sum : sum;
      }
  });
}

void ReferenceBackend::siluMul(Queue, ConstView gate, ConstView up, View out) {
  XQS_ASSERT(isF32(gate) && isF32(up) && isF32(out) && sameShape(gate, up) && sameShape(gate, out));
  const Op op(*this, "siluMul", 3 * bytesOf(gate), 5.0 * static_cast<double>(gate.rows * gate.cols));
  forRows(gate.rows, elementwiseTile(gate.cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const float *g = gate.row(r), *u = up.row(r);
      float *o = out.row(r);
      for (Index c = 0; c < gate.cols; ++c) o[c] = g[c] / (1.0f + std::exp(-g[c])) * u[c];
    }
  });
}

void ReferenceBackend::attention(Queue, const AttentionArgs &args) {
  checkAttention(args);
  const Op op(*this, "attention", attentionBytes(args), attentionFlops(args));
  m_pool.parallelFor(args.q.rows * args.heads, [&](Index tile) {
    thread_local std::vector<float> weight;
    attendOne(args, tile / args.heads, tile % args.heads, weight);
  });
}

const XqsBackendModule *referenceBackendModule() {
  static constexpr XqsBackendModule kModule = {
      kBackendAbi,
      "reference",
      "CPU, plain loops with one fixed order of summation: the definition that the others are checked against",
      [] { return static_cast<const char *>(nullptr); },
      [](int threads) -> Backend * { return new ReferenceBackend(threads); },
      [](Backend *backend) { delete backend; },
  };
  return &kModule;
}

} // namespace xqs

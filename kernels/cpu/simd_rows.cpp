// SPDX-License-Identifier: Apache-2.0
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd_rows.cpp"
#include "simd_rows.h"

#include <cmath>

#include <hwy/foreach_target.h> // must come before highway.h

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace xqs::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

// Inside this region, which is compiled once for each instruction set, nothing may instantiate a template of another header
// (std::min ...): the linker could keep the copy that only some processors run. Remainders are scalar.

HWY_INLINE float dotOne(const float *a, const float *b, Index n) {
  const DF d;
  const Index lanes = static_cast<Index>(hn::Lanes(d));
  VF s0 = hn::Zero(d), s1 = s0;
  Index i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), s1);
  }
  if (i + lanes <= n) {
    s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    i += lanes;
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void rmsNorm(const float *x, const float *weight, Index n, float eps, float *out) {
  const DF d;
  const Index lanes = static_cast<Index>(hn::Lanes(d));
  const float inverse = 1.0f / __builtin_sqrtf(dotOne(x, x, n) / static_cast<float>(n) + eps);
  const VF v = hn::Set(d, inverse);
  Index i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), v), hn::LoadU(d, weight + i)), d, out + i);
  for (; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

/// g * sigmoid(g) through exp(-|g|), which cannot overflow.
HWY_INLINE VF silu(DF d, VF g) {
  const VF one = hn::Set(d, 1.0f);
  const VF e = hn::Exp(d, hn::Neg(hn::Abs(g)));
  const VF numerator = hn::IfThenElse(hn::Lt(g, hn::Zero(d)), e, one);
  return hn::Mul(g, hn::Div(numerator, hn::Add(one, e)));
}

void siluMul(const float *gate, const float *up, Index n, float *out) {
  const DF d;
  const Index lanes = static_cast<Index>(hn::Lanes(d));
  Index i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(silu(d, hn::LoadU(d, gate + i)), hn::LoadU(d, up + i)), d, out + i);
  for (; i < n; ++i) out[i] = hn::GetLane(silu(d, hn::Set(d, gate[i]))) * up[i];
}

void matmulFewRows(const FewRows &a) {
  const DF d;
  const Index lanes = static_cast<Index>(hn::Lanes(d));
  Index o = 0;
  for (; o + 4 <= a.outputs; o += 4) {
    const float *w0 = a.w + o * a.wStride, *w1 = w0 + a.wStride, *w2 = w1 + a.wStride, *w3 = w2 + a.wStride;
    for (Index r = 0; r < a.rows; ++r) {
      const float *x = a.x + r * a.xStride;
      VF s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
      Index i = 0;
      for (; i + lanes <= a.k; i += lanes) {
        const VF v = hn::LoadU(d, x + i);
        s0 = hn::MulAdd(v, hn::LoadU(d, w0 + i), s0);
        s1 = hn::MulAdd(v, hn::LoadU(d, w1 + i), s1);
        s2 = hn::MulAdd(v, hn::LoadU(d, w2 + i), s2);
        s3 = hn::MulAdd(v, hn::LoadU(d, w3 + i), s3);
      }
      float sum[4] = {hn::GetLane(hn::SumOfLanes(d, s0)), hn::GetLane(hn::SumOfLanes(d, s1)),
                      hn::GetLane(hn::SumOfLanes(d, s2)), hn::GetLane(hn::SumOfLanes(d, s3))};
      for (; i < a.k; ++i) {
        sum[0] += x[i] * w0[i];
        sum[1] += x[i] * w1[i];
        sum[2] += x[i] * w2[i];
        sum[3] += x[i] * w3[i];
      }
      float *out = a.out + r * a.outStride + o;
      for (int j = 0; j < 4; ++j) out[j] = a.accumulate ? out[j] + sum[j] : sum[j];
    }
  }
  for (; o < a.outputs; ++o)
    for (Index r = 0; r < a.rows; ++r) {
      float *out = a.out + r * a.outStride + o;
      const float sum = dotOne(a.x + r * a.xStride, a.w + o * a.wStride, a.k);
      *out = a.accumulate ? *out + sum : sum;
    }
}

/// exp(v), NaN for NaN (Highway's own gives 0).
HWY_INLINE VF expOrNan(DF d, VF v) { return hn::IfThenElse(hn::IsNaN(v), v, hn::Exp(d, v)); }

float softmaxTile(float *scores, Index n, Softmax &state) {
  const DF d;
  const Index lanes = static_cast<Index>(hn::Lanes(d));
  VF m = hn::Set(d, state.max);
  Index i = 0;
  for (; i + lanes <= n; i += lanes) m = hn::Max(m, hn::LoadU(d, scores + i));
  float max = hn::GetLane(hn::MaxOfLanes(d, m));
  for (; i < n; ++i)
    if (scores[i] > max) max = scores[i];

  const VF vMax = hn::Set(d, max);
  VF s = hn::Zero(d);
  for (i = 0; i + lanes <= n; i += lanes) {
    const VF p = expOrNan(d, hn::Sub(hn::LoadU(d, scores + i), vMax));
    hn::StoreU(p, d, scores + i);
    s = hn::Add(s, p);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, s));
  for (; i < n; ++i) {
    scores[i] = hn::GetLane(expOrNan(d, hn::Set(d, scores[i] - max)));
    sum += scores[i];
  }
  const float factor = state.max == max ? 1.0f : hn::GetLane(expOrNan(d, hn::Set(d, state.max - max)));
  state.sum = state.sum * factor + sum;
  state.max = max;
  return factor;
}

void scale(const float *x, float factor, Index n, float *out) {
  const DF d;
  const Index lanes = static_cast<Index>(hn::Lanes(d));
  const VF v = hn::Set(d, factor);
  Index i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), v), d, out + i);
  for (; i < n; ++i) out[i] = x[i] * factor;
}

const char *targetName() { return hwy::TargetName(HWY_TARGET); }

} // namespace xqs::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xqs::simd {
HWY_EXPORT(rmsNorm);
HWY_EXPORT(siluMul);
HWY_EXPORT(matmulFewRows);
HWY_EXPORT(softmaxTile);
HWY_EXPORT(scale);
HWY_EXPORT(targetName);

const char *targetName() { return HWY_DYNAMIC_DISPATCH(targetName)(); }
void rmsNorm(const float *x, const float *weight, Index n, float eps, float *out) {
  HWY_DYNAMIC_DISPATCH(rmsNorm)(x, weight, n, eps, out);
}
void siluMul(const float *gate, const float *up, Index n, float *out) { HWY_DYNAMIC_DISPATCH(siluMul)(gate, up, n, out); }
void matmulFewRows(const FewRows &args) { HWY_DYNAMIC_DISPATCH(matmulFewRows)(args); }
float softmaxTile(float *scores, Index n, Softmax &state) { return HWY_DYNAMIC_DISPATCH(softmaxTile)(scores, n, state); }
void scale(const float *x, float factor, Index n, float *out) { HWY_DYNAMIC_DISPATCH(scale)(x, factor, n, out); }
} // namespace xqs::simd
#endif

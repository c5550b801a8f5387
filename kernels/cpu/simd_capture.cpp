// SPDX-License-Identifier: Apache-2.0
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd_capture.cpp"
#include "simd_capture.h"

#include <hwy/foreach_target.h> // must come before highway.h

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace xqs::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
#if HWY_TARGET == HWY_SCALAR
using DD = hn::ScalableTag<double>; // one lane: all of a vector is its lower half
#else
using DD = hn::Repartition<double, DF>;
#endif
using VD = hn::Vec<DD>;

// No templates of other headers in here: see simd_rows.cpp.

HWY_INLINE Index lanesOf() { return static_cast<Index>(hn::Lanes(DF())); }
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE VD lower(VF v) { return hn::PromoteTo(DD(), v); }
HWY_INLINE VD upper(VF) { return hn::Zero(DD()); }
#else
HWY_INLINE VD lower(VF v) { return hn::PromoteTo(DD(), hn::LowerHalf(hn::Half<DF>(), v)); }
HWY_INLINE VD upper(VF v) { return hn::PromoteTo(DD(), hn::UpperHalf(hn::Half<DF>(), v)); }
#endif
HWY_INLINE double total(VD a, VD b) { return hn::GetLane(hn::SumOfLanes(DD(), hn::Add(a, b))); }
HWY_INLINE float expOne(float x) { return hn::GetLane(hn::Exp(DF(), hn::Set(DF(), x))); }

RowSoftmax rowSoftmax(const float *x, Index n) {
  const DF d;
  VF m = hn::Set(d, -__builtin_inff());
  auto broken = hn::IsNaN(m);
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const VF v = hn::LoadU(d, x + i);
    broken = hn::Or(broken, hn::IsNaN(v));
    m = hn::Max(m, v);
  }
  float max = hn::GetLane(hn::MaxOfLanes(d, m));
  bool nan = !hn::AllFalse(d, broken);
  for (; i < n; ++i) {
    nan = nan || x[i] != x[i];
    if (x[i] > max) max = x[i];
  }
  RowSoftmax s;
  s.max = max;
  const VF vMax = hn::Set(d, max);
  VD low = hn::Zero(DD()), high = low;
  Index top = -1;
  for (i = 0; i + lanesOf() <= n; i += lanesOf()) {
    const VF v = hn::LoadU(d, x + i), e = hn::Exp(d, hn::Sub(v, vMax));
    if (top < 0) {
      const auto found = hn::FindFirstTrue(d, hn::Eq(v, vMax));
      if (found >= 0) top = i + static_cast<Index>(found);
    }
    low = hn::Add(low, lower(e));
    high = hn::Add(high, upper(e));
  }
  s.sum = total(low, high);
  for (; i < n; ++i) {
    if (top < 0 && x[i] == max) top = i;
    s.sum += static_cast<double>(expOne(x[i] - max));
  }
  s.top = static_cast<std::int32_t>(top < 0 ? 0 : top);
  if (nan) s.sum = static_cast<double>(__builtin_nanf(""));
  return s;
}

double weightedDifference(const float *exact, float max, const float *policy, Index n) {
  const DF d;
  const VF vMax = hn::Set(d, max);
  VD low = hn::Zero(DD()), high = low;
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const VF v = hn::LoadU(d, exact + i), e = hn::Exp(d, hn::Sub(v, vMax)),
             difference = hn::Sub(v, hn::LoadU(d, policy + i));
    low = hn::MulAdd(lower(e), lower(difference), low);
    high = hn::MulAdd(upper(e), upper(difference), high);
  }
  double sum = total(low, high);
  for (; i < n; ++i) sum += static_cast<double>(expOne(exact[i] - max)) * static_cast<double>(exact[i] - policy[i]);
  return sum;
}

void rowSums(const float *x, Index n, RowSums &sums, double *sumAbs) {
  const DF d;
  const DD dd;
  const Index half = lanesOf() / 2;
  VF min = hn::Set(d, sums.min), max = hn::Set(d, sums.max);
  VD low = hn::Zero(dd), high = low;
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const VF v = hn::LoadU(d, x + i), size = hn::Abs(v);
    const auto number = hn::Eq(v, v);
    min = hn::Min(min, hn::IfThenElse(number, v, min));
    max = hn::Max(max, hn::IfThenElse(number, v, max));
    low = hn::Add(low, lower(v));
    high = hn::Add(high, upper(v));
    hn::StoreU(hn::Add(hn::LoadU(dd, sumAbs + i), lower(size)), dd, sumAbs + i);
    hn::StoreU(hn::Add(hn::LoadU(dd, sumAbs + i + half), upper(size)), dd, sumAbs + i + half);
  }
  sums.min = hn::GetLane(hn::MinOfLanes(d, min));
  sums.max = hn::GetLane(hn::MaxOfLanes(d, max));
  sums.sum += total(low, high);
  for (; i < n; ++i) {
    const double value = static_cast<double>(x[i]);
    sums.sum += value;
    sumAbs[i] += value < 0 ? -value : value;
    if (x[i] < sums.min) sums.min = x[i];
    if (x[i] > sums.max) sums.max = x[i];
  }
}

double rowDeviationSquares(const float *x, Index n, double mean) {
  const DF d;
  const VD m = hn::Set(DD(), mean);
  VD low = hn::Zero(DD()), high = low;
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const VF v = hn::LoadU(d, x + i);
    const VD a = hn::Sub(lower(v), m);
    low = hn::MulAdd(a, a, low);
#if HWY_TARGET != HWY_SCALAR // whose upper half is no value
    const VD b = hn::Sub(upper(v), m);
    high = hn::MulAdd(b, b, high);
#endif
  }
  double sum = total(low, high);
  for (; i < n; ++i) {
    const double deviation = static_cast<double>(x[i]) - mean;
    sum += deviation * deviation;
  }
  return sum;
}

void rowBins(const float *x, Index n, float low, float perUnit, std::int32_t *bins) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  const VF vLow = hn::Set(d, low), vPerUnit = hn::Set(d, perUnit);
  const VF top = hn::Set(d, static_cast<float>(Summary::kBins - 1));
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const VF bin = hn::Mul(hn::Sub(hn::LoadU(d, x + i), vLow), vPerUnit);
    const auto number = hn::Eq(bin, bin);
    const VF clamped = hn::Min(hn::Max(hn::IfThenElseZero(number, bin), hn::Zero(d)), top);
    hn::StoreU(hn::IfThenElse(hn::RebindMask(di, number), hn::ConvertTo(di, clamped), hn::Set(di, -1)), di, bins + i);
  }
  for (; i < n; ++i) {
    const float bin = (x[i] - low) * perUnit;
    const float last = static_cast<float>(Summary::kBins - 1);
    bins[i] = bin != bin ? -1 : static_cast<std::int32_t>(bin < 0 ? 0 : bin > last ? last : bin);
  }
}

void rowErrors(const float *exact, const float *approx, Index n, ErrorSums &sums) {
  const DF d;
  VD errorLow = hn::Zero(DD()), errorHigh = errorLow, exactLow = errorLow, exactHigh = errorLow;
  VF worst = hn::Zero(d);
  Index i = 0;
  for (; i + lanesOf() <= n; i += lanesOf()) {
    const VF a = hn::LoadU(d, exact + i), b = hn::LoadU(d, approx + i);
    const VD aLow = lower(a), aHigh = upper(a), low = hn::Sub(aLow, lower(b)), high = hn::Sub(aHigh, upper(b));
    errorLow = hn::MulAdd(low, low, errorLow);
    errorHigh = hn::MulAdd(high, high, errorHigh);
    exactLow = hn::MulAdd(aLow, aLow, exactLow);
    exactHigh = hn::MulAdd(aHigh, aHigh, exactHigh);
    const VF size = hn::Abs(hn::Sub(a, b));
    worst = hn::Max(worst, hn::IfThenElseZero(hn::Eq(size, size), size));
  }
  sums.errorSquares += total(errorLow, errorHigh);
  sums.exactSquares += total(exactLow, exactHigh);
  float max = hn::GetLane(hn::MaxOfLanes(d, worst));
  for (; i < n; ++i) {
    const double a = static_cast<double>(exact[i]), difference = a - static_cast<double>(approx[i]);
    sums.errorSquares += difference * difference;
    sums.exactSquares += a * a;
    const float size = __builtin_fabsf(exact[i] - approx[i]);
    if (size > max) max = size;
  }
  if (max > sums.maxAbsError) sums.maxAbsError = max;
}

double rowSquares(const float *x, Index n) { return rowDeviationSquares(x, n, 0); }

} // namespace xqs::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace xqs::simd {
HWY_EXPORT(rowSoftmax);
HWY_EXPORT(weightedDifference);
HWY_EXPORT(rowSums);
HWY_EXPORT(rowDeviationSquares);
HWY_EXPORT(rowBins);
HWY_EXPORT(rowErrors);
HWY_EXPORT(rowSquares);

RowSoftmax rowSoftmax(const float *x, Index n) { return HWY_DYNAMIC_DISPATCH(rowSoftmax)(x, n); }
double weightedDifference(const float *exact, float max, const float *policy, Index n) {
  return HWY_DYNAMIC_DISPATCH(weightedDifference)(exact, max, policy, n);
}
void rowSums(const float *x, Index n, RowSums &sums, double *sumAbs) { HWY_DYNAMIC_DISPATCH(rowSums)(x, n, sums, sumAbs); }
double rowDeviationSquares(const float *x, Index n, double mean) {
  return HWY_DYNAMIC_DISPATCH(rowDeviationSquares)(x, n, mean);
}
void rowBins(const float *x, Index n, float low, float perUnit, std::int32_t *bins) {
  HWY_DYNAMIC_DISPATCH(rowBins)(x, n, low, perUnit, bins);
}
void rowErrors(const float *exact, const float *approx, Index n, ErrorSums &sums) {
  HWY_DYNAMIC_DISPATCH(rowErrors)(exact, approx, n, sums);
}
double rowSquares(const float *x, Index n) { return HWY_DYNAMIC_DISPATCH(rowSquares)(x, n); }
} // namespace xqs::simd
#endif

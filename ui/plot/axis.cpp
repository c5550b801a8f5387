// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/axis.h"

#include "plot/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace xqs {

namespace {

constexpr double kTiny = 1e-9; ///< relative slack against rounding at the ends of a range

/// The smallest of 1, 2, 5 times a power of ten that is >= `least`.
double niceStep(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (double m : {1.0, 2.0, 5.0})
    if (m * power >= least * (1 - kTiny)) return m * power;
  return 10 * power;
}

std::vector<Tick> linearTicks(const Range &range, double step) {
  std::vector<Tick> result;
  const double slack = step * 1e-6;
  for (double k = std::ceil((range.min - slack) / step); k * step <= range.max + slack; ++k)
    result.push_back({k * step, formatTick(k * step, step)});
  return result;
}

/// Mantissas to label in each decade, from sparse to dense.
constexpr std::array<double, 1> kDecades{1};
constexpr std::array<double, 2> kHalves{1, 3};
constexpr std::array<double, 3> kOneTwoFive{1, 2, 5};
constexpr std::array<double, 6> kFine{1, 1.5, 2, 3, 5, 7};

bool isLabelled(double mantissa, std::span<const double> labelled) {
  return std::ranges::any_of(labelled, [&](double m) { return std::abs(m - mantissa) < 1e-6; });
}

std::vector<Tick> decadeTicks(const Range &range, std::span<const double> labelled, int every) {
  std::vector<Tick> result;
  const int first = static_cast<int>(std::floor(std::log10(range.min)));
  const int last = static_cast<int>(std::ceil(std::log10(range.max)));
  for (int decade = first; decade <= last; ++decade) {
    for (double mantissa : {1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0}) {
      const double value = mantissa * std::pow(10.0, decade);
      if (value < range.min * (1 - kTiny) || value > range.max * (1 + kTiny)) continue;
      const bool label = isLabelled(mantissa, labelled) && decade % every == 0;
      if (!label && (mantissa == 1.5 || every > 1)) continue;
      result.push_back({value, label ? formatLogTick(value) : QString()});
    }
  }
  return result;
}

std::ptrdiff_t labels(const std::vector<Tick> &list) {
  return std::ranges::count_if(list, [](const Tick &t) { return !t.label.isEmpty(); });
}

std::vector<Tick> logTicks(const Range &range, int wanted) {
  for (std::span<const double> set : {std::span<const double>(kFine), std::span<const double>(kOneTwoFive),
                                      std::span<const double>(kHalves), std::span<const double>(kDecades)}) {
    auto result = decadeTicks(range, set, 1);
    const auto count = labels(result);
    if (count > wanted) continue;
    if (count >= 3) return result;
    break; // even the densest that fits is sparse: less than a decade is shown
  }
  const double decades = std::log10(range.max / range.min);
  if (decades < 1.3) return linearTicks(range, niceStep(range.span() / wanted));
  return decadeTicks(range, kDecades, std::max(1, static_cast<int>(std::ceil(decades / wanted))));
}

} // namespace

void Range::include(double v) {
  if (!std::isfinite(v)) return;
  min = std::min(min, v);
  max = std::max(max, v);
}

Axis::Axis(Scale scale, Range range, double pixelBegin, double pixelEnd)
    : m_scale(scale), m_range(range), m_begin(pixelBegin), m_end(pixelEnd) {
  if (m_range.empty()) m_range = scale == Scale::Log ? Range{0.1, 1} : Range{0, 1};
  if (scale == Scale::Log && m_range.min <= 0)
    m_range = m_range.max > 0 ? Range{m_range.max / 10, m_range.max} : Range{0.1, 1};
  if (m_range.span() <= 0) m_range = padded(m_range, scale, 0.1);
  const auto f = [scale](double v) { return scale == Scale::Log ? std::log10(v) : v; };
  m_from = f(m_range.min);
  m_perValue = (m_end - m_begin) / (f(m_range.max) - m_from);
}

double Axis::toPixel(double value) const {
  if (std::isnan(value)) return value;
  if (m_scale == Scale::Linear) return m_begin + (value - m_from) * m_perValue;
  return value > 0 ? m_begin + (std::log10(value) - m_from) * m_perValue : m_begin;
}

double Axis::toValue(double pixel) const {
  const double v = m_from + (pixel - m_begin) / m_perValue;
  return m_scale == Scale::Log ? std::pow(10.0, v) : v;
}

double Axis::toPixelClamped(double value) const {
  return std::isnan(value) ? value : toPixel(std::clamp(value, m_range.min, m_range.max));
}

std::vector<Tick> ticks(Scale scale, const Range &range, int wanted) {
  if (range.empty() || range.span() <= 0) return {};
  wanted = std::max(wanted, 2);
  if (scale == Scale::Log && range.min > 0) return logTicks(range, wanted);
  auto result = linearTicks(range, niceStep(range.span() / wanted));
  for (int more = 2 * wanted; result.size() < 2 && more < 32; more *= 2)
    result = linearTicks(range, niceStep(range.span() / more));
  return result;
}

std::vector<Tick> integerTicks(const Range &range, int wanted) {
  if (range.empty()) return {};
  return linearTicks(range, std::max(1.0, niceStep(std::max(range.span(), 1.0) / std::max(wanted, 2))));
}

Range padded(const Range &data, Scale scale, double fraction) {
  if (data.empty()) return data;
  if (scale == Scale::Log && data.min > 0) {
    const double ratio = data.max > data.min ? data.max / data.min : 10.0;
    const double by = std::pow(ratio, fraction);
    return {data.min / by, data.max * by};
  }
  const double span = data.span() > 0 ? data.span() : std::max(std::abs(data.min), 1.0);
  return {data.min - span * fraction, data.max + span * fraction};
}

Range niceRange(const Range &data, Scale scale, int wanted) {
  if (data.empty()) return scale == Scale::Log ? Range{0.1, 1} : Range{0, 1};
  const Range wide = data.span() > 0 ? data : padded(data, scale, 0.1);
  if (scale == Scale::Log && wide.min > 0 && wide.max / wide.min > 10)
    return {std::pow(10.0, std::floor(std::log10(wide.min) + kTiny)),
            std::pow(10.0, std::ceil(std::log10(wide.max) - kTiny))};
  const double step = niceStep(wide.span() / std::max(wanted, 2));
  Range result{std::floor(wide.min / step + kTiny) * step, std::ceil(wide.max / step - kTiny) * step};
  if (scale == Scale::Log && result.min <= 0) result.min = wide.min;
  return result;
}

} // namespace xqs

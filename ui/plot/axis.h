// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QString>

#include <cstdint>
#include <limits>
#include <vector>

namespace xqs {

enum class Scale : std::uint8_t { Linear, Log };

/// A closed interval of values that grows over data; empty until something finite was included.
struct Range {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  bool empty() const { return !(min <= max); }
  double span() const { return empty() ? 0 : max - min; }
  bool contains(double v) const { return v >= min && v <= max; }
  void include(double v); ///< NaN and infinities are ignored
  friend bool operator==(const Range &, const Range &) = default;
};

struct Tick {
  double value = 0;
  QString label; ///< empty: a minor tick
  friend bool operator==(const Tick &, const Tick &) = default;
};

/// Value <-> pixel mapping of one axis. `pixelEnd` may be smaller than `pixelBegin` (y grows upwards).
class Axis {
public:
  Axis() = default;
  /// An empty or (for Log) not positive range is replaced by 0..1 (0.1..1).
  Axis(Scale scale, Range range, double pixelBegin, double pixelEnd);

  Scale scale() const { return m_scale; }
  const Range &range() const { return m_range; }
  double pixelBegin() const { return m_begin; }
  double pixelEnd() const { return m_end; }
  bool contains(double value) const { return m_range.contains(value); }
  /// Not clamped; a value that has no place on the axis (NaN; <= 0 on a log axis) gives NaN (the begin).
  double toPixel(double value) const;
  double toValue(double pixel) const;
  /// `toPixel` of the nearest value on the axis.
  double toPixelClamped(double value) const;

private:
  Scale m_scale = Scale::Linear;
  Range m_range{0, 1};
  double m_begin = 0, m_end = 1;
  double m_from = 0, m_perValue = 1; ///< pixel = begin + (f(value) - from) * perValue, f = identity or log10
};

/// Ticks inside `range` at 1, 2, 5 times a power of ten, about `wanted` of them labelled. Log: powers of ten, then
/// 1-2-5 and finer when few decades are shown, with unlabelled minor ticks between.
std::vector<Tick> ticks(Scale scale, const Range &range, int wanted);
/// Ticks at whole numbers (layers, tokens).
std::vector<Tick> integerTicks(const Range &range, int wanted);

/// `data` widened to the next ticks; a single value gets a neighbourhood.
Range niceRange(const Range &data, Scale scale, int wanted = 5);
/// `data` widened by `fraction` of its length at both ends (of its logarithm for Log).
Range padded(const Range &data, Scale scale, double fraction);

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QRgb>

#include <array>
#include <span>

namespace xqs {

/// 256 colours over a range of values, interpolated in Oklab so that equal steps look equal. Legible with red-green
/// blindness: the sequential map rises in lightness all the way, the diverging one goes blue - neutral - orange.
class ColorMap {
public:
  static constexpr int kSize = 256;
  /// Anchors at even distances, at least two.
  explicit ColorMap(std::span<const QRgb> anchors);

  static const ColorMap &sequential();
  /// `dark`: the neutral middle is dark instead of light, so that 0 recedes into the window.
  static const ColorMap &diverging(bool dark = false);

  const std::array<QRgb, kSize> &table() const { return m_table; }
  QRgb at(int index) const { return m_table[static_cast<std::size_t>(index)]; }
  /// Values beyond the range take its end's colour; NaN is transparent.
  QRgb color(double value, double min, double max) const;

private:
  std::array<QRgb, kSize> m_table{};
};

/// Black or white, whichever reads better on `background`.
QRgb readableOn(QRgb background);
/// Lightness of a colour as perceived (Oklab L, 0..1).
double perceivedLightness(QRgb color);

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/color_map.h"

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

struct Lab {
  double l = 0, a = 0, b = 0;
};

double toLinear(int channel) {
  const double c = channel / 255.0;
  return c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
}

int fromLinear(double c) {
  c = std::clamp(c, 0.0, 1.0);
  const double s = c <= 0.0031308 ? 12.92 * c : 1.055 * std::pow(c, 1 / 2.4) - 0.055;
  return static_cast<int>(std::lround(s * 255));
}

// Oklab: B. Ottosson, "A perceptual color space for image processing", 2020.
Lab toLab(QRgb c) {
  const double r = toLinear(qRed(c)), g = toLinear(qGreen(c)), b = toLinear(qBlue(c));
  const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return {0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s, 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
          0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

QRgb fromLab(const Lab &c) {
  const double l = std::pow(c.l + 0.3963377774 * c.a + 0.2158037573 * c.b, 3);
  const double m = std::pow(c.l - 0.1055613458 * c.a - 0.0638541728 * c.b, 3);
  const double s = std::pow(c.l - 0.0894841775 * c.a - 1.2914855480 * c.b, 3);
  return qRgb(fromLinear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
              fromLinear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
              fromLinear(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s));
}

} // namespace

ColorMap::ColorMap(std::span<const QRgb> anchors) {
  const auto segments = static_cast<double>(anchors.size() - 1);
  for (int i = 0; i < kSize; ++i) {
    const double at = segments * i / (kSize - 1);
    const auto left = std::min(static_cast<std::size_t>(at), anchors.size() - 2);
    const double t = at - static_cast<double>(left);
    const Lab a = toLab(anchors[left]), b = toLab(anchors[left + 1]);
    m_table[static_cast<std::size_t>(i)] = fromLab({a.l + (b.l - a.l) * t, a.a + (b.a - a.a) * t, a.b + (b.b - a.b) * t});
  }
}

const ColorMap &ColorMap::sequential() {
  // Anchors of viridis (S. van der Walt, N. Smith; CC0).
  static constexpr std::array<QRgb, 10> kAnchors{0xff440154, 0xff482878, 0xff3e4989, 0xff31688e, 0xff26828e,
                                                 0xff1f9e89, 0xff35b779, 0xff6ece58, 0xffb5de2b, 0xfffde725};
  static const ColorMap map{kAnchors};
  return map;
}

const ColorMap &ColorMap::diverging(bool dark) {
  static constexpr std::array<QRgb, 7> kLight{0xff0b3c7d, 0xff3a80c0, 0xff93bfe0, 0xfff4f3f0,
                                              0xfff2b67c, 0xffc4660f, 0xff7d3503};
  static constexpr std::array<QRgb, 7> kDark{0xffa9d3f5, 0xff4c9ae0, 0xff235a92, 0xff2a2b2e,
                                             0xff8f4f16, 0xffe08a35, 0xfffbd3a2};
  static const ColorMap light{kLight}, night{kDark};
  return dark ? night : light;
}

QRgb ColorMap::color(double value, double min, double max) const {
  if (std::isnan(value)) return qRgba(0, 0, 0, 0);
  const double t = max > min ? (value - min) / (max - min) : 0.5;
  return at(static_cast<int>(std::lround(std::clamp(t, 0.0, 1.0) * (kSize - 1))));
}

double perceivedLightness(QRgb color) { return toLab(color).l; }

QRgb readableOn(QRgb background) { return perceivedLightness(background) > 0.62 ? qRgb(0, 0, 0) : qRgb(255, 255, 255); }

} // namespace xqs

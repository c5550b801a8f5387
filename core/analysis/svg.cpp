// SPDX-License-Identifier: Apache-2.0
#include "svg.h"

#include "error.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

namespace xqs::svg {
namespace {

std::string base64(const std::vector<std::uint8_t> &bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = bytes.size() - i;
    const std::uint32_t word = bytes[i] << 16 | (left > 1 ? bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
    text += kDigits[word >> 18];
    text += kDigits[word >> 12 & 63];
    text += left > 1 ? kDigits[word >> 6 & 63] : '=';
    text += left > 2 ? kDigits[word & 63] : '=';
  }
  return text;
}

void putLittleEndian(std::vector<std::uint8_t> &bytes, std::uint32_t value, int count) {
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

} // namespace

std::string escape(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
    case '&': result += "&amp;"; break;
    case '<': result += "&lt;"; break;
    case '>': result += "&gt;"; break;
    case '"': result += "&quot;"; break;
    case '\'': result += "&#39;"; break;
    default:
      if (static_cast<unsigned char>(c) >= 32 || c == '\n' || c == '\t') result += c;
    }
  }
  return result;
}

std::string number(double value, int digits) {
  if (std::isnan(value)) return "—";
  if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
  const double size = std::abs(value);
  std::string text;
  if (size != 0 && (size < 1e-4 || size >= 1e7)) {
    text = fmt::format("{:.{}e}", value, digits - 1);
  } else {
    const int before =
        size < 1 ? (size == 0 ? 1 : static_cast<int>(std::ceil(std::log10(size)))) : static_cast<int>(std::log10(size)) + 1;
    text = fmt::format("{:.{}f}", value, std::max(0, digits - before));
  }
  if (text[0] == '-') text.replace(0, 1, "−");
  return text;
}

double Scale::operator()(double value) const {
  const double share = logarithmic ? std::log(value / min) / std::log(max / min) : (value - min) / (max - min);
  return from + share * (to - from);
}

std::vector<double> Scale::ticks(int count) const {
  std::vector<double> result;
  if (logarithmic) {
    static constexpr std::initializer_list<double> kSteps[] = {
        {1, 1.02, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 4, 5, 6, 7, 8, 9},
        {1, 1.1, 1.2, 1.5, 2, 3, 4, 6, 8},
        {1, 2, 5},
        {1}};
    for (const auto &steps : kSteps) { // the finest that is not too many
      result.clear();
      for (double decade = std::pow(10, std::floor(std::log10(min))); decade <= max; decade *= 10)
        for (const double step : steps)
          if (holds(decade * step * (1 + 1e-12)) || holds(decade * step * (1 - 1e-12))) result.push_back(decade * step);
      if (static_cast<int>(result.size()) <= count + 2) break;
    }
    return result;
  }
  const double raw = (max - min) / count, power = std::pow(10, std::floor(std::log10(raw)));
  const double step = power * (raw / power > 5 ? 10 : raw / power > 2 ? 5 : raw / power > 1 ? 2 : 1);
  for (double tick = std::ceil(min / step - 1e-9) * step; tick <= max + 1e-9 * step; tick += step) result.push_back(tick);
  return result;
}

std::string marker(int shape, double x, double y, double radius, const std::string &attributes) {
  struct Polygon {
    int corners;
    double turn, scale; ///< degrees of the first corner; radius that gives the circle's area
  };
  static constexpr Polygon kPolygons[] = {{4, 45, 1.25}, {4, 0, 1.25}, {3, -90, 1.45}, {3, 90, 1.45}, {6, 0, 1.1}};
  if (shape % 6 == 0) return fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='{:.1f}' {}/>", x, y, radius, attributes);
  const Polygon &p = kPolygons[shape % 6 - 1];
  std::string points;
  for (int i = 0; i < p.corners; ++i) {
    const double angle = (p.turn + 360.0 * i / p.corners) * std::numbers::pi / 180;
    points += fmt::format("{:.1f},{:.1f} ", x + radius * p.scale * std::cos(angle), y + radius * p.scale * std::sin(angle));
  }
  points.pop_back();
  return fmt::format("<polygon points='{}' {}/>", points, attributes);
}

std::string line(double x1, double y1, double x2, double y2, const std::string &attributes) {
  return fmt::format("<line x1='{:.1f}' y1='{:.1f}' x2='{:.1f}' y2='{:.1f}' {}/>", x1, y1, x2, y2, attributes);
}

std::string text(double x, double y, const std::string &attributes, std::string_view content) {
  return fmt::format("<text x='{:.1f}' y='{:.1f}' {}>{}</text>", x, y, attributes, escape(content));
}

std::string imageUri(int width, int height, const std::vector<std::uint8_t> &rgb) {
  XQS_ASSERT(width > 0 && height > 0 && rgb.size() == std::size_t(width) * height * 3);
  const std::size_t row = (std::size_t(width) * 3 + 3) / 4 * 4; // rows are padded to 4 bytes, bottom row first, blue first
  std::vector<std::uint8_t> file{'B', 'M'};
  putLittleEndian(file, static_cast<std::uint32_t>(54 + row * height), 4);
  for (const std::uint32_t word : {0u, 54u, 40u, std::uint32_t(width), std::uint32_t(height)})
    putLittleEndian(file, word, 4);
  putLittleEndian(file, 1, 2), putLittleEndian(file, 24, 2); // planes, bits a pixel
  file.resize(54, 0);
  for (int y = height; y-- > 0;) {
    for (int x = 0; x < width; ++x)
      for (int channel = 2; channel >= 0; --channel) file.push_back(rgb[(std::size_t(y) * width + x) * 3 + channel]);
    file.resize((file.size() - 54 + 3) / 4 * 4 + 54, 0);
  }
  return "data:image/bmp;base64," + base64(file);
}

} // namespace xqs::svg

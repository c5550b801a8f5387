// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// What the report's charts are drawn with. Colours are CSS classes and variables of report_style.h, so that one picture
/// serves light and dark pages.
namespace xqs::svg {

/// Text for HTML and SVG: & < > " ' escaped, control characters left out.
std::string escape(std::string_view text);

/// A number for people: `digits` significant ones, no exponent between 1e-4 and 1e7; an em dash for NaN.
std::string number(double value, int digits = 4);

/// Maps values to pixels along one axis, linear or logarithmic.
struct Scale {
  double min = 0, max = 1; ///< values; logarithmic: > 0
  double from = 0, to = 1; ///< pixels of min and max; from > to for an axis that points up
  bool logarithmic = false;
  double operator()(double value) const;
  bool holds(double value) const { return value >= min && value <= max; }
  /// Round values inside, ascending, about `count`: 1-2-5 steps; logarithmic: steps of 1-2-5 or finer a decade.
  std::vector<double> ticks(int count) const;
};

/// One shape of a point: 0 circle, 1 square, 2 diamond, 3 triangle, 4 triangle down, 5 hexagon, then again from 0.
std::string marker(int shape, double x, double y, double radius, const std::string &attributes);
std::string line(double x1, double y1, double x2, double y2, const std::string &attributes);
/// `attributes`: anything after x and y; the text is escaped.
std::string text(double x, double y, const std::string &attributes, std::string_view content);

/// A 24-bit picture as a data URI (BMP, which every browser reads and which needs no library). `rgb`: height * width * 3,
/// top row first.
std::string imageUri(int width, int height, const std::vector<std::uint8_t> &rgb);

} // namespace xqs::svg

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QColor>
#include <QPen>
#include <QPointF>
#include <QRectF>
#include <QString>

#include <cstdint>

class QPainter;

namespace xqs {

enum class Marker : std::uint8_t { None, Circle, Square, Diamond, TriangleUp, TriangleDown, Pentagon, Star };
/// Which run a marker belongs to, whatever its method.
enum class MarkerFill : std::uint8_t { Solid, Hollow, Half, Dotted };
constexpr int kMarkerFills = 4;

/// How one series looks, on the chart and in its legend.
struct SeriesStyle {
  QColor color;
  Marker marker = Marker::Circle;
  MarkerFill fill = MarkerFill::Solid;
  Qt::PenStyle line = Qt::SolidLine; ///< Qt::NoPen: markers only
  double width = 2;
  bool area = false;    ///< legend: a filled swatch instead of a line
  bool hatched = false; ///< such a swatch hatched: what is counted and not measured
};

/// Colour (`methodColor`) and marker of a cache method, the same in every view ("xquant", "kivi-star", ...).
SeriesStyle methodStyle(const QString &method);
/// "XQuant-CL" for "xquant-cl": analysis/curve.h.
QString methodTitle(const QString &method);

/// `size`: diameter in pixels. Hollow markers are filled with `background`, so that lines end at them.
void drawMarker(QPainter &painter, const SeriesStyle &style, QPointF centre, double size, const QColor &background);
/// How an area is filled that stands for something counted and not measured.
void fillHatched(QPainter &painter, const QRectF &rect, const QColor &color);
/// The series' line pen; a width is always set (SVG and PDF scale cosmetic pens badly).
QPen linePen(const SeriesStyle &style);

} // namespace xqs

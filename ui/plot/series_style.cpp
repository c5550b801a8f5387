// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/series_style.h"

#include "analysis/curve.h"
#include "theme.h"

#include <QPainter>
#include <QPainterPath>
#include <QPolygonF>

#include <cmath>
#include <numbers>

namespace xqs {

namespace {

struct MethodMarker {
  const char *method;
  Marker marker;
};
constexpr MethodMarker kMarkers[] = {
    {"fp16", Marker::Diamond},  {"kivi", Marker::TriangleDown},    {"kivi-star", Marker::Square},
    {"xquant", Marker::Circle}, {"xquant-cl", Marker::TriangleUp}, {"low-rank", Marker::Pentagon},
};

QPolygonF regular(QPointF c, double radius, int corners, double turn, double inner = 0) {
  QPolygonF polygon;
  const int steps = inner > 0 ? 2 * corners : corners;
  for (int i = 0; i < steps; ++i) {
    const double r = inner > 0 && i % 2 == 1 ? radius * inner : radius;
    const double a = turn + 2 * std::numbers::pi * i / steps;
    polygon << QPointF(c.x() + r * std::sin(a), c.y() - r * std::cos(a));
  }
  return polygon;
}

QPainterPath outline(Marker marker, QPointF c, double size) {
  QPainterPath path;
  const double r = size / 2;
  switch (marker) {
  case Marker::None: break;
  case Marker::Circle: path.addEllipse(c, r, r); break;
  case Marker::Square: path.addRect(QRectF(c.x() - r * 0.88, c.y() - r * 0.88, r * 1.76, r * 1.76)); break;
  case Marker::Diamond: path.addPolygon(regular(c, r * 1.2, 4, 0)); break;
  case Marker::TriangleUp: path.addPolygon(regular(c + QPointF(0, r * 0.15), r * 1.25, 3, 0)); break;
  case Marker::TriangleDown: path.addPolygon(regular(c - QPointF(0, r * 0.15), r * 1.25, 3, std::numbers::pi)); break;
  case Marker::Pentagon: path.addPolygon(regular(c, r * 1.1, 5, 0)); break;
  case Marker::Star: path.addPolygon(regular(c, r * 1.3, 5, 0, 0.45)); break;
  }
  path.closeSubpath();
  return path;
}

} // namespace

SeriesStyle methodStyle(const QString &method) {
  SeriesStyle style;
  style.color = methodColor(method);
  style.marker = Marker::Star;
  for (const MethodMarker &m : kMarkers)
    if (method == QLatin1String(m.method)) style.marker = m.marker;
  return style;
}

QString methodTitle(const QString &method) { return QString::fromStdString(methodTitle(method.toStdString())); }

void fillHatched(QPainter &painter, const QRectF &rect, const QColor &color) {
  constexpr double kOutlineFrom = 4; // a narrower one has no room for an outline
  QColor pale = color;
  pale.setAlphaF(0.28F);
  painter.fillRect(rect, pale);
  if (rect.width() < kOutlineFrom) return;
  painter.fillRect(rect, QBrush(color, Qt::BDiagPattern));
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(color, 1));
  painter.drawRect(rect.adjusted(0, 0, -1, 0));
}

QPen linePen(const SeriesStyle &style) {
  QPen pen(style.color, style.width, style.line, Qt::RoundCap, Qt::RoundJoin);
  if (style.line == Qt::DashLine) pen.setDashPattern({4, 3});
  if (style.line == Qt::DotLine) pen.setDashPattern({1, 2.5});
  if (style.line == Qt::DashDotLine) pen.setDashPattern({5, 2.5, 1, 2.5});
  return pen;
}

void drawMarker(QPainter &painter, const SeriesStyle &style, QPointF centre, double size, const QColor &background) {
  if (style.marker == Marker::None) return;
  const QPainterPath path = outline(style.marker, centre, size);
  painter.save();
  painter.setPen(Qt::NoPen);
  painter.fillPath(path, style.fill == MarkerFill::Solid ? style.color : background);
  if (style.fill == MarkerFill::Half) {
    painter.setClipRect(QRectF(centre.x() - size, centre.y() - size, size, 2 * size), Qt::IntersectClip);
    painter.fillPath(path, style.color);
    painter.restore();
    painter.save();
  } else if (style.fill == MarkerFill::Dotted) {
    painter.setBrush(style.color);
    painter.drawEllipse(centre, size * 0.17, size * 0.17);
  }
  painter.setBrush(Qt::NoBrush);
  painter.setPen(
      QPen(style.fill == MarkerFill::Solid ? background : style.color, style.fill == MarkerFill::Solid ? 1.0 : 1.6));
  painter.drawPath(path);
  painter.restore();
}

} // namespace xqs

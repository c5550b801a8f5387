// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/curve_chart.h"

#include "plot/format.h"
#include "theme.h"

#include <QPainter>
#include <QPainterPath>

#include <algorithm>

namespace xqs {

namespace {
constexpr double kMarkerSize = 11;
constexpr double kFaintMarkerSize = 7;
constexpr double kCap = 4;         ///< half the width of an error bar's ends
constexpr double kArrowInset = 12; ///< from the frame's edge to the middle of a clamped point
constexpr double kFaint = 0.55;    ///< opacity of published series
} // namespace

CurveChart::CurveChart(QWidget *parent) : ChartCanvas(parent), m_format([](double v) { return formatNumber(v); }) {}

void CurveChart::setSeries(std::vector<ChartSeries> series) {
  m_series = std::move(series);
  m_items.clear();
  for (const bool faint : {true, false}) // ours last: they are on top and win a hover
    for (std::size_t s = 0; s < m_series.size(); ++s) {
      std::ranges::sort(m_series[s].points, {}, &ChartPoint::x);
      for (std::size_t p = 0; m_series[s].faint == faint && p < m_series[s].points.size(); ++p) m_items.push_back({s, p});
    }
  if (cursor() >= itemCount()) setCursorItem(-1);
  update();
}

void CurveChart::setMarkedPolicy(const QString &policy) {
  m_marked = policy;
  update();
}

void CurveChart::setReference(double y) {
  m_reference = y;
  update();
}

const ChartPoint &CurveChart::point(int item) const {
  const ItemRef &ref = m_items[static_cast<std::size_t>(item)];
  return m_series[ref.series].points[ref.point];
}

int CurveChart::beyond(int item) const {
  const Range &range = ySpec().range;
  const double y = point(item).y;
  return y > range.max ? 1 : y < range.min ? -1 : 0;
}

CurveChart::Frame CurveChart::frame() const {
  const QRectF plot = plotRect();
  return {plot, Axis(xSpec().scale, xSpec().range, plot.left(), plot.right()),
          Axis(ySpec().scale, ySpec().range, plot.bottom(), plot.top())};
}

QPointF CurveChart::itemPixel(int item) const {
  const Frame f = frame();
  const ChartPoint &p = point(item);
  const int side = beyond(item);
  const double y = side > 0 ? f.plot.top() + kArrowInset : side < 0 ? f.plot.bottom() - kArrowInset : f.y.toPixel(p.y);
  return {f.x.toPixelClamped(p.x), y};
}

void CurveChart::paintLine(QPainter &painter, const ChartSeries &series, const Frame &f) const {
  if (series.style.line == Qt::NoPen) return;
  QPainterPath path;
  for (const ChartPoint &p : series.points) {
    const QPointF at(f.x.toPixel(p.x), f.y.toPixel(p.y));
    if (path.elementCount() == 0)
      path.moveTo(at);
    else
      path.lineTo(at);
  }
  painter.setBrush(Qt::NoBrush);
  painter.setPen(linePen(series.style));
  painter.drawPath(path);
}

void CurveChart::paintErrorBars(QPainter &painter, const ChartSeries &series, const Frame &f) const {
  painter.setPen(QPen(series.style.color, 1.4));
  for (const ChartPoint &p : series.points) {
    if (std::isnan(p.low) || std::isnan(p.high) || !ySpec().range.contains(p.y)) continue;
    const double x = f.x.toPixel(p.x), low = f.y.toPixelClamped(p.low), high = f.y.toPixelClamped(p.high);
    painter.drawLine(QPointF(x, low), QPointF(x, high));
    if (ySpec().range.contains(p.low)) painter.drawLine(QPointF(x - kCap, low), QPointF(x + kCap, low));
    if (ySpec().range.contains(p.high)) painter.drawLine(QPointF(x - kCap, high), QPointF(x + kCap, high));
  }
}

void CurveChart::paintMarkers(QPainter &painter, const ChartSeries &series, const Frame &f) const {
  const Theme::Colors &colors = Theme::current().colors();
  for (const ChartPoint &p : series.points) {
    if (!ySpec().range.contains(p.y)) continue;
    const QPointF at(f.x.toPixelClamped(p.x), f.y.toPixel(p.y));
    if (!m_marked.isEmpty() && p.policy == m_marked) {
      painter.setBrush(Qt::NoBrush);
      painter.setPen(QPen(colors.accent, 2));
      painter.drawEllipse(at, kMarkerSize * 0.85, kMarkerSize * 0.85);
    }
    drawMarker(painter, series.style, at, series.faint ? kFaintMarkerSize : kMarkerSize, colors.background);
  }
}

void CurveChart::paintArrows(QPainter &painter, const Frame &f) const {
  const Theme::Colors &colors = Theme::current().colors();
  const QFontMetricsF metrics(painter.font());
  std::vector<QRectF> taken; // labels move towards the middle until they overlap none
  for (int item = 0; item < itemCount(); ++item) {
    const int side = beyond(item);
    if (side == 0) continue;
    const ChartPoint &p = point(item);
    const ChartSeries &series = m_series[m_items[static_cast<std::size_t>(item)].series];
    if (series.faint) continue;
    const QPointF at = itemPixel(item);
    QPolygonF arrow({at + QPointF(0, -8 * side), at + QPointF(6, 3 * side), at + QPointF(-6, 3 * side)});
    painter.setPen(QPen(series.style.color, 1.6, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
    painter.setBrush(series.style.fill == MarkerFill::Solid ? series.style.color : colors.background);
    painter.drawPolygon(arrow);
    if (p.policy == m_marked && !m_marked.isEmpty()) {
      painter.setPen(QPen(colors.accent, 2));
      painter.setBrush(Qt::NoBrush);
      painter.drawEllipse(at, 10, 10);
    }
    const QString text = m_format(p.y);
    QRectF label(0, 0, metrics.horizontalAdvance(text) + 4, metrics.height());
    label.moveCenter(at + QPointF(0, side * (9 + label.height() / 2)));
    label.moveLeft(
        std::clamp(label.left(), f.plot.left() + 2, std::max(f.plot.left() + 2, f.plot.right() - label.width() - 2)));
    while (std::ranges::any_of(taken, [&](const QRectF &r) { return r.intersects(label); }))
      label.translate(0, side * label.height());
    taken.push_back(label);
    painter.fillRect(label, colors.background);
    painter.setPen(series.style.color);
    painter.drawText(label, Qt::AlignCenter, text);
  }
}

void CurveChart::paintData(QPainter &painter) const {
  const Frame f = frame();
  if (ySpec().range.contains(m_reference)) {
    const double y = f.y.toPixel(m_reference);
    painter.setPen(QPen(Theme::current().colors().mutedText, 1, Qt::DotLine));
    painter.drawLine(QPointF(f.plot.left(), y), QPointF(f.plot.right(), y));
  }
  for (const bool faint : {true, false}) {
    painter.setOpacity(faint ? kFaint : 1);
    painter.save();
    painter.setClipRect(f.plot);
    for (const ChartSeries &series : m_series)
      if (series.faint == faint) paintLine(painter, series, f), paintErrorBars(painter, series, f);
    painter.restore();
    for (const ChartSeries &series : m_series)
      if (series.faint == faint) paintMarkers(painter, series, f);
  }
  painter.setOpacity(1);
  paintArrows(painter, f);
}

} // namespace xqs

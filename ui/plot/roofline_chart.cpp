// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/roofline_chart.h"

#include "theme.h"

#include <QPainter>

#include <algorithm>
#include <array>

namespace xqs {

namespace {
constexpr double kAway = 9;  ///< from a point to its label
constexpr double kPoint = 7; ///< half of what a marker takes
} // namespace

void RooflineChart::setRidge(double intensity, const QString &name) {
  m_ridge = intensity, m_ridgeName = name;
  update();
}

void RooflineChart::setLabels(std::vector<Label> labels) {
  m_labels = std::move(labels);
  update();
}

void RooflineChart::paintData(QPainter &painter) const {
  paintRidge(painter);
  CurveChart::paintData(painter);
  paintLabels(painter);
}

void RooflineChart::paintRidge(QPainter &painter) const {
  if (!xSpec().range.contains(m_ridge)) return;
  const QRectF plot = plotRect();
  const double x = xAxis().toPixel(m_ridge);
  painter.setPen(QPen(Theme::current().colors().mutedText, 1, Qt::DotLine));
  painter.drawLine(QPointF(x, plot.top()), QPointF(x, plot.bottom()));
  const QFontMetricsF metrics(painter.font());
  const double width = metrics.horizontalAdvance(m_ridgeName);
  const double left = std::clamp(x + 5, plot.left() + 2, std::max(plot.left() + 2, plot.right() - width - 4));
  painter.drawText(QPointF(left, plot.bottom() - metrics.descent() - 3), m_ridgeName);
}

/// Beside, above or below its point: where it is in the frame and covers no marker and no other label; else not at all.
void RooflineChart::paintLabels(QPainter &painter) const {
  const QRectF plot = plotRect();
  const Axis x = xAxis(), y = yAxis();
  const QFontMetricsF metrics(painter.font());
  std::vector<QRectF> taken;
  for (int item = 0; item < itemCount(); ++item)
    if (!point(item).policy.isEmpty())
      taken.emplace_back(itemPixel(item) - QPointF(kPoint, kPoint), QSizeF(2 * kPoint, 2 * kPoint));
  for (const Label &label : m_labels) {
    const QPointF at(x.toPixel(label.x), y.toPixel(label.y));
    const QSizeF size(metrics.horizontalAdvance(label.text), metrics.height());
    const QPointF right = at + QPointF(kAway, -size.height() / 2),
                  left = at - QPointF(kAway + size.width(), size.height() / 2);
    const QPointF below = at + QPointF(-size.width() / 2, kAway),
                  above = at - QPointF(size.width() / 2, kAway + size.height());
    const std::array<QPointF, 4> places =
        label.below ? std::array{below, above, right, left} : std::array{right, left, below, above};
    for (const QPointF &place : places) {
      const QRectF rect(place, size);
      if (!plot.contains(rect) || std::ranges::any_of(taken, [&](const QRectF &r) { return r.intersects(rect); })) continue;
      taken.push_back(rect);
      painter.fillRect(rect, Theme::current().colors().background);
      painter.setPen(label.color);
      painter.drawText(rect, Qt::AlignCenter, label.text);
      break;
    }
  }
}

} // namespace xqs

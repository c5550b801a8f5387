// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/color_bar.h"

#include "plot/color_map.h"
#include "theme.h"

#include <QFontMetricsF>
#include <QImage>
#include <QPainter>

#include <algorithm>

namespace xqs {

namespace {
constexpr double kThickness = 16;
constexpr double kGap = 6;
constexpr double kPerTick = 60; ///< pixels
} // namespace

QSizeF colorBarSize(const QFontMetricsF &metrics, const QString &title, double available, bool beside) {
  if (!beside) return {available, kThickness + metrics.height() + 2 * kGap};
  return {std::max(kThickness + 2 * kGap + metrics.horizontalAdvance(QStringLiteral("−0.0025")),
                   metrics.horizontalAdvance(title)),
          available};
}

void paintColorBar(QPainter &painter, const QRectF &rect, const QRectF &plot, const ColorBar &c) {
  const Theme::Colors &colors = Theme::current().colors();
  const QFontMetricsF metrics(painter.font());
  const bool beside = rect.height() > rect.width();
  const double title = beside ? metrics.height() + kGap : metrics.horizontalAdvance(c.title) + kGap;
  const QRectF bar = beside ? QRectF(rect.left(), plot.top() + title, kThickness, plot.height() - title)
                            : QRectF(plot.left() + title, rect.top() + kGap, plot.width() - title, kThickness);
  QImage ramp(beside ? 1 : ColorMap::kSize, beside ? ColorMap::kSize : 1, QImage::Format_RGB32);
  for (int i = 0; i < ColorMap::kSize; ++i) ramp.setPixel(beside ? 0 : i, beside ? ColorMap::kSize - 1 - i : 0, c.map.at(i));
  painter.drawImage(bar, ramp);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(colors.border, 1));
  painter.drawRect(bar);
  const Axis axis(c.scale, c.range, beside ? bar.bottom() : bar.left(), beside ? bar.top() : bar.right());
  const int wanted = std::clamp(static_cast<int>((beside ? bar.height() : bar.width()) / kPerTick), 2, 8);
  double occupied = -1e9; // right end of the last label below the bar
  painter.setPen(colors.mutedText);
  for (const Tick &tick : ticks(c.scale, c.range, wanted)) {
    if (tick.label.isEmpty()) continue;
    const double at = axis.toPixel(tick.value), width = metrics.horizontalAdvance(tick.label);
    if (beside) {
      painter.drawText(QPointF(bar.right() + kGap, at + metrics.ascent() / 2 - 1), tick.label);
    } else if (at - width / 2 > occupied + kGap) {
      occupied = at + width / 2;
      const double left = std::min(at - width / 2, rect.right() - width);
      painter.drawText(QPointF(left, bar.bottom() + metrics.ascent() + 2), tick.label);
    }
  }
  painter.setPen(colors.text);
  painter.drawText(beside ? QPointF(rect.left(), plot.top() + metrics.ascent())
                          : QPointF(plot.left(), bar.center().y() + metrics.ascent() / 2),
                   c.title);
}

} // namespace xqs

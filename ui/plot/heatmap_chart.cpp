// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/heatmap_chart.h"

#include "plot/color_bar.h"
#include "plot/format.h"
#include "theme.h"

#include <QPainter>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {
constexpr double kTextFrom = 24; ///< a cell this large shows its value
} // namespace

HeatmapChart::HeatmapChart(QWidget *parent) : GridChart(parent) {}

void HeatmapChart::setMatrix(std::vector<float> values, int size, Range range, bool diverging) {
  m_values = std::move(values);
  m_range = range;
  m_diverging = diverging;
  setGrid(size, size);
}

void HeatmapChart::setValueTitle(const QString &title) {
  m_valueTitle = title;
  invalidateLayout();
}

const ColorMap &HeatmapChart::colors() const {
  return m_diverging ? ColorMap::diverging(Theme::current().isDark()) : ColorMap::sequential();
}

std::optional<QRgb> HeatmapChart::cellColor(int item) const {
  if (std::isnan(value(item))) return {};
  return colors().color(value(item), m_range.min, m_range.max);
}

QString HeatmapChart::itemText(int item) const {
  return tr("Layers %1 and %2: <b>%3</b>").arg(row(item)).arg(column(item)).arg(formatNumber(value(item), 4));
}

int HeatmapChart::firstItem() const { return std::max(0, marked()) * (columns() + 1); }

void HeatmapChart::paintData(QPainter &painter) const {
  if (itemCount() == 0) return;
  paintCells(painter);
  paintValues(painter);
  if (marked() < 0 || marked() >= rows()) return;
  for (const QRectF &band : {rowRect(marked()), columnRect(marked())})
    outline(painter, band, Theme::current().colors().background, Theme::current().colors().text);
}

void HeatmapChart::paintValues(QPainter &painter) const {
  const QRectF cell = cellRect(0);
  if (cell.width() < kTextFrom || cell.height() < kTextFrom * 0.6) return;
  QFont f = painter.font();
  f.setPixelSize(static_cast<int>(std::clamp(cell.width() * 0.34, 8.0, 13.0)));
  painter.setFont(f);
  if (QFontMetricsF(f).height() > cell.height()) return;
  for (int item = 0; item < itemCount(); ++item) {
    const std::optional<QRgb> color = cellColor(item);
    if (!color) continue;
    QString text = QString::number(static_cast<double>(value(item)), 'f', 2);
    if (text == QLatin1String("-0.00")) text.remove(0, 1);
    text.replace(QLatin1String("0."), QLatin1String(".")).replace(u'-', QChar(0x2212)); // ".87": as in the papers' tables
    painter.setPen(QColor::fromRgb(readableOn(*color)));
    painter.drawText(cellRect(item), Qt::AlignCenter, text);
  }
}

QSizeF HeatmapChart::legendSize(double available, bool beside) const {
  return colorBarSize(QFontMetricsF(smallFont()), m_valueTitle, available, beside);
}

void HeatmapChart::paintLegend(QPainter &painter, const QRectF &rect) const {
  paintColorBar(painter, rect, plotRect(), {colors(), Scale::Linear, m_range, m_valueTitle});
}

} // namespace xqs

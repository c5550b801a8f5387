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

const ColorMap &mapFor(bool diverging) {
  return diverging ? ColorMap::diverging(Theme::current().isDark()) : ColorMap::sequential();
}
} // namespace

HeatmapChart::HeatmapChart(QWidget *parent) : ChartCanvas(parent) {}

void HeatmapChart::setMatrix(std::vector<float> values, int size, Range range, bool diverging) {
  m_values = std::move(values);
  m_size = size;
  m_range = range;
  m_diverging = diverging;
  recolor();
}

void HeatmapChart::setValueTitle(const QString &title) {
  m_valueTitle = title;
  invalidateLayout();
}

void HeatmapChart::setMarked(int index) {
  m_marked = index;
  update();
}

void HeatmapChart::recolor() {
  m_image = QImage(std::max(m_size, 1), std::max(m_size, 1), QImage::Format_RGB32);
  m_image.fill(Theme::current().colors().surface);
  const ColorMap &map = mapFor(m_diverging);
  for (int r = 0; r < m_size; ++r) {
    auto *line = reinterpret_cast<QRgb *>(m_image.scanLine(r));
    for (int c = 0; c < m_size; ++c)
      if (!std::isnan(value(r, c))) line[c] = map.color(value(r, c), m_range.min, m_range.max);
  }
  update();
}

float HeatmapChart::value(int row, int column) const { return m_values[static_cast<std::size_t>(row * m_size + column)]; }

QRectF HeatmapChart::cellRect(int row, int column) const {
  const QRectF plot = plotRect();
  const double w = plot.width() / m_size, h = plot.height() / m_size;
  return {plot.left() + column * w, plot.top() + row * h, w, h};
}

QPointF HeatmapChart::itemPixel(int item) const { return cellRect(row(item), column(item)).center(); }

QString HeatmapChart::itemText(int item) const {
  return tr("Layers %1 and %2: <b>%3</b>")
      .arg(row(item))
      .arg(column(item))
      .arg(formatNumber(value(row(item), column(item)), 4));
}

int HeatmapChart::itemAt(QPointF position) const {
  const QRectF plot = plotRect();
  if (m_size == 0 || !plot.contains(position)) return -1;
  const auto index = [this](double part) { return std::clamp(static_cast<int>(part * m_size), 0, m_size - 1); };
  return index((position.y() - plot.top()) / plot.height()) * m_size + index((position.x() - plot.left()) / plot.width());
}

int HeatmapChart::neighbour(int item, int key) const {
  if (item < 0) return std::max(0, m_marked) * (m_size + 1);
  int r = row(item), c = column(item);
  if (key == Qt::Key_Left) --c;
  if (key == Qt::Key_Right) ++c;
  if (key == Qt::Key_Up) --r;
  if (key == Qt::Key_Down) ++r;
  return std::clamp(r, 0, m_size - 1) * m_size + std::clamp(c, 0, m_size - 1);
}

void HeatmapChart::paintData(QPainter &painter) const {
  if (m_size == 0) return;
  painter.setRenderHint(QPainter::SmoothPixmapTransform, false);
  painter.setRenderHint(QPainter::Antialiasing, false);
  const QRectF plot = plotRect();
  painter.drawImage(plot, m_image);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(Theme::current().colors().border, 1));
  painter.drawRect(plot);
  paintValues(painter);
  if (m_marked < 0 || m_marked >= m_size) return;
  const QRectF first = cellRect(m_marked, 0), last = cellRect(m_marked, m_size - 1);
  const QRectF top = cellRect(0, m_marked), bottom = cellRect(m_size - 1, m_marked);
  for (const QRectF &band : {QRectF(first.topLeft(), last.bottomRight()), QRectF(top.topLeft(), bottom.bottomRight())}) {
    painter.setPen(QPen(Theme::current().colors().background, 3));
    painter.drawRect(band);
    painter.setPen(QPen(Theme::current().colors().text, 1));
    painter.drawRect(band);
  }
}

void HeatmapChart::paintValues(QPainter &painter) const {
  const QRectF cell = cellRect(0, 0);
  if (cell.width() < kTextFrom || cell.height() < kTextFrom * 0.6) return;
  QFont f = painter.font();
  f.setPixelSize(static_cast<int>(std::clamp(cell.width() * 0.34, 8.0, 13.0)));
  painter.setFont(f);
  if (QFontMetricsF(f).height() > cell.height()) return;
  for (int r = 0; r < m_size; ++r)
    for (int c = 0; c < m_size; ++c) {
      const float v = value(r, c);
      if (std::isnan(v)) continue;
      QString text = QString::number(static_cast<double>(v), 'f', 2);
      if (text == QLatin1String("-0.00")) text.remove(0, 1);
      text.replace(QLatin1String("0."), QLatin1String(".")).replace(u'-', QChar(0x2212)); // ".87": as in the papers' tables
      painter.setPen(
          QColor::fromRgb(readableOn(mapFor(m_diverging).color(static_cast<double>(v), m_range.min, m_range.max))));
      painter.drawText(cellRect(r, c), Qt::AlignCenter, text);
    }
}

void HeatmapChart::paintCursor(QPainter &painter, int item) const {
  const QRectF cell = cellRect(row(item), column(item)).adjusted(-1, -1, 1, 1);
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(Qt::black, 3));
  painter.drawRect(cell);
  painter.setPen(QPen(Qt::white, 1));
  painter.drawRect(cell);
}

QSizeF HeatmapChart::legendSize(double available, bool beside) const {
  return colorBarSize(QFontMetricsF(smallFont()), m_valueTitle, available, beside);
}

void HeatmapChart::paintLegend(QPainter &painter, const QRectF &rect) const {
  paintColorBar(painter, rect, plotRect(), {mapFor(m_diverging), Scale::Linear, m_range, m_valueTitle});
}

} // namespace xqs

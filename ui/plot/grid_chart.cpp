// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/grid_chart.h"

#include "theme.h"

#include <QPainter>

#include <algorithm>

namespace xqs {

void GridChart::setGrid(int rows, int columns) {
  m_rows = rows, m_columns = columns;
  recolor();
}

void GridChart::setMarked(int index) {
  m_marked = index;
  update();
}

void GridChart::recolor() {
  m_image = QImage(std::max(m_columns, 1), std::max(m_rows, 1), QImage::Format_RGB32);
  m_image.fill(Theme::current().colors().surface);
  for (int item = 0; item < itemCount(); ++item)
    if (const std::optional<QRgb> color = cellColor(item)) m_image.setPixel(column(item), row(item), *color);
  update();
}

QRectF GridChart::cellRect(int item) const {
  const QRectF all = cellsRect();
  const double w = all.width() / std::max(m_columns, 1), h = all.height() / std::max(m_rows, 1);
  return {all.left() + column(item) * w, all.top() + row(item) * h, w, h};
}

QRectF GridChart::rowRect(int row) const {
  return {cellRect(row * m_columns).topLeft(), cellRect((row + 1) * m_columns - 1).bottomRight()};
}

QRectF GridChart::columnRect(int column) const {
  return {cellRect(column).topLeft(), cellRect(itemCount() - m_columns + column).bottomRight()};
}

QPointF GridChart::itemPixel(int item) const { return cellRect(item).center(); }

int GridChart::itemAt(QPointF position) const {
  const QRectF all = cellsRect();
  if (itemCount() == 0 || !all.contains(position)) return -1;
  const auto place = [](double part, int count) { return std::clamp(static_cast<int>(part * count), 0, count - 1); };
  return place((position.y() - all.top()) / all.height(), m_rows) * m_columns +
         place((position.x() - all.left()) / all.width(), m_columns);
}

int GridChart::neighbour(int item, int key) const {
  if (item < 0) return firstItem();
  const int r = row(item) + (key == Qt::Key_Down ? 1 : key == Qt::Key_Up ? -1 : 0);
  const int c = column(item) + (key == Qt::Key_Right ? 1 : key == Qt::Key_Left ? -1 : 0);
  return std::clamp(r, 0, m_rows - 1) * m_columns + std::clamp(c, 0, m_columns - 1);
}

void GridChart::paintCells(QPainter &painter) const {
  painter.setRenderHint(QPainter::SmoothPixmapTransform, false);
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.drawImage(cellsRect(), m_image);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(Theme::current().colors().border, 1));
  painter.drawRect(cellsRect());
}

void GridChart::paintCursor(QPainter &painter, int item) const {
  outline(painter, cellRect(item).adjusted(-1, -1, 1, 1), Qt::black, Qt::white);
}

void GridChart::outline(QPainter &painter, const QRectF &rect, const QColor &outer, const QColor &inner) {
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(outer, 3));
  painter.drawRect(rect);
  painter.setPen(QPen(inner, 1));
  painter.drawRect(rect);
}

} // namespace xqs

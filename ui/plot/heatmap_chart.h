// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"
#include "plot/color_map.h"

namespace xqs {

/// A square matrix as colours, row 0 on top, with a colour bar beside it. Cells are the items: item = row * size + column.
class HeatmapChart : public ChartCanvas {
  Q_OBJECT
public:
  explicit HeatmapChart(QWidget *parent = nullptr);

  /// `values`: [size, size], row-major; NaN cells stay empty. `range`: what the colour map's ends stand for.
  void setMatrix(std::vector<float> values, int size, Range range, bool diverging);
  void setValueTitle(const QString &title); ///< above the colour bar
  void setMarked(int index);                ///< outlines this row and column (-1: none)
  /// Recolours; called when the theme changed.
  void recolor();

  int size() const { return m_size; }
  float value(int row, int column) const;
  int row(int item) const { return item / m_size; }
  int column(int item) const { return item % m_size; }

  int itemCount() const override { return m_size * m_size; }
  QPointF itemPixel(int item) const override; ///< the cell's centre
  QString itemText(int item) const override;
  /// The cell under a widget position, -1 outside.
  int itemAt(QPointF position) const override;

protected:
  void paintData(QPainter &painter) const override;
  void paintCursor(QPainter &painter, int item) const override;
  int neighbour(int item, int key) const override;
  bool isSquare() const override { return true; }
  QSizeF legendSize(double available, bool beside) const override;
  void paintLegend(QPainter &painter, const QRectF &rect) const override;

private:
  QRectF cellRect(int row, int column) const;
  void paintValues(QPainter &painter) const;

  std::vector<float> m_values;
  int m_size = 0;
  Range m_range{0, 1};
  bool m_diverging = false;
  QString m_valueTitle;
  int m_marked = -1;
  QImage m_image; ///< one pixel a cell
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"

#include <optional>

namespace xqs {

/// A grid of coloured cells. Cells are the items: item = row * columns + column; arrow keys walk over rows and columns. A
/// subclass keeps the values and says each cell's colour.
class GridChart : public ChartCanvas {
  Q_OBJECT
public:
  using ChartCanvas::ChartCanvas;

  int rows() const { return m_rows; }
  int columns() const { return m_columns; }
  int row(int item) const { return m_columns > 0 ? item / m_columns : 0; }
  int column(int item) const { return m_columns > 0 ? item % m_columns : 0; }
  void setMarked(int index); ///< what `paintMarked` outlines (-1: nothing)
  /// Asks for all colours again; to be called when the theme changed.
  void recolor();

  int itemCount() const override { return m_rows * m_columns; }
  QPointF itemPixel(int item) const override; ///< the cell's centre
  int itemAt(QPointF position) const override;

protected:
  void setGrid(int rows, int columns); ///< the subclass has its values
  int marked() const { return m_marked; }
  /// None: the cell stays empty.
  virtual std::optional<QRgb> cellColor(int item) const = 0;
  virtual QRectF cellsRect() const { return plotRect(); } ///< of all cells
  virtual int firstItem() const { return 0; }             ///< where the keyboard comes in
  QRectF cellRect(int item) const;
  QRectF rowRect(int row) const;
  QRectF columnRect(int column) const;
  void paintCells(QPainter &painter) const; ///< with a frame
  void paintCursor(QPainter &painter, int item) const override;
  int neighbour(int item, int key) const override;

  /// A line of one colour with a broader one around it: seen on any cell.
  static void outline(QPainter &painter, const QRectF &rect, const QColor &outer, const QColor &inner);

private:
  int m_rows = 0, m_columns = 0, m_marked = -1;
  QImage m_image; ///< one pixel a cell
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"

#include <QImage>
#include <QStringList>

namespace xqs {

class ColorMap;

/// Named rows over layers, or named columns, as colours on a log scale, with a colour bar that has its values. Cells are the
/// items: item = row * columns + column. Values that are not positive take the range's lower end; NaN cells stay empty.
class MatrixChart : public ChartCanvas {
  Q_OBJECT
public:
  explicit MatrixChart(QWidget *parent = nullptr);

  /// `values`, `texts`: [rows.size(), columns], row-major; texts are rich and say the exact value.
  void setMatrix(const QStringList &rows, int columns, std::vector<double> values, QStringList texts);
  void setTitles(const QString &columns, const QString &value);
  /// What stands in a cell where it is large enough.
  struct Mark {
    QString text;
    bool bold = false;
    SeriesStyle style; ///< of the marker before the text
  };
  void setMarks(std::vector<Mark> marks);        ///< one a cell, or none
  void setColumnNames(const QStringList &names); ///< instead of numbers
  /// Colours say how far a value is from 1: the ends of the diverging map are `most` times as much and as little. 0: off.
  void setDiverging(double most);
  void setMarked(int column); ///< outlines this column (-1: none)
  void setChosen(int item);   ///< outlines this cell (-1: none)
  /// Recolours; called when the theme changed.
  void recolor();

  int columns() const { return m_columns; }
  int row(int item) const { return m_columns > 0 ? item / m_columns : 0; }
  int column(int item) const { return m_columns > 0 ? item % m_columns : 0; }

  int itemCount() const override { return static_cast<int>(m_values.size()); }
  QPointF itemPixel(int item) const override; ///< the cell's centre
  QString itemText(int item) const override;
  int itemAt(QPointF position) const override;

protected:
  void paintData(QPainter &painter) const override;
  void paintCursor(QPainter &painter, int item) const override;
  int neighbour(int item, int key) const override;
  bool hasAxes() const override { return false; }
  QSizeF legendSize(double available, bool beside) const override;
  void paintLegend(QPainter &painter, const QRectF &rect) const override;

private:
  QRectF cellsRect() const; ///< of all cells: `plotRect` without the names
  QRectF cellRect(int item) const;
  double labelWidth() const;
  void paintNames(QPainter &painter, const QRectF &cells) const;
  void paintColumnNames(QPainter &painter, const QRectF &cells, double baseline) const;
  void paintMarks(QPainter &painter) const;
  QRgb shade(double value) const;
  const ColorMap &colors() const;

  QStringList m_rows, m_texts;
  int m_columns = 0;
  std::vector<double> m_values;
  Range m_range{0.1, 1};
  QString m_columnTitle, m_valueTitle;
  QStringList m_columnNames;
  std::vector<Mark> m_marks;
  double m_most = 0; ///< diverging; 0: sequential
  int m_marked = -1, m_chosen = -1;
  QImage m_image; ///< one pixel a cell
};

} // namespace xqs

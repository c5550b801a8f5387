// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/grid_chart.h"

#include <QStringList>

namespace xqs {

class ColorMap;

/// Named rows over layers, or named columns, as colours on a log scale, with a colour bar that has its values. Values that
/// are not positive take the range's lower end; NaN cells stay empty. A column can be marked.
class MatrixChart : public GridChart {
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
  void setChosen(int item); ///< outlines this cell (-1: none)

  QString itemText(int item) const override;

protected:
  void paintData(QPainter &painter) const override;
  std::optional<QRgb> cellColor(int item) const override;
  QRectF cellsRect() const override; ///< `plotRect` without the names
  bool hasAxes() const override { return false; }
  QSizeF legendSize(double available, bool beside) const override;
  void paintLegend(QPainter &painter, const QRectF &rect) const override;

private:
  double labelWidth() const;
  void paintNames(QPainter &painter, const QRectF &cells) const;
  void paintColumnNames(QPainter &painter, const QRectF &cells, double baseline) const;
  void paintMarks(QPainter &painter) const;
  QRgb shade(double value) const;
  const ColorMap &colors() const;

  QStringList m_names, m_texts;
  std::vector<double> m_values;
  Range m_range{0.1, 1};
  QString m_columnTitle, m_valueTitle;
  QStringList m_columnNames;
  std::vector<Mark> m_marks;
  double m_most = 0; ///< diverging; 0: sequential
  int m_chosen = -1;
};

} // namespace xqs

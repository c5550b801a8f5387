// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/color_map.h"
#include "plot/grid_chart.h"

namespace xqs {

/// A square matrix of layers by layers as colours, row 0 on top, with a colour bar beside it.
class HeatmapChart : public GridChart {
  Q_OBJECT
public:
  explicit HeatmapChart(QWidget *parent = nullptr);

  /// `values`: [size, size], row-major; NaN cells stay empty. `range`: what the colour map's ends stand for. The row and the
  /// column of one index can be marked.
  void setMatrix(std::vector<float> values, int size, Range range, bool diverging);
  void setValueTitle(const QString &title); ///< above the colour bar

  QString itemText(int item) const override;

protected:
  void paintData(QPainter &painter) const override;
  std::optional<QRgb> cellColor(int item) const override;
  int firstItem() const override;
  bool isSquare() const override { return true; }
  QSizeF legendSize(double available, bool beside) const override;
  void paintLegend(QPainter &painter, const QRectF &rect) const override;

private:
  float value(int item) const { return m_values[static_cast<std::size_t>(item)]; }
  const ColorMap &colors() const;
  void paintValues(QPainter &painter) const;

  std::vector<float> m_values;
  Range m_range{0, 1};
  bool m_diverging = false;
  QString m_valueTitle;
};

} // namespace xqs

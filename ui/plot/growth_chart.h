// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"

namespace xqs {

/// Bytes of a cache while it grows, beside the model's own FP16 KV as a dashed line; items are the tokens drawn so far.
class GrowthChart : public ChartCanvas {
  Q_OBJECT
public:
  explicit GrowthChart(QWidget *parent = nullptr);

  struct Point {
    double tokens = 0; ///< in the cache
    double bytes = 0;
  };
  struct Data {
    std::vector<Point> points;
    double fp16BytesPerToken = 0;           ///< NaN: no line
    double firstTokens = 0, lastTokens = 1; ///< of the x axis
    int marked = -1;                        ///< point with a vertical line; -1: none
    QColor color;
  };
  void setData(Data shown);

  int itemCount() const override { return static_cast<int>(m_data.points.size()); }
  QPointF itemPixel(int item) const override;
  QString itemText(int item) const override;
  QSize minimumSizeHint() const override { return {120, 90}; }
  QSize sizeHint() const override { return {200, 120}; }

protected:
  void paintData(QPainter &painter) const override;
  int itemAt(QPointF position) const override;
  int neighbour(int item, int key) const override;

private:
  Data m_data;
  double m_unit = 1; ///< bytes a unit of the y axis
};

} // namespace xqs

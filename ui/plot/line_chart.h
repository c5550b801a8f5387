// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"

#include <memory>

namespace xqs {

/// One line over whole numbers (layers): values[i] belongs to x = i; NaN and, on a log axis, values <= 0 leave a gap.
struct LineSeries {
  QString name;
  SeriesStyle style;
  std::vector<double> values;
};

/// Lines over layers. Drawn by Qt Charts, which nothing outside line_chart.cpp sees: Qt deprecates it, and its rules (never
/// append to a shown series, theme first and colours after) are kept in one place. Hover, keyboard and accessibility are
/// those of every chart of ours: the items are the layers.
class LineChart : public ChartCanvas {
  Q_OBJECT
public:
  explicit LineChart(QWidget *parent = nullptr);
  ~LineChart() override;

  void setLines(std::vector<LineSeries> lines);
  void setTitles(const QString &x, const QString &y);
  void setMarked(int index); ///< a vertical line
  /// Colours anew after a change of theme.
  void recolor();

  int itemCount() const override;
  QPointF itemPixel(int item) const override;
  QString itemText(int item) const override;

protected:
  void paintData(QPainter &painter) const override;
  void paintCursor(QPainter &painter, int item) const override;
  int itemAt(QPointF position) const override;
  int neighbour(int item, int key) const override;

private:
  struct Chart;
  void rebuild();
  std::unique_ptr<Chart> m_chart;
  std::vector<LineSeries> m_lines;
  QString m_xTitle, m_yTitle;
  int m_marked = -1;
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"

#include <cmath>
#include <functional>

namespace xqs {

/// One measured or published point; `low`..`high` is its interval, NaN where there is none.
struct ChartPoint {
  double x = 0, y = 0;
  double low = std::nan(""), high = std::nan("");
  QString text;   ///< tooltip, rich text
  QString policy; ///< canonical string; empty: not one of ours
};

struct ChartSeries {
  SeriesStyle style;
  std::vector<ChartPoint> points; ///< joined in order of x
  bool faint = false;             ///< published: behind, pale
};

/// Series with error bars. A point above or below the frame is drawn at its edge as an arrow with its value, so that no
/// point is lost; the joining line keeps its true course and is cut by the frame.
class CurveChart : public ChartCanvas {
  Q_OBJECT
public:
  explicit CurveChart(QWidget *parent = nullptr);

  void setSeries(std::vector<ChartSeries> series);
  /// How a value that does not fit the frame is written beside its arrow.
  void setValueFormat(std::function<QString(double)> format) { m_format = std::move(format); }
  /// A dotted line at this y (NaN: none): what the exact model has.
  void setReference(double y);
  /// A ring marks the points of this policy.
  void setMarkedPolicy(const QString &policy);

  const ChartPoint &point(int item) const;
  /// -1 below the frame, +1 above it, 0 inside.
  int beyond(int item) const;

  int itemCount() const override { return static_cast<int>(m_items.size()); }
  QPointF itemPixel(int item) const override; ///< clamped to the frame
  QString itemText(int item) const override { return point(item).text; }

protected:
  void paintData(QPainter &painter) const override;

private:
  struct ItemRef {
    std::size_t series = 0, point = 0;
  };
  /// Axes of the frame at the present size, made once a paint.
  struct Frame {
    QRectF plot;
    Axis x, y;
  };
  Frame frame() const;
  void paintLine(QPainter &painter, const ChartSeries &series, const Frame &f) const;
  void paintErrorBars(QPainter &painter, const ChartSeries &series, const Frame &f) const;
  void paintMarkers(QPainter &painter, const ChartSeries &series, const Frame &f) const;
  void paintArrows(QPainter &painter, const Frame &f) const;

  std::vector<ChartSeries> m_series;
  std::vector<ItemRef> m_items;
  std::function<QString(double)> m_format;
  QString m_marked;
  double m_reference = std::nan("");
};

} // namespace xqs

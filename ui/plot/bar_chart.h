// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"

#include <limits>

namespace xqs {

/// Groups of bars over named categories, each bar stacked of segments. Hatched bars are counted, solid ones measured. Bars
/// are the items, in the order of their groups.
class BarChart : public ChartCanvas {
  Q_OBJECT
public:
  struct Segment {
    double value = 0; ///< NaN and values <= 0 take no room
    QColor color;
  };
  struct Bar {
    std::vector<Segment> segments;
    bool hatched = false;
    QString text; ///< rich
    double sum() const;
  };
  struct Group {
    QString name;
    std::vector<Bar> bars;
  };
  struct Data {
    std::vector<Group> groups;
    QString xTitle, yTitle;
    double unit = 1;                                         ///< of the segments' values, one on the y axis
    double limit = std::numeric_limits<double>::quiet_NaN(); ///< a dashed line; NaN: none
    QString limitText;
    int marked = -1; ///< a group; -1: none
  };

  explicit BarChart(QWidget *parent = nullptr);
  void setData(Data shown);
  const Data &bars() const { return m_data; }
  int group(int item) const { return static_cast<int>(m_items[static_cast<std::size_t>(item)].group); }
  QRectF barRect(int item) const;

  int itemCount() const override { return static_cast<int>(m_items.size()); }
  QPointF itemPixel(int item) const override; ///< the bar's top
  QRectF itemRect(int item) const override;   ///< the bar's column
  QString itemText(int item) const override;
  int itemAt(QPointF position) const override;

protected:
  void paintData(QPainter &painter) const override;
  void paintCursor(QPainter &painter, int item) const override;
  int neighbour(int item, int key) const override;

private:
  struct Item {
    std::size_t group = 0, bar = 0;
    double sum = 0;
  };
  const Bar &bar(int item) const;
  QRectF groupRect(std::size_t group) const;
  void paintBar(QPainter &painter, int item) const;
  void paintNames(QPainter &painter) const;
  void paintLimit(QPainter &painter) const;

  Data m_data;
  std::vector<Item> m_items;
};

} // namespace xqs

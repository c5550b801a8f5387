// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"

#include <functional>

namespace xqs {

/// Launches as bars over time, a lane a queue; steps that are compared stand below each other on one time axis. Only what is
/// visible is drawn, and bars narrower than a pixel are merged, so that tens of thousands stay fluid.
///
/// Wheel: zoom around the mouse; Shift or a horizontal wheel: move. Drag: move; Shift+drag: zoom to what was marked. Double
/// click or Escape: everything that matches. Keys: + and - zoom, Shift+Left and Shift+Right move, Page Up and Page Down
/// scroll lanes; arrows go over the bars of a lane and between lanes. Bars are the items.
class TimelineChart : public ChartCanvas {
  Q_OBJECT
public:
  struct Lane {
    enum class Kind : std::uint8_t { Heading, Layers, Queue };
    Kind kind = Kind::Queue;
    QString title;
  };
  struct Bar {
    double startNs = 0, durationNs = 0;
    int lane = 0;
    int part = 0;        ///< of Data::parts
    bool matches = true; ///< others are pale and are no items: a filter leaves them out
    double endNs() const { return startNs + durationNs; }
  };
  struct Part {
    QString title;
    QColor color;
    QString time, share; ///< for the legend
  };
  struct Data {
    std::vector<Lane> lanes;
    std::vector<Part> parts;
    std::vector<Bar> bars;             ///< by lane, then by start
    std::function<QString(int)> label; ///< what stands in a bar that is wide enough
    std::function<QString(int)> text;  ///< rich, for tooltip and screen readers
    QString legendTitle;
  };

  explicit TimelineChart(QWidget *parent = nullptr);
  /// Keeps what is visible where the new bars reach as far as the old ones.
  void setData(Data shown);
  const Data &timeline() const { return m_data; }
  /// Shows all bars that match.
  void fit();
  Range visible() const { return m_visible; } ///< ns
  void setVisible(double fromNs, double toNs);
  /// Rectangles that the last painting drew for bars.
  int paintedBars() const { return m_painted; }
  QRectF lanesRect() const; ///< without ruler and titles
  QRectF laneRect(int lane) const;

  int itemCount() const override { return static_cast<int>(m_data.bars.size()); }
  QPointF itemPixel(int item) const override; ///< where the mouse is, else the middle of what is visible of the bar
  QRectF itemRect(int item) const override;   ///< what is visible of the bar
  QString itemText(int item) const override;
  int itemAt(QPointF position) const override;

Q_SIGNALS:
  void visibleChanged();

protected:
  void paintData(QPainter &painter) const override;
  void paintCursor(QPainter &painter, int item) const override;
  int neighbour(int item, int key) const override;
  bool hasAxes() const override { return false; }
  QSizeF legendSize(double available, bool beside) const override;
  void paintLegend(QPainter &painter, const QRectF &rect) const override;
  void resizeEvent(QResizeEvent *event) override;
  void wheelEvent(QWheelEvent *event) override;
  void mousePressEvent(QMouseEvent *event) override;
  void mouseMoveEvent(QMouseEvent *event) override;
  void mouseReleaseEvent(QMouseEvent *event) override;
  void mouseDoubleClickEvent(QMouseEvent *event) override;
  void keyPressEvent(QKeyEvent *event) override;

private:
  struct Slice {
    std::size_t first = 0, last = 0; ///< bars [first, last)
  };
  enum class Drag : std::uint8_t { None, Pressed, Move, Mark };

  Axis timeAxis() const;
  double titlesWidth() const;
  double lanesHeight() const;
  Slice laneBars(int lane) const;
  Slice visibleBars(int lane, const Range &range) const;
  void zoom(double factor, double aroundNs);
  void move(double byNs);
  void scrollLanes(double byPixels);
  void reveal(int item);
  int nearestIn(int lane, double atNs) const;
  void paintRuler(QPainter &painter, const QRectF &lanes) const;
  void paintLane(QPainter &painter, int lane) const;
  void paintBars(QPainter &painter, int lane, const QRectF &rect) const;
  void paintBar(QPainter &painter, std::size_t bar, const QRectF &rect) const;
  void paintMark(QPainter &painter) const;

  Data m_data;
  std::vector<std::size_t> m_laneBegin;               ///< bars of lane i: [m_laneBegin[i], m_laneBegin[i + 1])
  std::vector<double> m_longest;                      ///< duration in each lane: bounds the search
  Range m_all{0, 1}, m_visible{0, 1}, m_fitted{0, 1}; ///< ns
  double m_scroll = 0;                                ///< pixels of lanes above the frame
  Drag m_drag = Drag::None;
  QPointF m_pressed, m_last;
  double m_hoverX = -1; ///< of the mouse; -1: keys lead the cursor
  mutable int m_painted = 0;
};

} // namespace xqs

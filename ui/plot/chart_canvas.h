// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/axis.h"
#include "plot/series_style.h"

#include <QImage>
#include <QWidget>

#include <optional>
#include <vector>

class QIODevice;

namespace xqs {

/// What an axis says; where it lies follows from the widget's size.
struct AxisSpec {
  QString title; ///< with its unit
  Scale scale = Scale::Linear;
  Range range;
  bool integers = false; ///< ticks at whole numbers only (layers)
  bool reversed = false; ///< y: the least value on top
};

/// One line of the legend; without a marker and a line it is a heading.
struct LegendEntry {
  QString text;
  SeriesStyle style;
  bool heading = false;
};

/// Base of our charts: frame, axes, grid, legend outside the plot area, hover, keyboard cursor, export. A subclass paints
/// its data and says where its items (points, cells) lie; it holds plain values and computes none. Keys: arrows, Home and
/// End move the cursor over the items, Enter or Space chooses, Escape leaves.
class ChartCanvas : public QWidget {
  Q_OBJECT
public:
  explicit ChartCanvas(QWidget *parent = nullptr);

  void setAxes(const AxisSpec &x, const AxisSpec &y);
  void setLegend(std::vector<LegendEntry> entries);
  /// Shown instead of the chart while not empty: what to do to get one.
  void setEmptyText(const QString &text);
  const QString &emptyText() const { return m_emptyText; }
  const std::vector<LegendEntry> &legend() const { return m_legend; }

  const AxisSpec &xSpec() const { return m_x; }
  const AxisSpec &ySpec() const { return m_y; }
  /// The rectangle that data are drawn in, widget coordinates.
  QRectF plotRect() const;
  Axis xAxis() const; ///< mapped to `plotRect`
  Axis yAxis() const;

  /// The item under the keyboard or the mouse; -1: none.
  int cursor() const { return m_cursor; }
  void setCursorItem(int item);

  /// The chart as an image of `scale` times the widget's size.
  QImage toImage(double scale = 1) const;
  /// The chart as SVG; text stays text.
  void writeSvg(QIODevice &device, const QString &title) const;
  /// Writes a file: SVG by its suffix, else an image of twice the widget's size. False where that fails.
  bool saveTo(const QString &file) const;

  virtual int itemCount() const { return 0; }
  virtual QPointF itemPixel(int item) const; ///< widget coordinates
  virtual QString itemText(int item) const;  ///< rich text for tooltip and screen readers
  virtual QRectF itemRect(int item) const;   ///< the tooltip stays while the mouse is in it; default: around itemPixel

  QSize minimumSizeHint() const override { return {220, 140}; }
  QSize sizeHint() const override { return {640, 400}; }

Q_SIGNALS:
  void activated(int item); ///< clicked, or Enter
  void cursorChanged(int item);

protected:
  /// Draws the data, clipped to the frame by the subclass where it wants that.
  virtual void paintData(QPainter &painter) const = 0;
  /// Draws the mark of the item under the cursor; the default is a crosshair and a ring.
  virtual void paintCursor(QPainter &painter, int item) const;
  /// The item for a mouse position, -1: none. Default: the nearest within 14 pixels.
  virtual int itemAt(QPointF position) const;
  /// The item that an arrow key leads to. Default: left, right in order of x; up, down in order of y.
  virtual int neighbour(int item, int key) const;
  /// Room for the legend beside or below the plot; the default lists the entries.
  virtual QSizeF legendSize(double available, bool beside) const;
  virtual void paintLegend(QPainter &painter, const QRectF &rect) const;
  /// False: no axes, no frame; `plotRect` is the whole widget but for the legend.
  virtual bool hasAxes() const { return true; }
  /// True: `plotRect` is a square.
  virtual bool isSquare() const { return false; }
  /// To be called when `legendSize`, `hasAxes` or `isSquare` would answer differently.
  void invalidateLayout();

  bool event(QEvent *event) override;
  void changeEvent(QEvent *event) override;
  void resizeEvent(QResizeEvent *event) override;
  void paintEvent(QPaintEvent *event) override;
  void mouseMoveEvent(QMouseEvent *event) override;
  void mousePressEvent(QMouseEvent *event) override;
  void leaveEvent(QEvent *event) override;
  void keyPressEvent(QKeyEvent *event) override;
  void focusOutEvent(QFocusEvent *event) override;
  QFont smallFont() const; ///< ticks and legend

private:
  struct Layout {
    QRectF plot, legend;
    bool legendBeside = true;
  };
  const Layout &layout() const; ///< kept until something it depends on changes: items are asked for their pixels often
  Layout makeLayout() const;
  Axis yAxisIn(const QRectF &plot) const;
  void paintAll(QPainter &painter) const;
  void paintAxes(QPainter &painter, const QRectF &plot) const;
  void showItemText();
  std::vector<Tick> ticksOf(const AxisSpec &spec, double pixels, double perTick) const;

  AxisSpec m_x, m_y;
  std::vector<LegendEntry> m_legend;
  QString m_emptyText;
  int m_cursor = -1;
  mutable std::optional<Layout> m_layout;
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/line_chart.h"

#include "plot/format.h"
#include "theme.h"

#include <QChart>
#include <QGraphicsLayout>
#include <QGraphicsScene>
#include <QLineSeries>
#include <QLogValueAxis>
#include <QPainter>
#include <QValueAxis>

#include <algorithm>
#include <cmath>

namespace xqs {

/// The lines are Qt Charts' series on hidden axes; frame, ticks and legend are ChartCanvas', as on every other chart.
struct LineChart::Chart {
  QGraphicsScene scene;
  QChart *chart = new QChart; ///< owned by the scene
  QValueAxis *x = new QValueAxis;
  QLogValueAxis *y = new QLogValueAxis;

  Chart() {
    scene.addItem(chart);
    chart->setBackgroundVisible(false);
    chart->setMargins({});
    chart->legend()->hide();
    chart->layout()->setContentsMargins(0, 0, 0, 0);
    chart->addAxis(x, Qt::AlignBottom);
    chart->addAxis(y, Qt::AlignLeft);
    x->setVisible(false);
    y->setVisible(false);
    y->setBase(10);
  }

  /// Filled before it is shown: appending to a shown series is quadratic.
  void addLine(const QList<QPointF> &points, const SeriesStyle &style) {
    auto *series = new QLineSeries;
    series->append(points);
    chart->addSeries(series);
    series->attachAxis(x);
    series->attachAxis(y);
    series->setPen(linePen(style));
  }
};

LineChart::LineChart(QWidget *parent) : ChartCanvas(parent), m_chart(std::make_unique<Chart>()) {}
LineChart::~LineChart() = default;

void LineChart::setLines(std::vector<LineSeries> lines) {
  m_lines = std::move(lines);
  rebuild();
}

void LineChart::setTitles(const QString &x, const QString &y) {
  m_xTitle = x;
  m_yTitle = y;
  rebuild();
}

void LineChart::setMarked(int index) {
  m_marked = index;
  update();
}

void LineChart::recolor() { rebuild(); }

int LineChart::itemCount() const {
  std::size_t count = 0;
  for (const LineSeries &line : m_lines) count = std::max(count, line.values.size());
  return static_cast<int>(count);
}

void LineChart::rebuild() {
  Range range;
  std::vector<LegendEntry> legend;
  for (const LineSeries &line : m_lines) {
    legend.push_back({line.name, line.style});
    for (double v : line.values)
      if (v > 0) range.include(v);
  }
  const Range y = range.empty() ? Range{0.01, 1} : padded(range, Scale::Log, range.span() > 0 ? 0.06 : 0.3);
  const Range x{-0.5, std::max(itemCount() - 0.5, 0.5)};
  setAxes({m_xTitle, Scale::Linear, x, true}, {m_yTitle, Scale::Log, y});
  setLegend(std::move(legend));

  m_chart->chart->removeAllSeries();
  m_chart->x->setRange(x.min, x.max);
  m_chart->y->setRange(y.min, y.max);
  for (const LineSeries &line : m_lines) {
    QList<QPointF> run; // a gap ends a line
    for (std::size_t i = 0; i <= line.values.size(); ++i) {
      if (i < line.values.size() && line.values[i] > 0) {
        run.append({static_cast<double>(i), line.values[i]});
      } else if (!run.isEmpty()) {
        m_chart->addLine(run, line.style);
        run.clear();
      }
    }
  }
}

void LineChart::paintData(QPainter &painter) const {
  const QRectF plot = plotRect();
  m_chart->chart->resize(size());
  m_chart->chart->setPlotArea(plot);
  m_chart->chart->layout()->activate();
  painter.save();
  painter.setClipRect(plot);
  m_chart->scene.render(&painter, rect(), QRectF(rect()));
  painter.restore();
  const Axis x = xAxis(), y = yAxis();
  painter.setClipRect(plot.adjusted(-6, -6, 6, 6));
  for (const LineSeries &line : m_lines)
    for (std::size_t i = 0; i < line.values.size(); ++i)
      if (line.values[i] > 0)
        drawMarker(painter, line.style, {x.toPixel(static_cast<double>(i)), y.toPixel(line.values[i])}, 6,
                   Theme::current().colors().background);
  if (m_marked < 0 || m_marked >= itemCount()) return;
  painter.setPen(QPen(Theme::current().colors().accent, 1.2, Qt::DashLine));
  painter.drawLine(QPointF(x.toPixel(m_marked), plot.top()), QPointF(x.toPixel(m_marked), plot.bottom()));
}

QPointF LineChart::itemPixel(int item) const {
  const QRectF plot = plotRect();
  double top = plot.center().y();
  const Axis y = yAxis();
  for (const LineSeries &line : m_lines)
    if (static_cast<std::size_t>(item) < line.values.size() && line.values[static_cast<std::size_t>(item)] > 0)
      top = std::min(top, y.toPixel(line.values[static_cast<std::size_t>(item)]));
  return {xAxis().toPixel(item), top};
}

QString LineChart::itemText(int item) const {
  QString text = tr("<b>Layer %1</b>").arg(item);
  for (const LineSeries &line : m_lines)
    if (static_cast<std::size_t>(item) < line.values.size() && !std::isnan(line.values[static_cast<std::size_t>(item)]))
      text += QStringLiteral("<br>%1: %2")
                  .arg(line.name.toHtmlEscaped(), formatNumber(line.values[static_cast<std::size_t>(item)], 4));
  return text;
}

int LineChart::itemAt(QPointF position) const {
  if (itemCount() == 0 || !plotRect().contains(position)) return -1;
  return std::clamp(static_cast<int>(std::lround(xAxis().toValue(position.x()))), 0, itemCount() - 1);
}

int LineChart::neighbour(int item, int key) const {
  if (item < 0) return std::clamp(m_marked, 0, itemCount() - 1);
  return std::clamp(item + (key == Qt::Key_Left || key == Qt::Key_Down ? -1 : 1), 0, itemCount() - 1);
}

void LineChart::paintCursor(QPainter &painter, int item) const {
  const QRectF plot = plotRect();
  const double x = xAxis().toPixel(item);
  painter.setPen(QPen(Theme::current().colors().mutedText, 1, Qt::DotLine));
  painter.drawLine(QPointF(x, plot.top()), QPointF(x, plot.bottom()));
}

} // namespace xqs

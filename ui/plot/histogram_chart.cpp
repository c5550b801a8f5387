// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/histogram_chart.h"

#include "plot/format.h"
#include "theme.h"

#include <QPainter>
#include <QPainterPath>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

constexpr double kLogFloor = 0.7; ///< lower end of a log count axis: a count of 1 is visible

/// The steps of `counts` over the axes; with `closed` down to the base line, to be filled.
QPainterPath steps(const std::vector<std::uint32_t> &counts, const Axis &x, const Axis &y, bool closed) {
  QPainterPath path;
  const Range &range = x.range();
  const double width = range.span() / static_cast<double>(counts.size());
  const double base = y.toPixel(y.range().min);
  path.moveTo(x.toPixel(range.min), base);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double top = y.toPixelClamped(counts[i]);
    path.lineTo(x.toPixel(range.min + width * static_cast<double>(i)), top);
    path.lineTo(x.toPixel(range.min + width * static_cast<double>(i + 1)), top);
  }
  path.lineTo(x.toPixel(range.max), base);
  if (closed) path.closeSubpath();
  return path;
}

double largest(const HistogramPair &pair) {
  double result = 1;
  for (const auto *counts : {&pair.exact, &pair.rebuilt})
    for (std::uint32_t n : *counts) result = std::max(result, static_cast<double>(n));
  return result;
}

Range countRange(const HistogramPair &pair, bool log) {
  return log ? Range{kLogFloor, largest(pair) * 2} : Range{0, largest(pair) * 1.06};
}

Range valueRange(const HistogramPair &pair) {
  return pair.max > pair.min ? Range{pair.min, pair.max} : padded({pair.min, pair.min}, Scale::Linear, 0.5);
}

QColor fillColor() {
  QColor color = Theme::current().colors().mutedText;
  color.setAlphaF(0.42F);
  return color;
}

void paintPair(QPainter &painter, const HistogramPair &pair, const Axis &x, const Axis &y, const QColor &color,
               double width) {
  painter.fillPath(steps(pair.exact, x, y, true), fillColor());
  if (pair.rebuilt.empty()) return;
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(color, width, Qt::SolidLine, Qt::FlatCap, Qt::MiterJoin));
  painter.drawPath(steps(pair.rebuilt, x, y, false));
}

} // namespace

// One layer ---------------------------------------------------------------------------------------------------------------

void HistogramChart::setHistogram(HistogramPair pair, const QColor &rebuiltColor) {
  m_pair = std::move(pair);
  m_color = rebuiltColor;
  updateAxes();
}

void HistogramChart::setLogCounts(bool log) {
  m_log = log;
  updateAxes();
}

void HistogramChart::setTitles(const QString &x, const QString &exact, const QString &rebuilt) {
  m_xTitle = x;
  m_exactTitle = exact;
  m_rebuiltTitle = rebuilt;
  updateAxes();
}

void HistogramChart::updateAxes() {
  setAxes({m_xTitle, Scale::Linear, valueRange(m_pair)},
          {tr("values a bin"), m_log ? Scale::Log : Scale::Linear, countRange(m_pair, m_log)});
  std::vector<LegendEntry> legend;
  SeriesStyle exact;
  exact.color = fillColor();
  exact.marker = Marker::None;
  exact.area = true;
  legend.push_back({m_exactTitle, exact});
  if (!m_pair.rebuilt.empty()) {
    SeriesStyle rebuilt;
    rebuilt.color = m_color;
    rebuilt.marker = Marker::None;
    legend.push_back({m_rebuiltTitle, rebuilt});
  }
  setLegend(std::move(legend));
}

QPointF HistogramChart::itemPixel(int item) const {
  const auto i = static_cast<std::size_t>(item);
  return {xAxis().toPixel(m_pair.min + (item + 0.5) * m_pair.binWidth()), yAxis().toPixelClamped(m_pair.exact[i])};
}

QString HistogramChart::itemText(int item) const {
  const auto i = static_cast<std::size_t>(item);
  QString text = tr("%1 to %2<br>%3: <b>%4</b>")
                     .arg(formatNumber(m_pair.min + item * m_pair.binWidth()),
                          formatNumber(m_pair.min + (item + 1) * m_pair.binWidth()), m_exactTitle.toHtmlEscaped(),
                          formatCount(m_pair.exact[i]));
  if (i < m_pair.rebuilt.size())
    text += tr("<br>%1: <b>%2</b>").arg(m_rebuiltTitle.toHtmlEscaped(), formatCount(m_pair.rebuilt[i]));
  return text;
}

int HistogramChart::itemAt(QPointF position) const {
  if (m_pair.empty() || m_pair.binWidth() <= 0 || !plotRect().contains(position)) return -1;
  return std::clamp(static_cast<int>((xAxis().toValue(position.x()) - m_pair.min) / m_pair.binWidth()), 0, itemCount() - 1);
}

void HistogramChart::paintData(QPainter &painter) const {
  if (m_pair.empty()) return;
  painter.setClipRect(plotRect());
  paintPair(painter, m_pair, xAxis(), yAxis(), m_color, 1.6);
}

// All layers --------------------------------------------------------------------------------------------------------------

void HistogramGrid::setHistograms(std::vector<HistogramPair> layers, const QColor &rebuiltColor) {
  m_layers = std::move(layers);
  m_color = rebuiltColor;
  if (cursor() >= itemCount()) setCursorItem(-1);
  update();
}

void HistogramGrid::setLogCounts(bool log) {
  m_log = log;
  update();
}

void HistogramGrid::setSelected(int layer) {
  m_selected = layer;
  update();
}

int HistogramGrid::columns() const {
  const double aspect = plotRect().width() / std::max(plotRect().height(), 1.0);
  const double wanted = std::sqrt(std::max(itemCount(), 1) * aspect / 1.7); // cells about 1.7 times as wide as high
  return std::clamp(static_cast<int>(std::ceil(wanted)), 1, std::max(itemCount(), 1));
}

QRectF HistogramGrid::cell(int layer) const {
  const QRectF plot = plotRect();
  const int across = columns(), down = (itemCount() + across - 1) / across;
  const double w = plot.width() / across, h = plot.height() / std::max(down, 1);
  return QRectF(plot.left() + layer % across * w, plot.top() + layer / across * h, w, h).adjusted(2, 2, -2, -2);
}

QPointF HistogramGrid::itemPixel(int item) const { return cell(item).center(); }

QString HistogramGrid::itemText(int item) const {
  const auto i = static_cast<std::size_t>(item);
  return i < m_texts.size() ? m_texts[i] : QString();
}

int HistogramGrid::itemAt(QPointF position) const {
  for (int i = 0; i < itemCount(); ++i)
    if (cell(i).contains(position)) return i;
  return -1;
}

int HistogramGrid::neighbour(int item, int key) const {
  if (item < 0) return std::clamp(m_selected, 0, itemCount() - 1);
  const int step = key == Qt::Key_Left ? -1 : key == Qt::Key_Right ? 1 : key == Qt::Key_Up ? -columns() : columns();
  return item + step >= 0 && item + step < itemCount() ? item + step : item;
}

void HistogramGrid::paintData(QPainter &painter) const {
  const Theme::Colors &colors = Theme::current().colors();
  const QFontMetricsF metrics(painter.font());
  for (int layer = 0; layer < itemCount(); ++layer) {
    const QRectF rect = cell(layer);
    const bool labelled = rect.height() > 2.2 * metrics.height();
    const HistogramPair &pair = m_layers[static_cast<std::size_t>(layer)];
    painter.fillRect(rect, colors.surface);
    const QRectF body = rect.adjusted(2, 3, -2, -1);
    if (!pair.empty())
      paintPair(painter, pair, Axis(Scale::Linear, valueRange(pair), body.left(), body.right()),
                Axis(m_log ? Scale::Log : Scale::Linear, countRange(pair, m_log), body.bottom(), body.top()), m_color, 0.9);
    painter.setBrush(Qt::NoBrush);
    painter.setPen(layer == m_selected ? QPen(colors.accent, 2) : QPen(colors.border, 1));
    painter.drawRect(rect);
    if (!labelled) continue;
    const QString number = QString::number(layer);
    QColor ground = colors.surface;
    ground.setAlphaF(0.8F); // the number stays readable over a high peak
    painter.fillRect(QRectF(rect.topLeft() + QPointF(2, 2), QSizeF(metrics.horizontalAdvance(number) + 4, metrics.height())),
                     ground);
    painter.setPen(layer == m_selected ? colors.text : colors.mutedText);
    painter.drawText(rect.topLeft() + QPointF(4, metrics.ascent() + 1), number);
  }
}

void HistogramGrid::paintCursor(QPainter &painter, int item) const {
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(Theme::current().colors().accent, 1.4, Qt::DashLine));
  painter.drawRect(cell(item).adjusted(-2, -2, 2, 2));
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/growth_chart.h"

#include "plot/format.h"
#include "theme.h"

#include <QPainter>
#include <QPainterPath>

#include <algorithm>
#include <cmath>

namespace xqs {

GrowthChart::GrowthChart(QWidget *parent) : ChartCanvas(parent) {
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

void GrowthChart::setData(Data shown) {
  m_data = std::move(shown);
  double most = std::isfinite(m_data.fp16BytesPerToken) ? m_data.fp16BytesPerToken * m_data.lastTokens : 0;
  for (const Point &point : m_data.points) most = std::max(most, point.bytes);
  const ByteUnit unit = byteUnitFor(most);
  m_unit = unit.bytes;
  setAxes({tr("tokens in the cache"), Scale::Linear, {m_data.firstTokens, m_data.lastTokens}, true},
          {unit.name, Scale::Linear, {0, std::max(most / m_unit, 1e-9) * 1.05}});
}

QPointF GrowthChart::itemPixel(int item) const {
  const Point &point = m_data.points[static_cast<std::size_t>(item)];
  return {xAxis().toPixel(point.tokens), yAxis().toPixel(point.bytes / m_unit)};
}

QString GrowthChart::itemText(int item) const {
  if (item < 0 || item >= itemCount()) return {};
  const Point &point = m_data.points[static_cast<std::size_t>(item)];
  QString text = tr("Token %1<br>%2 of cache for %3 tokens")
                     .arg(item + 1)
                     .arg(formatBytes(static_cast<std::int64_t>(point.bytes)))
                     .arg(static_cast<qint64>(point.tokens));
  if (std::isfinite(m_data.fp16BytesPerToken))
    text += tr("<br>FP16 would be %1").arg(formatBytes(static_cast<std::int64_t>(m_data.fp16BytesPerToken * point.tokens)));
  return text;
}

void GrowthChart::paintData(QPainter &painter) const {
  if (m_data.points.empty()) return;
  const Theme::Colors &colors = Theme::current().colors();
  const QRectF plot = plotRect();
  const Axis x = xAxis(), y = yAxis();
  painter.setClipRect(plot.adjusted(0, 0, 1, 1));
  if (std::isfinite(m_data.fp16BytesPerToken)) {
    const auto at = [&](double tokens) {
      return QPointF(x.toPixel(tokens), y.toPixel(m_data.fp16BytesPerToken * tokens / m_unit));
    };
    painter.setPen(linePen({colors.mutedText, Marker::None, MarkerFill::Solid, Qt::DashLine, 1.2}));
    painter.drawLine(at(m_data.firstTokens), at(m_data.lastTokens));
  }
  // At most two points a pixel: a long text costs no more than a short one.
  const std::size_t step = std::max<std::size_t>(1, m_data.points.size() / static_cast<std::size_t>(2 * plot.width() + 1));
  QPolygonF line;
  for (std::size_t i = 0; i < m_data.points.size(); i += step) line << itemPixel(static_cast<int>(i));
  line << itemPixel(itemCount() - 1);
  QPolygonF area = line;
  area << QPointF(line.back().x(), plot.bottom()) << QPointF(line.front().x(), plot.bottom());
  QColor fill = m_data.color;
  fill.setAlphaF(0.22F);
  painter.setPen(Qt::NoPen);
  painter.setBrush(fill);
  painter.drawPolygon(area);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(m_data.color, 2));
  painter.drawPolyline(line);
  if (m_data.marked >= 0 && m_data.marked < itemCount()) {
    const double at = std::round(itemPixel(m_data.marked).x()) + 0.5;
    painter.setPen(QPen(colors.error, 1.5));
    painter.drawLine(QPointF(at, plot.top()), QPointF(at, plot.bottom()));
  }
}

int GrowthChart::itemAt(QPointF position) const {
  if (m_data.points.empty() || !plotRect().adjusted(-6, -6, 6, 6).contains(position)) return -1;
  const double tokens = xAxis().toValue(position.x());
  const auto next = std::lower_bound(m_data.points.begin(), m_data.points.end(), tokens,
                                     [](const Point &point, double value) { return point.tokens + 0.5 < value; });
  return std::min(static_cast<int>(next - m_data.points.begin()), itemCount() - 1);
}

int GrowthChart::neighbour(int item, int key) const {
  const bool forward = key == Qt::Key_Right || key == Qt::Key_Up;
  return std::clamp(item + (forward ? 1 : -1), 0, std::max(itemCount() - 1, 0));
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/bar_chart.h"

#include "plot/format.h"
#include "theme.h"

#include <QPainter>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {
constexpr double kGroupShare = 0.82; ///< of a group's width that its bars take
constexpr double kWidestBar = 46;
constexpr double kOutlineFrom = 4; ///< a narrower bar has no room for an outline
} // namespace

double BarChart::Bar::sum() const {
  double values = 0;
  for (const Segment &segment : segments)
    if (segment.value > 0) values += segment.value;
  return values;
}

BarChart::BarChart(QWidget *parent) : ChartCanvas(parent) {}

void BarChart::setData(Data shown) {
  m_data = std::move(shown);
  m_items.clear();
  double most = std::isfinite(m_data.limit) ? m_data.limit : 0;
  for (std::size_t g = 0; g < m_data.groups.size(); ++g)
    for (std::size_t b = 0; b < m_data.groups[g].bars.size(); ++b) {
      const Item item{g, b, m_data.groups[g].bars[b].sum()};
      most = std::max(most, item.sum);
      m_items.push_back(item);
    }
  setAxes({m_data.xTitle, Scale::Linear, {}}, {m_data.yTitle, Scale::Linear, {0, most > 0 ? most / m_data.unit * 1.06 : 1}});
  if (cursor() >= itemCount()) setCursorItem(-1);
}

const BarChart::Bar &BarChart::bar(int item) const {
  const Item &i = m_items[static_cast<std::size_t>(item)];
  return m_data.groups[i.group].bars[i.bar];
}

QRectF BarChart::groupRect(std::size_t group) const {
  const QRectF plot = plotRect();
  const double width = plot.width() / static_cast<double>(std::max<std::size_t>(m_data.groups.size(), 1));
  return {plot.left() + static_cast<double>(group) * width, plot.top(), width, plot.height()};
}

QRectF BarChart::itemRect(int item) const {
  const Item &i = m_items[static_cast<std::size_t>(item)];
  const QRectF all = groupRect(i.group);
  const auto count = static_cast<double>(m_data.groups[i.group].bars.size());
  const double width = std::min(all.width() * kGroupShare / count, kWidestBar);
  const double left = all.center().x() + (static_cast<double>(i.bar) - count / 2) * width;
  return {left, all.top(), width, all.height()};
}

QRectF BarChart::barRect(int item) const {
  const QRectF column = itemRect(item);
  const double top = yAxis().toPixel(m_items[static_cast<std::size_t>(item)].sum / m_data.unit);
  return {column.left(), top, column.width(), column.bottom() - top};
}

QPointF BarChart::itemPixel(int item) const {
  const QRectF rect = barRect(item);
  return {rect.center().x(), rect.top()};
}

QString BarChart::itemText(int item) const { return item >= 0 && item < itemCount() ? bar(item).text : QString(); }

int BarChart::itemAt(QPointF position) const {
  if (!plotRect().contains(position)) return -1;
  for (int item = 0; item < itemCount(); ++item) {
    const QRectF column = itemRect(item);
    if (position.x() >= column.left() && position.x() < column.right()) return item;
  }
  return -1;
}

int BarChart::neighbour(int item, int key) const {
  if (item < 0) return 0;
  const bool back = key == Qt::Key_Left || key == Qt::Key_Down;
  return std::clamp(item + (back ? -1 : 1), 0, itemCount() - 1);
}

void BarChart::paintBar(QPainter &painter, int item) const {
  const Bar &shown = bar(item);
  const Axis y = yAxis();
  const QRectF column = itemRect(item);
  // Whole pixels: bars of one width look it.
  const double left = std::round(column.left()), right = std::max(std::round(column.right()), left + 1);
  double from = 0;
  for (const Segment &segment : shown.segments) {
    if (!(segment.value > 0)) continue;
    const double bottom = y.toPixel(from / m_data.unit), top = y.toPixel((from + segment.value) / m_data.unit);
    const QRectF rect(left, top, right - left >= kOutlineFrom ? right - left - 1 : right - left, bottom - top);
    if (shown.hatched)
      fillHatched(painter, rect, segment.color);
    else
      painter.fillRect(rect, segment.color);
    from += segment.value;
  }
}

void BarChart::paintNames(QPainter &painter) const {
  const QFontMetricsF metrics(painter.font());
  const QRectF plot = plotRect();
  const double width = groupRect(0).width();
  // Numbers may be left out where they do not fit; names are cut.
  double widest = 0;
  bool numbers = true;
  for (const Group &group : m_data.groups) {
    widest = std::max(widest, metrics.horizontalAdvance(group.name));
    bool number = false;
    group.name.toInt(&number);
    numbers = numbers && (number || &group == &m_data.groups.back());
  }
  const std::size_t every =
      numbers ? std::max<std::size_t>(1, static_cast<std::size_t>(std::ceil((widest + 4) / width))) : 1;
  painter.setPen(Theme::current().colors().mutedText);
  for (std::size_t g = 0; g < m_data.groups.size(); g += every) {
    const QRectF group = groupRect(g);
    const QString name =
        numbers ? m_data.groups[g].name : metrics.elidedText(m_data.groups[g].name, Qt::ElideRight, width - 4);
    painter.drawText(QPointF(group.center().x() - metrics.horizontalAdvance(name) / 2, plot.bottom() + 6 + metrics.ascent()),
                     name);
  }
}

void BarChart::paintLimit(QPainter &painter) const {
  if (!std::isfinite(m_data.limit)) return;
  const Theme::Colors &colors = Theme::current().colors();
  const QRectF plot = plotRect();
  const double at = std::round(yAxis().toPixel(m_data.limit / m_data.unit));
  painter.setPen(QPen(colors.text, 1, Qt::DashLine));
  painter.drawLine(QPointF(plot.left(), at), QPointF(plot.right(), at));
  const QFontMetricsF metrics(painter.font());
  const QString text = metrics.elidedText(m_data.limitText, Qt::ElideRight, plot.width() - 8);
  const QRectF box(plot.right() - 8 - metrics.horizontalAdvance(text), at + 2, metrics.horizontalAdvance(text) + 4,
                   metrics.height());
  QColor ground = colors.background;
  ground.setAlphaF(0.75F);
  painter.fillRect(box, ground);
  painter.drawText(QPointF(box.left() + 2, box.top() + metrics.ascent()), text);
}

void BarChart::paintData(QPainter &painter) const {
  if (m_items.empty()) return;
  const Theme::Colors &colors = Theme::current().colors();
  painter.setRenderHint(QPainter::Antialiasing, false);
  if (m_data.marked >= 0 && m_data.marked < static_cast<int>(m_data.groups.size())) {
    QColor mark = colors.accent;
    mark.setAlphaF(0.14F);
    painter.fillRect(groupRect(static_cast<std::size_t>(m_data.marked)), mark);
  }
  for (int item = 0; item < itemCount(); ++item) paintBar(painter, item);
  paintLimit(painter);
  paintNames(painter);
}

void BarChart::paintCursor(QPainter &painter, int item) const {
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(Theme::current().colors().text, 2));
  painter.drawRect(barRect(item).adjusted(-1, -1, 0, 0));
}

} // namespace xqs

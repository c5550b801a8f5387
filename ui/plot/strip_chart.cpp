// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/strip_chart.h"

#include "plot/format.h"
#include "theme.h"

#include <QPainter>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

struct Colors {
  QColor reads, writes;
};
/// Blue and orange of Okabe and Ito's palette.
Colors sampleColors() {
  return Theme::current().isDark() ? Colors{QColor(0x4a, 0x90, 0xd9), QColor(0xf0, 0xa0, 0x4b)}
                                   : Colors{QColor(0x3b, 0x7e, 0xbf), QColor(0xe0, 0x8a, 0x2b)};
}

/// What the samples of one pixel say.
struct Column {
  double reads = 0, writes = 0, most = 0;
  int count = 0;
  void add(double read, double write) {
    reads += read, writes += write, ++count;
    most = std::max(most, read + write);
  }
};

} // namespace

StripChart::StripChart(QWidget *parent) : ChartCanvas(parent) {}

void StripChart::setTitles(const QString &reads, const QString &writes, const QString &most) {
  m_reads = reads, m_writes = writes, m_mostText = most;
}

void StripChart::clear(bool gaps) {
  m_gaps = gaps;
  m_sections.clear();
  m_begin.clear();
  m_count = 0;
  m_most = 0;
  setCursorItem(-1);
  rescale();
}

void StripChart::append(Section section) {
  if (section.reads.empty() || section.reads.size() != section.writes.size()) return;
  for (std::size_t i = 0; i < section.reads.size(); ++i)
    m_most = std::max(m_most, static_cast<double>(section.reads[i]) + static_cast<double>(section.writes[i]));
  section.at = m_gaps ? section.start : m_sections.empty() ? 0 : m_sections.back().end();
  m_begin.push_back(m_count);
  m_count += section.reads.size();
  m_sections.push_back(std::move(section));
}

void StripChart::setPeak(double bytesPerSecond, const QString &text) {
  m_peak = bytesPerSecond;
  m_peakText = text;
}

void StripChart::rescale() {
  const double last = m_sections.empty() ? 1 : m_sections.back().end();
  const double most = std::max(m_most, std::isfinite(m_peak) ? m_peak : 0.0);
  const RateUnit unit = rateUnitFor(most);
  m_unit = unit.bytesPerSecond;
  setAxes({m_gaps ? tr("seconds of the run") : tr("seconds sampled"), Scale::Linear, {0, last}},
          {tr("%1, measured").arg(unit.name), Scale::Linear, {0, most > 0 ? most / m_unit * 1.08 : 1}});
  const Colors colors = sampleColors();
  SeriesStyle reads{colors.reads, Marker::None}, writes{colors.writes, Marker::None};
  reads.area = writes.area = true;
  setLegend({{m_reads, reads},
             {m_writes, writes},
             {m_mostText, {Theme::current().colors().mutedText, Marker::None, MarkerFill::Solid, Qt::SolidLine, 1}}});
}

// Items -------------------------------------------------------------------------------------------------------------------

StripChart::Place StripChart::place(int item) const {
  const auto index = static_cast<std::size_t>(item);
  const auto section = static_cast<std::size_t>(std::ranges::upper_bound(m_begin, index) - m_begin.begin()) - 1;
  return {section, index - m_begin[section]};
}

double StripChart::middleOf(const Place &p) const {
  return (static_cast<double>(p.sample) + 0.5) * m_sections[p.section].interval;
}

double StripChart::total(const Place &p) const {
  const Section &section = m_sections[p.section];
  return static_cast<double>(section.reads[p.sample]) + static_cast<double>(section.writes[p.sample]);
}

QPointF StripChart::itemPixel(int item) const {
  const Place p = place(item);
  return {xAxis().toPixel(m_sections[p.section].at + middleOf(p)), yAxis().toPixel(total(p) / m_unit)};
}

QString StripChart::itemText(int item) const {
  if (item < 0 || item >= itemCount()) return {};
  const Place p = place(item);
  const Section &section = m_sections[p.section];
  QString text = tr("<b>%1</b><br>%2 after the first sample, over %3")
                     .arg(section.title.toHtmlEscaped(), formatSeconds(section.start + middleOf(p)),
                          formatNanoseconds(section.interval * 1e9));
  text += tr("<br>Measured: %1 read, %2 written")
              .arg(formatRate(static_cast<double>(section.reads[p.sample])),
                   formatRate(static_cast<double>(section.writes[p.sample])));
  if (std::isfinite(m_peak) && m_peak > 0) text += tr("<br>%1 of the memory peak").arg(formatPercent(total(p) / m_peak));
  return text;
}

int StripChart::itemAt(QPointF position) const {
  if (m_count == 0 || !plotRect().contains(position)) return -1;
  const double at = xAxis().toValue(position.x());
  const auto next = std::ranges::upper_bound(m_sections, at, {}, &Section::at);
  if (next == m_sections.begin()) return -1;
  const auto section = static_cast<std::size_t>(next - m_sections.begin()) - 1;
  const Section &shown = m_sections[section];
  const double pixels = xAxis().toPixel(at) - xAxis().toPixel(shown.end());
  if (pixels > 3) return -1; // in a gap
  const auto sample = static_cast<std::size_t>(std::max(0.0, (at - shown.at) / shown.interval));
  return static_cast<int>(m_begin[section] + std::min(sample, shown.reads.size() - 1));
}

/// A pixel's worth of samples at a time: there may be a hundred thousand.
int StripChart::neighbour(int item, int key) const {
  const bool back = key == Qt::Key_Left || key == Qt::Key_Down;
  if (item < 0) return std::max(0, itemAt(plotRect().center()));
  const double second = xSpec().range.span() / std::max(plotRect().width(), 1.0);
  const int step = std::max(1, static_cast<int>(second / m_sections[place(item).section].interval));
  return std::clamp(item + (back ? -step : step), 0, itemCount() - 1);
}

// Painting ----------------------------------------------------------------------------------------------------------------

void StripChart::paintSection(QPainter &painter, const Section &section) const {
  const Axis x = xAxis(), y = yAxis();
  const QRectF plot = plotRect();
  const double perSample = x.toPixel(section.at + section.interval) - x.toPixel(section.at);
  const auto count = static_cast<double>(section.reads.size());
  const auto first =
      static_cast<std::size_t>(std::clamp(std::floor((x.toValue(plot.left()) - section.at) / section.interval), 0.0, count));
  const Colors colors = sampleColors();
  QPolygonF line;
  for (std::size_t i = first; i < section.reads.size();) {
    const double left = x.toPixel(section.at + static_cast<double>(i) * section.interval);
    if (left > plot.right()) break;
    Column column;
    do column.add(static_cast<double>(section.reads[i]), static_cast<double>(section.writes[i])), ++i;
    while (i < section.reads.size() && (column.count + 1) * perSample <= 1);
    const double right = left + std::max(1.0, column.count * perSample);
    const double reads = y.toPixel(column.reads / column.count / m_unit);
    const double both = y.toPixel((column.reads + column.writes) / column.count / m_unit);
    painter.fillRect(QRectF(QPointF(left, reads), QPointF(right, plot.bottom())), colors.reads);
    painter.fillRect(QRectF(QPointF(left, both), QPointF(right, reads)), colors.writes);
    line << QPointF(left, y.toPixel(column.most / m_unit)) << QPointF(right, y.toPixel(column.most / m_unit));
  }
  painter.setPen(QPen(Theme::current().colors().mutedText, 1));
  painter.drawPolyline(line);
}

void StripChart::paintTitles(QPainter &painter) const {
  const QFontMetricsF metrics(painter.font());
  const Axis x = xAxis();
  const QRectF plot = plotRect();
  const auto begins = [this](std::size_t i) { return i == 0 || m_sections[i].title != m_sections[i - 1].title; };
  for (std::size_t i = 0; i < m_sections.size(); ++i) {
    if (!begins(i)) continue;
    std::size_t next = i + 1;
    while (next < m_sections.size() && !begins(next)) ++next;
    const double left = x.toPixelClamped(m_sections[i].at), right = x.toPixelClamped(m_sections[next - 1].end());
    if (right - left <= 0) continue;
    painter.setPen(QPen(Theme::current().colors().border, 1));
    painter.drawLine(QPointF(left, plot.top()), QPointF(left, plot.bottom()));
    const QString title = metrics.elidedText(m_sections[i].title, Qt::ElideRight, right - left - 6);
    if (title.size() < std::min<qsizetype>(8, m_sections[i].title.size())) continue; // too little of it to mean anything
    const QRectF box(left + 2, plot.top() + 2, metrics.horizontalAdvance(title) + 4, metrics.height());
    QColor ground = Theme::current().colors().background;
    ground.setAlphaF(0.75F);
    painter.fillRect(box, ground);
    painter.setPen(Theme::current().colors().text);
    painter.drawText(QPointF(box.left() + 2, box.top() + metrics.ascent()), title);
  }
}

void StripChart::paintPeak(QPainter &painter) const {
  if (!std::isfinite(m_peak)) return;
  const QFontMetricsF metrics(painter.font());
  const QRectF plot = plotRect();
  const double at = std::round(yAxis().toPixel(m_peak / m_unit));
  painter.setPen(QPen(Theme::current().colors().text, 1, Qt::DashLine));
  painter.drawLine(QPointF(plot.left(), at), QPointF(plot.right(), at));
  const QString text = metrics.elidedText(m_peakText, Qt::ElideRight, plot.width() - 8);
  const QRectF box(plot.right() - 8 - metrics.horizontalAdvance(text), at + 2, metrics.horizontalAdvance(text) + 4,
                   metrics.height());
  QColor ground = Theme::current().colors().background;
  ground.setAlphaF(0.75F);
  painter.fillRect(box, ground);
  painter.drawText(QPointF(box.left() + 2, box.top() + metrics.ascent()), text);
}

void StripChart::paintData(QPainter &painter) const {
  if (m_count == 0) return;
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setClipRect(plotRect().adjusted(0, 0, 1, 1));
  for (const Section &section : m_sections) paintSection(painter, section);
  paintTitles(painter);
  paintPeak(painter);
}

void StripChart::paintCursor(QPainter &painter, int item) const {
  const QRectF plot = plotRect();
  const double at = std::round(itemPixel(item).x());
  if (at < plot.left() || at > plot.right()) return;
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setPen(QPen(Theme::current().colors().text, 1, Qt::DotLine));
  painter.drawLine(QPointF(at, plot.top()), QPointF(at, plot.bottom()));
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/matrix_chart.h"

#include "plot/color_bar.h"
#include "plot/color_map.h"
#include "theme.h"

#include <QPainter>

#include <algorithm>
#include <cmath>
#include <utility>

namespace xqs {

namespace {

constexpr double kGap = 6;
constexpr double kNamesAtMost = 0.42; ///< of the width
} // namespace

MatrixChart::MatrixChart(QWidget *parent) : GridChart(parent) {}

void MatrixChart::setMatrix(const QStringList &rows, int columns, std::vector<double> values, QStringList texts) {
  m_names = rows, m_texts = std::move(texts);
  m_values = std::move(values);
  Range range;
  for (const double value : m_values)
    if (value > 0) range.include(value);
  m_range = m_most > 0 ? Range{1 / m_most, m_most} : range.empty() ? Range{0.1, 1} : range;
  if (m_range.max < m_range.min * 1.01) m_range = {m_range.min / 2, m_range.max * 2}; // one value: a neighbourhood
  setGrid(static_cast<int>(rows.size()), columns);
  invalidateLayout();
}

void MatrixChart::setTitles(const QString &columns, const QString &value) {
  m_columnTitle = columns, m_valueTitle = value;
  invalidateLayout();
}

void MatrixChart::setMarks(std::vector<Mark> marks) {
  m_marks = std::move(marks);
  update();
}

void MatrixChart::setColumnNames(const QStringList &names) {
  m_columnNames = names;
  update();
}

void MatrixChart::setDiverging(double most) { m_most = most; }

const ColorMap &MatrixChart::colors() const {
  return m_most > 0 ? ColorMap::diverging(Theme::current().isDark()) : ColorMap::sequential();
}

QRgb MatrixChart::shade(double value) const {
  return colors().color(std::log10(std::max(value, m_range.min)), std::log10(m_range.min), std::log10(m_range.max));
}

void MatrixChart::setChosen(int item) {
  m_chosen = item;
  update();
}

std::optional<QRgb> MatrixChart::cellColor(int item) const {
  const double value = m_values[static_cast<std::size_t>(item)];
  if (std::isnan(value)) return {};
  return shade(value);
}

double MatrixChart::labelWidth() const {
  const QFontMetricsF metrics(smallFont());
  double widest = 0;
  for (const QString &name : m_names) widest = std::max(widest, metrics.horizontalAdvance(name));
  return std::min(widest, width() * kNamesAtMost) + kGap;
}

QRectF MatrixChart::cellsRect() const {
  const QFontMetricsF metrics(smallFont());
  return plotRect().adjusted(labelWidth(), 2, -2, -2 * metrics.height() - kGap);
}

QString MatrixChart::itemText(int item) const { return m_texts.value(item); }

void MatrixChart::paintData(QPainter &painter) const {
  if (m_values.empty()) return;
  const Theme::Colors &theme = Theme::current().colors();
  const QRectF cells = cellsRect();
  paintCells(painter);
  paintNames(painter, cells);
  paintMarks(painter);
  if (marked() >= 0 && marked() < columns()) outline(painter, columnRect(marked()), theme.background, theme.text);
  if (m_chosen >= 0 && m_chosen < itemCount()) outline(painter, cellRect(m_chosen), Qt::black, theme.accent);
}

void MatrixChart::paintNames(QPainter &painter, const QRectF &cells) const {
  const QFontMetricsF metrics(painter.font());
  painter.setPen(Theme::current().colors().mutedText);
  const double h = cells.height() / rows();
  const int every = std::max(1, static_cast<int>(std::ceil(metrics.height() / h)));
  for (int r = 0; r < rows(); r += every) {
    const QString name = metrics.elidedText(m_names[r], Qt::ElideRight, labelWidth() - kGap);
    painter.drawText(QPointF(cells.left() - kGap - metrics.horizontalAdvance(name),
                             cells.top() + (r + 0.5) * h + metrics.ascent() / 2 - 1),
                     name);
  }
  const double baseline = cells.bottom() + metrics.ascent() + 3;
  paintColumnNames(painter, cells, baseline);
  painter.setPen(Theme::current().colors().text);
  painter.drawText(QPointF(cells.center().x() - metrics.horizontalAdvance(m_columnTitle) / 2, baseline + metrics.height()),
                   m_columnTitle);
}

void MatrixChart::paintColumnNames(QPainter &painter, const QRectF &cells, double baseline) const {
  const QFontMetricsF metrics(painter.font());
  std::vector<Tick> names;
  for (int i = 0; i < m_columnNames.size(); ++i) names.push_back({static_cast<double>(i), m_columnNames[i]});
  if (names.empty()) names = integerTicks({0, columns() - 1.0}, std::clamp(static_cast<int>(cells.width() / 40), 2, 12));
  double occupied = -1e9; // right end of the last name
  for (const Tick &name : names) {
    const double width = metrics.horizontalAdvance(name.label);
    const double left = cells.left() + (name.value + 0.5) * cells.width() / columns() - width / 2;
    if (left < occupied + kGap / 2) continue;
    painter.drawText(QPointF(left, baseline), name.label);
    occupied = left + width;
  }
}

/// Marker and text side by side, or the text alone, or nothing where there is no room.
void MatrixChart::paintMarks(QPainter &painter) const {
  constexpr double kMarker = 8;
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing);
  for (int item = 0; item < itemCount() && m_marks.size() == m_values.size(); ++item) {
    const Mark &mark = m_marks[static_cast<std::size_t>(item)];
    const QRectF cell = cellRect(item);
    QFont font = smallFont();
    font.setBold(mark.bold);
    const QFontMetricsF metrics(font);
    const double width = metrics.horizontalAdvance(mark.text), whole = width + kMarker + kGap;
    if (cell.height() < metrics.height() || cell.width() < width + 4) continue;
    const QColor ink = QColor::fromRgb(readableOn(shade(m_values[static_cast<std::size_t>(item)])));
    const bool marker = cell.width() > whole + 4;
    const double left = cell.center().x() - (marker ? whole : width) / 2;
    if (marker) {
      SeriesStyle style = mark.style;
      style.color = ink;
      drawMarker(painter, style, {left + kMarker / 2, cell.center().y()}, kMarker, ink);
    }
    painter.setFont(font);
    painter.setPen(ink);
    painter.drawText(QPointF(left + (marker ? kMarker + kGap : 0), cell.center().y() + metrics.ascent() / 2 - 1), mark.text);
  }
  painter.restore();
}

QSizeF MatrixChart::legendSize(double available, bool beside) const {
  return m_values.empty() ? QSizeF() : colorBarSize(QFontMetricsF(smallFont()), m_valueTitle, available, beside);
}

void MatrixChart::paintLegend(QPainter &painter, const QRectF &rect) const {
  const QRectF cells = cellsRect();
  paintColorBar(painter, rect, rect.left() > cells.right() ? cells : rect, // below: the names' width too
                {colors(), Scale::Log, m_range, m_valueTitle});
}

} // namespace xqs

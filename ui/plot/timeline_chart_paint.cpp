// SPDX-License-Identifier: GPL-3.0-or-later
// What TimelineChart draws.
#include "plot/color_map.h"
#include "plot/format.h"
#include "plot/timeline_chart.h"
#include "theme.h"

#include <QPainter>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

constexpr double kGap = 6;
constexpr double kLeastBar = 1;    ///< narrower bars are merged, pixel by pixel
constexpr double kLabelFrom = 16;  ///< a bar this wide has its name in it, or the begin of it
constexpr int kLeastLetters = 5;   ///< of a name that is cut; less says nothing
constexpr double kFaintest = 0.35; ///< opacity of a pixel that is hardly covered: still seen
constexpr double kSwatch = 11;

QColor mixed(const QColor &color, const QColor &ground, double part) {
  const auto mix = [part](int a, int b) { return static_cast<int>(std::lround(a * part + b * (1 - part))); };
  return {mix(color.red(), ground.red()), mix(color.green(), ground.green()), mix(color.blue(), ground.blue())};
}

/// Bars that fall into one pixel: it takes the colour of what covers it most, the stronger the more is covered.
class MergedPixel {
public:
  explicit MergedPixel(std::size_t parts) : m_covered(2 * parts, 0) {}
  bool isAt(double pixel) const { return pixel == m_pixel; }
  bool empty() const { return m_pixel < 0; }
  void begin(double pixel) {
    std::ranges::fill(m_covered, 0);
    m_pixel = pixel;
  }
  void add(const TimelineChart::Bar &bar, double width) {
    m_covered[2 * static_cast<std::size_t>(bar.part) + (bar.matches ? 1 : 0)] += std::max(width, 1e-6);
  }
  void end() { m_pixel = -1; }
  double pixel() const { return m_pixel; }
  double covered() const {
    double sum = 0;
    for (const double c : m_covered) sum += c;
    return std::min(sum, 1.0);
  }
  struct Most {
    std::size_t part;
    bool matches;
  };
  Most most() const {
    const auto at = static_cast<std::size_t>(std::ranges::max_element(m_covered) - m_covered.begin());
    return {at / 2, at % 2 == 1};
  }

private:
  double m_pixel = -1;
  std::vector<double> m_covered; ///< pixels, a part: not matching, matching
};

/// Widths of the legend's columns.
struct LegendColumns {
  double title = 0, time = 0, share = 0;
  double all() const { return kSwatch + title + time + share + 5 * kGap; }
};
LegendColumns columnsOf(const std::vector<TimelineChart::Part> &parts, const QFontMetricsF &metrics) {
  LegendColumns columns;
  for (const TimelineChart::Part &part : parts) {
    columns.title = std::max(columns.title, metrics.horizontalAdvance(part.title));
    columns.time = std::max(columns.time, metrics.horizontalAdvance(part.time));
    columns.share = std::max(columns.share, metrics.horizontalAdvance(part.share));
  }
  return columns;
}

/// Unit of a span of time: its name and nanoseconds.
struct TimeUnit {
  const char *name;
  double nanoseconds;
};
TimeUnit unitFor(double span) {
  if (span < 2e2) return {"ns", 1};
  if (span < 2e5) return {"µs", 1e3};
  if (span < 2e9) return {"ms", 1e6};
  return {"s", 1e9};
}

} // namespace

void TimelineChart::paintData(QPainter &painter) const {
  m_painted = 0;
  const QRectF lanes = lanesRect();
  painter.setRenderHint(QPainter::Antialiasing, false);
  paintRuler(painter, lanes);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(Theme::current().colors().border, 1));
  painter.drawRect(lanes);
  painter.save();
  painter.setClipRect(QRectF(plotRect().left(), lanes.top(), plotRect().width(), lanes.height()));
  for (int lane = 0; lane < static_cast<int>(m_data.lanes.size()); ++lane) paintLane(painter, lane);
  paintMark(painter);
  painter.restore();
}

void TimelineChart::paintRuler(QPainter &painter, const QRectF &lanes) const {
  const Theme::Colors &colors = Theme::current().colors();
  const QFontMetricsF metrics(painter.font());
  const TimeUnit unit = unitFor(m_visible.span());
  const Axis axis = timeAxis();
  const double baseline = lanes.top() - kGap + 1;
  painter.setPen(colors.text);
  painter.drawText(QPointF(plotRect().left(), baseline), QStringLiteral("↔ ") + formatNanoseconds(m_visible.span()));
  const QString name = QString::fromUtf8(unit.name);
  const Range inUnits{m_visible.min / unit.nanoseconds, m_visible.max / unit.nanoseconds};
  const double nameFrom = lanes.right() - metrics.horizontalAdvance(name);
  for (const Tick &tick : ticks(Scale::Linear, inUnits, std::clamp(static_cast<int>(lanes.width() / 90), 2, 12))) {
    const double at = std::round(axis.toPixel(tick.value * unit.nanoseconds));
    painter.setPen(QPen(colors.grid, 1));
    painter.drawLine(QPointF(at, lanes.top()), QPointF(at, lanes.bottom()));
    painter.setPen(QPen(colors.border, 1));
    painter.drawLine(QPointF(at, lanes.top() - 4), QPointF(at, lanes.top()));
    const double left = at - metrics.horizontalAdvance(tick.label) / 2;
    if (left + metrics.horizontalAdvance(tick.label) > nameFrom - kGap || left < lanes.left() - 1) continue;
    painter.setPen(colors.mutedText);
    painter.drawText(QPointF(left, baseline), tick.label);
  }
  painter.setPen(colors.mutedText);
  painter.drawText(QPointF(nameFrom, baseline), name);
}

void TimelineChart::paintLane(QPainter &painter, int lane) const {
  const Theme::Colors &colors = Theme::current().colors();
  const QRectF rect = laneRect(lane), lanes = lanesRect();
  if (rect.bottom() < lanes.top() || rect.top() > lanes.bottom()) return;
  const QFontMetricsF metrics(painter.font());
  const Lane &shown = m_data.lanes[static_cast<std::size_t>(lane)];
  const double baseline = rect.center().y() + metrics.ascent() / 2 - 1, left = plotRect().left();
  if (shown.kind == Lane::Kind::Heading) {
    painter.fillRect(QRectF(left, rect.top(), rect.right() - left, rect.height()), colors.surface);
    painter.setPen(colors.text);
    painter.drawText(QPointF(left + 2, baseline),
                     metrics.elidedText(shown.title, Qt::ElideRight, rect.right() - left - kGap));
    return;
  }
  painter.setPen(QPen(colors.grid, 1));
  painter.drawLine(rect.bottomLeft(), rect.bottomRight());
  painter.setPen(colors.mutedText);
  painter.drawText(QPointF(left + 2, baseline), metrics.elidedText(shown.title, Qt::ElideRight, titlesWidth() - kGap));
  painter.save();
  painter.setClipRect(rect.intersected(lanes).adjusted(0, 0, 1, 0));
  paintBars(painter, lane, rect.adjusted(0, shown.kind == Lane::Kind::Queue ? 2 : 1, 0, -2));
  painter.restore();
}

void TimelineChart::paintBars(QPainter &painter, int lane, const QRectF &rect) const {
  const Axis axis = timeAxis();
  MergedPixel merged(m_data.parts.size());
  const QColor ground = Theme::current().colors().background;
  const auto flush = [&] {
    if (merged.empty()) return;
    const auto [part, matches] = merged.most();
    const QColor color = matches ? m_data.parts[part].color : Theme::current().colors().grid;
    painter.fillRect(QRectF(merged.pixel(), rect.top(), 1, rect.height()),
                     mixed(color, ground, kFaintest + (1 - kFaintest) * merged.covered()));
    ++m_painted;
    merged.end();
  };
  const Slice slice = visibleBars(lane, m_visible);
  for (std::size_t i = slice.first; i < slice.last; ++i) {
    const Bar &bar = m_data.bars[i];
    if (bar.endNs() < m_visible.min) continue;
    const double left = std::max(axis.toPixel(bar.startNs), rect.left() - 2);
    const double right = std::min(axis.toPixel(bar.endNs()), rect.right() + 2);
    if (right - left < kLeastBar) {
      const double pixel = std::floor(left);
      if (!merged.isAt(pixel)) flush(), merged.begin(pixel);
      merged.add(bar, right - left);
      continue;
    }
    flush();
    paintBar(painter, i, QRectF(left, rect.top(), right - left, rect.height()));
  }
  flush();
}

void TimelineChart::paintBar(QPainter &painter, std::size_t index, const QRectF &rect) const {
  const Theme::Colors &colors = Theme::current().colors();
  const Bar &bar = m_data.bars[index];
  const bool layers = m_data.lanes[static_cast<std::size_t>(bar.lane)].kind == Lane::Kind::Layers;
  const QColor color = !bar.matches ? colors.grid
                       : layers     ? colors.surface
                                    : m_data.parts[static_cast<std::size_t>(bar.part)].color;
  // A pixel between neighbours, where there is room for one.
  const QRectF body = rect.width() >= 4 ? rect.adjusted(0, 0, -1, 0) : rect;
  painter.fillRect(body, color);
  ++m_painted;
  if (layers) {
    painter.setPen(QPen(colors.border, 1));
    painter.drawLine(body.topLeft(), body.bottomLeft());
  }
  if (body.width() < kLabelFrom || !m_data.label || !bar.matches) return;
  const QFontMetricsF metrics(painter.font());
  if (metrics.height() > rect.height() + 4) return;
  const QString name = m_data.label(static_cast<int>(index));
  const QString label = metrics.elidedText(name, Qt::ElideRight, body.width() - kGap);
  if (label != name && label.size() < kLeastLetters) return;
  painter.setPen(layers ? colors.mutedText : QColor::fromRgb(readableOn(color.rgb())));
  painter.drawText(QPointF(body.left() + kGap / 2, body.center().y() + metrics.ascent() / 2 - 1), label);
}

void TimelineChart::paintMark(QPainter &painter) const {
  if (m_drag != Drag::Mark) return;
  const QRectF lanes = lanesRect();
  QColor fill = Theme::current().colors().accent;
  fill.setAlphaF(0.2F);
  const double left = std::min(m_pressed.x(), m_last.x()), right = std::max(m_pressed.x(), m_last.x());
  painter.fillRect(QRectF(left, lanes.top(), right - left, lanes.height()), fill);
  const Axis axis = timeAxis();
  painter.setPen(Theme::current().colors().text);
  painter.drawText(QPointF(left + 4, lanes.bottom() - 5), formatNanoseconds(axis.toValue(right) - axis.toValue(left)));
}

void TimelineChart::paintCursor(QPainter &painter, int item) const {
  const Bar &bar = m_data.bars[static_cast<std::size_t>(item)];
  const QRectF lane = laneRect(bar.lane), lanes = lanesRect();
  const Axis axis = timeAxis();
  const double left = axis.toPixelClamped(bar.startNs), right = std::max(axis.toPixelClamped(bar.endNs()), left + 2);
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setClipRect(lanes.adjusted(-1, -1, 2, 2));
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(Theme::current().colors().mutedText, 1, Qt::DotLine));
  for (const double at : {left, right}) painter.drawLine(QPointF(at, lanes.top()), QPointF(at, lanes.bottom()));
  painter.setPen(QPen(Theme::current().colors().text, 2));
  painter.drawRect(QRectF(left, lane.top() + 1, right - left, lane.height() - 2));
}

// Legend: parts with their time and share ---------------------------------------------------------------------------------

QSizeF TimelineChart::legendSize(double available, bool beside) const {
  if (m_data.parts.empty()) return {};
  const QFontMetricsF metrics(smallFont());
  const double widest = columnsOf(m_data.parts, metrics).all();
  if (beside) return {std::min(widest, width() * 0.3), available};
  const int columns = std::max(1, static_cast<int>(available / (widest + 2 * kGap)));
  const int rows = (static_cast<int>(m_data.parts.size()) + columns - 1) / columns;
  return {available, std::min((rows + 1) * (metrics.height() + 3), height() * 0.4)};
}

void TimelineChart::paintLegend(QPainter &painter, const QRectF &rect) const {
  const Theme::Colors &colors = Theme::current().colors();
  const QFontMetricsF metrics(painter.font());
  const LegendColumns columns = columnsOf(m_data.parts, metrics);
  const double row = metrics.height() + 4, width = std::min(columns.all(), rect.width());
  painter.setPen(colors.mutedText);
  painter.drawText(QPointF(rect.left(), rect.top() + metrics.ascent()),
                   metrics.elidedText(m_data.legendTitle, Qt::ElideRight, rect.width()));
  QPointF at(rect.left(), rect.top() + row);
  for (const Part &part : m_data.parts) {
    if (at.y() + row > rect.bottom() + 3) at = {at.x() + width + 2 * kGap, rect.top() + row};
    if (at.x() + width > rect.right() + 1) return;
    const double baseline = at.y() + metrics.ascent(), right = at.x() + width;
    painter.fillRect(QRectF(at.x(), baseline - kSwatch + 1, kSwatch, kSwatch), part.color);
    painter.setPen(colors.text);
    painter.drawText(QPointF(at.x() + kSwatch + kGap, baseline),
                     metrics.elidedText(part.title, Qt::ElideRight, width - columns.all() + columns.title + 1));
    painter.drawText(QPointF(right - columns.share - 2 * kGap - metrics.horizontalAdvance(part.time), baseline), part.time);
    painter.setPen(colors.mutedText);
    painter.drawText(QPointF(right - metrics.horizontalAdvance(part.share), baseline), part.share);
    at.ry() += row;
  }
}

} // namespace xqs

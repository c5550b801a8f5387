// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/timeline_chart.h"

#include "plot/format.h"
#include "theme.h"

#include <QPainter>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

constexpr double kGap = 6;
constexpr double kLeastLane = 15, kMostLane = 56, kHeading = 19, kLayers = 15;
constexpr double kReach = 3;           ///< pixels beside a bar that belong to it
constexpr double kLeastVisibleNs = 50; ///< a span shorter than a launch shows nothing

double fixedHeight(TimelineChart::Lane::Kind kind) {
  using Kind = TimelineChart::Lane::Kind;
  return kind == Kind::Heading ? kHeading : kind == Kind::Layers ? kLayers : 0;
}

} // namespace

TimelineChart::TimelineChart(QWidget *parent) : ChartCanvas(parent) {
  connect(this, &ChartCanvas::cursorChanged, this, &TimelineChart::reveal);
}

void TimelineChart::setData(Data shown) {
  m_data = std::move(shown);
  m_laneBegin.assign(m_data.lanes.size() + 1, 0);
  m_longest.assign(m_data.lanes.size(), 0);
  const double reached = m_all.max;
  m_all = {0, 0};
  for (const Bar &bar : m_data.bars) {
    const auto lane = static_cast<std::size_t>(bar.lane);
    ++m_laneBegin[lane + 1];
    m_longest[lane] = std::max(m_longest[lane], bar.durationNs);
    m_all.include(bar.startNs);
    m_all.include(bar.endNs());
  }
  for (std::size_t lane = 1; lane < m_laneBegin.size(); ++lane) m_laneBegin[lane] += m_laneBegin[lane - 1];
  if (m_all.span() <= 0) m_all = {0, 1};
  if (m_all.max != reached) fit();
  setCursorItem(-1);
  invalidateLayout();
  scrollLanes(0);
}

// What is visible ---------------------------------------------------------------------------------------------------------

void TimelineChart::fit() {
  Range range;
  for (const Bar &bar : m_data.bars)
    if (bar.matches && bar.durationNs > 0) range.include(bar.startNs), range.include(bar.endNs());
  if (range.empty()) range = m_all;
  const bool all = range.span() > 0.98 * m_all.span();
  const double margin = all ? 0 : 0.04 * range.span();
  setVisible(range.min - margin, range.max + margin);
  m_fitted = m_visible;
}

void TimelineChart::setVisible(double fromNs, double toNs) {
  const double span = std::clamp(toNs - fromNs, std::min(kLeastVisibleNs, m_all.span()), m_all.span());
  const double from = std::clamp(fromNs, m_all.min, m_all.max - span);
  const Range range{from, from + span};
  if (range == m_visible) return;
  m_visible = range;
  update();
  Q_EMIT visibleChanged();
}

void TimelineChart::zoom(double factor, double aroundNs) {
  const double span = m_visible.span() / factor;
  const double from = aroundNs - (aroundNs - m_visible.min) / factor;
  // At the limit the place under the mouse must not drift.
  if (span < kLeastVisibleNs && factor > 1) return;
  setVisible(from, from + span);
}

void TimelineChart::move(double byNs) { setVisible(m_visible.min + byNs, m_visible.max + byNs); }

void TimelineChart::scrollLanes(double byPixels) {
  m_scroll = std::clamp(m_scroll + byPixels, 0.0, std::max(0.0, lanesHeight() - lanesRect().height()));
  update();
}

void TimelineChart::reveal(int item) {
  if (item < 0 || item >= itemCount() || m_drag != Drag::None) return;
  const Bar &bar = m_data.bars[static_cast<std::size_t>(item)];
  if (bar.endNs() < m_visible.min || bar.startNs > m_visible.max)
    move(bar.startNs + bar.durationNs / 2 - (m_visible.min + m_visible.max) / 2);
  const QRectF lane = laneRect(bar.lane), lanes = lanesRect();
  if (lane.top() < lanes.top()) scrollLanes(lane.top() - lanes.top());
  if (lane.bottom() > lanes.bottom()) scrollLanes(lane.bottom() - lanes.bottom());
}

// Where things lie --------------------------------------------------------------------------------------------------------

double TimelineChart::titlesWidth() const {
  const QFontMetricsF metrics(smallFont());
  double widest = metrics.horizontalAdvance(QStringLiteral("↔ 000 ms"));
  for (const Lane &lane : m_data.lanes)
    if (lane.kind != Lane::Kind::Heading) widest = std::max(widest, metrics.horizontalAdvance(lane.title));
  return std::min(widest, width() * 0.25) + 2 * kGap;
}

QRectF TimelineChart::lanesRect() const {
  const double ruler = QFontMetricsF(smallFont()).height() + kGap;
  return plotRect().adjusted(titlesWidth(), ruler, 0, 0);
}

/// Lanes of queues share what headings and layers leave, within limits.
QRectF TimelineChart::laneRect(int lane) const {
  const QRectF all = lanesRect();
  double fixed = 0;
  int queues = 0;
  for (const Lane &l : m_data.lanes) fixed += fixedHeight(l.kind), queues += l.kind == Lane::Kind::Queue;
  const double height = std::clamp((all.height() - fixed) / std::max(queues, 1), kLeastLane, kMostLane);
  double top = all.top() - m_scroll;
  const auto heightOf = [&](int i) {
    const Lane::Kind kind = m_data.lanes[static_cast<std::size_t>(i)].kind;
    return kind == Lane::Kind::Queue ? height : fixedHeight(kind);
  };
  for (int i = 0; i < lane; ++i) top += heightOf(i);
  return {all.left(), top, all.width(), heightOf(lane)};
}

double TimelineChart::lanesHeight() const {
  if (m_data.lanes.empty()) return 0;
  return laneRect(static_cast<int>(m_data.lanes.size()) - 1).bottom() - laneRect(0).top();
}

Axis TimelineChart::timeAxis() const {
  const QRectF lanes = lanesRect();
  return {Scale::Linear, m_visible, lanes.left(), lanes.right()};
}

TimelineChart::Slice TimelineChart::laneBars(int lane) const {
  const auto i = static_cast<std::size_t>(lane);
  return {m_laneBegin[i], m_laneBegin[i + 1]};
}

TimelineChart::Slice TimelineChart::visibleBars(int lane, const Range &range) const {
  const Slice all = laneBars(lane);
  const auto begin = m_data.bars.begin();
  const auto at = [&](std::size_t i) { return begin + static_cast<std::ptrdiff_t>(i); };
  const auto first = std::lower_bound(at(all.first), at(all.last), range.min - m_longest[static_cast<std::size_t>(lane)],
                                      [](const Bar &bar, double ns) { return bar.startNs < ns; });
  const auto last =
      std::upper_bound(first, at(all.last), range.max, [](double ns, const Bar &bar) { return ns < bar.startNs; });
  return {static_cast<std::size_t>(first - begin), static_cast<std::size_t>(last - begin)};
}

QRectF TimelineChart::itemRect(int item) const {
  const Bar &bar = m_data.bars[static_cast<std::size_t>(item)];
  const Axis axis = timeAxis();
  const QRectF lane = laneRect(bar.lane);
  const double left = axis.toPixelClamped(bar.startNs), right = axis.toPixelClamped(bar.endNs());
  return QRectF(left, lane.top(), right - left, lane.height()).adjusted(-kReach, 0, kReach, 0);
}

QPointF TimelineChart::itemPixel(int item) const {
  const QRectF rect = itemRect(item);
  if (item != cursor() || m_hoverX < 0) return rect.center();
  return {std::clamp(m_hoverX, rect.left(), rect.right()), rect.center().y()};
}

QString TimelineChart::itemText(int item) const {
  return item >= 0 && item < itemCount() && m_data.text ? m_data.text(item) : QString();
}

int TimelineChart::nearestIn(int lane, double atNs) const {
  const Slice all = laneBars(lane);
  int best = -1;
  double distance = 0;
  for (std::size_t i = all.first; i < all.last; ++i) {
    const Bar &bar = m_data.bars[i];
    const double d = std::max({bar.startNs - atNs, atNs - bar.endNs(), 0.0});
    if (bar.matches && (best < 0 || d < distance)) best = static_cast<int>(i), distance = d;
  }
  return best;
}

int TimelineChart::itemAt(QPointF position) const {
  if (!lanesRect().contains(position)) return -1;
  const Axis axis = timeAxis();
  const Range around{axis.toValue(position.x() - kReach), axis.toValue(position.x() + kReach)};
  for (int lane = 0; lane < static_cast<int>(m_data.lanes.size()); ++lane) {
    const QRectF rect = laneRect(lane);
    if (position.y() < rect.top() || position.y() >= rect.bottom()) continue;
    int best = -1;
    double nearest = kReach;
    const Slice slice = visibleBars(lane, around);
    for (std::size_t i = slice.first; i < slice.last; ++i) {
      const Bar &bar = m_data.bars[i];
      const double left = axis.toPixel(bar.startNs), right = axis.toPixel(bar.endNs());
      const double d = std::max({left - position.x(), position.x() - right, 0.0});
      if (bar.matches && d <= nearest) best = static_cast<int>(i), nearest = d;
    }
    return best;
  }
  return -1;
}

int TimelineChart::neighbour(int item, int key) const {
  const double middle = (m_visible.min + m_visible.max) / 2;
  const int lanes = static_cast<int>(m_data.lanes.size());
  if (item < 0) {
    for (int lane = 0; lane < lanes; ++lane)
      if (m_data.lanes[static_cast<std::size_t>(lane)].kind == Lane::Kind::Queue)
        if (const int found = nearestIn(lane, m_visible.min); found >= 0) return found;
    return 0;
  }
  const Bar &bar = m_data.bars[static_cast<std::size_t>(item)];
  if (key == Qt::Key_Up || key == Qt::Key_Down) {
    const double at = std::clamp(bar.startNs + bar.durationNs / 2, m_visible.min, std::max(middle, m_visible.max));
    for (int lane = bar.lane + (key == Qt::Key_Up ? -1 : 1); lane >= 0 && lane < lanes; lane += key == Qt::Key_Up ? -1 : 1)
      if (const int found = nearestIn(lane, at); found >= 0) return found;
    return item;
  }
  const Slice all = laneBars(bar.lane);
  const int by = key == Qt::Key_Left ? -1 : 1;
  for (int i = item + by; i >= static_cast<int>(all.first) && i < static_cast<int>(all.last); i += by)
    if (m_data.bars[static_cast<std::size_t>(i)].matches) return i;
  return item;
}

} // namespace xqs

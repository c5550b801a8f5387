// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/chart_canvas.h"

#include "plot/chart_accessible.h"
#include "theme.h"

#include <QAccessible>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QSaveFile>
#include <QSvgGenerator>
#include <QToolTip>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {
constexpr double kGap = 6; ///< between text and what it belongs to
constexpr double kTickLength = 4;
constexpr double kHoverReach = 14; ///< pixels around an item that belong to it
constexpr double kLegendSample = 26;
constexpr double kBesideFrom = 460; ///< narrower charts have their legend below
} // namespace

ChartCanvas::ChartCanvas(QWidget *parent) : QWidget(parent) {
  installChartAccessibility();
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
  setAttribute(Qt::WA_OpaquePaintEvent);
}

void ChartCanvas::setAxes(const AxisSpec &x, const AxisSpec &y) {
  m_x = x;
  m_y = y;
  invalidateLayout();
}

void ChartCanvas::setLegend(std::vector<LegendEntry> entries) {
  m_legend = std::move(entries);
  invalidateLayout();
}

void ChartCanvas::setEmptyText(const QString &text) {
  m_emptyText = text;
  update();
}

QFont ChartCanvas::smallFont() const {
  QFont f = font();
  if (f.pointSizeF() > 0) f.setPointSizeF(std::max(8.0, f.pointSizeF() - 0.5));
  return f;
}

// Layout ------------------------------------------------------------------------------------------------------------------

std::vector<Tick> ChartCanvas::ticksOf(const AxisSpec &spec, double pixels, double perTick) const {
  const int wanted = std::clamp(static_cast<int>(pixels / perTick), 2, 12);
  return spec.integers ? integerTicks(spec.range, wanted) : ticks(spec.scale, spec.range, wanted);
}

void ChartCanvas::invalidateLayout() {
  m_layout.reset();
  update();
}

void ChartCanvas::resizeEvent(QResizeEvent *event) {
  invalidateLayout();
  QWidget::resizeEvent(event);
}

void ChartCanvas::changeEvent(QEvent *event) {
  invalidateLayout(); // font, style, palette, language
  QWidget::changeEvent(event);
}

const ChartCanvas::Layout &ChartCanvas::layout() const {
  if (!m_layout) m_layout = makeLayout();
  return *m_layout;
}

ChartCanvas::Layout ChartCanvas::makeLayout() const {
  const QFontMetricsF metrics(smallFont());
  QRectF rest = QRectF(rect()).adjusted(kGap, kGap, -kGap - 2, -kGap);
  Layout result;
  result.legendBeside = width() >= kBesideFrom && width() > height();
  const QSizeF legend = legendSize(result.legendBeside ? rest.height() : rest.width(), result.legendBeside);
  if (!legend.isEmpty() && result.legendBeside) {
    result.legend = QRectF(rest.right() - legend.width(), rest.top(), legend.width(), rest.height());
    rest.setRight(result.legend.left() - 2 * kGap);
  } else if (!legend.isEmpty()) {
    result.legend = QRectF(rest.left(), rest.bottom() - legend.height(), rest.width(), legend.height());
    rest.setBottom(result.legend.top() - kGap);
  }
  if (hasAxes()) {
    double labelWidth = 0;
    for (const Tick &tick : ticksOf(m_y, rest.height(), 44))
      labelWidth = std::max(labelWidth, metrics.horizontalAdvance(tick.label));
    const double title = m_y.title.isEmpty() ? 0 : metrics.height() + kGap;
    const double below = metrics.height() + kTickLength + 2 + (m_x.title.isEmpty() ? 0 : metrics.height() + 2);
    rest.adjust(title + labelWidth + kTickLength + 4, metrics.height() / 2, -kGap, -below);
  }
  QSizeF size = rest.size().expandedTo(QSizeF(20, 20));
  if (isSquare()) {
    const double side = std::min(size.width(), size.height());
    rest.moveLeft(rest.left() + (size.width() - side) / 2);
    if (result.legendBeside && !result.legend.isEmpty()) result.legend.moveLeft(rest.left() + side + 3 * kGap);
    size = {side, side};
  }
  result.plot = QRectF(rest.topLeft(), size);
  return result;
}

QRectF ChartCanvas::plotRect() const { return layout().plot; }

Axis ChartCanvas::xAxis() const {
  const QRectF plot = plotRect();
  return {m_x.scale, m_x.range, plot.left(), plot.right()};
}

Axis ChartCanvas::yAxis() const { return yAxisIn(plotRect()); }

Axis ChartCanvas::yAxisIn(const QRectF &plot) const {
  return m_y.reversed ? Axis(m_y.scale, m_y.range, plot.top(), plot.bottom())
                      : Axis(m_y.scale, m_y.range, plot.bottom(), plot.top());
}

// Painting ----------------------------------------------------------------------------------------------------------------

void ChartCanvas::paintEvent(QPaintEvent *) {
  QPainter painter(this);
  paintAll(painter);
  if (!m_emptyText.isEmpty()) return;
  if (m_cursor >= 0 && m_cursor < itemCount()) paintCursor(painter, m_cursor);
  if (hasFocus()) {
    painter.setBrush(Qt::NoBrush);
    painter.setPen(QPen(Theme::current().colors().accent, 1));
    painter.drawRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5));
  }
}

void ChartCanvas::paintAll(QPainter &painter) const {
  const Theme::Colors &colors = Theme::current().colors();
  painter.fillRect(rect(), colors.background);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setFont(smallFont());
  if (!m_emptyText.isEmpty()) {
    painter.setFont(font());
    painter.setPen(colors.mutedText);
    painter.drawText(QRectF(rect()).adjusted(24, 24, -24, -24), static_cast<int>(Qt::AlignCenter) | Qt::TextWordWrap,
                     m_emptyText);
    return;
  }
  const Layout l = layout();
  if (hasAxes()) paintAxes(painter, l.plot);
  painter.save();
  paintData(painter);
  painter.restore();
  if (!l.legend.isEmpty()) paintLegend(painter, l.legend);
}

void ChartCanvas::paintAxes(QPainter &painter, const QRectF &plot) const {
  const Theme::Colors &colors = Theme::current().colors();
  const QFontMetricsF metrics(painter.font());
  const QPen grid(colors.grid, 1), frame(colors.border, 1);
  const Axis x(m_x.scale, m_x.range, plot.left(), plot.right());
  const Axis y = yAxisIn(plot);
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing, false); // lines along pixels are crisp without it
  double occupied = -1e9;                               // right end of the last label, so that labels never overlap
  for (const Tick &tick : ticksOf(m_x, plot.width(), 62)) {
    const double at = std::round(x.toPixel(tick.value));
    const bool major = !tick.label.isEmpty();
    painter.setPen(major ? grid : frame);
    if (major) painter.drawLine(QPointF(at, plot.top()), QPointF(at, plot.bottom()));
    painter.setPen(frame);
    painter.drawLine(QPointF(at, plot.bottom()), QPointF(at, plot.bottom() + (major ? kTickLength : kTickLength / 2)));
    const double width = metrics.horizontalAdvance(tick.label);
    if (!major || at - width / 2 < occupied + kGap) continue;
    occupied = at + width / 2;
    painter.setPen(colors.mutedText);
    painter.drawText(QPointF(at - width / 2, plot.bottom() + kTickLength + 2 + metrics.ascent()), tick.label);
  }
  for (const Tick &tick : ticksOf(m_y, plot.height(), 44)) {
    const double at = std::round(y.toPixel(tick.value));
    const bool major = !tick.label.isEmpty();
    painter.setPen(grid);
    if (major) painter.drawLine(QPointF(plot.left(), at), QPointF(plot.right(), at));
    painter.setPen(frame);
    painter.drawLine(QPointF(plot.left() - (major ? kTickLength : kTickLength / 2), at), QPointF(plot.left(), at));
    painter.setPen(colors.mutedText);
    painter.drawText(
        QPointF(plot.left() - kTickLength - 4 - metrics.horizontalAdvance(tick.label), at + metrics.ascent() / 2 - 1),
        tick.label);
  }
  painter.setPen(frame);
  painter.drawRect(plot);
  painter.restore();
  painter.setPen(colors.text);
  painter.drawText(
      QRectF(plot.left() - 60, plot.bottom() + kTickLength + 4 + metrics.height(), plot.width() + 120, metrics.height()),
      Qt::AlignCenter, m_x.title);
  if (m_y.title.isEmpty()) return;
  painter.save();
  painter.translate(isSquare() ? std::max(kGap, plot.left() - 3.2 * metrics.height()) : kGap, plot.center().y());
  painter.rotate(-90);
  painter.drawText(QRectF(-plot.height() / 2 - 40, 0, plot.height() + 80, metrics.height()), Qt::AlignCenter,
                   metrics.elidedText(m_y.title, Qt::ElideRight, plot.height() + 60));
  painter.restore();
}

void ChartCanvas::paintCursor(QPainter &painter, int item) const {
  const Theme::Colors &colors = Theme::current().colors();
  const QRectF plot = plotRect();
  const QPointF at = itemPixel(item);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(QPen(colors.mutedText, 1, Qt::DotLine));
  painter.drawLine(QPointF(plot.left(), at.y()), QPointF(plot.right(), at.y()));
  painter.drawLine(QPointF(at.x(), plot.top()), QPointF(at.x(), plot.bottom()));
  painter.setPen(QPen(colors.accent, 2));
  painter.setBrush(Qt::NoBrush);
  painter.drawEllipse(at, 9, 9);
}

// Legend ------------------------------------------------------------------------------------------------------------------

QSizeF ChartCanvas::legendSize(double available, bool beside) const {
  if (m_legend.empty()) return {};
  const QFontMetricsF metrics(smallFont());
  const double row = metrics.height() + 4;
  double widest = 0, x = 0;
  int rows = 1;
  for (const LegendEntry &entry : m_legend) {
    const double width = (entry.heading ? 0 : kLegendSample + kGap) + metrics.horizontalAdvance(entry.text) + 2;
    widest = std::max(widest, width);
    if (x > 0 && x + width > available) x = 0, ++rows;
    x += width + 2 * kGap;
  }
  if (beside) return {std::min(widest, std::max(110.0, width() * 0.30)), available};
  return {available, std::min(rows * row, height() * 0.35)};
}

void ChartCanvas::paintLegend(QPainter &painter, const QRectF &rect) const {
  const Theme::Colors &colors = Theme::current().colors();
  const QFontMetricsF metrics(painter.font());
  const bool beside = layout().legendBeside;
  const double row = metrics.height() + 4;
  QPointF at = rect.topLeft();
  for (const LegendEntry &entry : m_legend) {
    const double sample = entry.heading ? 0 : kLegendSample + kGap;
    const double wanted = sample + metrics.horizontalAdvance(entry.text) + 2;
    if (!beside && at.x() > rect.left() && at.x() + wanted > rect.right()) at = {rect.left(), at.y() + row};
    if (at.y() + row > rect.bottom() + 1) { // says that something is missing
      painter.setPen(colors.mutedText);
      painter.drawText(QPointF(rect.right() - metrics.horizontalAdvance(QStringLiteral("…")), rect.bottom() - 2),
                       QStringLiteral("…"));
      break;
    }
    if (!entry.heading) {
      const QPointF left = at + QPointF(0, row / 2), right = left + QPointF(kLegendSample, 0);
      if (entry.style.area) {
        const QRectF swatch(left - QPointF(-4, 5), right + QPointF(-4, 5));
        if (entry.style.hatched)
          fillHatched(painter, swatch, entry.style.color);
        else
          painter.fillRect(swatch, entry.style.color);
      } else if (entry.style.line != Qt::NoPen) {
        painter.setPen(linePen(entry.style));
        painter.drawLine(left, right);
      }
      drawMarker(painter, entry.style, (left + right) / 2, 9, colors.background);
    }
    painter.setPen(entry.heading ? colors.mutedText : colors.text);
    const double room = rect.right() - at.x() - sample;
    painter.drawText(QPointF(at.x() + sample, at.y() + row / 2 + metrics.ascent() / 2 - 1),
                     metrics.elidedText(entry.text, Qt::ElideRight, room));
    at = beside ? QPointF(rect.left(), at.y() + row) : QPointF(at.x() + wanted + 2 * kGap, at.y());
  }
}

// Items -------------------------------------------------------------------------------------------------------------------

QPointF ChartCanvas::itemPixel(int) const { return {}; }
QString ChartCanvas::itemText(int) const { return {}; }
QRectF ChartCanvas::itemRect(int item) const { return {itemPixel(item) - QPointF(12, 12), QSizeF(24, 24)}; }

int ChartCanvas::itemAt(QPointF position) const {
  int best = -1;
  double nearest = kHoverReach * kHoverReach;
  for (int i = 0; i < itemCount(); ++i) {
    const QPointF d = itemPixel(i) - position;
    const double distance = QPointF::dotProduct(d, d);
    if (distance <= nearest) nearest = distance, best = i;
  }
  return best;
}

int ChartCanvas::neighbour(int item, int key) const {
  if (item < 0) return 0;
  const bool horizontal = key == Qt::Key_Left || key == Qt::Key_Right;
  const bool forward = key == Qt::Key_Right || key == Qt::Key_Up;
  const auto place = [&](int i) {
    const QPointF p = itemPixel(i);
    return std::pair(horizontal ? p.x() : -p.y(), i); // the index makes the order total: every item is reached
  };
  int best = -1;
  for (int i = 0; i < itemCount(); ++i) {
    if (forward ? place(i) <= place(item) : place(i) >= place(item)) continue;
    if (best < 0 || (forward ? place(i) < place(best) : place(i) > place(best))) best = i;
  }
  return best < 0 ? item : best;
}

void ChartCanvas::setCursorItem(int item) {
  item = item < itemCount() ? item : -1;
  if (item == m_cursor) return;
  m_cursor = item;
  update();
  QAccessibleEvent changed(this, QAccessible::DescriptionChanged);
  QAccessible::updateAccessibility(&changed);
  Q_EMIT cursorChanged(item);
}

void ChartCanvas::showItemText() {
  if (m_cursor < 0 || m_cursor >= itemCount() || !isVisible()) return QToolTip::hideText();
  const QPointF at = itemPixel(m_cursor);
  QToolTip::showText(mapToGlobal((at + QPointF(12, 10)).toPoint()), itemText(m_cursor), this,
                     itemRect(m_cursor).toAlignedRect());
}

bool ChartCanvas::event(QEvent *event) {
  if (event->type() == QEvent::ToolTip) { // shown at once from mouseMoveEvent, not after a delay
    showItemText();
    return true;
  }
  return QWidget::event(event);
}

void ChartCanvas::mouseMoveEvent(QMouseEvent *event) {
  if (!m_emptyText.isEmpty()) return;
  const int before = m_cursor;
  setCursorItem(itemAt(event->position()));
  if (m_cursor != before) showItemText();
}

void ChartCanvas::mousePressEvent(QMouseEvent *event) {
  if (event->button() != Qt::LeftButton || !m_emptyText.isEmpty()) return QWidget::mousePressEvent(event);
  const int item = itemAt(event->position());
  setCursorItem(item);
  if (item >= 0) Q_EMIT activated(item);
}

void ChartCanvas::leaveEvent(QEvent *) {
  if (!hasFocus()) setCursorItem(-1);
}

void ChartCanvas::focusOutEvent(QFocusEvent *event) {
  setCursorItem(-1);
  QWidget::focusOutEvent(event);
}

void ChartCanvas::keyPressEvent(QKeyEvent *event) {
  const int count = m_emptyText.isEmpty() ? itemCount() : 0;
  const int key = event->key();
  if (count == 0) return QWidget::keyPressEvent(event);
  if (key == Qt::Key_Left || key == Qt::Key_Right || key == Qt::Key_Up || key == Qt::Key_Down)
    setCursorItem(neighbour(std::min(m_cursor, count - 1), key));
  else if (key == Qt::Key_Home)
    setCursorItem(0);
  else if (key == Qt::Key_End)
    setCursorItem(count - 1);
  else if (key == Qt::Key_Escape && m_cursor >= 0)
    setCursorItem(-1);
  else if ((key == Qt::Key_Return || key == Qt::Key_Enter || key == Qt::Key_Space) && m_cursor >= 0)
    Q_EMIT activated(m_cursor);
  else
    return QWidget::keyPressEvent(event);
  showItemText();
}

// Export ------------------------------------------------------------------------------------------------------------------

QImage ChartCanvas::toImage(double scale) const {
  QImage image(QSizeF(QSizeF(size()) * scale).toSize(), QImage::Format_RGB32);
  image.setDevicePixelRatio(scale);
  QPainter painter(&image);
  paintAll(painter);
  return image;
}

void ChartCanvas::writeSvg(QIODevice &device, const QString &title) const {
  QSvgGenerator generator;
  generator.setOutputDevice(&device);
  generator.setSize(size());
  generator.setViewBox(rect());
  generator.setTitle(title);
  QPainter painter(&generator);
  paintAll(painter);
}

bool ChartCanvas::saveTo(const QString &file) const {
  if (!file.endsWith(QLatin1String(".svg"), Qt::CaseInsensitive)) return toImage(2).save(file);
  QSaveFile out(file);
  if (!out.open(QIODevice::WriteOnly)) return false;
  writeSvg(out, accessibleName());
  return out.commit();
}

} // namespace xqs

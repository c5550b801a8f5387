// SPDX-License-Identifier: GPL-3.0-or-later
// How mouse, wheel and keys move TimelineChart.
#include "plot/timeline_chart.h"

#include <QApplication>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QWheelEvent>

#include <algorithm>
#include <cmath>
#include <utility>

namespace xqs {

namespace {
constexpr double kZoomStep = 1.25; ///< a notch of the wheel
constexpr double kKeyZoom = 1.5;   ///< a key
constexpr double kKeyMove = 0.2;   ///< of what is visible
constexpr double kNotch = 120;     ///< QWheelEvent's units
constexpr double kMarkAtLeast = 4; ///< pixels; less is a click
} // namespace

void TimelineChart::resizeEvent(QResizeEvent *event) {
  ChartCanvas::resizeEvent(event);
  scrollLanes(0);
}

void TimelineChart::wheelEvent(QWheelEvent *event) {
  if (m_data.bars.empty() || !emptyText().isEmpty()) return event->ignore();
  const QPointF turned = QPointF(event->angleDelta()) / kNotch;
  const double sideways = std::abs(turned.x()) > std::abs(turned.y()) ? turned.x()
                          : event->modifiers() & Qt::ShiftModifier    ? turned.y()
                                                                      : 0;
  if (sideways != 0)
    move(-sideways * kKeyMove / 2 * m_visible.span());
  else
    zoom(std::pow(kZoomStep, turned.y()), timeAxis().toValue(event->position().x()));
  setCursorItem(itemAt(event->position()));
  event->accept();
}

void TimelineChart::mousePressEvent(QMouseEvent *event) {
  if (event->button() != Qt::LeftButton || !emptyText().isEmpty()) return QWidget::mousePressEvent(event);
  m_drag = Drag::Pressed; // a click or the begin of a drag: release says
  m_pressed = m_last = event->position();
}

void TimelineChart::mouseMoveEvent(QMouseEvent *event) {
  const QPointF position = event->position();
  m_hoverX = position.x();
  if (m_drag == Drag::None) return ChartCanvas::mouseMoveEvent(event);
  if (m_drag == Drag::Pressed) {
    if ((position - m_pressed).manhattanLength() < QApplication::startDragDistance()) return;
    m_drag = event->modifiers() & Qt::ShiftModifier ? Drag::Mark : Drag::Move;
    setCursor(m_drag == Drag::Mark ? Qt::SplitHCursor : Qt::ClosedHandCursor);
    setCursorItem(-1);
  }
  if (m_drag == Drag::Move) {
    const Axis axis = timeAxis();
    move(axis.toValue(m_last.x()) - axis.toValue(position.x()));
    scrollLanes(m_last.y() - position.y());
  }
  m_last = position;
  update();
}

void TimelineChart::mouseReleaseEvent(QMouseEvent *event) {
  const Drag ended = std::exchange(m_drag, Drag::None);
  unsetCursor();
  update();
  if (event->button() != Qt::LeftButton || ended == Drag::None) return QWidget::mouseReleaseEvent(event);
  if (ended == Drag::Pressed) {
    const int item = itemAt(event->position());
    setCursorItem(item);
    if (item >= 0) Q_EMIT activated(item);
  }
  if (ended != Drag::Mark || std::abs(m_last.x() - m_pressed.x()) < kMarkAtLeast) return;
  const Axis axis = timeAxis();
  const auto [from, to] = std::minmax(axis.toValue(m_pressed.x()), axis.toValue(m_last.x()));
  setVisible(from, to);
}

void TimelineChart::mouseDoubleClickEvent(QMouseEvent *event) {
  if (event->button() == Qt::LeftButton) fit();
}

void TimelineChart::keyPressEvent(QKeyEvent *event) {
  if (m_data.bars.empty() || !emptyText().isEmpty()) return ChartCanvas::keyPressEvent(event);
  m_hoverX = -1;
  const bool shift = event->modifiers() & Qt::ShiftModifier;
  const double middle = cursor() >= 0 ? timeAxis().toValue(itemPixel(cursor()).x()) : (m_visible.min + m_visible.max) / 2;
  switch (event->key()) {
  case Qt::Key_Plus:
  case Qt::Key_Equal: return zoom(kKeyZoom, middle);
  case Qt::Key_Minus: return zoom(1 / kKeyZoom, middle);
  case Qt::Key_PageUp: return scrollLanes(-lanesRect().height() / 2);
  case Qt::Key_PageDown: return scrollLanes(lanesRect().height() / 2);
  case Qt::Key_Left:
    if (shift) return move(-kKeyMove * m_visible.span());
    break;
  case Qt::Key_Right:
    if (shift) return move(kKeyMove * m_visible.span());
    break;
  case Qt::Key_Escape:
    if (m_visible != m_fitted) return fit();
    break;
  default: break;
  }
  ChartCanvas::keyPressEvent(event);
}

} // namespace xqs

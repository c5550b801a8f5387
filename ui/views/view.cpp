// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/view.h"

#include "theme.h"

namespace xqs {

namespace {
constexpr int kRefreshMs = 40;
}

View::View(const ViewContext &context, QWidget *parent) : QWidget(parent), m_context(context) {
  m_timer.setSingleShot(true);
  m_timer.setInterval(kRefreshMs);
  connect(&m_timer, &QTimer::timeout, this, [this] {
    if (!isVisible()) return; // showEvent will
    m_stale = false;
    refresh();
  });
  connect(context.data, &RunData::changed, this, &View::scheduleRefresh);
  connect(context.selection, &Selection::changed, this, &View::scheduleRefresh);
  connect(&Theme::current(), &Theme::changed, this, [this] { applyTheme(); });
}

void View::scheduleRefresh() {
  m_stale = true;
  if (isVisible() && !m_timer.isActive()) m_timer.start();
}

void View::showEvent(QShowEvent *event) {
  QWidget::showEvent(event);
  if (!m_stale) return;
  m_stale = false;
  refresh();
}

} // namespace xqs

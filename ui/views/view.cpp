// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/view.h"

#include "plot/chart_canvas.h"
#include "theme.h"

#include <QClipboard>
#include <QContextMenuEvent>
#include <QFileDialog>
#include <QGuiApplication>
#include <QMenu>
#include <QMessageBox>

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

void View::contextMenuEvent(QContextMenuEvent *event) {
  if (picture() == nullptr) return QWidget::contextMenuEvent(event);
  auto *menu = new QMenu(this);
  menu->setAttribute(Qt::WA_DeleteOnClose);
  menu->addAction(tr("Copy picture"), this, [this] { QGuiApplication::clipboard()->setImage(picture()->toImage(2)); });
  menu->addAction(tr("Save picture..."), this, [this] { savePicture(); });
  menu->popup(event->globalPos());
}

void View::savePicture() {
  const QString file = QFileDialog::getSaveFileName(this, tr("Save picture"), QStringLiteral("%1.svg").arg(objectName()),
                                                    tr("Pictures (*.svg *.png)"));
  if (!file.isEmpty() && !picture()->saveTo(file))
    QMessageBox::warning(this, tr("Save picture"),
                         tr("%1 could not be written: choose a folder that you may write to.").arg(file));
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
// The window's choice of where the engine computes: a menu, in Run and behind the backend's name in the status bar.
#include "main_window.h"

#include <QActionGroup>
#include <QMenu>
#include <QSettings>

namespace xqs {

namespace {

const QString kAuto = QStringLiteral("auto"), kCpu = QStringLiteral("cpu"), kSetting = QStringLiteral("engine/backend");

} // namespace

void MainWindow::setUpBackends() {
  m_backends = new QMenu(tr("&Compute on"), this);
  m_backends->setObjectName(QStringLiteral("backends"));
  m_backends->setToolTipsVisible(true);
  // Queued: a click on one of the actions changes the backend, and the actions are made anew.
  connect(&m_workspace->engine(), &EngineClient::backendsChanged, this, &MainWindow::showBackends, Qt::QueuedConnection);
  showBackends();
}

void MainWindow::showBackends() {
  const EngineClient &engine = m_workspace->engine();
  m_backends->clear();
  delete m_backends->findChild<QActionGroup *>();
  auto *group = new QActionGroup(m_backends);
  const auto add = [&](const QString &name, const QString &title, const QString &tip) {
    QAction *action = m_backends->addAction(title, this, [this, name] { chooseBackend(name); });
    action->setObjectName(QStringLiteral("backend-") + name);
    action->setToolTip(tip);
    action->setCheckable(true);
    action->setChecked(engine.backend() == name);
    group->addAction(action);
    return action;
  };
  add(kAuto, tr("&Automatic"), tr("A GPU where one can be used, else the CPU"));
  add(kCpu, tr("&CPU"), tr("The processor, whatever else there is"));
  for (const EngineBackend &backend : engine.backends()) {
    if (backend.name.isEmpty() || backend.name == QLatin1String("reference")) continue;
    if (findChild<QAction *>(QStringLiteral("backend-") + backend.name)) continue; // the CPU; a second module of that name
    QString reason = backend.reason;
    const QString title = backend.name.toUpper();
    add(backend.name, reason.isEmpty() ? title : tr("%1 — %2").arg(title, reason.replace(u'&', QStringLiteral("&&"))),
        reason.isEmpty() ? tr("The GPU; where it fails, the CPU goes on") : tr("Cannot be used on this machine"))
        ->setEnabled(reason.isEmpty());
  }
}

void MainWindow::chooseBackend(const QString &backend) {
  if (m_remember) QSettings().setValue(kSetting, backend);
  m_workspace->engine().setBackend(backend);
}

QString MainWindow::rememberedBackend() { return QSettings().value(kSetting, kAuto).toString(); }

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/engine_status.h"

#include "plot/format.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QProgressBar>
#include <QToolButton>

#include <cmath>

namespace xqs {

namespace {

constexpr int kBarSteps = 1000;

QString stateTitle(const EngineClient &engine) {
  using Engine = EngineClient::State;
  switch (engine.state()) {
  case Engine::Stopped: return EngineStatus::tr("No engine");
  case Engine::Starting: return EngineStatus::tr("Engine is starting");
  case Engine::Waiting: return EngineStatus::tr("No model open");
  case Engine::Loading: return EngineStatus::tr("Loading the model");
  case Engine::Ready: return EngineStatus::tr("Ready · %1").arg(engine.model() ? engine.model()->name : QString());
  case Engine::Running: return EngineStatus::tr("Running");
  case Engine::Paused: return EngineStatus::tr("Paused");
  case Engine::Cancelling: return EngineStatus::tr("Cancelling");
  }
  return {};
}

} // namespace

EngineStatus::EngineStatus(EngineClient &engine, QWidget *parent) : QWidget(parent), m_engine(engine) {
  setUpParts();
  connect(&engine, &EngineClient::stateChanged, this, &EngineStatus::showState);
  connect(&engine, &EngineClient::loading, this, &EngineStatus::showLoading);
  connect(&engine, &EngineClient::progress, this, &EngineStatus::showProgress);
  connect(&engine, &EngineClient::previewReady, this, [this](qint64, qint64, const QString &, double milliseconds) {
    if (!m_engine.isRunning()) m_detail->setText(tr("Preview in %1 ms").arg(milliseconds, 0, 'f', 0));
  });
  connect(&engine, &EngineClient::backendsChanged, this, &EngineStatus::showBackend);
  showState();
  setProblems(0);
}

void EngineStatus::setUpParts() {
  m_state = new QLabel(this);
  m_state->setAccessibleName(tr("State of the engine"));
  m_bar = new QProgressBar(this);
  m_bar->setAccessibleName(tr("Progress"));
  m_bar->setRange(0, kBarSteps);
  m_bar->setTextVisible(false);
  m_bar->setFixedSize(180, 10);
  m_detail = new QLabel(this);
  m_detail->setAccessibleName(tr("Rate and time left"));
  m_device = new QToolButton(this);
  m_device->setObjectName(QStringLiteral("backend"));
  m_device->setAutoRaise(true);
  m_device->setPopupMode(QToolButton::InstantPopup);
  m_device->setAccessibleName(tr("Backend"));
  m_problems = new QToolButton(this);
  m_problems->setObjectName(QStringLiteral("problems"));
  m_problems->setAutoRaise(true);
  m_problems->setToolTip(
      tr("What readers of the figures must know: saturated values, NaN, singular matrices. Opens the log."));
  connect(m_problems, &QToolButton::clicked, this, &EngineStatus::problemsClicked);
  auto *row = new QHBoxLayout(this);
  row->setContentsMargins(8, 0, 4, 0);
  row->setSpacing(10);
  row->addWidget(m_state);
  row->addWidget(m_bar);
  row->addWidget(m_detail, 1);
  row->addWidget(m_device);
  row->addWidget(m_problems);
}

void EngineStatus::showState() {
  m_state->setText(stateTitle(m_engine));
  const bool busy = m_engine.isRunning() || m_engine.state() == EngineClient::State::Loading;
  m_bar->setVisible(busy);
  if (!busy) {
    m_bar->setValue(0);
    m_detail->clear();
  }
  showBackend();
}

void EngineStatus::showBackend() {
  const QString &chosen = m_engine.backend(), &note = m_engine.backendNote();
  if (m_engine.model()) {
    const QString name = m_engine.model()->backend.toUpper(), &device = m_engine.model()->device;
    m_device->setText(device.startsWith(name) ? device : tr("%1 · %2").arg(name, device));
  } else {
    m_device->setText(chosen == QLatin1String("auto") ? tr("CPU or GPU") : chosen.toUpper());
  }
  m_device->setToolTip(note.isEmpty() ? tr("Where the engine computes; a click changes it")
                                      : tr("Where the engine computes; a click changes it.\n%1").arg(note));
}

void EngineStatus::setBackendMenu(QMenu *menu) { m_device->setMenu(menu); }

void EngineStatus::showLoading(double fraction, const QString &text) {
  m_bar->setValue(static_cast<int>(std::lround(fraction * kBarSteps)));
  m_detail->setText(text);
}

void EngineStatus::showProgress(const EngineProgress &p) {
  m_bar->setValue(p.total > 0 ? static_cast<int>(std::lround(p.done / p.total * kBarSteps)) : 0);
  QStringList parts{p.text};
  if (p.tokensPerSecond > 0) parts << tr("%1 tokens/s").arg(formatNumber(p.tokensPerSecond, 3));
  if (p.secondsLeft > 0) parts << tr("%1 left").arg(formatSeconds(p.secondsLeft));
  parts.removeAll(QString());
  m_detail->setText(parts.join(QStringLiteral(" · ")));
}

void EngineStatus::setProblems(int count) {
  m_problems->setText(count == 1 ? tr("1 problem") : tr("%1 problems").arg(count));
  m_problems->setVisible(count > 0);
}

} // namespace xqs

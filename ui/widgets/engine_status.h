// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/engine_client.h"

#include <QWidget>

class QLabel;
class QMenu;
class QProgressBar;
class QToolButton;

namespace xqs {

/// What the status bar says: engine, progress with rate and time left, device, problems.
class EngineStatus : public QWidget {
  Q_OBJECT
public:
  explicit EngineStatus(EngineClient &engine, QWidget *parent = nullptr);
  void setProblems(int count);
  void setBackendMenu(QMenu *menu); ///< what a click on the backend's name opens

Q_SIGNALS:
  void problemsClicked();

private:
  void setUpParts();
  void showState();
  void showBackend();
  void showLoading(double fraction, const QString &text);
  void showProgress(const EngineProgress &progress);

  EngineClient &m_engine;
  QLabel *m_state = nullptr, *m_detail = nullptr;
  QToolButton *m_device = nullptr;
  QProgressBar *m_bar = nullptr;
  QToolButton *m_problems = nullptr;
};

} // namespace xqs

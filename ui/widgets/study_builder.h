// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/engine_client.h"

#include <QDialog>
#include <QTimer>

class QComboBox;
class QLabel;
class QProgressBar;
class QPushButton;

namespace xqs {

class StudyForm;
class StudyPoints;
class Workspace;

/// Chooses or edits a study, shows its points, bytes and estimated time, and runs it in the engine process; what the file
/// has already is not computed again. A window of its own that leaves the others usable.
class StudyBuilder : public QDialog {
  Q_OBJECT
public:
  explicit StudyBuilder(Workspace &workspace, QWidget *parent = nullptr);

  /// A built-in study on the model and text that are open, unless it varies them.
  void chooseBuiltIn(const QString &name);
  void setSources(const QString &model, const QString &text);
  StudyForm &form() { return *m_form; }
  /// False, with a sentence shown, where that fails; the study stays as it is.
  bool loadFrom(const QString &file);
  bool saveTo(const QString &file);
  QString problem() const;

protected:
  void showEvent(QShowEvent *event) override;

private:
  QWidget *setUpChoice();
  QWidget *setUpForecast();
  QWidget *setUpProgress();
  void connectEngine();
  void studyChanged();
  void askEstimate();
  void takeEstimate(qint64 tag, const QJsonObject &estimate);
  void showForecast();
  void showProblem();
  void showState();
  void showStores();
  void start();
  void ended(const QString &status, const QString &message);
  QString store() const;

  Workspace &m_workspace;
  StudyForm *m_form = nullptr;
  StudyPoints *m_points = nullptr;
  QComboBox *m_choice = nullptr, *m_stores = nullptr;
  QLabel *m_about = nullptr, *m_forecast = nullptr, *m_source = nullptr, *m_problem = nullptr, *m_progressText = nullptr;
  QProgressBar *m_bar = nullptr;
  QPushButton *m_start = nullptr, *m_pause = nullptr, *m_cancel = nullptr;
  QString m_model, m_text; ///< of the window
  QString m_fault;         ///< of a file, or what the engine said of the study
  qint64 m_tag = 0;        ///< of the newest estimate asked for
  bool m_waiting = false;  ///< its answer is not there
  bool m_mine = false;     ///< the run in progress is this study
  QTimer m_ask;
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QTimer>
#include <QWidget>

#include <initializer_list>
#include <memory>

class QPushButton;
class QTabWidget;

namespace xqs {

struct ModelShape;

class ExperimentEditor;
class LedgerPanel;
class PolicyEditor;
class Workspace;

/// The setting under study, what it costs, and the experiment it can be added to.
class SettingsPanel : public QWidget {
  Q_OBJECT
public:
  explicit SettingsPanel(QWidget *parent = nullptr);
  ~SettingsPanel() override;

  PolicyEditor &policy() { return *m_policy; }
  LedgerPanel &ledger() { return *m_ledger; }
  ExperimentEditor &experiment() { return *m_experiment; }
  /// Sizes are computed for the shape that the workspace has: its engine's model or its newest run's.
  void takeShape(const Workspace &workspace);
  void startOn(Workspace &workspace) const;
  /// While a run is in progress, model and text cannot be changed.
  void setRunning(bool running);

Q_SIGNALS:
  /// The setting changed and fits the model; at most one in 30 ms, the newest.
  void previewWanted(const QString &policy);
  void planActivated(const QString &policy); ///< a plan, to be edited as a table

private:
  QWidget *section(const QString &title, QWidget *content);
  QWidget *scrolled(std::initializer_list<QWidget *> parts);
  void setUpLayout();
  void connectParts();
  void showSizes();
  void showCount();

  PolicyEditor *m_policy = nullptr;
  LedgerPanel *m_ledger = nullptr;
  ExperimentEditor *m_experiment = nullptr;
  QPushButton *m_add = nullptr, *m_layers = nullptr;
  QTabWidget *m_tabs = nullptr;
  std::unique_ptr<ModelShape> m_shape; ///< none: nothing is open
  QString m_model;
  QTimer m_preview;
};

} // namespace xqs

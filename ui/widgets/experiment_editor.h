// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QWidget>

#include <cstdint>
#include <vector>

class QComboBox;
class QFormLayout;
class QLabel;
class QLineEdit;
class QListWidget;
class QSpinBox;
class QToolButton;

namespace xqs {

enum class State : std::uint8_t;
struct Experiment;

/// What the next run does: policies, windows, state, model and text.
class ExperimentEditor : public QWidget {
  Q_OBJECT
public:
  explicit ExperimentEditor(QWidget *parent = nullptr);

  Experiment experiment() const;
  /// Valid policies in any form; shown in the canonical one. Throws Usage.
  void setPolicies(const QStringList &policies);
  /// Appends a policy; one that is there already is only selected.
  void addPolicy(const QString &policy);
  QStringList policies() const;
  std::int64_t window() const;
  State state() const;
  QString model() const { return m_model; }
  QString text() const { return m_text; }
  /// The text that conditioning is measured on.
  QString calibration() const { return m_calibration; }
  void setCalibration(const QString &location);
  void setModel(const QString &location);
  void setText(const QString &location);
  /// Tokens of the text and the longest window of the model, as the engine says; 0: unknown.
  void setLimits(qint64 textTokens, qint64 context);
  void setSourcesEnabled(bool enabled);

Q_SIGNALS:
  void windowChanged(); ///< length or state: sizes change
  void policiesChanged();
  void policyActivated(const QString &policy); ///< to be edited
  void sourceChanged();                        ///< another model, text or calibration text

private:
  void setUpPolicies();
  void setUpProtocol();
  void setUpSources();
  QLineEdit *addSource(const QString &label, const QString &toolTip, void (ExperimentEditor::*choose)(),
                       void (ExperimentEditor::*reset)());
  void removeSelected();
  void resetPolicies();
  void defaultModel();
  void defaultText();
  void defaultCalibration();
  void chooseCalibration();
  void chooseModel();
  void chooseText();
  void showSources();
  void showWindows();

  QListWidget *m_policies = nullptr;
  QToolButton *m_remove = nullptr;
  QFormLayout *m_form = nullptr;
  QSpinBox *m_window = nullptr, *m_windows = nullptr;
  QLabel *m_available = nullptr;
  QComboBox *m_state = nullptr;
  QLineEdit *m_modelField = nullptr, *m_textField = nullptr, *m_calibrationField = nullptr;
  QString m_model, m_text, m_calibration;
  std::vector<QWidget *> m_sourceButtons;
  qint64 m_textTokens = 0;
};

} // namespace xqs

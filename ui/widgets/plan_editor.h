// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/sensitivity_table.h"

#include <QDialog>
#include <QStringList>
#include <QTimer>

#include <optional>

class QLabel;
class QPlainTextEdit;
class QPushButton;
class QTableView;
class QTabWidget;

namespace xqs {

enum class Side : std::uint8_t;
enum class State : std::uint8_t;

class PlanModel;
class PolicyEditor;
class SizeBar;
class Workspace;

/// A plan as a table with a row a layer and as its text, each kept in step with the other; the policy editor sets the
/// selected layers, and so does a click on a cell of the sensitivity map. A window of its own that leaves the others usable.
class PlanEditor : public QDialog {
  Q_OBJECT
public:
  /// `sensitivity`: a view whose choices the window hands to `choose`; shown beside the policy editor.
  explicit PlanEditor(QWidget *sensitivity, QWidget *parent = nullptr);

  /// Sizes are computed for the shape that the workspace has, as those of the settings panel.
  void takeShape(const Workspace &workspace, std::int64_t tokens, State state);
  /// A plan's text; what cannot be understood is said, and the table keeps the last plan.
  void setPlan(const QString &text);
  QString plan() const; ///< canonical: "plan:..."
  /// Gives layers the setting that was measured there.
  void choose(const LayerChoice &choice);
  PolicyEditor &setting() { return *m_setting; }
  QString problem() const;

  /// False, with a sentence shown, where that fails; the plan stays as it is.
  bool loadFrom(const QString &file);
  bool saveTo(const QString &file);

Q_SIGNALS:
  void previewWanted(const QString &policy); ///< the plan changed and fits the model; at most one in 30 ms
  void addWanted(const QString &policy);

private:
  void setUpTable();
  QWidget *setUpSetting();
  QWidget *setUpText();
  QWidget *setUpFileButtons();
  void setSelected(std::optional<Side> side);
  void change(const std::vector<int> &layers, std::optional<Side> side, const QString &policy);
  void textEdited();
  void undo();
  void planChanged(const QString &before, bool textIsTyped);
  void showSelection();
  void showSizes();
  void setProblem(const QString &sentence);
  std::vector<int> selectedLayers() const;
  void takeRow(int row);

  PlanModel *m_model = nullptr;
  QTableView *m_table = nullptr;
  QTabWidget *m_tabs = nullptr;
  PolicyEditor *m_setting = nullptr;
  std::vector<QPushButton *> m_setButtons;
  QLabel *m_selected = nullptr, *m_sizes = nullptr, *m_problem = nullptr;
  SizeBar *m_bar = nullptr;
  QPlainTextEdit *m_text = nullptr;
  QPushButton *m_undo = nullptr, *m_add = nullptr;
  QStringList m_before; ///< plans that Undo goes back to, newest last
  QString m_name;       ///< of the model
  bool m_filling = false;
  QTimer m_preview;
};

} // namespace xqs

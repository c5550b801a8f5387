// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

#include <QJsonObject>

#include <optional>
#include <vector>

class QHBoxLayout;
class QLabel;
class QLineEdit;
class QScrollArea;
class QToolButton;

namespace xqs {

class GenerationColumnPanel;

/// A run of kind "generate" as columns of text side by side: the exact model's, then one a policy.
class GenerationView : public View {
  Q_OBJECT
public:
  GenerationView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override;

  const std::vector<GenerationColumnPanel *> &columns() const { return m_columns; }

Q_SIGNALS:
  /// The request of the shown run (RunRow::spec) is wanted in the form again.
  void requestWanted(const QString &spec);

private:
  void takeRun(const RunData::Run &run, std::size_t columns);
  void showSummary(const RunData::Run &run, double tokensPerSecond);

  QLineEdit *m_prompt = nullptr;
  QLabel *m_summary = nullptr, *m_empty = nullptr;
  QToolButton *m_again = nullptr;
  QWidget *m_head = nullptr;
  QScrollArea *m_scroll = nullptr;
  QHBoxLayout *m_row = nullptr;
  std::vector<GenerationColumnPanel *> m_columns;
  std::optional<RunData::Key> m_run; ///< shown
  QJsonObject m_request;             ///< of the shown run: its spec; empty where that cannot be read
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QComboBox;
class QLabel;
class QLineEdit;
class QTreeWidget;

namespace xqs {

/// The runs that the log speaks of: those shown, the preview, the generation and the profile.
std::vector<const RunData::Run *> loggedRuns(const ViewContext &context);

/// The log and the problems of the shown runs, of the preview, of the generation and of the profile, newest last, with a
/// filter; above it how far each run is.
class LogView : public View {
  Q_OBJECT
public:
  LogView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override;

private:
  struct Seen {
    std::size_t logs = 0, problems = 0;
    friend bool operator==(const Seen &, const Seen &) = default;
  };
  void addRow(const QString &time, const QString &level, const QString &text, const QString &run);
  void appendNew(const RunData::Run &run);
  void applyFilter();
  QString progressLine(const RunData::Run &run) const;

  QLabel *m_progress = nullptr;
  QComboBox *m_level = nullptr;
  QLineEdit *m_filter = nullptr;
  QTreeWidget *m_list = nullptr;
  QLabel *m_empty = nullptr;
  std::map<RunData::Key, Seen> m_seen; ///< rows already listed
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/workspace.h"

#include <QWidget>

class QLabel;

namespace xqs {

/// One sentence above the views, not a dialog: the newest replaces the one before, "Close" or time removes it.
class MessageBar : public QWidget {
  Q_OBJECT
public:
  explicit MessageBar(QWidget *parent = nullptr);
  void showMessage(Workspace::Severity severity, const QString &sentence);
  QString text() const;

private:
  void applyTheme();
  QLabel *m_text = nullptr;
  QTimer m_hide; ///< information goes by itself
  Workspace::Severity m_severity = Workspace::Severity::Info;
};

} // namespace xqs

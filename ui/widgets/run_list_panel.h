// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/run_data.h"

#include <QWidget>

class QTableView;

namespace xqs {

class RunListModel;

/// Runs of all open files; those selected here are shown by every view.
class RunListPanel : public QWidget {
  Q_OBJECT
public:
  RunListPanel(RunData &runData, Selection &selection, QWidget *parent = nullptr);

Q_SIGNALS:
  void runActivated(const QString &kind); ///< double-clicked, or Enter

private:
  void showSelection();
  void takeSelection();

  Selection &m_selection;
  RunListModel *m_model = nullptr;
  QTableView *m_table = nullptr;
  bool m_updating = false;
};

} // namespace xqs

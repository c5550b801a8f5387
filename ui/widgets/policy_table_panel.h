// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/run_data.h"

#include <QWidget>

class QSortFilterProxyModel;
class QTableView;

namespace xqs {

class PolicyTableModel;

/// The shown runs' policies as a table of figures; choosing a row chooses the policy for every view.
class PolicyTablePanel : public QWidget {
  Q_OBJECT
public:
  PolicyTablePanel(RunData &runData, Selection &selection, QWidget *parent = nullptr);

Q_SIGNALS:
  void policyActivated(const QString &policy); ///< to be edited

private:
  QString policyAt(int proxyRow) const;
  void showSelection();
  void copyRows();

  Selection &m_selection;
  PolicyTableModel *m_model = nullptr;
  QSortFilterProxyModel *m_sorted = nullptr;
  QTableView *m_table = nullptr;
  bool m_updating = false;
};

} // namespace xqs

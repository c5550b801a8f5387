// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/run_list_panel.h"

#include "models/run_list_model.h"
#include "widgets/tables.h"

#include <QItemSelectionModel>
#include <QScopedValueRollback>
#include <QTableView>
#include <QVBoxLayout>

namespace xqs {

RunListPanel::RunListPanel(RunData &runData, Selection &selection, QWidget *parent)
    : QWidget(parent), m_selection(selection), m_model(new RunListModel(runData, this)), m_table(new QTableView(this)) {
  setUpTable(*m_table, tr("Runs"));
  m_table->setToolTip(tr("The selected runs are shown by every view; hold Ctrl to compare several."));
  m_table->setSelectionMode(QAbstractItemView::ExtendedSelection);
  m_table->setModel(m_model);
  setColumnWidths(*m_table, {320, 90, 80, 120});
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->addWidget(m_table);
  connect(m_table->selectionModel(), &QItemSelectionModel::selectionChanged, this, &RunListPanel::takeSelection);
  connect(m_table, &QTableView::activated, this, [this, &runData](const QModelIndex &index) {
    if (const RunData::Run *run = runData.find(m_model->row(index.row()).key))
      Q_EMIT runActivated(QString::fromStdString(run->row.kind));
  });
  connect(&m_selection, &Selection::changed, this, &RunListPanel::showSelection);
  connect(m_model, &QAbstractItemModel::rowsInserted, this, &RunListPanel::showSelection);
  showSelection();
}

void RunListPanel::takeSelection() {
  if (m_updating) return;
  std::vector<RunData::Key> keys;
  for (int i = 0; i < m_model->rowCount(); ++i)
    if (m_table->selectionModel()->isRowSelected(i, {})) keys.push_back(m_model->row(i).key);
  m_selection.setRuns(std::move(keys));
}

void RunListPanel::showSelection() {
  const QScopedValueRollback updating(m_updating, true);
  QItemSelection rows;
  for (const RunData::Key key : m_selection.runs())
    if (const int row = m_model->rowOf(key); row >= 0)
      rows.select(m_model->index(row, 0), m_model->index(row, m_model->columnCount() - 1));
  m_table->selectionModel()->select(rows, QItemSelectionModel::ClearAndSelect);
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/policy_table_panel.h"

#include "models/policy_table_model.h"
#include "theme.h"
#include "widgets/tables.h"

#include <QAction>
#include <QClipboard>
#include <QGuiApplication>
#include <QHeaderView>
#include <QPixmap>
#include <QSortFilterProxyModel>
#include <QTableView>
#include <QVBoxLayout>

namespace xqs {

namespace {

/// Sorts by value and gives each policy its method's colour.
class SortedPolicies : public QSortFilterProxyModel {
public:
  using QSortFilterProxyModel::QSortFilterProxyModel;
  QVariant data(const QModelIndex &index, int role) const override {
    if (role != Qt::DecorationRole || index.column() != 0) return QSortFilterProxyModel::data(index, role);
    QPixmap pixmap(10, 10);
    pixmap.fill(methodColor(QSortFilterProxyModel::data(index, PolicyTableModel::MethodRole).toString()));
    return pixmap;
  }
};

} // namespace

PolicyTablePanel::PolicyTablePanel(RunData &runData, Selection &selection, QWidget *parent)
    : QWidget(parent), m_selection(selection), m_model(new PolicyTableModel(runData, selection, this)),
      m_sorted(new SortedPolicies(this)), m_table(new QTableView(this)) {
  // Before the view hears of it: a row that goes away makes the view choose another, which is not what the user chose.
  connect(m_model, &QAbstractItemModel::rowsAboutToBeRemoved, this, [this] { m_updating = true; });
  m_sorted->setSourceModel(m_model);
  m_sorted->setSortRole(PolicyTableModel::SortRole);
  setUpTable(*m_table, tr("Policies"));
  m_table->setSelectionMode(QAbstractItemView::SingleSelection);
  m_table->setModel(m_sorted);
  m_table->setSortingEnabled(true);
  m_table->horizontalHeader()->setSortIndicator(-1, Qt::AscendingOrder);
  m_sorted->sort(-1);
  setColumnWidths(*m_table, {200, 66, 128, 70, 70, 76, 72, 72});
  auto *copy = new QAction(tr("Copy"), m_table);
  copy->setShortcut(QKeySequence::Copy);
  copy->setShortcutContext(Qt::WidgetShortcut);
  m_table->addAction(copy);
  m_table->setContextMenuPolicy(Qt::ActionsContextMenu);
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->addWidget(m_table);
  connect(copy, &QAction::triggered, this, &PolicyTablePanel::copyRows);
  connect(m_table->selectionModel(), &QItemSelectionModel::currentRowChanged, this, [this](const QModelIndex &current) {
    if (!m_updating && current.isValid()) m_selection.setPolicy(policyAt(current.row()));
  });
  connect(m_model, &QAbstractItemModel::rowsRemoved, this, &PolicyTablePanel::showSelection);
  connect(m_model, &QAbstractItemModel::rowsInserted, this, &PolicyTablePanel::showSelection);
  connect(m_table, &QTableView::activated, this,
          [this](const QModelIndex &index) { Q_EMIT policyActivated(policyAt(index.row())); });
  connect(&m_selection, &Selection::changed, this, &PolicyTablePanel::showSelection);
  connect(&Theme::current(), &Theme::changed, m_table->viewport(), qOverload<>(&QWidget::update));
}

QString PolicyTablePanel::policyAt(int proxyRow) const {
  return QString::fromStdString(m_model->row(m_sorted->mapToSource(m_sorted->index(proxyRow, 0)).row()).ledger.policy);
}

void PolicyTablePanel::showSelection() {
  m_updating = true;
  const int row = m_model->rowOf(m_selection.policy());
  if (row < 0)
    m_table->clearSelection();
  else
    m_table->selectRow(m_sorted->mapFromSource(m_model->index(row, 0)).row());
  m_updating = false;
}

/// All rows with their headings, tabulator-separated: for a spreadsheet.
void PolicyTablePanel::copyRows() {
  QStringList lines, cells;
  for (int c = 0; c < m_sorted->columnCount(); ++c) cells << m_sorted->headerData(c, Qt::Horizontal).toString();
  lines << cells.join(QLatin1Char('\t'));
  for (int r = 0; r < m_sorted->rowCount(); ++r) {
    cells.clear();
    for (int c = 0; c < m_sorted->columnCount(); ++c) cells << m_sorted->index(r, c).data().toString();
    lines << cells.join(QLatin1Char('\t'));
  }
  QGuiApplication::clipboard()->setText(lines.join(QLatin1Char('\n')));
}

} // namespace xqs

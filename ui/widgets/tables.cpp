// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/tables.h"

#include <QHeaderView>
#include <QTableView>

namespace xqs {

void setUpTable(QTableView &table, const QString &accessibleName) {
  table.setAccessibleName(accessibleName);
  table.setSelectionBehavior(QAbstractItemView::SelectRows);
  table.setEditTriggers(QAbstractItemView::NoEditTriggers);
  table.setAlternatingRowColors(true);
  table.setShowGrid(false);
  table.setWordWrap(false);
  table.setFrameShape(QFrame::NoFrame);
  table.setTabKeyNavigation(false); // Tab leaves the table
  table.setTextElideMode(Qt::ElideMiddle);
  table.verticalHeader()->hide();
  table.verticalHeader()->setDefaultSectionSize(table.fontMetrics().height() + 6);
  table.horizontalHeader()->setHighlightSections(false);
  table.horizontalHeader()->setStretchLastSection(true);
  table.horizontalHeader()->setMinimumSectionSize(40);
}

void setColumnWidths(QTableView &table, std::initializer_list<int> widths) {
  int column = 0;
  for (const int width : widths) table.setColumnWidth(column++, width);
}

} // namespace xqs

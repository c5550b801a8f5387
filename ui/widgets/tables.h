// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <initializer_list>

class QString;
class QTableView;

namespace xqs {

/// The look of our tables: whole rows, dense, alternating, no grid, nothing editable.
void setUpTable(QTableView &table, const QString &accessibleName);
/// First columns' widths in pixels; the last column takes what is left.
void setColumnWidths(QTableView &table, std::initializer_list<int> widths);

} // namespace xqs

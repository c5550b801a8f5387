// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/table_model.h"

#include "analysis/verdict.h"

namespace xqs {

/// A verdict as a table, a row a policy: bytes, quality and time, each with where it comes from. What wins is bold.
class VerdictTable : public TableModel<VerdictRow> {
  Q_OBJECT
public:
  explicit VerdictTable(QObject *parent);
  enum Column { Policy, Cache, Size, Quality, Step, Time, Hidden, Moved, Memory };
  void show(const Verdict &verdict);
  QVariant data(const QModelIndex &index, int role) const override;

private:
  bool wins(int row, int column) const;
  std::size_t m_smallest = 0, m_fastest = 0;
};

} // namespace xqs

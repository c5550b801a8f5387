// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/run_data.h"
#include "models/table_model.h"

#include "analysis/curve.h"

namespace xqs {

/// A policy of a shown run: its ledger as recorded and what was measured so far.
struct PolicyTableRow {
  RunData::Key run;
  QString runTitle;
  PolicyRow ledger;
  CurvePoint measured;
};

/// Policies of the selected runs (without a selection: of the newest perplexity run) with ledger and quality.
class PolicyTableModel : public TableModel<PolicyTableRow> {
  Q_OBJECT
public:
  static constexpr int MethodRole = SortRole + 1; ///< the method's name: a view may colour by it
  PolicyTableModel(const RunData &data, const Selection &selection, QObject *parent = nullptr);
  QVariant data(const QModelIndex &index, int role) const override;
  /// -1: not there.
  int rowOf(const QString &policy) const;

private:
  std::vector<const RunData::Run *> shownRuns() const;
  std::vector<PolicyTableRow> shownRows() const;
  void rebuild();
  const RunData &m_data;
  const Selection &m_selection;
  bool m_rebuilding = false, m_again = false;
};

} // namespace xqs

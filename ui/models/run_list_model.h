// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/run_data.h"
#include "models/table_model.h"

namespace xqs {

struct RunListRow {
  RunData::Key key;
  QString title, kind, status, started, file;
};

/// "finished", "cancelled", "failed", "running" or "crashed".
QString runStatus(const RunData &data, const RunData::Run &run);

/// Runs of all open files in the order of their start; previews are left out, they are not results.
class RunListModel : public TableModel<RunListRow> {
  Q_OBJECT
public:
  explicit RunListModel(const RunData &data, QObject *parent = nullptr);
  /// -1: not there.
  int rowOf(RunData::Key key) const;

private:
  void rebuild();
  const RunData &m_data;
};

} // namespace xqs

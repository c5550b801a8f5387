// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QLabel;
class QTableView;

namespace xqs {

class KernelTable;

/// The functions of one policy's step as a table that sorts, and where its bytes come from.
class KernelPanel : public QWidget {
  Q_OBJECT
public:
  explicit KernelPanel(QWidget *parent = nullptr);
  /// `policy` and `run` may be null: nothing.
  void show(const RunData::Run *run, const PolicyRow *policy, ProfilePoint point);

private:
  struct Shown {
    RunData::Key run;
    std::int64_t policy = -1;
    ProfilePoint point;
    std::size_t rows = 0, peaks = 0;
    friend bool operator==(const Shown &, const Shown &) = default;
  };
  void fill(const RunData::Run *run, const Shown &shown);
  QString note(const RunData::Run &run, const PolicyRow &policy, ProfilePoint point) const;

  KernelTable *m_table = nullptr;
  QTableView *m_view = nullptr;
  QLabel *m_note = nullptr;
  Shown m_shown; ///< the table is made anew when this differs
};

} // namespace xqs

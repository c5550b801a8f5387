// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/kernel_panel.h"

#include "analysis/traffic.h"
#include "models/kernel_table.h"
#include "views/profile_lookup.h"
#include "widgets/tables.h"

#include <QHeaderView>
#include <QLabel>
#include <QSortFilterProxyModel>
#include <QTableView>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>
#include <utility>

namespace xqs {

KernelPanel::KernelPanel(QWidget *parent) : QWidget(parent), m_table(new KernelTable(this)), m_view(new QTableView(this)) {
  auto *sorted = new QSortFilterProxyModel(this);
  sorted->setSourceModel(m_table);
  sorted->setSortRole(KernelTable::SortRole);
  setUpTable(*m_view, tr("Kernels of a step"));
  m_view->setObjectName(QStringLiteral("kernels"));
  m_view->setModel(sorted);
  m_view->setSortingEnabled(true);
  m_view->sortByColumn(2, Qt::DescendingOrder); // time
  m_view->horizontalHeader()->setStretchLastSection(false);
  setColumnWidths(*m_view, {196, 66, 88, 62, 76, 106, 98, 112, 94, 102, 82, 94, 94});
  m_note = new QLabel(this);
  m_note->setObjectName(QStringLiteral("kernelNote"));
  m_note->setWordWrap(true);
  m_note->setTextInteractionFlags(Qt::TextSelectableByMouse);
  m_note->setAccessibleName(tr("What was measured"));
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->addWidget(m_view, 1);
  column->addWidget(m_note);
}

void KernelPanel::show(const RunData::Run *run, const PolicyRow *policy, ProfilePoint point) {
  const bool known = run != nullptr && policy != nullptr;
  const Shown shown = known ? Shown{run->key, policy->index, point, run->kernels.size(), run->peaks.size()} : Shown();
  if (shown != std::exchange(m_shown, shown)) fill(known ? run : nullptr, shown);
  m_note->setText(known ? note(*run, *policy, point) : noProfileText());
}

void KernelPanel::fill(const RunData::Run *run, const Shown &shown) {
  std::vector<KernelTableRow> rows;
  if (run != nullptr) {
    const PeakRow *peak = peakOf(run->peaks, "copy");
    for (KernelSum &sum : kernelSums(stepKernels(run->kernels, shown.policy, shown.point.context, shown.point.batch)))
      rows.push_back({std::move(sum), peak != nullptr ? peak->value : std::nan("")});
  }
  m_table->setRows(std::move(rows));
  for (int column = 1; column < m_table->columnCount(); ++column)
    m_view->setColumnHidden(column, m_table->rowCount() > 0 && m_table->isEmpty(column));
}

QString KernelPanel::note(const RunData::Run &run, const PolicyRow &policy, ProfilePoint point) const {
  const std::vector<KernelTableRow> &rows = m_table->rows();
  if (rows.empty())
    return tr("No launches at this point: they come when the run has traced a step of it and keeps every launch.");
  if (std::ranges::none_of(rows, [](const KernelTableRow &row) { return row.sum.measured > 0; }))
    return tr("Bytes are counted only: %1").arg(whyNotMagnified(run, policy.index, point));
  if (std::ranges::all_of(rows, [](const KernelTableRow &row) { return std::isnan(row.sum.measuredBytes()); }))
    return tr("Bytes are counted only; %1").arg(instrumentSentence(run, "counters"));
  return tr("Measured by the microscope: each kernel counted by itself, in a step of its own; %1 %2")
      .arg(instrumentSentence(run, "counters"), microscopeProblem(run, policy.index, point))
      .trimmed();
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "analysis/kernel_sums.h"
#include "models/table_model.h"

namespace xqs {

/// All launches of one function in one step.
struct KernelTableRow {
  KernelSum sum;
  double peak = 0; ///< bytes a second of the memory; NaN: not known
};

/// What the functions of one step took and moved: counted beside measured.
class KernelTable : public TableModel<KernelTableRow> {
  Q_OBJECT
public:
  explicit KernelTable(QObject *parent = nullptr);
  /// No row has a figure in it: there was no microscope, or the device has no such counter.
  bool isEmpty(int column) const;
};

} // namespace xqs

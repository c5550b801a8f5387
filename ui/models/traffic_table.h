// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "analysis/traffic.h"
#include "models/run_data.h"
#include "models/table_model.h"

#include <optional>

namespace xqs {

/// One policy's whole step at a point.
struct TrafficTableRow {
  QString policy; ///< canonical
  QString title;
  StepRow step;
  std::optional<TrafficSum> layers; ///< sums over the layers; none: no traffic is known
  double layersBesideStep = 0;      ///< relative; NaN: not measured
  TradePoint trade;
};

/// Steps of one point as figures: counted beside measured, caches of the chip, and what the cache parts took.
class TrafficTable : public TableModel<TrafficTableRow> {
  Q_OBJECT
public:
  explicit TrafficTable(QObject *parent = nullptr);
  /// Rows in the order of the run's policies; none where `run` is null.
  void show(const RunData::Run *run, ProfilePoint point, const std::function<QString(const QString &)> &titleOf);
  /// No row has a figure in it: a machine without such counters.
  bool isEmpty(int column) const;
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/traffic_table.h"

#include "plot/format.h"

#include <cmath>
#include <vector>

namespace xqs {

namespace {

using Row = TrafficTableRow;
using Column = TrafficTable::Column;

QString bytes(double value) { return std::isnan(value) ? formatNumber(value) : formatBytes(std::llround(value)); }
QString difference(double seconds) { return (seconds > 0 ? QStringLiteral("+") : QString()) + formatNumber(seconds * 1e3); }
QString milliseconds(double seconds) { return formatNumber(seconds * 1e3); }

/// A column of numbers.
Column column(const QString &title, const QString &tip, double (*value)(const Row &), QString (*text)(double)) {
  return {title, tip, [=](const Row &r) { return text(value(r)); }, [=](const Row &r) { return value(r); }, {}};
}

/// Of what the layers say together; NaN where they say nothing.
double of(const Row &r, double (*value)(const TrafficSum &)) { return r.layers ? value(*r.layers) : std::nan(""); }
QString signedPercent(double value) {
  return std::isnan(value) ? formatNumber(value)
                           : QString(value >= 0 ? QLatin1String("+") : QLatin1String()) + formatPercent(value);
}

std::vector<Column> columns() {
  const auto tr = [](const char *text) { return TrafficTable::tr(text); };
  std::vector<Column> list{{tr("Policy"),
                            tr("Its step at the chosen point"),
                            [](const Row &r) { return r.title; },
                            {},
                            [](const Row &r) { return r.policy; }}};
  list.push_back(column(
      tr("Step (ms)"), tr("Median of whole steps, all instruments off"), [](const Row &r) { return r.step.seconds; },
      milliseconds));
  list.push_back(column(
      tr("Counted"), tr("Bytes of a traced step, counted from shapes"), [](const Row &r) { return r.step.countedBytes; },
      bytes));
  list.push_back(column(
      tr("Measured"), tr("Bytes that DRAM read and wrote in a whole step, measured by counters"),
      [](const Row &r) { return r.trade.measuredBytes(); }, bytes));
  list.push_back(column(
      tr("Measured / counted"), tr("Measured over counted bytes, of the layers"),
      [](const Row &r) { return of(r, [](const TrafficSum &s) { return s.ratio(); }); }, formatRatio));
  list.push_back(column(
      tr("Layers / step"), tr("How far the measured sum over layers is from the whole step, which was measured by itself"),
      [](const Row &r) { return r.layersBesideStep; }, signedPercent));
  list.push_back(column(
      tr("Cache (ms)"),
      tr("Operations of the traced step that write, rebuild and read the cache, from the timeline: of several queues they "
         "may "
         "overlap"),
      [](const Row &r) { return r.trade.cache.seconds; }, milliseconds));
  list.push_back(column(
      tr("Beyond FP16 (ms)"), tr("Time of those less FP16's: unpacking and rebuilding, less what fewer bytes save"),
      [](const Row &r) { return r.trade.extraSeconds; }, difference));
  list.push_back(column(
      tr("Cache misses"),
      tr("GPU: sectors of 32 bytes that L2 filled from memory. CPU: misses of the last level on Intel, of L2 on AMD Zen, in "
         "user code of the threads that compute. Measured"),
      [](const Row &r) { return of(r, [](const TrafficSum &s) { return s.cacheMisses; }); }, formatCount));
  list.push_back(column(
      tr("Accesses"),
      tr("GPU: sectors of 32 bytes at L2. CPU: references to the last level on Intel, to L2 on AMD Zen, in user code of the "
         "threads that compute. Measured"),
      [](const Row &r) { return of(r, [](const TrafficSum &s) { return s.cacheAccesses; }); }, formatCount));
  list.push_back(column(
      tr("L2 hit rate"), tr("Measured by a counter of its own"),
      [](const Row &r) { return of(r, [](const TrafficSum &s) { return s.cacheHitRate(); }); }, formatPercent));
  list.push_back(column(
      tr("Cycles"), tr("GPU: mean active cycles of an SM. CPU: of the threads that compute, user code only. Measured"),
      [](const Row &r) { return of(r, [](const TrafficSum &s) { return s.cycles; }); }, formatCount));
  return list;
}

} // namespace

TrafficTable::TrafficTable(QObject *parent) : TableModel(columns(), parent) {}

void TrafficTable::show(const RunData::Run *run, ProfilePoint point,
                        const std::function<QString(const QString &)> &titleOf) {
  if (run == nullptr) return setRows({});
  const auto atPoint = [point](const auto &rows) {
    auto kept = rows;
    std::erase_if(kept, [point](const auto &row) { return row.context != point.context || row.batch != point.batch; });
    return kept;
  };
  const std::vector<StepRow> steps = atPoint(run->steps);
  const std::vector<TrafficRow> traffic = atPoint(run->traffic);
  const auto sums = trafficByPolicy(traffic, point.context, point.batch);
  std::vector<Row> list;
  for (TradePoint &trade : tradePoints(run->policies, steps, traffic)) {
    const QString policy = QString::fromStdString(trade.policy);
    Row row{policy, titleOf(policy), trade.step, {}, layersBesideStep(trade.step, traffic), {}};
    if (const auto sum = sums.find(trade.key.policy); sum != sums.end()) row.layers = sum->second;
    row.trade = std::move(trade);
    list.push_back(std::move(row));
  }
  setRows(std::move(list));
}

bool TrafficTable::isEmpty(int column) const {
  for (int r = 0; r < rowCount(); ++r)
    if (const QVariant value = data(index(r, column), SortRole);
        value.typeId() != QMetaType::Double || !std::isnan(value.toDouble()))
      return false;
  return true;
}

} // namespace xqs

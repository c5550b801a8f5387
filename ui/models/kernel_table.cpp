// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/kernel_table.h"

#include "plot/format.h"

#include <cmath>

namespace xqs {

namespace {

using Row = KernelTableRow;
using Column = KernelTable::Column;

constexpr double kNothing = -1; ///< sorts below every figure; NaN has no place in an order

QString bytes(double value) { return std::isnan(value) ? formatNumber(value) : formatBytes(std::llround(value)); }
double counted(const Row &r) { return r.sum.countedBytes > 0 ? r.sum.countedBytes : std::nan(""); }

QString measured(const Row &r) {
  const QString text = bytes(r.sum.measuredBytes());
  const bool all = r.sum.measured == 0 || r.sum.measured == r.sum.launches;
  return all || std::isnan(r.sum.measuredBytes()) ? text : KernelTable::tr("%1 of %2").arg(text).arg(r.sum.measured);
}

/// A column of numbers.
Column column(const QString &title, const QString &tip, double (*value)(const Row &), QString (*text)(double)) {
  return {title,
          tip,
          [=](const Row &r) { return text(value(r)); },
          [=](const Row &r) { return std::isnan(value(r)) ? kNothing : value(r); },
          {}};
}

std::vector<Column> timeColumns() {
  const auto tr = [](const char *text) { return KernelTable::tr(text); };
  return {{tr("Kernel"),
           tr("Function that the device ran; the operation, where nobody names functions"),
           [](const Row &r) { return QString::fromStdString(r.sum.function); },
           {},
           {}},
          column(
              tr("Launches"), tr("In the traced step"), [](const Row &r) { return static_cast<double>(r.sum.launches); },
              [](double launches) { return QString::number(std::llround(launches)); }),
          column(
              tr("Time (ms)"), tr("Of all its launches in the traced step"),
              [](const Row &r) { return 1e-6 * static_cast<double>(r.sum.nanoseconds); },
              [](double value) { return formatNumber(value); }),
          column(
              tr("Share"), tr("Of the time of all launches; queues that run beside each other count both"),
              [](const Row &r) { return r.sum.share; }, formatPercent)};
}

std::vector<Column> byteColumns() {
  const auto tr = [](const char *text) { return KernelTable::tr(text); };
  std::vector<Column> list;
  list.push_back(column(
      tr("Counted"),
      tr("Bytes of whole operations, counted from shapes: they stand on the function that an operation launches first"),
      counted, bytes));
  list.push_back(column(
      tr("Measured"),
      tr("Bytes between memory and chip, by counters, every launch by itself; “of 58”: of 58 of its launches"),
      [](const Row &r) { return r.sum.measuredBytes(); }, bytes));
  list.back().text = measured;
  list.push_back(column(
      tr("Measured rate"), tr("Measured bytes over the time that the same launches took in the traced step"),
      [](const Row &r) { return r.sum.measuredRate(); }, formatRate));
  list.push_back(column(
      tr("Measured / peak"), tr("Measured rate over the memory's peak, which was measured too"),
      [](const Row &r) { return r.sum.measuredRate() / r.peak; }, formatPercent));
  return list;
}

std::vector<Column> chipColumns() {
  const auto tr = [](const char *text) { return KernelTable::tr(text); };
  std::vector<Column> list;
  list.push_back(column(
      tr("L2 hit rate"), tr("Measured by a counter of its own"), [](const Row &r) { return r.sum.cacheHitRate; },
      formatPercent));
  list.push_back(column(
      tr("Cache misses"),
      tr("GPU: sectors of 32 bytes that L2 filled from memory. CPU: misses of the last level on Intel, of L2 on AMD Zen. "
         "Measured"),
      [](const Row &r) { return r.sum.cacheMisses; }, formatCount));
  list.push_back(column(
      tr("Tensor instr."), tr("Instructions issued to the tensor cores. Measured"),
      [](const Row &r) { return r.sum.tensorInstructions; }, formatCount));
  return list;
}

std::vector<Column> rateColumns() {
  const auto tr = [](const char *text) { return KernelTable::tr(text); };
  std::vector<Column> list;
  list.push_back(column(
      tr("Counted rate"), tr("Counted bytes over the time of these operations"),
      [](const Row &r) { return r.sum.countedRate(); }, formatRate));
  list.push_back(column(
      tr("Counted / peak"), tr("Counted rate over the memory's peak, which was measured"),
      [](const Row &r) { return r.sum.countedRate() / r.peak; }, formatPercent));
  return list;
}

std::vector<Column> columns() {
  std::vector<Column> all = timeColumns();
  for (std::vector<Column> &more : std::vector{byteColumns(), rateColumns(), chipColumns()})
    all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return all;
}

} // namespace

KernelTable::KernelTable(QObject *parent) : TableModel(columns(), parent) {}

bool KernelTable::isEmpty(int column) const {
  for (int r = 0; r < rowCount(); ++r)
    if (const QVariant value = data(index(r, column), SortRole);
        value.typeId() != QMetaType::Double || value.toDouble() != kNothing)
      return false;
  return true;
}

} // namespace xqs

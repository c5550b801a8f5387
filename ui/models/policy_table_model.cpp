// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/policy_table_model.h"

#include "plot/format.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace xqs {

namespace {

using Row = PolicyTableRow;
using Column = PolicyTableModel::Column;

QString number(double value, int digits) {
  return std::isfinite(value) ? QString::number(value, 'f', digits) : QStringLiteral("–");
}

/// "1.0132 ± 0.0021"; without ± while one window says nothing about the spread.
QString withInterval(const Estimate &e, int digits) {
  if (!std::isfinite(e.mean)) return QStringLiteral("–");
  const double half = (e.high - e.low) / 2;
  return std::isfinite(half) ? QStringLiteral("%1 ± %2").arg(number(e.mean, digits), number(half, digits))
                             : number(e.mean, digits);
}

QString intervalTip(const Estimate &e) {
  if (!std::isfinite(e.low) || !std::isfinite(e.high)) return PolicyTableModel::tr("An interval needs two windows.");
  return PolicyTableModel::tr("95 % interval over the windows: %1 to %2")
      .arg(formatNumber(e.low, 6), formatNumber(e.high, 6));
}

Column policyColumn() {
  return {PolicyTableModel::tr("Policy"),
          PolicyTableModel::tr("Method and every setting that differs from its default"),
          [](const Row &r) { return QString::fromStdString(r.ledger.policy); },
          {},
          [](const Row &r) { return QStringLiteral("%1\n%2").arg(QString::fromStdString(r.ledger.policy), r.runTitle); }};
}

Column relativeSizeColumn() {
  return {PolicyTableModel::tr("Rel. size"),
          PolicyTableModel::tr("Cache bytes over the model's own FP16 K and V"),
          [](const Row &r) { return number(r.ledger.relativeSize, 4); },
          [](const Row &r) { return r.ledger.relativeSize; },
          {}};
}

Column ratioColumn() {
  return {PolicyTableModel::tr("ppl / exact"),
          PolicyTableModel::tr(
              "Perplexity over the exact model's on the same windows, with the half width of its 95 % interval"),
          [](const Row &r) { return withInterval(r.measured.ratio, 4); }, [](const Row &r) { return r.measured.ratio.mean; },
          [](const Row &r) { return intervalTip(r.measured.ratio); }};
}

Column klColumn() {
  return {PolicyTableModel::tr("KL (nats)"), PolicyTableModel::tr("Mean KL divergence to the exact model, nats a token"),
          [](const Row &r) { return formatNumber(r.measured.kl.mean, 3); }, [](const Row &r) { return r.measured.kl.mean; },
          [](const Row &r) { return intervalTip(r.measured.kl); }};
}

Column top1Column() {
  return {PolicyTableModel::tr("Top-1 (%)"),
          PolicyTableModel::tr("Positions at which the likeliest token is the exact model's"),
          [](const Row &r) { return number(100 * r.measured.top1, 2); },
          [](const Row &r) { return r.measured.top1; },
          {}};
}

Column perplexityColumn() {
  return {PolicyTableModel::tr("Perplexity"),
          PolicyTableModel::tr("exp of the mean NLL over the windows"),
          [](const Row &r) { return number(r.measured.ppl, 3); },
          [](const Row &r) { return r.measured.ppl; },
          {}};
}

Column bitsColumn() {
  return {PolicyTableModel::tr("Bits/elem."),
          PolicyTableModel::tr("Cache bits over the elements of K and V; FP16 is 16"),
          [](const Row &r) { return number(r.ledger.bitsPerElement, 2); },
          [](const Row &r) { return r.ledger.bitsPerElement; },
          {}};
}

Column bytesColumn() {
  return {PolicyTableModel::tr("Cache"), PolicyTableModel::tr("Bytes of the cache of one window"),
          [](const Row &r) { return formatBytes(r.ledger.formatBytes); },
          [](const Row &r) { return static_cast<qlonglong>(r.ledger.formatBytes); },
          [](const Row &r) {
            return PolicyTableModel::tr("codes %1 B, scales and zeros %2 B, outliers %3 B, residual %4 B; allocated %5 B")
                .arg(r.ledger.codes)
                .arg(r.ledger.scales)
                .arg(r.ledger.outliers)
                .arg(r.ledger.residual)
                .arg(r.ledger.allocatedBytes);
          }};
}

Column windowsColumn() {
  return {PolicyTableModel::tr("Windows"),
          PolicyTableModel::tr("Windows scored so far"),
          [](const Row &r) { return QString::number(r.measured.windows.size()); },
          [](const Row &r) { return static_cast<qlonglong>(r.measured.windows.size()); },
          {}};
}

/// What the curve shows first, the rest to the right.
std::vector<Column> columns() {
  return {policyColumn(),     relativeSizeColumn(), ratioColumn(), klColumn(),     top1Column(),
          perplexityColumn(), bitsColumn(),         bytesColumn(), windowsColumn()};
}

} // namespace

PolicyTableModel::PolicyTableModel(const RunData &data, const Selection &selection, QObject *parent)
    : TableModel(columns(), parent), m_data(data), m_selection(selection) {
  connect(&data, &RunData::changed, this, &PolicyTableModel::rebuild);
  connect(&selection, &Selection::changed, this, &PolicyTableModel::rebuild);
  rebuild();
}

QVariant PolicyTableModel::data(const QModelIndex &index, int role) const {
  if (role == MethodRole && index.isValid()) return QString::fromStdString(row(index.row()).ledger.method);
  return TableModel::data(index, role);
}

int PolicyTableModel::rowOf(const QString &policy) const {
  const auto found = std::find_if(rows().begin(), rows().end(), [wanted = policy.toStdString()](const PolicyTableRow &r) {
    return r.ledger.policy == wanted;
  });
  return found == rows().end() ? -1 : static_cast<int>(found - rows().begin());
}

std::vector<const RunData::Run *> PolicyTableModel::shownRuns() const {
  std::vector<const RunData::Run *> shown;
  bool chosen = false; // generations and profiles score nothing
  for (const RunData::Key key : m_selection.runs()) {
    const RunData::Run *run = m_data.find(key);
    if (run && (run->row.kind == "generate" || run->row.kind == "profile")) continue;
    chosen = true;
    if (run) shown.push_back(run);
  }
  if (chosen) return shown;
  const RunData::Run *newest = nullptr;
  for (const RunData::Run *run : m_data.runs())
    if (run->row.kind == "eval" && !run->policies.empty()) newest = run;
  if (newest) shown.push_back(newest);
  return shown;
}

void PolicyTableModel::rebuild() {
  // Rows that go can make a view choose another one, which changes the selection, which leads here again: a model must not
  // be changed while it announces a change.
  m_again = true;
  if (m_rebuilding) return;
  m_rebuilding = true;
  while (std::exchange(m_again, false)) setRows(shownRows());
  m_rebuilding = false;
}

std::vector<PolicyTableRow> PolicyTableModel::shownRows() const {
  std::vector<PolicyTableRow> list;
  for (const RunData::Run *run : shownRuns()) {
    std::vector<CurvePoint> points = curvePoints(run->policies, run->windows);
    for (std::size_t i = 0; i < points.size(); ++i)
      list.push_back({run->key, QString::fromStdString(run->row.title), run->policies[i], std::move(points[i])});
  }
  return list;
}

} // namespace xqs

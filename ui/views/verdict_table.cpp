// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/verdict_table.h"

#include "analysis/verdict_text.h"
#include "plot/series_style.h"
#include "theme.h"
#include "views/judge_lookup.h"
#include "views/run_lookup.h"

#include <QFont>
#include <QPainter>
#include <QPixmap>

namespace xqs {

namespace {

QString text(const std::string &s) { return QString::fromStdString(s); }

QString withBasis(const std::string &figure, Basis basis) {
  return QStringLiteral("%1 %2").arg(text(figure), basisTitle(basis));
}

QString qualityText(const VerdictRow &r) {
  if (r.quality.basis == Basis::Unknown) return VerdictTable::tr("unknown");
  const QString basis = basisTitle(r.quality.basis);
  if (std::isnan(r.quality.kl)) return VerdictTable::tr("ppl × %1 %2").arg(r.quality.ratio, 0, 'f', 3).arg(basis);
  return VerdictTable::tr("KL %1 %2").arg(r.quality.kl, 0, 'f', 4).arg(basis);
}

QString qualityTip(const VerdictRow &r) {
  if (r.quality.basis == Basis::Unknown)
    return VerdictTable::tr("No run in the open files has scored this policy on this model, and no table has it.");
  const QString front = r.front ? VerdictTable::tr("\nNo other is as small and better, or smaller and as good.") : QString();
  return text(r.quality.of) + front;
}

QString whereText(const VerdictRow &r) {
  const QString size = text(bytesText(r.memoryBytes));
  if (r.time.inHost) return VerdictTable::tr("%1, partly in the host's").arg(size);
  return r.fits ? VerdictTable::tr("%1, fits").arg(size) : size;
}

/// What is predicted and how, also of a measured step.
QString stepTip(const VerdictRow &r) {
  return VerdictTable::tr("%1\nPredicted: %2. Layer by layer the larger of what bytes and FLOPs take; K is rebuilt through "
                          "its map, V absorbed; launches cost nothing.")
      .arg(text(r.sentence()), text(secondsText(r.time.predicted)));
}

using Columns = std::vector<TableModel<VerdictRow>::Column>;

Columns columns() {
  const auto tr = [](const char *s) { return VerdictTable::tr(s); };
  const auto sentence = [](const VerdictRow &r) { return text(r.sentence()); };
  return {
      {tr("Policy"),
       tr("Method and the settings that differ from its defaults"),
       [](const VerdictRow &r) { return policyTitle(text(r.policy)); },
       {},
       [](const VerdictRow &r) { return QStringLiteral("%1\n%2").arg(text(r.policy), text(r.sentence())); }},
      {tr("Cache"), tr("Format bytes that one sequence's cache holds, counted from shapes"),
       [](const VerdictRow &r) { return text(bytesText(r.cacheBytes)); }, [](const VerdictRow &r) { return r.cacheBytes; },
       sentence},
      {tr("× FP16"), tr("Cache over FP16 KV's, counted"), [](const VerdictRow &r) { return text(ratioText(r.bytesRatio)); },
       [](const VerdictRow &r) { return r.bytesRatio; }, sentence},
      {tr("Quality"), tr("KL to the exact model in nats, or perplexity over the exact model's; bold: worth its bytes"),
       qualityText, [](const VerdictRow &r) { return r.quality.damage(); }, qualityTip},
      {tr("Step"), tr("Time of one token of every sequence, with its logits"),
       [](const VerdictRow &r) { return withBasis(secondsText(r.time.seconds), r.time.basis); },
       [](const VerdictRow &r) { return r.time.seconds; }, stepTip},
      {tr("time × FP16"), tr("Time over FP16 KV's; where not both were measured, predicted over predicted"),
       [](const VerdictRow &r) { return withBasis(ratioText(r.timeRatio), r.timeRatioBasis); },
       [](const VerdictRow &r) { return r.timeRatio; }, sentence},
      {tr("if hidden"),
       tr("Time over FP16 KV's if rebuilding were hidden perfectly under the loading of weights, predicted"),
       [](const VerdictRow &r) { return r.rebuilds ? text(ratioText(r.hiddenRatio)) : QStringLiteral("–"); },
       [](const VerdictRow &r) { return r.hiddenRatio; },
       {}},
      {tr("Moved a step"),
       tr("Bytes that a step reads and writes, weights included"),
       [](const VerdictRow &r) { return withBasis(bytesText(r.movedBytes), r.movedBasis); },
       [](const VerdictRow &r) { return r.movedBytes; },
       {}},
      {tr("Memory, counted"),
       tr("Weights, maps and the caches of all sequences"),
       whereText,
       [](const VerdictRow &r) { return r.memoryBytes; },
       {}},
  };
}

QPixmap markerOf(const std::string &method) {
  QPixmap pixmap(14, 14);
  pixmap.fill(Qt::transparent);
  QPainter painter(&pixmap);
  painter.setRenderHint(QPainter::Antialiasing);
  drawMarker(painter, methodStyle(text(method)), {7, 7}, 10, Theme::current().colors().background);
  return pixmap;
}

} // namespace

VerdictTable::VerdictTable(QObject *parent) : TableModel(columns(), parent) {}

void VerdictTable::show(const Verdict &verdict) {
  m_smallest = verdict.smallest, m_fastest = verdict.fastest;
  setRows(verdict.rows);
}

bool VerdictTable::wins(int rowIndex, int column) const {
  const VerdictRow &r = row(rowIndex);
  if (column == Cache || column == Size) return r.cacheBytes <= 1.001 * row(static_cast<int>(m_smallest)).cacheBytes;
  if (column == Step || column == Time) return rowIndex == static_cast<int>(m_fastest);
  return column == Quality && r.front;
}

QVariant VerdictTable::data(const QModelIndex &index, int role) const {
  if (index.isValid() && role == Qt::DecorationRole && index.column() == Policy) return markerOf(row(index.row()).method);
  if (index.isValid() && role == Qt::FontRole && wins(index.row(), index.column())) {
    QFont bold;
    bold.setBold(true);
    return bold;
  }
  return TableModel::data(index, role);
}

} // namespace xqs

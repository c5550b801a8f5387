// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/sensitivity_table.h"

#include "analysis/sensitivity.h"
#include "error.h"
#include "models/run_data.h"
#include "plot/format.h"

#include <QCoreApplication>

#include <cmath>
#include <map>

namespace xqs {

namespace {

QString tr(const char *text) { return QCoreApplication::translate("SensitivityTable", text); }
QString fromStd(const std::string &text) { return QString::fromStdString(text); }

QString label(const SensitivitySetting &setting) {
  const QString part = setting.side       ? (*setting.side == Side::K ? QStringLiteral("K") : QStringLiteral("V"))
                       : setting.span > 1 ? QStringLiteral("Δ")
                                          : QStringLiteral("K, V");
  return part + QStringLiteral("  ") + fromStd(setting.policy);
}

QString interval(const Estimate &e) {
  if (!std::isfinite(e.low) || !std::isfinite(e.high)) return tr("one window: no interval");
  return tr("95 %: %1 to %2").arg(formatNumber(e.low), formatNumber(e.high));
}

QString cellText(const SensitivitySetting &setting, int layer) {
  const SensitivityCell &cell = setting.cells[static_cast<std::size_t>(layer)];
  const QString where =
      setting.span > 1 ? tr("Layers %1 (base) and %2").arg(layer - 1).arg(layer) : tr("Layer %1").arg(layer);
  const QString head = QStringLiteral("%1 · %2").arg(where, fromStd(setting.name));
  if (cell.windows.empty()) return tr("%1: not measured").arg(head);
  return tr("%1<br>KL <b>%2</b> nats a token (%3)<br>%4 B a token")
      .arg(head, formatNumber(cell.kl.mean, 4), interval(cell.kl), formatNumber(cell.bytesPerToken, 4));
}

SensitivityTable tableOf(const SensitivityMatrix &matrix) {
  SensitivityTable table;
  table.title = tr("%1 · %2 · %3 × %4 tokens")
                    .arg(fromStd(matrix.run.model), fromStd(matrix.run.text))
                    .arg(matrix.windows.size())
                    .arg(matrix.run.window);
  table.layers = static_cast<int>(matrix.shape.layers);
  const Estimate fp16 = matrix.fp16Kl();
  table.fp16Kl = fp16.count > 0 ? fp16.mean : std::nan("");
  for (const SensitivitySetting &setting : matrix.settings) {
    table.rows << label(setting);
    const LayerSides sides = !setting.side ? LayerSides::Both : *setting.side == Side::K ? LayerSides::K : LayerSides::V;
    for (int layer = 0; layer < table.layers; ++layer) {
      const SensitivityCell &cell = setting.cells[static_cast<std::size_t>(layer)];
      const int first = std::max(0, layer - static_cast<int>(setting.span) + 1);
      table.measured += !cell.windows.empty();
      table.cells.push_back({cell.windows.empty() ? std::nan("") : cell.kl.mean,
                             cellText(setting, layer),
                             {first, layer, sides, fromStd(setting.policy)}});
    }
  }
  return table;
}

} // namespace

bool isolatesLayer(const std::string &policy) {
  if (!policy.starts_with("plan:")) return false;
  try {
    return isolatedLayer(PolicySpec::parse(policy)).has_value();
  } catch (const Error &) { // of another version
    return false;
  }
}

std::vector<SensitivityTable> sensitivityTables(const RunData &data) {
  std::map<int, RowSet> sets; // runs of one file are paired with each other, as on the command line
  for (const RunData::Run *run : data.runs()) {
    if (run->row.kind != "eval") continue;
    RowSet &set = sets[run->key.file];
    set.runs.push_back(run->row);
    set.policies.insert(set.policies.end(), run->policies.begin(), run->policies.end());
    set.windows.insert(set.windows.end(), run->windows.begin(), run->windows.end());
  }
  std::vector<SensitivityTable> tables;
  for (const auto &[file, set] : sets)
    for (const SensitivityMatrix &matrix : sensitivityMatrices(set)) tables.push_back(tableOf(matrix));
  return tables;
}

} // namespace xqs

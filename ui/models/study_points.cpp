// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/study_points.h"

#include <QJsonArray>
#include <QLocale>

namespace xqs {

namespace {

using Row = StudyPoint;
const QString kNothing = QStringLiteral("–");

qint64 integer(const QJsonObject &object, const char *key) {
  return static_cast<qint64>(object[QLatin1String(key)].toDouble());
}

QString missingText(const Row &r) {
  if (!r.problem.isEmpty()) return StudyPoints::tr("cannot run");
  return r.missing == 0 ? StudyPoints::tr("done") : StudyPoints::tr("%1 of %2").arg(r.missing).arg(r.windows);
}

std::vector<StudyPoints::Column> columns() {
  const auto tip = [](const Row &r) {
    return r.problem.isEmpty() ? QStringLiteral("%1\n%2").arg(r.policy, r.runTitle) : r.problem;
  };
  return {
      {StudyPoints::tr("Run"), StudyPoints::tr("Model, text, windows, state and protocol: hover for all of them"),
       [](const Row &r) { return QString::number(r.run); }, [](const Row &r) { return r.run; },
       [](const Row &r) { return r.runTitle; }},
      {StudyPoints::tr("Policy"),
       StudyPoints::tr("Method and settings"),
       [](const Row &r) { return r.policy.isEmpty() ? r.problem : r.policy; },
       {},
       tip},
      {StudyPoints::tr("Bytes"), StudyPoints::tr("Cache bytes of one window, computed"),
       [](const Row &r) { return r.bytes < 0 ? kNothing : QLocale(QLocale::English).toString(r.bytes); },
       [](const Row &r) { return r.bytes; }, tip},
      {StudyPoints::tr("Rel. size"), StudyPoints::tr("Over the model's own FP16 K and V"),
       [](const Row &r) { return r.bytes < 0 ? kNothing : QString::number(r.relativeSize, 'f', 4); },
       [](const Row &r) { return r.relativeSize; }, tip},
      {StudyPoints::tr("Missing"), StudyPoints::tr("Windows that the file does not have yet"), missingText,
       [](const Row &r) { return r.missing; }, tip},
  };
}

} // namespace

StudyPoints::StudyPoints(QObject *parent) : TableModel(columns(), parent) {}

void StudyPoints::setEstimate(const QJsonObject &estimate) {
  std::vector<Row> rows;
  m_runs = m_problems = 0;
  for (const QJsonValue &value : estimate[QStringLiteral("runs")].toArray()) {
    const QJsonObject run = value.toObject();
    Row row;
    row.run = ++m_runs;
    row.runTitle = run[QStringLiteral("title")].toString();
    row.windows = static_cast<int>(integer(run, "windows"));
    if (const QString error = run[QStringLiteral("error")].toString(); !error.isEmpty()) {
      row.problem = error;
      ++m_problems;
      rows.push_back(row);
      continue;
    }
    for (const QJsonValue &one : run[QStringLiteral("policies")].toArray()) {
      const QJsonObject policy = one.toObject();
      row.policy = policy[QStringLiteral("policy")].toString();
      row.bytes = integer(policy, "format_bytes_per_window");
      row.relativeSize = policy[QStringLiteral("relative_size")].toDouble();
      row.missing = static_cast<int>(integer(policy, "missing_windows"));
      rows.push_back(row);
    }
    for (const QJsonValue &one : run[QStringLiteral("misfits")].toArray()) {
      Row misfit;
      misfit.run = row.run, misfit.runTitle = row.runTitle;
      misfit.policy = one.toObject()[QStringLiteral("policy")].toString();
      misfit.problem = one.toObject()[QStringLiteral("message")].toString();
      ++m_problems;
      rows.push_back(misfit);
    }
  }
  m_points = integer(estimate, "points"), m_missing = integer(estimate, "missing");
  m_leftOut = integer(estimate, "policies_left_out");
  m_seconds = estimate[QStringLiteral("estimated_seconds")].toDouble();
  m_timeSource = estimate[QStringLiteral("estimate_source")].toString();
  const QJsonArray sizes = estimate[QStringLiteral("relative_size")].toArray();
  m_smallest = sizes.at(0).toDouble(), m_largest = sizes.at(1).toDouble();
  setRows(std::move(rows));
}

void StudyPoints::clear() { setEstimate({}); }

QString StudyPoints::relativeSizes() const {
  if (m_largest <= 0) return {};
  const QString low = QString::number(m_smallest, 'g', 3), high = QString::number(m_largest, 'g', 3);
  return low == high ? low : tr("%1 to %2").arg(low, high);
}

} // namespace xqs

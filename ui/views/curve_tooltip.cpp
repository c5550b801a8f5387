// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/curve_tooltip.h"

#include "plot/format.h"
#include "views/run_lookup.h"

#include <QCoreApplication>

#include <cmath>

namespace xqs {

namespace {

QString tr(const char *text) { return QCoreApplication::translate("CurveTooltip", text); }

QString line(const QString &title, const QString &value) {
  return QStringLiteral("<tr><td>%1&nbsp;&nbsp;</td><td>%2</td></tr>").arg(title.toHtmlEscaped(), value.toHtmlEscaped());
}

QString interval(const Estimate &estimate, QString (*format)(double)) {
  if (std::isnan(estimate.low)) return format(estimate.mean);
  return tr("%1  (95 %: %2 to %3)").arg(format(estimate.mean), format(estimate.low), format(estimate.high));
}

QString number(double v) { return formatNumber(v, 4); }

QString ledger(const PolicyRow &row) {
  QString text =
      line(tr("Cache"), tr("%1 a window, %2 of FP16").arg(formatBytes(row.formatBytes), formatPercent(row.relativeSize)));
  const std::pair<QString, std::int64_t> parts[] = {{tr("codes"), row.codes},
                                                    {tr("scales and zeros"), row.scales},
                                                    {tr("outliers"), row.outliers},
                                                    {tr("residual, FP16"), row.residual}};
  for (const auto &[title, bytes] : parts)
    if (bytes > 0) text += line(QStringLiteral("  – ") + title, formatBytes(bytes));
  text += line(tr("Bits an element"), number(row.bitsPerElement));
  if (std::abs(row.relativeSizeMha - row.relativeSize) > 1e-9)
    text += line(tr("Size as if MHA"), formatPercent(row.relativeSizeMha));
  text += line(tr("Allocated"), formatBytes(row.allocatedBytes));
  if (row.accumulator > 0) text += line(tr("Accumulator (not counted)"), formatBytes(row.accumulator));
  return text;
}

} // namespace

QString curveTooltip(const CurvePoint &point, const PolicyRow &row, const RunData::Run &run) {
  QString text = QStringLiteral("<b>%1</b><br>%2<table>")
                     .arg(policyTitle(QString::fromStdString(row.policy)).toHtmlEscaped(),
                          QString::fromStdString(row.policy).toHtmlEscaped());
  text += line(tr("Perplexity"), tr("%1, exact model %2").arg(number(point.ppl), number(point.exactPpl)));
  text += line(tr("over FP16's"), interval(point.ratio, formatRatio));
  text += line(tr("Mean KL, nats"), interval(point.kl, number));
  text += line(tr("Same top token"), formatPercent(point.top1));
  text += ledger(row);
  text +=
      line(tr("Windows"), tr("%1 of %2, %3 tokens each").arg(point.windows.size()).arg(run.row.windows).arg(run.row.window));
  return text + QStringLiteral("</table>%1<br><i>%2</i>")
                    .arg(runTitle(run).toHtmlEscaped(), QString::fromStdString(run.row.protocol).toHtmlEscaped());
}

QString curveFamily(const QString &policy) {
  const QString method = policy.section(u':', 0, 0);
  QStringList kept;
  for (const QString &part : policy.section(u':', 1).split(u',', Qt::SkipEmptyParts))
    if (!part.startsWith(QLatin1String("bits=")) && !part.startsWith(QLatin1String("rank="))) kept << part;
  return kept.isEmpty() ? method : method + u':' + kept.join(u',');
}

} // namespace xqs

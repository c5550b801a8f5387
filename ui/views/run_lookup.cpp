// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/run_lookup.h"

#include "analysis/curve.h"
#include "plot/series_style.h"

#include <QCoreApplication>

#include <algorithm>

namespace xqs {

namespace {

QString tr(const char *text) { return QCoreApplication::translate("RunLookup", text); }

/// Generations and profiles have views of their own.
bool scores(const RunData::Run &run) { return run.row.kind != "generate" && run.row.kind != "profile"; }

const RunData::Run *latest(const RunData &data, std::string_view kind, bool withPolicies) {
  const RunData::Run *result = nullptr;
  for (const RunData::Run *run : data.runs())
    if (run->row.kind == kind && (!withPolicies || !run->policies.empty())) result = run;
  return result;
}

} // namespace

RunList shownRuns(const ViewContext &context) {
  RunList result;
  for (const RunData::Key &key : context.selection->runs())
    if (const RunData::Run *run = context.data->find(key); run && scores(*run)) result.push_back(run);
  if (!result.empty()) return result;
  for (const char *kind : {"eval", "layers"})
    if (const RunData::Run *run = latest(*context.data, kind, true)) return {run};
  return {};
}

const RunData::Run *shownGeneration(const ViewContext &context) {
  for (const RunData::Key &key : context.selection->runs())
    if (const RunData::Run *run = context.data->find(key); run && run->row.kind == "generate") return run;
  return latest(*context.data, "generate", false);
}

const RunData::Run *previewRun(const ViewContext &context) { return latest(*context.data, "preview", false); }

RunList sourceRuns(const ViewContext &context) {
  RunList result = shownRuns(context);
  if (const RunData::Run *preview = previewRun(context); preview && std::ranges::find(result, preview) == result.end())
    result.push_back(preview);
  return result;
}

const PolicyRow *findPolicy(const RunData::Run &run, std::string_view policy) {
  const PolicyRow *result = nullptr;
  for (const PolicyRow &row : run.policies)
    if (row.policy == policy) result = &row;
  return result;
}

QString previewedPolicy(const ViewContext &context) {
  const RunData::Run *preview = previewRun(context);
  return preview && !preview->policies.empty() ? QString::fromStdString(preview->policies.back().policy) : QString();
}

QString shownPolicy(const ViewContext &context) {
  if (!context.selection->policy().isEmpty()) return context.selection->policy();
  if (const QString previewed = previewedPolicy(context); !previewed.isEmpty()) return previewed;
  // Nothing chosen yet: the first policy that has something to show of the chosen tensor.
  const std::string site = context.selection->site().toStdString();
  for (const RunData::Run *run : shownRuns(context))
    for (const PolicyRow &policy : run->policies)
      if (policy.method != "fp16" && std::ranges::any_of(run->summaries, [&](const SummaryRow &row) {
            return row.policy == policy.index && row.site == site;
          }))
        return QString::fromStdString(policy.policy);
  for (const RunData::Run *run : shownRuns(context))
    if (!run->policies.empty()) return QString::fromStdString(run->policies.back().policy);
  return {};
}

QString runTitle(const RunData::Run &run) {
  QString title = QString::fromStdString(run.row.title.empty() ? run.row.model : run.row.title);
  if (run.row.kind == "preview") return tr("%1 (preview)").arg(title);
  if (run.recorded) return tr("%1 (recorded)").arg(title);
  return run.ends.empty() ? tr("%1 (running)").arg(title) : title;
}

int layerCount(const RunData::Run &run) { return static_cast<int>(run.row.layers); }

QString siteTitle(const QString &site) {
  struct Title {
    const char *site, *title;
  };
  static constexpr Title kTitles[] = {
      {"x", QT_TRANSLATE_NOOP("RunLookup", "X after the norm")},
      {"residual", QT_TRANSLATE_NOOP("RunLookup", "Residual stream")},
      {"delta", QT_TRANSLATE_NOOP("RunLookup", "Delta between layers")},
      {"latent_k", QT_TRANSLATE_NOOP("RunLookup", "Latents X Uk")},
      {"latent_v", QT_TRANSLATE_NOOP("RunLookup", "Latents X Uv")},
      {"k", QT_TRANSLATE_NOOP("RunLookup", "K")},
      {"v", QT_TRANSLATE_NOOP("RunLookup", "V")},
  };
  for (const Title &t : kTitles)
    if (site == QLatin1String(t.site)) return tr(t.title);
  return site;
}

QString policyTitle(const QString &policy) {
  const qsizetype colon = policy.indexOf(u':');
  if (colon < 0) return methodTitle(policy);
  QString settings = policy.mid(colon + 1);
  settings.replace(u'=', u' ').replace(u',', QStringLiteral(", ")).replace(u'_', u' ');
  return methodTitle(policy.left(colon)) + QStringLiteral(" · ") + settings;
}

QString shortPolicyTitle(const QString &policy) {
  const QString bits = QString::fromStdString(seriesOf(policy.toStdString()).bits);
  const QString title = methodTitle(policy.section(u':', 0, 0));
  return bits.isEmpty() ? title : title + u' ' + bits;
}

} // namespace xqs

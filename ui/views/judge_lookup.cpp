// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/judge_lookup.h"

#include "run/resources.h"
#include "views/profile_lookup.h"

#include <QCoreApplication>

#include <algorithm>

namespace xqs {

namespace {

constexpr const char *kUsualMachine = "h100-sxm";
constexpr ProfilePoint kUsualPoint{32768, 1};

QString tr(const char *text) { return QCoreApplication::translate("Judge", text); }

const std::vector<PublishedRow> &published() {
  static const std::vector<PublishedRow> rows = parsePublished(publishedTables());
  return rows;
}

bool canBeJudged(const RunData::Run &run) {
  return (run.row.kind == "eval" || run.row.kind == "profile") && run.row.layers > 0;
}

} // namespace

RunRows rowsOf(const RunData::Run &run) { return {run.row, run.policies, run.windows, run.steps, run.traffic, run.peaks}; }

QString basisTitle(Basis basis) {
  switch (basis) {
  case Basis::Measured: return tr("measured");
  case Basis::Counted: return tr("counted");
  case Basis::Predicted: return tr("predicted");
  case Basis::Published: return tr("published");
  case Basis::Unknown: break;
  }
  return tr("unknown");
}

JudgeLookup::JudgeLookup(const ViewContext &context) : m_context(context), m_profile(shownProfile(context)) {
  findMachines();
  findModels();
  findPoint();
}

void JudgeLookup::findMachines() {
  if (m_profile != nullptr)
    if (std::optional<Hardware> measured = measuredHardware(m_profile->row, m_profile->peaks))
      m_machines.push_back({QStringLiteral("measured"),
                            tr("Measured: %1").arg(QString::fromStdString(m_profile->row.device).section(u',', 0, 0)),
                            std::move(*measured)});
  const bool measured = !m_machines.empty();
  for (const Hardware &gpu : hardwarePresets())
    m_machines.push_back({QString::fromStdString(gpu.id), QString::fromStdString(gpu.name), gpu});
  const auto placeOf = [&](const QString &id) {
    const auto found = std::ranges::find(m_machines, id, &Machine::id);
    return found != m_machines.end() ? std::optional(static_cast<std::size_t>(found - m_machines.begin())) : std::nullopt;
  };
  m_machine =
      placeOf(m_context.selection->machine()).value_or(measured ? 0 : placeOf(QLatin1String(kUsualMachine)).value_or(0));
}

/// The model of the profile, else of the latest scored run, comes first.
void JudgeLookup::findModels() {
  const auto placeOf = [this](const std::string &name) { return std::ranges::find(m_models, name, &ModelSize::name); };
  const auto add = [&](const ModelSize &model) {
    if (placeOf(model.name) == m_models.end()) m_models.push_back(model);
  };
  const std::vector<const RunData::Run *> runs = m_context.data->runs();
  const RunData::Run *usual = m_profile;
  for (const RunData::Run *run : runs)
    if (m_profile == nullptr && run->row.kind == "eval" && canBeJudged(*run)) usual = run;
  if (usual != nullptr) add(sizeOf(usual->row));
  for (const RunData::Run *run : runs)
    if (canBeJudged(*run)) add(sizeOf(run->row));
  for (const ModelSize &shape : builtInModels()) add(shape);
  const auto chosen = placeOf(m_context.selection->model().toStdString());
  if (chosen != m_models.end())
    m_model = static_cast<std::size_t>(chosen - m_models.begin());
  else
    m_model = usual != nullptr ? 0 : 1; // without a run a model with grouped heads
}

void JudgeLookup::findPoint() {
  m_point = m_context.selection->point();
  if (m_point.context == 0 && m_profile != nullptr) m_point = shownPoint(m_context, *m_profile);
  if (m_point.context <= 0 || m_point.batch <= 0) m_point = kUsualPoint;
}

const RunData::Run *JudgeLookup::measuredRun() const {
  return m_profile != nullptr && machine().hardware.measured && model().sameAs(sizeOf(m_profile->row)) ? m_profile : nullptr;
}

std::vector<std::string> JudgeLookup::policies() const {
  std::vector<std::string> names;
  if (m_profile != nullptr && model().sameAs(sizeOf(m_profile->row)))
    for (const PolicyRow &row : m_profile->policies) names.push_back(row.policy);
  if (names.empty()) names = usualPolicies();
  if (const std::string selected = m_context.selection->policy().toStdString();
      !selected.empty() && std::ranges::find(names, selected) == names.end())
    names.push_back(selected);
  return fittingPolicies(names, model());
}

Judge JudgeLookup::judge() const {
  const std::vector<std::string> compared = policies();
  Evidence evidence;
  for (const RunData::Run *run : m_context.data->runs()) addQualities(evidence, rowsOf(*run), model());
  if (const RunData::Run *run = measuredRun()) addSteps(evidence, rowsOf(*run), model());
  addPublished(evidence, compared, model(), published());
  return Judge(machine().hardware, model(), compared, std::move(evidence));
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/judge_bar.h"

#include "analysis/verdict_text.h"
#include "run/resources.h"
#include "views/profile_chooser.h"
#include "views/profile_lookup.h"

#include <QComboBox>
#include <QCoreApplication>
#include <QHBoxLayout>

#include <algorithm>
#include <set>

namespace xqs {

namespace {

const QString kMeasured = QStringLiteral("measured");
constexpr const char *kUsualMachine = "h100-sxm";
constexpr ProfilePoint kUsualPoint{32768, 1};

/// The latest run whose model may be judged: a profile before scored windows.
const RunData::Run *modelRun(const ViewContext &context) {
  if (const RunData::Run *profile = shownProfile(context)) return profile;
  const RunData::Run *latest = nullptr;
  for (const RunData::Run *run : context.data->runs())
    if (run->row.kind == "eval" && run->row.layers > 0) latest = run;
  return latest;
}

QString tokensTitle(std::int64_t tokens) {
  return tokens % 1024 == 0 ? JudgeBar::tr("%1k tokens").arg(tokens / 1024) : JudgeBar::tr("%1 tokens").arg(tokens);
}

} // namespace

RunRows rowsOf(const RunData::Run &run) { return {run.row, run.policies, run.windows, run.steps, run.traffic, run.peaks}; }

QString basisTitle(Basis basis) {
  switch (basis) {
  case Basis::Measured: return JudgeBar::tr("measured");
  case Basis::Counted: return JudgeBar::tr("counted");
  case Basis::Predicted: return JudgeBar::tr("predicted");
  case Basis::Published: return JudgeBar::tr("published");
  case Basis::Unknown: break;
  }
  return JudgeBar::tr("unknown");
}

JudgeBar::JudgeBar(const ViewContext &context, QWidget *parent)
    : QWidget(parent), m_context(context), m_published(parsePublished(publishedTables())) {
  m_machine = makeChoice(tr("Machine"), {}, this);
  m_machine->setObjectName(QStringLiteral("machine"));
  m_model = makeChoice(tr("Model"), tr("Whose layers, heads and widths are counted"), this);
  m_model->setObjectName(QStringLiteral("model"));
  m_tokens = makeChoice(tr("Context"), tr("Tokens that each cache holds"), this);
  m_tokens->setObjectName(QStringLiteral("context"));
  m_batch = makeChoice(tr("Batch"), tr("Sequences that are decoded together"), this);
  m_batch->setObjectName(QStringLiteral("batch"));
  auto *row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->addWidget(m_machine, 4);
  row->addWidget(m_model, 4);
  row->addWidget(m_tokens, 2);
  row->addWidget(m_batch, 2);
  connect(m_machine, &QComboBox::currentIndexChanged, this, [this] {
    m_chosenMachine = m_machine->currentData().toString();
    Q_EMIT changed();
  });
  connect(m_model, &QComboBox::currentIndexChanged, this, [this] {
    m_chosenModel = m_model->currentText();
    Q_EMIT changed();
  });
  for (QComboBox *box : {m_tokens, m_batch})
    connect(box, &QComboBox::currentIndexChanged, this, [this] {
      m_context.selection->setPoint({m_tokens->currentData().toLongLong(), m_batch->currentData().toLongLong()});
      Q_EMIT changed();
    });
  refresh();
}

void JudgeBar::refresh() {
  fillModels();
  fillMachines();
  fillPoint();
}

void JudgeBar::fillModels() {
  m_models.clear();
  const auto add = [this](const ModelSize &model) {
    const auto same = [&](const ModelSize &known) { return known.name == model.name; };
    if (std::ranges::none_of(m_models, same)) m_models.push_back(model);
  };
  const RunData::Run *usual = modelRun(m_context);
  if (usual != nullptr) add(sizeOf(usual->row));
  for (const RunData::Run *run : m_context.data->runs())
    if ((run->row.kind == "eval" || run->row.kind == "profile") && run->row.layers > 0) add(sizeOf(run->row));
  for (const ModelSize &shape : builtInModels()) add(shape);
  QStringList titles;
  QVariantList places;
  int chosen = usual != nullptr ? 0 : 1; // without a run a model with grouped heads
  for (const ModelSize &model : m_models) {
    titles << QString::fromStdString(model.name);
    places << static_cast<int>(places.size());
    if (titles.back() == m_chosenModel) chosen = places.back().toInt();
  }
  fillChoice(*m_model, titles, places, chosen);
}

void JudgeBar::fillMachines() {
  QStringList titles;
  QVariantList ids;
  const RunData::Run *profile = shownProfile(m_context);
  if (profile != nullptr && measuredHardware(profile->row, profile->peaks)) {
    titles << tr("Measured: %1").arg(QString::fromStdString(profile->row.device).section(u',', 0, 0));
    ids << kMeasured;
  }
  for (const Hardware &gpu : hardwarePresets()) {
    titles << QString::fromStdString(gpu.name);
    ids << QString::fromStdString(gpu.id);
  }
  const QVariant usual = ids.contains(kMeasured) ? QVariant(kMeasured) : QVariant(QLatin1String(kUsualMachine));
  fillChoice(*m_machine, titles, ids, ids.contains(m_chosenMachine) ? QVariant(m_chosenMachine) : usual);
  const QString id = m_machine->currentData().toString();
  const Hardware hardware =
      id == kMeasured ? *measuredHardware(profile->row, profile->peaks) : hardwarePreset(id.toStdString());
  m_machine->setToolTip(QString::fromStdString(hardwareSentence(hardware)));
}

void JudgeBar::fillPoint() {
  const std::vector<std::int64_t> usualTokens = mapContexts(), usualBatches = mapBatches();
  std::set<std::int64_t> tokens(usualTokens.begin(), usualTokens.end()), batches(usualBatches.begin(), usualBatches.end());
  ProfilePoint chosen = m_context.selection->point();
  if (const RunData::Run *profile = shownProfile(m_context)) {
    for (const StepRow &step : profile->steps) tokens.insert(step.context), batches.insert(step.batch);
    if (chosen.context == 0) chosen = shownPoint(m_context, *profile);
  }
  if (chosen.context <= 0 || chosen.batch <= 0) chosen = kUsualPoint;
  tokens.insert(chosen.context), batches.insert(chosen.batch);
  const auto fill = [](QComboBox &box, const std::set<std::int64_t> &values, std::int64_t value, const auto &title) {
    QStringList texts;
    QVariantList entries;
    for (const std::int64_t v : values) texts << title(v), entries << static_cast<qlonglong>(v);
    fillChoice(box, texts, entries, static_cast<qlonglong>(value));
  };
  fill(*m_tokens, tokens, chosen.context, tokensTitle);
  fill(*m_batch, batches, chosen.batch, [](std::int64_t n) { return tr("batch %1").arg(n); });
}

const ModelSize &JudgeBar::model() const { return m_models[static_cast<std::size_t>(m_model->currentData().toInt())]; }

ProfilePoint JudgeBar::point() const { return {m_tokens->currentData().toLongLong(), m_batch->currentData().toLongLong()}; }

const RunData::Run *JudgeBar::measuredRun() const {
  const RunData::Run *profile = shownProfile(m_context);
  const bool chosen = m_machine->currentData().toString() == kMeasured;
  return profile != nullptr && chosen && model().sameAs(sizeOf(profile->row)) ? profile : nullptr;
}

std::vector<std::string> JudgeBar::policies() const {
  std::vector<std::string> names;
  if (const RunData::Run *profile = shownProfile(m_context); profile != nullptr && model().sameAs(sizeOf(profile->row)))
    for (const PolicyRow &row : profile->policies) names.push_back(row.policy);
  if (names.empty()) names = usualPolicies();
  if (const std::string selected = m_context.selection->policy().toStdString();
      !selected.empty() && std::ranges::find(names, selected) == names.end())
    names.push_back(selected);
  return fittingPolicies(names, model());
}

Judge JudgeBar::judge() const {
  const QString id = m_machine->currentData().toString();
  const RunData::Run *profile = shownProfile(m_context);
  Hardware hardware = id == kMeasured ? *measuredHardware(profile->row, profile->peaks) : hardwarePreset(id.toStdString());
  const std::vector<std::string> compared = policies();
  Evidence evidence;
  for (const RunData::Run *run : m_context.data->runs()) addQualities(evidence, rowsOf(*run), model());
  if (const RunData::Run *run = measuredRun()) addSteps(evidence, rowsOf(*run), model());
  addPublished(evidence, compared, model(), m_published);
  return Judge(std::move(hardware), model(), compared, std::move(evidence));
}

} // namespace xqs

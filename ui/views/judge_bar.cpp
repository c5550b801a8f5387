// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/judge_bar.h"

#include "analysis/verdict_text.h"
#include "views/judge_lookup.h"
#include "views/profile_chooser.h"
#include "views/profile_lookup.h"

#include <QComboBox>
#include <QHBoxLayout>

#include <set>

namespace xqs {

namespace {

QString tokensTitle(std::int64_t tokens) {
  return tokens % 1024 == 0 ? JudgeBar::tr("%1k tokens").arg(tokens / 1024) : JudgeBar::tr("%1 tokens").arg(tokens);
}

} // namespace

JudgeBar::JudgeBar(const ViewContext &context, QWidget *parent) : QWidget(parent), m_context(context) {
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
  connect(m_machine, &QComboBox::currentIndexChanged, this,
          [this] { m_context.selection->setMachine(m_machine->currentData().toString()); });
  connect(m_model, &QComboBox::currentIndexChanged, this,
          [this] { m_context.selection->setModel(m_model->currentData().toString()); });
  for (QComboBox *box : {m_tokens, m_batch})
    connect(box, &QComboBox::currentIndexChanged, this, [this] {
      m_context.selection->setPoint({m_tokens->currentData().toLongLong(), m_batch->currentData().toLongLong()});
    });
}

void JudgeBar::show(const JudgeLookup &judged) {
  QStringList titles;
  QVariantList ids;
  for (const JudgeLookup::Machine &machine : judged.machines()) titles << machine.title, ids << machine.id;
  fillChoice(*m_machine, titles, ids, judged.machine().id);
  m_machine->setToolTip(QString::fromStdString(hardwareSentence(judged.machine().hardware)));
  titles.clear();
  for (const ModelSize &model : judged.models()) titles << QString::fromStdString(model.name);
  fillChoice(*m_model, titles, QVariantList(titles.begin(), titles.end()), QString::fromStdString(judged.model().name));
  showPoint(judged);
}

/// The map's contexts and batches, those of the profile, and the chosen ones.
void JudgeBar::showPoint(const JudgeLookup &judged) {
  const std::vector<std::int64_t> usualTokens = mapContexts(), usualBatches = mapBatches();
  std::set<std::int64_t> tokens(usualTokens.begin(), usualTokens.end()), batches(usualBatches.begin(), usualBatches.end());
  if (const RunData::Run *profile = shownProfile(m_context))
    for (const StepRow &step : profile->steps) tokens.insert(step.context), batches.insert(step.batch);
  tokens.insert(judged.point().context), batches.insert(judged.point().batch);
  const auto fill = [](QComboBox &box, const std::set<std::int64_t> &values, std::int64_t value, const auto &title) {
    QStringList texts;
    QVariantList entries;
    for (const std::int64_t v : values) texts << title(v), entries << static_cast<qlonglong>(v);
    fillChoice(box, texts, entries, static_cast<qlonglong>(value));
  };
  fill(*m_tokens, tokens, judged.point().context, tokensTitle);
  fill(*m_batch, batches, judged.point().batch, [](std::int64_t n) { return tr("batch %1").arg(n); });
}

} // namespace xqs

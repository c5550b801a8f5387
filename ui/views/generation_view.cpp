// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/generation_view.h"

#include "analysis/generation.h"
#include "plot/format.h"
#include "views/generation_column.h"
#include "views/run_lookup.h"

#include <QHBoxLayout>
#include <QJsonDocument>
#include <QLabel>
#include <QLineEdit>
#include <QScrollArea>
#include <QScrollBar>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

QString policyOf(const RunData::Run &run, std::int64_t index) {
  for (const PolicyRow &row : run.policies)
    if (row.index == index) return QString::fromStdString(row.policy);
  return index < 0 ? QString() : GenerationView::tr("policy %1").arg(index + 1);
}

} // namespace

GenerationView::GenerationView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_head = new QWidget;
  m_prompt = new QLineEdit; // long ones can be scrolled and copied
  m_prompt->setReadOnly(true);
  m_prompt->setAccessibleName(tr("Prompt of the shown generation"));
  m_summary = new QLabel;
  m_summary->setForegroundRole(QPalette::PlaceholderText);
  m_summary->setAccessibleName(tr("Tokens, rate and state"));
  m_again = new QToolButton;
  m_again->setText(tr("Use again"));
  m_again->setToolTip(tr("Takes prompt, policies and sampling of the shown generation into the form above"));
  auto *head = new QHBoxLayout(m_head);
  head->setContentsMargins(0, 0, 0, 0);
  head->addWidget(m_prompt, 1);
  head->addWidget(m_summary);
  head->addWidget(m_again);
  m_empty =
      new QLabel(tr("Nothing was generated yet.\nWrite a prompt and press Generate, or open a recorded generation with "
                    "File > Open."));
  m_empty->setAlignment(Qt::AlignCenter);
  m_empty->setWordWrap(true);
  m_empty->setForegroundRole(QPalette::PlaceholderText);
  auto *content = new QWidget;
  m_row = new QHBoxLayout(content);
  m_row->setContentsMargins(0, 0, 0, 0);
  m_row->setSpacing(6);
  m_scroll = new QScrollArea;
  m_scroll->setFrameShape(QFrame::NoFrame);
  m_scroll->setWidgetResizable(true);
  m_scroll->setFocusPolicy(Qt::NoFocus);
  m_scroll->setWidget(content);
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addWidget(m_head);
  column->addWidget(m_scroll, 1);
  column->addWidget(m_empty, 1);
  connect(m_again, &QToolButton::clicked, this,
          [this] { Q_EMIT requestWanted(QString::fromUtf8(QJsonDocument(m_request).toJson(QJsonDocument::Compact))); });
}

void GenerationView::takeRun(const RunData::Run &run, std::size_t columns) {
  if (m_run == run.key && m_columns.size() == columns) return;
  m_run = run.key;
  m_request = QJsonDocument::fromJson(QByteArray::fromStdString(run.row.spec)).object();
  for (GenerationColumnPanel *panel : m_columns) panel->clear();
  for (; m_columns.size() > columns; m_columns.pop_back()) delete m_columns.back();
  while (m_columns.size() < columns) {
    m_columns.push_back(new GenerationColumnPanel);
    m_row->addWidget(m_columns.back(), 1);
  }
}

void GenerationView::showSummary(const RunData::Run &run, double tokensPerSecond) {
  const QString whole = m_request[QLatin1String("prompt")].toString();
  const QString prompt = m_request.isEmpty() ? runTitle(run) : whole.simplified();
  if (m_prompt->text() != prompt) {
    m_prompt->setText(prompt);
    m_prompt->setCursorPosition(0);
  }
  m_prompt->setToolTip(whole.isEmpty() ? prompt : whole.left(2000).toHtmlEscaped());
  m_again->setVisible(!m_request.isEmpty());
  QStringList parts{tr("%1 prompt tokens").arg(run.row.textTokens)};
  if (std::isfinite(tokensPerSecond)) parts << tr("%1 tokens/s a column").arg(formatNumber(tokensPerSecond));
  if (run.ends.empty())
    parts << (context().data->crashed(run.key) ? tr("crashed") : tr("running"));
  else
    parts << tr("%1 after %2").arg(QString::fromStdString(run.ends.back().status), formatSeconds(run.ends.back().seconds));
  m_summary->setText(parts.join(QStringLiteral(" · ")));
  m_summary->setToolTip(QString::fromStdString(run.row.protocol));
}

void GenerationView::refresh() {
  const RunData::Run *run = shownGeneration(context());
  m_head->setVisible(run != nullptr);
  m_scroll->setVisible(run != nullptr);
  m_empty->setVisible(run == nullptr);
  if (run == nullptr) return;
  const std::vector<GenerationColumn> columns = generationColumns(run->generated, run->policies);
  takeRun(*run, columns.size());
  const bool finished = !run->ends.empty() || context().data->crashed(run->key);
  // While tokens come the charts have room for all that were asked for.
  std::int64_t last = 0;
  if (!finished) last = run->row.textTokens + static_cast<std::int64_t>(m_request[QLatin1String("tokens")].toDouble()) - 1;
  for (const GenerationColumn &column : columns)
    if (!column.tokens.empty()) last = std::max(last, column.tokens.back()->cacheTokens);
  for (std::size_t i = 0; i < columns.size(); ++i)
    m_columns[i]->showColumn({policyOf(*run, columns[i].policy), finished, last}, columns[i]);
  showSummary(*run, columns.front().tokensPerSecond);
}

void GenerationView::applyTheme() {
  for (GenerationColumnPanel *panel : m_columns) panel->clear(); // to be filled in the new colours
  refresh();
}

} // namespace xqs

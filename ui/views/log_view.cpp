// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/log_view.h"

#include "plot/format.h"
#include "theme.h"
#include "views/profile_lookup.h"
#include "views/run_lookup.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QScrollBar>
#include <QTreeWidget>
#include <QVBoxLayout>

#include <algorithm>
#include <set>

namespace xqs {

namespace {

enum Column { Time, Level, Message, Run, ColumnCount };
constexpr const char *kLevels[] = {"info", "warning", "error"};

int rank(const QString &level) {
  for (int i = 0; i < 3; ++i)
    if (level == QLatin1String(kLevels[i])) return i;
  return 0;
}

/// "2026-11-22T20:39:42Z" -> "20:39:42"
QString clock(const std::string &utc) {
  const QString text = QString::fromStdString(utc);
  const qsizetype t = text.indexOf(u'T');
  return t < 0 ? text : text.mid(t + 1, 8);
}

QColor levelColor(const QString &level) {
  const Theme::Colors &colors = Theme::current().colors();
  return rank(level) == 2 ? colors.error : rank(level) == 1 ? colors.warning : colors.text;
}

} // namespace

RunList loggedRuns(const ViewContext &context) {
  RunList runs = sourceRuns(context);
  if (const RunData::Run *generation = shownGeneration(context)) runs.push_back(generation);
  if (const RunData::Run *profile = shownProfile(context)) runs.push_back(profile);
  return runs;
}

LogView::LogView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_progress = new QLabel;
  m_progress->setTextFormat(Qt::PlainText);
  m_progress->setAccessibleName(tr("Progress"));
  m_level = new QComboBox;
  m_level->addItems({tr("Everything"), tr("Warnings and errors"), tr("Errors")});
  m_level->setAccessibleName(tr("Least level shown"));
  m_filter = new QLineEdit;
  m_filter->setPlaceholderText(tr("Filter by text"));
  m_filter->setClearButtonEnabled(true);
  m_filter->setAccessibleName(tr("Filter by text"));
  m_list = new QTreeWidget;
  m_list->setAccessibleName(tr("Log"));
  m_list->setHeaderLabels({tr("Time (UTC)"), tr("Level"), tr("Message"), tr("Run")});
  m_list->setRootIsDecorated(false);
  m_list->setUniformRowHeights(true);
  m_list->setSelectionMode(QAbstractItemView::ExtendedSelection);
  m_list->header()->setStretchLastSection(false);
  m_list->header()->setSectionResizeMode(Message, QHeaderView::Stretch);
  m_list->setColumnWidth(Time, fontMetrics().horizontalAdvance(QStringLiteral("Time (UTC)")) + 24);
  m_list->setColumnWidth(Level, fontMetrics().horizontalAdvance(QStringLiteral("warning")) + 24);
  m_empty = new QLabel(tr("Nothing was logged yet. Start a run, or open a finished one with File > Open."));
  m_empty->setAlignment(Qt::AlignCenter);
  m_empty->setWordWrap(true);
  m_empty->setForegroundRole(QPalette::PlaceholderText);

  auto *bar = new QHBoxLayout;
  bar->addWidget(m_level);
  bar->addWidget(m_filter, 1);
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addWidget(m_progress);
  column->addLayout(bar);
  column->addWidget(m_list, 1);
  column->addWidget(m_empty, 1);
  connect(m_level, &QComboBox::currentIndexChanged, this, [this] { applyFilter(); });
  connect(m_filter, &QLineEdit::textChanged, this, [this] { applyFilter(); });
}

QString LogView::progressLine(const RunData::Run &run) const {
  if (run.row.kind == "generate" && run.ends.empty())
    return tr("%1: %2 tokens in all columns").arg(runTitle(run)).arg(run.generated.size());
  if (run.row.kind == "profile" && run.ends.empty())
    return tr("%1: %2 steps timed").arg(runTitle(run)).arg(run.steps.size());
  std::set<std::int64_t> windows;
  double lanes = 0;
  for (const WindowRow &row : run.windows) windows.insert(row.window), ++lanes;
  const double all = static_cast<double>(run.row.windows) * static_cast<double>(run.policies.size() + 1);
  QString line =
      tr("%1: %2").arg(runTitle(run), run.ends.empty() ? tr("window %1 of %2").arg(windows.size()).arg(run.row.windows)
                                                       : QString::fromStdString(run.ends.back().status));
  if (run.ends.empty() && all > 0) line += tr(", %1 of all lanes").arg(formatPercent(std::min(1.0, lanes / all)));
  if (!run.ends.empty()) line += tr(" after %1").arg(formatSeconds(run.ends.back().seconds));
  if (!run.ends.empty() && !run.ends.back().message.empty())
    line += tr(" (%1)").arg(QString::fromStdString(run.ends.back().message));
  return line;
}

void LogView::addRow(const QString &time, const QString &level, const QString &text, const QString &run) {
  auto *item = new QTreeWidgetItem({time, level, text, run});
  item->setToolTip(Message, text);
  item->setToolTip(Run, run);
  item->setForeground(Level, levelColor(level));
  m_list->addTopLevelItem(item);
}

void LogView::appendNew(const RunData::Run &run) {
  Seen &seen = m_seen[run.key];
  const QString title = runTitle(run);
  for (; seen.logs < run.logs.size(); ++seen.logs) {
    const LogRow &row = run.logs[seen.logs];
    addRow(clock(row.utc), QString::fromStdString(row.level), QString::fromStdString(row.text), title);
  }
  for (; seen.problems < run.problems.size(); ++seen.problems) {
    const ProblemRow &row = run.problems[seen.problems];
    QString text = QString::fromStdString(row.text);
    if (row.policy >= 0 && static_cast<std::size_t>(row.policy) < run.policies.size())
      text = tr("%1: %2").arg(QString::fromStdString(run.policies[static_cast<std::size_t>(row.policy)].policy), text);
    if (row.layer >= 0) text += tr(" (layer %1)").arg(row.layer);
    addRow({}, QStringLiteral("warning"), text, title);
  }
}

void LogView::refresh() {
  QStringList lines;
  std::map<RunData::Key, Seen> kept; // another selection lists anew
  const RunList runs = loggedRuns(context());
  for (const RunData::Run *run : runs)
    if (auto at = m_seen.find(run->key); at != m_seen.end()) kept.insert(*at);
  if (kept.size() != m_seen.size()) m_list->clear(), m_seen.clear();

  QScrollBar *bar = m_list->verticalScrollBar();
  const bool follow = bar->value() == bar->maximum();
  for (const RunData::Run *run : runs) {
    appendNew(*run);
    if (run->row.kind != "preview") lines << progressLine(*run);
  }
  m_list->setColumnHidden(Run, runs.size() < 2);
  m_progress->setText(lines.join(u'\n'));
  m_progress->setVisible(!lines.isEmpty());
  applyFilter();
  if (follow) m_list->scrollToBottom();
}

void LogView::applyFilter() {
  const QString needle = m_filter->text();
  for (int i = 0; i < m_list->topLevelItemCount(); ++i) {
    QTreeWidgetItem *item = m_list->topLevelItem(i);
    const bool matches = needle.isEmpty() || item->text(Message).contains(needle, Qt::CaseInsensitive) ||
                         item->text(Run).contains(needle, Qt::CaseInsensitive);
    item->setHidden(!matches || rank(item->text(Level)) < m_level->currentIndex());
  }
  m_list->setVisible(m_list->topLevelItemCount() > 0);
  m_empty->setVisible(m_list->topLevelItemCount() == 0);
}

void LogView::applyTheme() {
  for (int i = 0; i < m_list->topLevelItemCount(); ++i)
    m_list->topLevelItem(i)->setForeground(Level, levelColor(m_list->topLevelItem(i)->text(Level)));
}

} // namespace xqs

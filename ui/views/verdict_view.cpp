// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/verdict_view.h"

#include "analysis/verdict_text.h"
#include "plot/matrix_chart.h"
#include "theme.h"
#include "views/judge_bar.h"
#include "views/judge_lookup.h"
#include "views/profile_chooser.h"
#include "views/run_lookup.h"
#include "views/verdict_table.h"
#include "widgets/tables.h"

#include <QComboBox>
#include <QLabel>
#include <QResizeEvent>
#include <QSplitter>
#include <QTableView>
#include <QTextBrowser>
#include <QVBoxLayout>

#include <algorithm>

namespace xqs {

namespace {

constexpr double kMostColour = 10; ///< so many times FP16's time, or a part of it, have the ends of the colours
constexpr int kFastest = -1;       ///< what the map shows: the fastest of each cell, or a policy

QString text(const std::string &s) { return QString::fromStdString(s); }

/// What precedes the first colon, bold.
QString paragraph(const std::string &sentence) {
  const QString all = text(sentence).toHtmlEscaped();
  const qsizetype colon = all.indexOf(QLatin1String(": "));
  return QStringLiteral("<p style='margin-top:0; margin-bottom:6px'><b>%1</b>%2</p>").arg(all.left(colon), all.mid(colon));
}

QString pointTitle(const VerdictCell &cell) {
  return VerdictView::tr("%1 tokens, batch %2").arg(cell.context).arg(cell.batch);
}

/// All policies of a cell, fastest first.
QString cellText(const Judge &judge, const VerdictCell &cell) {
  std::vector<std::size_t> order(cell.times.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return orLast(cell.times[i].seconds); });
  QString lines;
  for (const std::size_t i : order) {
    const StepTime &time = cell.times[i];
    lines += QStringLiteral("<tr><td>%1&nbsp;</td><td align='right'>%2&nbsp;</td><td>× %3 %4%5</td></tr>")
                 .arg(policyTitle(text(judge.policies()[i])).toHtmlEscaped(), text(secondsText(time.seconds)),
                      text(ratioText(cell.ratio(i))), basisTitle(cell.ratioBasis(i)),
                      time.inHost ? VerdictView::tr(", in the host's memory") : QString());
  }
  return QStringLiteral("<b>%1</b><table>%2</table>").arg(pointTitle(cell), lines);
}

QString cellLabel(const VerdictCell &cell, std::size_t policy) {
  const char *where = cell.times[policy].inHost ? "h" : cell.times.front().inHost ? "*" : "";
  const double ratio = cell.ratio(policy);
  return (ratio < 0.01 ? QStringLiteral("<.01") : text(ratioText(ratio))) + QLatin1String(where);
}

} // namespace

VerdictView::VerdictView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_bar = new JudgeBar(context, this);
  m_split = new QSplitter(Qt::Horizontal);
  m_split->setChildrenCollapsible(false);
  m_split->addWidget(makeFigures());
  m_split->addWidget(makeMap());
  m_split->setSizes({600, 400});
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addWidget(m_bar);
  column->addWidget(m_split, 1);
}

QWidget *VerdictView::makeFigures() {
  m_table = new VerdictTable(this);
  m_tableView = new QTableView;
  setUpTable(*m_tableView, tr("Bytes, quality and time of each policy"));
  m_tableView->setSelectionMode(QAbstractItemView::SingleSelection);
  m_tableView->setModel(m_table);
  m_tableView->setMinimumHeight(60);
  m_tableView->setSizeAdjustPolicy(QAbstractScrollArea::AdjustToContents); // as high as its rows, the text has the rest
  m_tableView->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Maximum);
  setColumnWidths(*m_tableView, {150, 74, 52, 128, 134, 108, 62, 128, 190});
  const auto select = [this](const QModelIndex &index) {
    this->context().selection->setPolicy(text(m_table->row(index.row()).policy));
  };
  connect(m_tableView, &QTableView::clicked, this, select);
  connect(m_tableView, &QTableView::activated, this, select);
  m_text = new QTextBrowser;
  m_text->setObjectName(QStringLiteral("sentences"));
  m_text->setAccessibleName(tr("Verdict"));
  m_text->setFrameShape(QFrame::NoFrame);
  m_text->setMinimumHeight(40);
  auto *figures = new QWidget;
  auto *column = new QVBoxLayout(figures);
  column->setContentsMargins(0, 0, 0, 0);
  column->addWidget(m_tableView);
  column->addWidget(m_text, 1);
  return figures;
}

QWidget *VerdictView::makeMap() {
  m_of = makeChoice(tr("Map of"), tr("Whose time each cell of the map shows, over FP16 KV's at the same context and batch"),
                    this);
  m_of->setObjectName(QStringLiteral("of"));
  m_map = new MatrixChart;
  m_map->setAccessibleName(tr("Time over FP16 KV's"));
  m_map->setAccessibleDescription(
      tr("Batches over contexts, time of a step over FP16 KV's; arrow keys move, Enter chooses context and batch"));
  m_map->setTitles(tr("tokens in each cache"), tr("× FP16"));
  m_map->setDiverging(kMostColour);
  auto *note = new QLabel(
      tr("* Part of FP16 KV does not fit and is read from the host's memory; h: of this one too. Bold: measured."));
  note->setWordWrap(true);
  note->setForegroundRole(QPalette::PlaceholderText);
  auto *map = new QWidget;
  auto *column = new QVBoxLayout(map);
  column->setContentsMargins(6, 0, 0, 0);
  column->addWidget(m_of);
  column->addWidget(m_map, 1);
  column->addWidget(note);
  connect(m_of, &QComboBox::currentIndexChanged, this, &VerdictView::refresh);
  connect(m_map, &ChartCanvas::activated, this, &VerdictView::choose);
  return map;
}

const ChartCanvas *VerdictView::picture() const { return m_map; }

void VerdictView::resizeEvent(QResizeEvent *event) {
  View::resizeEvent(event);
  m_split->setOrientation(event->size().width() > 1.3 * event->size().height() ? Qt::Horizontal : Qt::Vertical);
}

void VerdictView::refresh() {
  const JudgeLookup judged(context());
  const Judge judge = judged.judge();
  m_bar->show(judged);
  showFigures(judge, judged.point());
  fillMapChoice(judge);
  showMap(judge, judged.point());
}

void VerdictView::showFigures(const Judge &judge, ProfilePoint point) {
  const Verdict verdict = judge.at(point.context, point.batch);
  m_table->show(verdict);
  m_tableView->clearSelection();
  for (int row = 0; row < m_table->rowCount(); ++row)
    if (text(m_table->row(row).policy) == context().selection->policy()) m_tableView->selectRow(row);
  QString html;
  for (const std::string &sentence : verdict.sentences) html += paragraph(sentence);
  html += QStringLiteral("<p style='color:%1'>%2</p>")
              .arg(Theme::current().colors().mutedText.name(), text(hardwareSentence(judge.hardware())).toHtmlEscaped());
  if (html != m_text->property("shown").toString()) m_text->setHtml(html); // else the place that was scrolled to stays
  m_text->setProperty("shown", html);
}

void VerdictView::fillMapChoice(const Judge &judge) {
  QStringList titles{tr("The fastest method")};
  QVariantList places{kFastest};
  for (std::size_t i = 1; i < judge.policies().size(); ++i) {
    titles << policyTitle(text(judge.policies()[i]));
    places << static_cast<int>(i);
  }
  fillChoice(*m_of, titles, places,
             titles.contains(m_of->currentText()) ? places[titles.indexOf(m_of->currentText())] : QVariant(kFastest));
}

std::size_t VerdictView::policyOf(const VerdictCell &cell) const {
  const int chosen = m_of->currentData().toInt();
  return chosen == kFastest ? *cell.fastest : static_cast<std::size_t>(chosen);
}

void VerdictView::showMap(const Judge &judge, ProfilePoint point) {
  const std::vector<std::int64_t> contexts = mapContexts();
  std::vector<std::int64_t> batches = mapBatches();
  std::ranges::reverse(batches); // more on top
  QStringList rows, columns, texts;
  for (const std::int64_t batch : batches) rows << tr("batch %1").arg(batch);
  for (const std::int64_t tokens : contexts) columns << tr("%1k").arg(tokens / 1024);
  std::vector<double> values;
  std::vector<MatrixChart::Mark> marks;
  int chosen = -1;
  for (const VerdictCell &cell : judge.map(contexts, batches)) {
    if (ProfilePoint{cell.context, cell.batch} == point) chosen = static_cast<int>(values.size());
    const std::size_t policy = policyOf(cell);
    values.push_back(cell.ratio(policy));
    texts << cellText(judge, cell);
    marks.push_back({cellLabel(cell, policy), cell.ratioBasis(policy) == Basis::Measured,
                     methodStyle(text(judge.policies()[policy]).section(u':', 0, 0))});
  }
  m_map->setMatrix(rows, static_cast<int>(contexts.size()), std::move(values), texts);
  m_map->setColumnNames(columns);
  m_map->setMarks(std::move(marks));
  m_map->setChosen(chosen);
}

void VerdictView::choose(int item) {
  const std::vector<std::int64_t> contexts = mapContexts(), batches = mapBatches();
  const auto row = batches.size() - 1 - static_cast<std::size_t>(m_map->row(item));
  context().selection->setPoint({contexts[static_cast<std::size_t>(m_map->column(item))], batches[row]});
}

} // namespace xqs

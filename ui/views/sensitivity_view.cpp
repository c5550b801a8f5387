// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/sensitivity_view.h"

#include "plot/format.h"
#include "plot/matrix_chart.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QStackedWidget>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>

namespace xqs {

SensitivityView::SensitivityView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  qRegisterMetaType<LayerChoice>();
  m_which = new QComboBox;
  m_which->setObjectName(QStringLiteral("which"));
  m_which->setAccessibleName(tr("Which measurement"));
  m_which->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  m_which->setToolTip(tr("Model, text and protocol that the cells were measured with"));
  m_note = new QLabel;
  m_note->setObjectName(QStringLiteral("note"));
  m_note->setMinimumWidth(10);
  m_note->setTextInteractionFlags(Qt::TextSelectableByMouse);
  m_chart = new MatrixChart;
  m_chart->setTitles(tr("Layer"), tr("KL (nats)"));
  m_chart->setAccessibleName(tr("Sensitivity of layers"));
  m_chart->setAccessibleDescription(tr("Settings over layers, each quantized by itself; arrow keys move, Enter chooses"));
  auto *shown = new QWidget;
  auto *column = new QVBoxLayout(shown);
  column->setContentsMargins(6, 6, 6, 6);
  column->addWidget(m_which);
  column->addWidget(m_chart, 1);
  column->addWidget(m_note);
  m_pages = new QStackedWidget(this);
  m_pages->addWidget(shown);
  setUpEmptyPage();
  auto *outer = new QVBoxLayout(this);
  outer->setContentsMargins(0, 0, 0, 0);
  outer->addWidget(m_pages);
  connect(m_chart, &ChartCanvas::activated, this, &SensitivityView::choose);
  connect(m_which, &QComboBox::activated, this, [this] { showTable(); });
}

void SensitivityView::setUpEmptyPage() {
  auto *empty = new QWidget;
  auto *text = new QLabel(tr("No sensitivities yet.\n\nThe study “sensitivity” quantizes one layer at a time, all others "
                             "FP16, and measures the KL divergence of each. Finished runs of it can be opened with "
                             "File > Open."));
  text->setWordWrap(true);
  text->setAlignment(Qt::AlignCenter);
  text->setForegroundRole(QPalette::PlaceholderText);
  auto *start = new QPushButton(tr("Prepare the study…"));
  start->setObjectName(QStringLiteral("startStudy"));
  start->setToolTip(tr("Shows its points and how long they will take, before it starts"));
  auto *column = new QVBoxLayout(empty);
  column->setContentsMargins(24, 12, 24, 12);
  column->addStretch();
  column->addWidget(text);
  column->addWidget(start, 0, Qt::AlignHCenter);
  column->addStretch();
  m_pages->addWidget(empty);
  connect(start, &QPushButton::clicked, this, &SensitivityView::studyWanted);
}

const ChartCanvas *SensitivityView::picture() const { return m_chart; }
void SensitivityView::applyTheme() { m_chart->recolor(); }

void SensitivityView::readTables() {
  std::size_t seen = 0;
  for (const RunData::Run *run : context().data->runs()) seen += run->windows.size() + 1;
  if (seen == m_rowsSeen) return;
  m_rowsSeen = seen;
  m_tables = sensitivityTables(*context().data);
}

void SensitivityView::refresh() {
  readTables();
  m_pages->setCurrentIndex(m_tables.empty() ? 1 : 0);
  if (m_tables.empty()) {
    m_chart->setMatrix({}, 0, {}, {});
    m_chart->setEmptyText(
        tr("No sensitivities yet.\nRun the study “sensitivity”, or open a finished one with File > Open."));
    return;
  }
  const bool newest = m_which->currentIndex() < 0 || m_which->currentIndex() + 1 == m_which->count();
  const int chosen = m_which->currentIndex();
  m_which->clear();
  for (const SensitivityTable &table : m_tables) m_which->addItem(table.title);
  m_which->setCurrentIndex(newest ? m_which->count() - 1 : std::min(chosen, m_which->count() - 1));
  m_which->setVisible(m_which->count() > 1);
  showTable();
}

void SensitivityView::showTable() {
  const SensitivityTable &table = m_tables[static_cast<std::size_t>(m_which->currentIndex())];
  QStringList texts;
  std::vector<double> values;
  for (const SensitivityTable::Cell &cell : table.cells) {
    values.push_back(cell.kl);
    texts << cell.text;
  }
  m_chart->setEmptyText({});
  m_chart->setMatrix(table.rows, table.layers, std::move(values), texts);
  m_chart->setMarked(context().selection->layer());
  QString note = tr("%1 of %2 cells").arg(table.measured).arg(table.cells.size());
  if (!std::isnan(table.fp16Kl)) note += tr(" · FP16 in every layer: KL %1").arg(formatNumber(table.fp16Kl));
  m_note->setText(note);
  m_note->setToolTip(table.title);
}

void SensitivityView::choose(int item) {
  const auto which = static_cast<std::size_t>(std::max(0, m_which->currentIndex()));
  if (which >= m_tables.size() || item < 0 || item >= m_chart->itemCount()) return;
  const LayerChoice choice = m_tables[which].cells[static_cast<std::size_t>(item)].choice;
  m_chart->setChosen(item);
  context().selection->setLayer(choice.last);
  Q_EMIT cellChosen(choice);
}

} // namespace xqs

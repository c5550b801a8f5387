// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/distribution_view.h"

#include "plot/format.h"
#include "plot/histogram_chart.h"
#include "views/run_lookup.h"

#include <QCheckBox>
#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QSignalBlocker>
#include <QSlider>
#include <QSpinBox>
#include <QSplitter>
#include <QTableWidget>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace xqs {

namespace {

constexpr const char *kSites[] = {"x", "residual", "delta", "latent_k", "latent_v", "k", "v"};
constexpr int kTopShown = 4;   ///< channels listed in the table
constexpr int kStatistics = 7; ///< its rows

std::vector<std::uint32_t> counts(const SummaryRow *row) {
  if (row == nullptr) return {};
  std::vector<std::uint32_t> result(row->histogram.size() / sizeof(std::uint32_t));
  std::memcpy(result.data(), row->histogram.data(), result.size() * sizeof(std::uint32_t));
  return result;
}

HistogramPair histogramOf(const SummaryRow *exact, const SummaryRow *rebuilt) {
  if (exact == nullptr) return {};
  return {exact->histogramMin, exact->histogramMax, counts(exact), counts(rebuilt)};
}

/// "247: 4.5, 17: 1.2": channel and mean |x|.
QString topChannels(const SummaryRow &row) {
  QStringList parts;
  for (std::size_t at = 0; at + 8 <= row.topChannels.size() && parts.size() < kTopShown; at += 8) {
    std::int32_t channel = 0;
    float mean = 0;
    std::memcpy(&channel, row.topChannels.data() + at, sizeof channel);
    std::memcpy(&mean, row.topChannels.data() + at + 4, sizeof mean);
    if (channel >= 0) parts << QStringLiteral("%1: %2").arg(channel).arg(formatNumber(static_cast<double>(mean)));
  }
  return parts.join(QStringLiteral(", "));
}

} // namespace

bool DistributionView::Rows::hasRebuilt() const {
  return std::ranges::any_of(rebuilt, [](const SummaryRow *row) { return row != nullptr; });
}

DistributionView::DistributionView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_grid = new HistogramGrid;
  m_grid->setAccessibleName(tr("Distributions of all layers"));
  m_grid->setAccessibleDescription(tr("One small histogram a layer; arrow keys move, Enter selects the layer"));
  auto *pictures = new QSplitter(Qt::Horizontal);
  pictures->addWidget(m_grid);
  pictures->addWidget(makeChart());
  pictures->setStretchFactor(0, 2);
  pictures->setStretchFactor(1, 3);
  pictures->setSizes({140, 220});
  pictures->setChildrenCollapsible(false);
  auto *split = new QSplitter(Qt::Vertical);
  split->addWidget(pictures);
  split->addWidget(makeTable());
  split->setStretchFactor(0, 1);
  split->setStretchFactor(1, 0);
  const int rowHeight = m_table->verticalHeader()->defaultSectionSize();
  split->setSizes({400, kStatistics * rowHeight + m_table->horizontalHeader()->sizeHint().height() + 4});
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addLayout(makeControls());
  column->addWidget(split, 1);
  connect(m_grid, &ChartCanvas::activated, this, [this](int layer) { this->context().selection->setLayer(layer); });
}

QLayout *DistributionView::makeControls() {
  m_site = new QComboBox;
  m_site->setAccessibleName(tr("Tensor"));
  m_site->setToolTip(tr("Which tensor of each layer is shown"));
  for (const char *site : kSites) m_site->addItem(siteTitle(QLatin1String(site)), QLatin1String(site));
  m_slider = new QSlider(Qt::Horizontal);
  m_layer = new QSpinBox;
  m_slider->setAccessibleName(tr("Layer"));
  m_layer->setAccessibleName(tr("Layer"));
  m_slider->setMinimumWidth(60);
  m_slider->setToolTip(tr("The layer that is shown large"));
  m_log = new QCheckBox(tr("log counts"));
  m_log->setToolTip(tr("Counts on a logarithmic axis: rare large values become visible"));
  m_log->setChecked(true);
  m_note = new QLabel;
  m_note->setMinimumWidth(10);

  auto *bar = new QHBoxLayout;
  bar->addWidget(m_site);
  bar->addWidget(new QLabel(tr("Layer")));
  bar->addWidget(m_slider, 1);
  bar->addWidget(m_layer);
  bar->addWidget(m_log);
  connect(m_site, &QComboBox::activated, this, [this] { context().selection->setSite(m_site->currentData().toString()); });
  connect(m_slider, &QSlider::valueChanged, this, [this](int layer) { context().selection->setLayer(layer); });
  connect(m_layer, &QSpinBox::valueChanged, this, [this](int layer) { context().selection->setLayer(layer); });
  connect(m_log, &QCheckBox::toggled, this, [this](bool on) { m_grid->setLogCounts(on), m_chart->setLogCounts(on); });
  auto *rows = new QVBoxLayout;
  rows->addLayout(bar);
  rows->addWidget(m_note);
  return rows;
}

QWidget *DistributionView::makeChart() {
  m_chart = new HistogramChart;
  m_chart->setAccessibleName(tr("Distribution of the selected layer"));
  m_chart->setAccessibleDescription(
      tr("Histogram of the exact tensor and of its reconstruction; arrow keys move over the bins"));
  m_chart->setMinimumHeight(110);
  return m_chart;
}

QWidget *DistributionView::makeTable() {
  m_table = new QTableWidget(0, 3);
  m_table->setAccessibleName(tr("Statistics of the selected layer"));
  m_table->setHorizontalHeaderLabels({tr("Statistic"), tr("Exact"), tr("Rebuilt")});
  m_table->verticalHeader()->hide();
  m_table->verticalHeader()->setDefaultSectionSize(m_table->fontMetrics().height() + 4);
  m_table->horizontalHeader()->setSectionResizeMode(QHeaderView::Stretch);
  m_table->horizontalHeader()->setSectionResizeMode(0, QHeaderView::ResizeToContents);
  m_table->setEditTriggers(QAbstractItemView::NoEditTriggers);
  m_table->setSelectionMode(QAbstractItemView::ContiguousSelection);
  m_table->setShowGrid(false);
  m_table->setAlternatingRowColors(true);
  return m_table;
}

const ChartCanvas *DistributionView::picture() const { return m_chart; }

DistributionView::Rows DistributionView::rowsOf(const RunData::Run &run, const std::string &site,
                                                const std::string &policy) const {
  const auto layers = static_cast<std::size_t>(layerCount(run));
  Rows rows{&run, std::vector<const SummaryRow *>(layers), std::vector<const SummaryRow *>(layers)};
  const PolicyRow *chosen = policy.empty() ? nullptr : findPolicy(run, policy);
  for (const SummaryRow &row : run.summaries) { // later windows replace earlier ones
    if (row.site != site || row.layer < 0 || static_cast<std::size_t>(row.layer) >= layers) continue;
    if (row.policy < 0)
      rows.exact[static_cast<std::size_t>(row.layer)] = &row;
    else if (chosen != nullptr && row.policy == chosen->index)
      rows.rebuilt[static_cast<std::size_t>(row.layer)] = &row;
  }
  return rows;
}

DistributionView::Rows DistributionView::findRows(const std::string &site, const std::string &policy) const {
  Rows fallback;
  for (const RunData::Run *run : sourceRuns(context())) {
    Rows rows = rowsOf(*run, site, policy);
    if (rows.hasRebuilt()) return rows;
    const bool any = std::ranges::any_of(rows.exact, [](const SummaryRow *row) { return row != nullptr; });
    if (any && fallback.run == nullptr) fallback = std::move(rows);
  }
  return fallback;
}

void DistributionView::refresh() {
  const QString site = context().selection->site(), policy = shownPolicy(context());
  m_site->setCurrentIndex(std::max(0, m_site->findData(site)));
  const Rows rows = findRows(site.toStdString(), policy.toStdString());
  if (rows.run == nullptr) return showEmpty();

  const int last = std::max(0, layerCount(*rows.run) - 1);
  const QSignalBlocker sliderBlocker(m_slider), spinBlocker(m_layer);
  m_slider->setRange(0, last);
  m_layer->setRange(0, last);
  m_slider->setValue(context().selection->layer());
  m_layer->setValue(context().selection->layer());
  m_note->setText(policy.isEmpty()    ? tr("No policy is selected: the exact tensor alone.")
                  : rows.hasRebuilt() ? tr("Line: rebuilt by %1").arg(policyTitle(policy))
                                      : tr("%1 does not rebuild this tensor").arg(policyTitle(policy)));
  m_note->setToolTip(tr("%1\n%2").arg(runTitle(*rows.run), QString::fromStdString(rows.run->row.protocol)));
  const QColor color = methodStyle(policy.section(u':', 0, 0)).color;
  showGrid(rows, color);
  showLayer(rows, color);
}

void DistributionView::showEmpty() {
  const QString text =
      tr("No distributions of this tensor yet.\nStart a run with captures, or change a setting for a preview.");
  m_note->clear();
  m_grid->setHistograms({}, {});
  m_grid->setEmptyText(text);
  m_chart->setHistogram({}, {});
  m_chart->setEmptyText(text);
  m_table->setRowCount(0);
}

void DistributionView::showGrid(const Rows &rows, const QColor &color) {
  std::vector<HistogramPair> pairs;
  std::vector<QString> texts;
  for (std::size_t i = 0; i < rows.exact.size(); ++i) {
    const SummaryRow *exact = rows.exact[i], *rebuilt = rows.rebuilt[i];
    pairs.push_back(histogramOf(exact, rebuilt));
    QString text = tr("<b>Layer %1</b>").arg(i);
    if (exact != nullptr)
      text += tr("<br>%1 to %2, sd %3")
                  .arg(formatNumber(exact->min), formatNumber(exact->max), formatNumber(std::sqrt(exact->variance)));
    if (rebuilt != nullptr) text += tr("<br>relative error %1").arg(formatNumber(rebuilt->relativeError));
    texts.push_back(text);
  }
  m_grid->setEmptyText({});
  m_grid->setTexts(std::move(texts));
  m_grid->setSelected(context().selection->layer());
  m_grid->setHistograms(std::move(pairs), color);
}

void DistributionView::showLayer(const Rows &rows, const QColor &color) {
  const auto layer = static_cast<std::size_t>(std::max(0, context().selection->layer()));
  const SummaryRow *exact = layer < rows.exact.size() ? rows.exact[layer] : nullptr;
  const SummaryRow *rebuilt = layer < rows.rebuilt.size() ? rows.rebuilt[layer] : nullptr;
  m_chart->setEmptyText(exact != nullptr ? QString() : tr("Layer %1 has no such tensor.").arg(layer));
  m_chart->setTitles(tr("%1, layer %2").arg(siteTitle(context().selection->site())).arg(layer), tr("exact"), tr("rebuilt"));
  m_chart->setHistogram(histogramOf(exact, rebuilt), color);
  fillTable(exact, rebuilt);
}

void DistributionView::fillTable(const SummaryRow *exact, const SummaryRow *rebuilt) {
  struct Line {
    QString title;
    QString (*value)(const SummaryRow &);
  };
  const Line lines[] = {
      {tr("values"), [](const SummaryRow &r) { return formatCount(static_cast<double>(r.count)); }},
      {tr("mean"), [](const SummaryRow &r) { return formatNumber(r.mean); }},
      {tr("standard deviation"), [](const SummaryRow &r) { return formatNumber(std::sqrt(r.variance)); }},
      {tr("least"), [](const SummaryRow &r) { return formatNumber(r.min); }},
      {tr("largest"), [](const SummaryRow &r) { return formatNumber(r.max); }},
      {tr("top channels: mean |x|"), topChannels},
      {tr("relative error"),
       [](const SummaryRow &r) { return r.policy < 0 ? QStringLiteral("–") : formatNumber(r.relativeError); }},
  };
  static_assert(std::size(lines) == kStatistics);
  m_table->setRowCount(kStatistics);
  for (int i = 0; i < m_table->rowCount(); ++i) {
    const Line &line = lines[i];
    const QString cells[] = {line.title, exact ? line.value(*exact) : QString(), rebuilt ? line.value(*rebuilt) : QString()};
    for (int c = 0; c < 3; ++c) {
      auto *item = m_table->item(i, c);
      if (item == nullptr) m_table->setItem(i, c, item = new QTableWidgetItem);
      item->setText(cells[c]);
      item->setToolTip(cells[c]);
    }
  }
}

} // namespace xqs

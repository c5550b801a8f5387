// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/traffic_view.h"

#include "models/traffic_table.h"
#include "plot/format.h"
#include "plot/part_style.h"
#include "theme.h"
#include "views/kernel_panel.h"
#include "views/profile_chooser.h"
#include "views/profile_lookup.h"
#include "views/run_lookup.h"
#include "widgets/tables.h"

#include <QCheckBox>
#include <QComboBox>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QSplitter>
#include <QTableView>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>
#include <map>

namespace xqs {

namespace {

enum By { Layer, Method, Kernel };

QString bytesText(double bytes) { return std::isnan(bytes) ? formatNumber(bytes) : formatBytes(std::llround(bytes)); }

} // namespace

TrafficView::TrafficView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_chart = new BarChart;
  m_chart->setAccessibleName(tr("Traffic of a step"));
  m_chart->setAccessibleDescription(
      tr("DRAM bytes of a decoding step by layer or by method, counted beside measured; left and "
         "right move over the bars, Enter selects the layer or the policy"));
  m_note = new QLabel;
  m_note->setObjectName(QStringLiteral("note"));
  m_note->setWordWrap(true);
  m_note->setTextInteractionFlags(Qt::TextSelectableByMouse);
  m_note->setAccessibleName(tr("What was measured"));
  auto *top = new QWidget;
  auto *upper = new QVBoxLayout(top);
  upper->setContentsMargins(0, 0, 0, 0);
  upper->addWidget(m_chart, 1);
  upper->addWidget(m_note);
  m_bars = new QSplitter(Qt::Vertical);
  m_bars->setChildrenCollapsible(false);
  m_bars->addWidget(top);
  m_bars->addWidget(makeTable());
  m_bars->setStretchFactor(0, 1);
  m_bars->setSizes({190, 110});
  m_kernels = new KernelPanel;
  m_kernels->hide();
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addWidget(setUpBar());
  column->addWidget(m_bars, 1);
  column->addWidget(m_kernels, 1);
  connect(m_chart, &ChartCanvas::activated, this, &TrafficView::activate);
}

QWidget *TrafficView::setUpBar() {
  auto *bar = new QWidget;
  m_chooser = new ProfileChooser(context(), bar);
  m_by = makeChoice(tr("Traffic by"),
                    tr("A pair of bars for each layer of the chosen policy, or for each policy; or a table of the functions "
                       "that the chosen policy's step ran"),
                    bar);
  m_by->setObjectName(QStringLiteral("by"));
  m_by->addItems({tr("by layer"), tr("by method"), tr("by kernel")});
  m_parts = new QCheckBox(tr("parts"), bar);
  m_parts->setObjectName(QStringLiteral("parts"));
  m_parts->setToolTip(tr("Stacks the parts of a step; else each bar is a total"));
  m_parts->setAccessibleName(tr("Stacked by parts of a step"));
  m_parts->setChecked(true);
  auto *row = new QHBoxLayout(bar);
  row->setContentsMargins(0, 0, 0, 0);
  row->addWidget(m_chooser, 5);
  row->addWidget(m_by, 2);
  row->addWidget(m_parts);
  connect(m_by, &QComboBox::currentIndexChanged, this, &TrafficView::refresh);
  connect(m_parts, &QCheckBox::toggled, this, &TrafficView::refresh);
  return bar;
}

QWidget *TrafficView::makeTable() {
  m_table = new TrafficTable(this);
  m_tableView = new QTableView;
  setUpTable(*m_tableView, tr("Steps of the chosen point"));
  m_tableView->setSelectionMode(QAbstractItemView::SingleSelection);
  m_tableView->setModel(m_table);
  m_tableView->setMinimumHeight(60);
  m_tableView->horizontalHeader()->setStretchLastSection(false);
  setColumnWidths(*m_tableView, {170, 70, 80, 80, 124, 90, 82, 116, 94, 80, 80, 80});
  connect(m_tableView, &QTableView::clicked, this,
          [this](const QModelIndex &index) { this->context().selection->setPolicy(m_table->row(index.row()).policy); });
  connect(m_tableView, &QTableView::activated, this,
          [this](const QModelIndex &index) { this->context().selection->setPolicy(m_table->row(index.row()).policy); });
  return m_tableView;
}

const ChartCanvas *TrafficView::picture() const { return byKernel() ? nullptr : m_chart; }
bool TrafficView::byMethod() const { return m_by->currentIndex() == Method; }
bool TrafficView::byKernel() const { return m_by->currentIndex() == Kernel; }

void TrafficView::refresh() {
  const RunData::Run *run = shownProfile(context());
  m_chooser->show(run);
  const ProfilePoint point = run ? shownPoint(context(), *run) : ProfilePoint();
  m_bars->setVisible(!byKernel());
  m_kernels->setVisible(byKernel());
  m_parts->setEnabled(!byKernel());
  if (byKernel()) return m_kernels->show(run, run ? shownProfilePolicy(context(), *run) : nullptr, point);
  showTable(run, point);
  m_note->setVisible(run != nullptr);
  if (run != nullptr) return showChart(*run, point);
  m_chart->setData({});
  m_chart->setLegend({});
  m_chart->setEmptyText(noProfileText());
}

TrafficView::Piece TrafficView::pieceOf(const std::string &part, const TrafficSum &sum) {
  const QString name = QString::fromStdString(part);
  return {partTitle(name), partColor(name), sum, partOrder(part)};
}

std::vector<std::pair<QString, TrafficView::Pieces>> TrafficView::layerPieces(const RunData::Run &run,
                                                                              ProfilePoint point) const {
  const PolicyRow *policy = shownProfilePolicy(context(), run);
  if (policy == nullptr) return {};
  const ProfileKey key{policy->index, point.context, point.batch};
  std::map<std::int64_t, Pieces> layers;
  if (m_parts->isChecked()) {
    for (const TrafficRow &row : run.traffic)
      if (!row.part.empty() && profileKey(row) == key) {
        TrafficSum sum;
        sum.add(row);
        layers[row.layer].push_back(pieceOf(row.part, sum));
      }
  } else {
    const QColor color = methodColor(QString::fromStdString(policy->method));
    for (const auto &[layer, sum] : trafficByLayer(run.traffic, key))
      layers[layer].push_back({tr("everything"), color, sum, 0});
  }
  std::vector<std::pair<QString, Pieces>> groups;
  for (auto &[layer, pieces] : layers)
    if (layer >= 0) groups.emplace_back(QString::number(layer), std::move(pieces));
  if (const auto rest = layers.find(-1); rest != layers.end()) groups.emplace_back(tr("rest"), std::move(rest->second));
  return groups;
}

std::vector<std::pair<QString, TrafficView::Pieces>> TrafficView::methodPieces(const RunData::Run &run,
                                                                               ProfilePoint point) const {
  const auto totals = trafficByPolicy(run.traffic, point.context, point.batch);
  std::vector<std::pair<QString, Pieces>> groups;
  for (const PolicyRow &policy : run.policies) {
    Pieces pieces;
    if (m_parts->isChecked()) {
      for (const auto &[part, sum] : trafficByPart(run.traffic, {policy.index, point.context, point.batch}))
        pieces.push_back(pieceOf(part, sum));
    } else if (const auto total = totals.find(policy.index); total != totals.end()) {
      pieces.push_back({tr("everything"), methodColor(QString::fromStdString(policy.method)), total->second, 0});
    }
    if (!pieces.empty()) groups.emplace_back(QString::fromStdString(policy.policy), std::move(pieces));
  }
  return groups;
}

void TrafficView::addGroup(BarChart::Data &chart, const QString &title, const Pieces &pieces) const {
  BarChart::Group group{byMethod() ? shortPolicyTitle(title) : title, {}};
  BarChart::Bar counted{{}, true, {}}, measured{{}, false, {}};
  const QString heading = byMethod()            ? policyTitle(title)
                          : title == tr("rest") ? tr("Outside the layers")
                                                : tr("Layer %1").arg(title);
  counted.text = tr("<b>%1</b>, counted").arg(heading.toHtmlEscaped());
  measured.text = tr("<b>%1</b>, measured").arg(heading.toHtmlEscaped());
  for (const auto &[name, color, sum, order] : pieces) {
    counted.text += QStringLiteral("<br>%1: %2").arg(name, bytesText(sum.countedBytes));
    if (!std::isnan(sum.countedBytes)) counted.segments.push_back({sum.countedBytes, color});
    if (std::isnan(sum.measuredBytes())) continue;
    measured.segments.push_back({sum.measuredBytes(), color});
    measured.text += tr("<br>%1: %2 read, %3 written").arg(name, bytesText(sum.measuredRead), bytesText(sum.measuredWrite));
  }
  for (BarChart::Bar *bar : {&counted, &measured})
    if (!bar->segments.empty()) group.bars.push_back(std::move(*bar));
  chart.groups.push_back(std::move(group));
}

void TrafficView::showChart(const RunData::Run &run, ProfilePoint point) {
  const PolicyRow *policy = shownProfilePolicy(context(), run);
  const QString marked = byMethod() ? (policy ? QString::fromStdString(policy->policy) : QString())
                                    : QString::number(context().selection->layer());
  auto groups = byMethod() ? methodPieces(run, point) : layerPieces(run, point);
  for (auto &[title, pieces] : groups) std::ranges::stable_sort(pieces, {}, &Piece::order);
  BarChart::Data chart;
  m_groups.clear();
  double most = 0;
  Bases bases;
  for (const auto &[title, pieces] : groups) {
    addGroup(chart, title, pieces);
    m_groups.push_back(title);
    for (const BarChart::Bar &bar : chart.groups.back().bars) {
      most = std::max(most, bar.sum());
      ++(bar.hatched ? bases.counted : bases.measured);
    }
    if (title == marked) chart.marked = static_cast<int>(chart.groups.size()) - 1;
  }
  const ByteUnit unit = byteUnitFor(most);
  chart.unit = unit.bytes;
  chart.xTitle = byMethod() ? tr("Policy") : tr("Layer");
  chart.yTitle = (bases.measured > 0 ? tr("%1 a step") : tr("%1 a step, counted")).arg(unit.name);
  m_chart->setEmptyText(groups.empty() ? nothingRecorded(context(), run,
                                                         tr("No traffic is known at this point yet.\n"
                                                            "It comes when the run has traced a step of it."))
                                       : QString());
  m_chart->setData(std::move(chart));
  showLegend(bases, groups);
  m_note->setText(note(run, point, bases));
}

void TrafficView::showLegend(Bases bases, const std::vector<std::pair<QString, Pieces>> &groups) {
  std::vector<LegendEntry> entries;
  const auto add = [&](const QString &text, const QColor &color, bool hatched) {
    SeriesStyle style{color, Marker::None};
    style.area = true;
    style.hatched = hatched;
    if (std::ranges::none_of(entries, [&](const LegendEntry &e) { return e.text == text; }))
      entries.push_back({text, style});
  };
  const QColor plain = Theme::current().colors().mutedText;
  if (bases.counted > 0) add(tr("counted from shapes"), plain, true);
  if (bases.measured > 0) add(tr("measured in DRAM"), plain, false);
  std::map<std::pair<std::size_t, QString>, QColor> parts; // in the order of a step
  for (const auto &[title, pieces] : groups)
    for (const Piece &piece : pieces) parts[{piece.order, piece.title}] = piece.color;
  if (m_parts->isChecked())
    for (const auto &[part, color] : parts) add(part.second, color, false);
  m_chart->setLegend(groups.empty() ? std::vector<LegendEntry>() : std::move(entries));
}

QString TrafficView::note(const RunData::Run &run, ProfilePoint point, Bases bases) const {
  const QString measured = tr("Measured by %1").arg(instrumentSentence(run, "counters"));
  if (bases.measured >= bases.counted && bases.measured > 0) return measured;
  if (bases.measured > 0)
    return tr("%1 of %2 are measured, the others counted only. %3").arg(bases.measured).arg(bases.counted).arg(measured);
  const bool wholeLayers = std::ranges::any_of(run.traffic, [&](const TrafficRow &row) {
    return row.part.empty() && ProfilePoint{row.context, row.batch} == point && !std::isnan(row.measuredRead);
  });
  if (m_parts->isChecked() && wholeLayers)
    return tr("Bytes of parts are counted only: layers were measured as a whole; untick “parts” to see them.");
  return tr("Bytes are counted only: %1").arg(whyNotMeasured(run, "counters"));
}

void TrafficView::showTable(const RunData::Run *run, ProfilePoint point) {
  m_table->show(run, point, policyTitle);
  for (int column = 1; column < m_table->columnCount(); ++column)
    m_tableView->setColumnHidden(column, m_table->rowCount() > 0 && m_table->isEmpty(column));
  m_tableView->setVisible(m_table->rowCount() > 0);
  m_tableView->clearSelection();
  const PolicyRow *policy = run ? shownProfilePolicy(context(), *run) : nullptr;
  for (int row = 0; row < m_table->rowCount(); ++row)
    if (policy != nullptr && m_table->row(row).step.policy == policy->index) m_tableView->selectRow(row);
}

void TrafficView::activate(int item) {
  const QString &name = m_groups[static_cast<std::size_t>(m_chart->group(item))];
  bool isLayer = false;
  const int layer = name.toInt(&isLayer);
  if (byMethod())
    context().selection->setPolicy(name);
  else if (isLayer)
    context().selection->setLayer(layer);
}

} // namespace xqs

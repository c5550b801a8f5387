// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/throughput_view.h"

#include "analysis/traffic.h"
#include "plot/bar_chart.h"
#include "plot/format.h"
#include "plot/strip_chart.h"
#include "theme.h"
#include "views/profile_chooser.h"
#include "views/profile_lookup.h"
#include "views/run_lookup.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QStackedWidget>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace xqs {

namespace {

enum Span { AllSteps, ChosenStep, WholeRun }; ///< of the box
constexpr double kNanoseconds = 1e9;          ///< a second

std::vector<float> floats(const Blob &blob) {
  std::vector<float> values(blob.size() / sizeof(float));
  std::memcpy(values.data(), blob.data(), values.size() * sizeof(float));
  return values;
}

bool isGeneration(const RunData::Run &run) { return run.row.kind == "generate"; }

/// "Memory peak 4.1 TB/s, measured".
QString peakText(const PeakRow &peak) { return ThroughputView::tr("memory peak %1, measured").arg(formatRate(peak.value)); }

} // namespace

ThroughputView::ThroughputView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_span = makeChoice(tr("Samples shown"),
                      tr("Steps are sampled for a moment at every point: those moments one behind the "
                         "other, one of them, or over the time of the run"),
                      this);
  m_span->setObjectName(QStringLiteral("span"));
  m_span->addItems({tr("all sampled steps"), tr("of one policy and point"), tr("over the run's time")});
  m_chooser = new ProfileChooser(context, this);
  m_strip = new StripChart;
  m_strip->setAccessibleName(tr("Throughput over time"));
  m_strip->setAccessibleDescription(
      tr("Bytes a second that the device's memory read and wrote, sampled; left and right move over the samples"));
  m_strip->setTitles(tr("read, measured"), tr("written, measured"), tr("most in a pixel"));
  m_bars = new BarChart;
  m_bars->setAccessibleName(tr("Counted throughput of steps"));
  m_bars->setAccessibleDescription(
      tr("Counted bytes of a step over its time, for each point and policy; left and right move"));
  m_pages = new QStackedWidget;
  m_pages->addWidget(m_strip);
  m_pages->addWidget(m_bars);
  m_note = new QLabel;
  m_note->setObjectName(QStringLiteral("note"));
  m_note->setWordWrap(true);
  m_note->setTextInteractionFlags(Qt::TextSelectableByMouse);
  m_note->setAccessibleName(tr("Where the figures come from"));
  auto *bar = new QHBoxLayout;
  bar->addWidget(m_span, 2);
  bar->addWidget(m_chooser, 4);
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addLayout(bar);
  column->addWidget(m_pages, 1);
  column->addWidget(m_note);
  connect(m_span, &QComboBox::currentIndexChanged, this, &ThroughputView::refresh);
}

const ChartCanvas *ThroughputView::picture() const {
  return m_pages->currentIndex() == 0 ? static_cast<const ChartCanvas *>(m_strip) : m_bars;
}

void ThroughputView::applyTheme() { refresh(); }

QString ThroughputView::policyName(const RunData::Run &run, std::int64_t index, bool brief) const {
  for (const PolicyRow &policy : run.policies)
    if (policy.index == index) {
      const QString name = QString::fromStdString(policy.policy);
      return brief ? shortPolicyTitle(name) : policyTitle(name);
    }
  return tr("policy %1").arg(index);
}

void ThroughputView::showNothing() {
  m_strip->clear(false);
  m_shown = {};
  m_rows = 0;
  m_bars->setData({});
  for (ChartCanvas *chart : {static_cast<ChartCanvas *>(m_strip), static_cast<ChartCanvas *>(m_bars)})
    chart->setEmptyText(tr("%1\nOr tick “Sample memory traffic” and generate.").arg(noProfileText()));
}

void ThroughputView::refresh() {
  const RunData::Run *run = shownThroughput(context());
  const bool sampled = run != nullptr && !run->throughput.empty();
  const bool points = run != nullptr && !isGeneration(*run); // a profile's
  m_pages->setCurrentIndex(points && !sampled ? 1 : 0);
  m_span->setVisible(points && sampled);
  m_chooser->setVisible(points && sampled && m_span->currentIndex() == ChosenStep);
  m_chooser->show(points ? run : nullptr);
  m_note->setVisible(run != nullptr);
  if (run == nullptr) return showNothing();
  if (points) fillBars(*run);
  if (sampled) return showSamples(*run);
  showUnsampled(*run);
}

void ThroughputView::showUnsampled(const RunData::Run &run) {
  const QString why = whyNotMeasured(run, "sampling");
  if (!isGeneration(run))
    return m_note->setText(tr("Counted bytes of a step over its time; nothing was sampled: %1").arg(why));
  m_strip->clear(false);
  m_shown = {};
  m_strip->setEmptyText(run.ends.empty() && findInstrument(run, "sampling")->state == "ready"
                            ? tr("The first samples come with the first tokens.")
                            : tr("No memory traffic was sampled."));
  m_note->setText(tr("Nothing was sampled: %1").arg(why));
}

/// What ran: a policy at a point, or all sequences of a generation together.
QString ThroughputView::rowTitle(const RunData::Run &run, const ThroughputRow &row) const {
  if (row.policy < 0) return tr("%1 sequences together").arg(row.batch);
  return tr("%1 · %2 × %3").arg(policyName(run, row.policy, true)).arg(row.context).arg(row.batch);
}

void ThroughputView::showSamples(const RunData::Run &run) {
  Shown shown{run.key, isGeneration(run) ? WholeRun : m_span->currentIndex(), -1, {}};
  const PolicyRow *policy = shown.span == ChosenStep ? shownProfilePolicy(context(), run) : nullptr;
  if (policy != nullptr) shown.policy = policy->index, shown.point = shownPoint(context(), run);
  if (!(shown == m_shown)) m_strip->clear(shown.span == WholeRun), m_rows = 0;
  m_shown = shown;
  for (; m_rows < run.throughput.size(); ++m_rows) { // rows come at the end: what is drawn already stays
    const ThroughputRow &row = run.throughput[m_rows];
    const ProfilePoint point{row.context, row.batch};
    if (policy != nullptr && (row.policy != shown.policy || point != shown.point)) continue;
    m_strip->append({rowTitle(run, row), static_cast<double>(row.startNs) / kNanoseconds,
                     static_cast<double>(row.intervalNs) / kNanoseconds, floats(row.read), floats(row.write), 0});
  }
  const PeakRow *peak = peakOf(run.peaks, "copy");
  m_strip->setPeak(peak ? peak->value : std::nan(""), peak ? peakText(*peak) : QString());
  m_strip->setEmptyText(
      m_strip->itemCount() > 0 ? QString() : tr("No samples of this policy at this point.\nChoose another one, or all."));
  m_strip->rescale();
  const InstrumentRow *sampling = findInstrument(run, "sampling");
  QStringList note{tr("Measured, of the whole device, other processes' traffic included.")};
  if (sampling != nullptr && sampling->dropped > 0) note << tr("Times that samples were lost: %1.").arg(sampling->dropped);
  if (const QString loss = lossOf(run, "sampling"); !loss.isEmpty()) note << tr("Not to the end: %1.").arg(loss);
  note << instrumentSentence(run, "sampling");
  m_note->setText(note.join(u' '));
}

QString ThroughputView::barText(const RunData::Run &run, const TradePoint &trade) const {
  return tr("<b>%1</b><br>%2<br>Counted: %3 in a step of %4, %5")
      .arg(policyName(run, trade.key.policy, false).toHtmlEscaped(), pointTitle({trade.key.context, trade.key.batch}),
           formatBytes(std::llround(trade.step.countedBytes)), formatNanoseconds(trade.step.seconds * kNanoseconds),
           formatRate(trade.countedRate()));
}

void ThroughputView::fillBars(const RunData::Run &run) {
  BarChart::Data chart;
  std::vector<LegendEntry> legend;
  double most = 0;
  ProfilePoint last;
  for (const TradePoint &trade : tradePoints(run.policies, run.steps, {})) { // rates need no traffic
    const double rate = trade.countedRate();
    if (!std::isfinite(rate)) continue; // the timeline was lost: nothing is counted
    const ProfilePoint point{trade.key.context, trade.key.batch};
    if (point != std::exchange(last, point)) chart.groups.push_back({tr("%1 × %2").arg(point.context).arg(point.batch), {}});
    most = std::max(most, rate);
    SeriesStyle style{methodColor(QString::fromStdString(trade.method)), Marker::None};
    style.area = style.hatched = true;
    chart.groups.back().bars.push_back({{{rate, style.color}}, true, barText(run, trade)});
    const QString name = tr("%1, counted").arg(policyName(run, trade.key.policy, true));
    if (std::ranges::find(legend, name, &LegendEntry::text) == legend.end()) legend.push_back({name, style});
  }
  chart.xTitle = tr("tokens × batch");
  if (const PeakRow *peak = peakOf(run.peaks, "copy")) chart.limit = peak->value, chart.limitText = peakText(*peak);
  const RateUnit unit = rateUnitFor(std::isnan(chart.limit) ? most : std::max(most, chart.limit));
  chart.yTitle = tr("%1, counted").arg(unit.name);
  chart.unit = unit.bytesPerSecond;
  m_bars->setEmptyText(
      !chart.groups.empty() ? QString()
      : run.steps.empty()
          ? nothingRecorded(context(), run, tr("No step was timed yet.\nThe first point comes when its steps have run."))
          : tr("No bytes are counted: the timeline was lost.\nProfile once more."));
  m_bars->setData(std::move(chart));
  m_bars->setLegend(std::move(legend));
}

} // namespace xqs

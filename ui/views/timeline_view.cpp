// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/timeline_view.h"

#include "analysis/traffic.h"
#include "plot/format.h"
#include "plot/part_style.h"
#include "theme.h"
#include "views/profile_chooser.h"
#include "views/profile_lookup.h"
#include "views/run_lookup.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>
#include <array>
#include <cmath>

namespace xqs {

namespace {

constexpr int kNone = -2, kOthers = -1;                           ///< of the box "against"; else a policy's index
constexpr std::size_t kFewPolicies = 4;                           ///< that have room below each other
constexpr int kAllLayers = -2, kNoLayer = -1;                     ///< of the box "layer"; else a layer
constexpr const char *kQueues[] = {"compute", "copy", "rebuild"}; ///< enum Queue

QString queueTitle(std::int64_t queue) {
  return queue >= 0 && queue < static_cast<std::int64_t>(std::size(kQueues)) ? TimelineView::tr(kQueues[queue])
                                                                             : TimelineView::tr("queue %1").arg(queue);
}

QString layerTitle(std::int64_t layer) {
  return layer < 0 ? TimelineView::tr("outside the layers") : TimelineView::tr("layer %1").arg(layer);
}

} // namespace

TimelineView::TimelineView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_chart = new TimelineChart;
  m_chart->setAccessibleName(tr("Timeline of a step"));
  m_chart->setAccessibleDescription(
      tr("Launches of a decoding step, a lane a queue. Left and right move over the launches of a lane, up and down between "
         "lanes; plus and minus zoom, Shift with left or right moves, Escape shows everything; Enter selects the layer"));
  m_source = new QLabel;
  m_source->setObjectName(QStringLiteral("source"));
  m_source->setWordWrap(true);
  m_source->setTextFormat(Qt::RichText);
  m_source->setTextInteractionFlags(Qt::TextSelectableByMouse);
  m_source->setAccessibleName(tr("Where the times come from"));
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addWidget(setUpBar());
  column->addWidget(m_chart, 1);
  column->addWidget(m_source);
  connect(m_chart, &ChartCanvas::activated, this, [this](int bar) {
    const Source &source = m_sources[static_cast<std::size_t>(bar)];
    const RunData::Run *run = this->context().data->find(m_shown.run);
    const std::int64_t layer = source.row && run ? run->kernels[*source.row].layer : source.layer.layer;
    if (layer >= 0) this->context().selection->setLayer(static_cast<int>(layer));
  });
}

QWidget *TimelineView::setUpBar() {
  auto *bar = new QWidget;
  m_chooser = new ProfileChooser(context(), bar);
  m_against = makeChoice(tr("Compared with"), tr("Policies whose step stands below, on the same time axis"), bar);
  m_against->setObjectName(QStringLiteral("against"));
  m_layer = makeChoice(tr("Layer"), tr("Launches of other layers are pale; the time axis fits what is left"), bar);
  m_layer->setObjectName(QStringLiteral("layer"));
  auto *fit = new QToolButton(bar);
  fit->setObjectName(QStringLiteral("fit"));
  fit->setText(tr("Fit"));
  fit->setToolTip(tr("Shows everything (double click, or Escape)"));
  auto *row = new QHBoxLayout(bar);
  row->setContentsMargins(0, 0, 0, 0);
  row->addWidget(m_chooser, 5);
  row->addWidget(m_against, 3);
  row->addWidget(m_layer, 2);
  row->addWidget(fit);
  connect(m_against, &QComboBox::currentIndexChanged, this, [this] {
    m_chosenAgainst = m_against->currentData().toInt();
    refresh();
  });
  connect(m_layer, &QComboBox::currentIndexChanged, this, &TimelineView::refresh);
  connect(fit, &QToolButton::clicked, m_chart, &TimelineChart::fit);
  return bar;
}

const ChartCanvas *TimelineView::picture() const { return m_chart; }

void TimelineView::applyTheme() {
  m_shown = {};
  refresh();
}

void TimelineView::showChoices(const RunData::Run *run) {
  m_chooser->show(run);
  QStringList texts{tr("nothing beside it"), tr("beside all others")};
  QVariantList values{kNone, kOthers};
  const PolicyRow *shown = run ? shownProfilePolicy(context(), *run) : nullptr;
  if (shown != nullptr)
    for (const PolicyRow &policy : run->policies) {
      if (policy.index == shown->index) continue;
      texts << tr("beside %1").arg(policyTitle(QString::fromStdString(policy.policy)));
      values << static_cast<int>(policy.index);
    }
  const bool few = run != nullptr && run->policies.size() <= kFewPolicies;
  fillChoice(*m_against, texts, values, m_chosenAgainst.value_or(few ? kOthers : kNone));
  texts = {tr("all layers"), layerTitle(-1)};
  values = {kAllLayers, kNoLayer};
  for (int layer = 0; run && layer < layerCount(*run); ++layer) {
    texts << layerTitle(layer);
    values << layer;
  }
  fillChoice(*m_layer, texts, values, m_layer->currentData());
}

std::vector<std::int64_t> TimelineView::chosenPolicies(const RunData::Run &run) const {
  const PolicyRow *shown = shownProfilePolicy(context(), run);
  if (shown == nullptr) return {};
  std::vector<std::int64_t> result{shown->index};
  const int against = m_against->currentData().toInt();
  for (const PolicyRow &policy : run.policies)
    if (policy.index != shown->index && (against == kOthers || against == policy.index)) result.push_back(policy.index);
  return result;
}

void TimelineView::refresh() {
  const RunData::Run *run = shownProfile(context());
  showChoices(run);
  m_source->setVisible(run != nullptr);
  if (run == nullptr) {
    m_shown = {};
    m_sources.clear();
    m_chart->setData({});
    return m_chart->setEmptyText(noProfileText());
  }
  const Shown shown{run->key,
                    shownPoint(context(), *run),
                    chosenPolicies(*run),
                    m_layer->currentData().toInt(),
                    run->kernels.size(),
                    run->steps.size()};
  if (shown != m_shown) showStep(*run, shown);
  showEmptyText(*run); // it may be over since
  m_source->setText(sourceText(*run));
}

void TimelineView::showStep(const RunData::Run &run, const Shown &shown) {
  const bool other = shown.run != m_shown.run || shown.point != m_shown.point || shown.layer != m_shown.layer ||
                     shown.policies.empty() || m_shown.policies.empty() || shown.policies[0] != m_shown.policies[0];
  m_shown = shown;
  rebuild(run);
  if (other) m_chart->fit();
}

TimelineView::Step TimelineView::makeStep(const RunData::Run &run, std::int64_t policy) const {
  const StepKernels kernels = stepKernels(run.kernels, policy, m_shown.point.context, m_shown.point.batch);
  StepKernels chosen = kernels;
  std::erase_if(chosen, [this](const KernelRow *row) { return !isShown(row->layer); });
  Step step{policy, stepLength(kernels), {}, layerSpans(kernels), partTimes(chosen), operationTimes(kernels), false};
  for (const KernelRow *row : kernels) {
    step.rows.push_back(static_cast<std::size_t>(row - run.kernels.data()));
    step.magnified = step.magnified || !std::isnan(row->measuredRead);
  }
  return step;
}

bool TimelineView::isShown(std::int64_t layer) const { return m_shown.layer == kAllLayers || m_shown.layer == layer; }

void TimelineView::rebuild(const RunData::Run &run) {
  m_steps.clear();
  m_sources.clear();
  for (const std::int64_t policy : m_shown.policies) m_steps.push_back(makeStep(run, policy));
  TimelineChart::Data chart;
  chart.label = [this](int bar) { return barLabel(bar); };
  chart.text = [this](int bar) { return barText(bar); };
  const std::vector<std::string> parts = partNames();
  for (const std::string &part : parts) chart.parts.push_back(legendPart(part));
  for (std::size_t step = 0; step < m_steps.size(); ++step) addBars(chart, run, step, parts);
  const PolicyRow *first = m_steps.size() > 1 ? shownProfilePolicy(context(), run) : nullptr;
  chart.legendTitle = first ? policyTitle(QString::fromStdString(first->policy)) : tr("Time and share of launches");
  if (m_shown.layer != kAllLayers) chart.legendTitle += QStringLiteral(", ") + layerTitle(m_shown.layer);
  m_chart->setData(std::move(chart));
}

void TimelineView::showEmptyText(const RunData::Run &run) {
  const QString yet = tr("No launches at this point yet.\nThey come when the run has traced a step of it.");
  m_chart->setEmptyText(m_sources.empty() ? nothingRecorded(context(), run, yet) : QString());
}

/// Of all steps, in the order of a step.
std::vector<std::string> TimelineView::partNames() const {
  std::vector<std::string> names;
  for (const Step &step : m_steps)
    for (const PartTime &part : step.parts)
      if (std::ranges::find(names, part.part) == names.end()) names.push_back(part.part);
  std::ranges::stable_sort(names, {}, partOrder);
  return names;
}

/// With the time and share that it has in the first step.
TimelineChart::Part TimelineView::legendPart(const std::string &part) const {
  const QString name = QString::fromStdString(part);
  TimelineChart::Part result{partTitle(name), partColor(name), {}, {}};
  for (const PartTime &time : m_steps.front().parts)
    if (time.part == part) {
      result.time = formatNanoseconds(static_cast<double>(time.nanoseconds));
      result.share = QString::number(100 * time.share, 'f', 1) + QStringLiteral(" %"); // as many decimals in every row
    }
  return result;
}

void TimelineView::addBars(TimelineChart::Data &chart, const RunData::Run &run, std::size_t index,
                           const std::vector<std::string> &parts) {
  using Lane = TimelineChart::Lane;
  const Step &step = m_steps[index];
  if (step.rows.empty()) return;
  const auto lane = [&](Lane::Kind kind, const QString &title) {
    chart.lanes.push_back({kind, title});
    return static_cast<int>(chart.lanes.size()) - 1;
  };
  const auto add = [&](std::int64_t start, std::int64_t duration, int at, int part, std::int64_t layer, Source source) {
    chart.bars.push_back({static_cast<double>(start), static_cast<double>(duration), at, part, isShown(layer)});
    m_sources.push_back(source);
  };
  lane(Lane::Kind::Heading, heading(run, step));
  const int layers = lane(Lane::Kind::Layers, tr("layer"));
  for (const LayerSpan &span : step.layers)
    add(span.startNs, span.endNs - span.startNs, layers, 0, span.layer, {index, std::nullopt, span});
  std::map<std::int64_t, std::vector<std::size_t>> queues;
  for (const std::size_t row : step.rows) queues[run.kernels[row].queue].push_back(row);
  for (const auto &[queue, rows] : queues) {
    const int at = lane(Lane::Kind::Queue, queueTitle(queue));
    for (const std::size_t row : rows) {
      const KernelRow &launch = run.kernels[row];
      const auto part = static_cast<int>(std::ranges::find(parts, launch.part) - parts.begin());
      add(launch.startNs, launch.durationNs, at, part, launch.layer, {index, row, {}});
    }
  }
}

QString TimelineView::heading(const RunData::Run &run, const Step &step) const {
  QString name;
  for (const PolicyRow &policy : run.policies)
    if (policy.index == step.policy) name = policyTitle(QString::fromStdString(policy.policy));
  QString text = tr("%1 — traced step %2").arg(name, formatNanoseconds(static_cast<double>(step.lengthNs)));
  if (const StepRow *row = findStep(run, step.policy, m_shown.point))
    text += tr("; %1 without instruments").arg(formatNanoseconds(row->seconds * 1e9));
  return text;
}

QString TimelineView::barLabel(int bar) const {
  const Source &source = m_sources[static_cast<std::size_t>(bar)];
  if (!source.row) return QString::number(source.layer.layer);
  const RunData::Run *run = context().data->find(m_shown.run);
  return run ? QString::fromStdString(run->kernels[*source.row].operation) : QString();
}

QString TimelineView::barText(int bar) const {
  const Source &source = m_sources[static_cast<std::size_t>(bar)];
  const RunData::Run *run = context().data->find(m_shown.run);
  if (run == nullptr) return {};
  if (source.row) return launchText(*run, m_steps[source.step], run->kernels[*source.row]);
  return tr("<b>Layer %1</b><br>From %2, for %3 on the compute queue")
      .arg(source.layer.layer)
      .arg(formatNanoseconds(static_cast<double>(source.layer.startNs)),
           formatNanoseconds(static_cast<double>(source.layer.endNs - source.layer.startNs)));
}

QString TimelineView::launchText(const RunData::Run &run, const Step &step, const KernelRow &launch) const {
  const auto html = [](const std::string &text) { return QString::fromStdString(text).toHtmlEscaped(); };
  const auto time = [](std::int64_t ns) { return formatNanoseconds(static_cast<double>(ns)); };
  QString text = tr("<b>%1</b> for %2").arg(html(launch.operation), partTitle(QString::fromStdString(launch.part)));
  const PeakRow *const peak = peakOf(run.peaks, "copy");
  if (!launch.launch.empty()) text += tr("<br>Function: %1").arg(html(launch.launch));
  text += QStringLiteral("<br>") + tr("%1, %2, %3 queue")
                                       .arg(layerTitle(launch.layer),
                                            launch.lane < 0 ? tr("all sequences") : tr("sequence %1").arg(launch.lane),
                                            queueTitle(launch.queue));
  text += tr("<br>From %1, for %2").arg(time(launch.startNs), time(launch.durationNs));
  const OperationTime &operation = step.operations.at(launch.call);
  if (operation.launches > 1)
    text += tr("<br>One of %1 launches, together %2").arg(operation.launches).arg(time(operation.nanoseconds));
  if (!(operation.countedBytes > 0)) return text + tr("<br>No bytes are counted for it") + measuredText(launch, peak);
  text += tr("<br>Counted: %1 · %2")
              .arg(formatBytes(static_cast<std::int64_t>(operation.countedBytes)), formatRate(operation.bytesPerSecond()));
  if (peak && peak->value > 0)
    text += tr("<br>%1 of the memory peak, %2 measured")
                .arg(formatPercent(operation.bytesPerSecond() / peak->value), formatRate(peak->value));
  return text + measuredText(launch, peak);
}

/// What the microscope says of the launch; its time is that of the traced step.
QString TimelineView::measuredText(const KernelRow &launch, const PeakRow *peak) const {
  QString text;
  const double bytes = launch.measuredRead + launch.measuredWrite;
  if (!std::isnan(bytes)) {
    const double rate = launch.durationNs > 0 ? bytes / static_cast<double>(launch.durationNs) * 1e9 : std::nan("");
    text = tr("<br>Measured, this launch by itself: %1 read, %2 written · %3")
               .arg(formatBytes(std::llround(launch.measuredRead)), formatBytes(std::llround(launch.measuredWrite)),
                    formatRate(rate));
    if (peak && peak->value > 0) text += tr(", %1 of the memory peak").arg(formatPercent(rate / peak->value));
  }
  if (!std::isnan(launch.cacheHitRate)) text += tr("<br>L2 hit rate: %1, measured").arg(formatPercent(launch.cacheHitRate));
  return text;
}

QString TimelineView::sourceText(const RunData::Run &run) const {
  const auto html = [](const QString &text) { return text.toHtmlEscaped(); };
  QString text = tr("Times: %1").arg(html(instrumentSentence(run, "timeline")));
  const InstrumentRow *row = findInstrument(run, "timeline");
  if (row != nullptr && row->dropped > 0)
    text += tr(" <span style=\"color:%1\">%2 records were dropped: their launches are missing here.</span>")
                .arg(Theme::current().colors().warning.name())
                .arg(row->dropped);
  else if (row != nullptr && hasFinished(run)) // until then nobody has said
    text += tr(" No record was dropped.");
  const PolicyRow *policy = shownProfilePolicy(context(), run);
  const StepRow *step = policy ? findStep(run, policy->index, shownPoint(context(), run)) : nullptr;
  if (step != nullptr && !std::isnan(step->timelineCost))
    text += step->timelineCost > 0 ? tr(" Tracing cost %1 of this step.").arg(formatPercent(step->timelineCost))
                                   : tr(" Tracing cost less than steps differ from each other.");
  if (step != nullptr && step->tracerSeconds > 0)
    text += tr(" The tracer itself says %1.").arg(formatNanoseconds(1e9 * step->tracerSeconds));
  const bool magnified = std::ranges::any_of(m_steps, &Step::magnified);
  return text + (magnified ? tr(" Bytes are counted from shapes, and measured by the microscope, every kernel by itself.")
                           : tr(" Bytes are counted from shapes."));
}

} // namespace xqs

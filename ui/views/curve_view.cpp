// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/curve_view.h"

#include "analysis/curve.h"
#include "error.h"
#include "models/sensitivity_table.h"
#include "plot/format.h"
#include "run/resources.h"
#include "theme.h"
#include "views/curve_tooltip.h"
#include "views/run_lookup.h"

#include <QAbstractItemView>
#include <QCheckBox>
#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QVBoxLayout>

#include <algorithm>
#include <cmath>

namespace xqs {

namespace {

constexpr Qt::PenStyle kVariantLines[] = {Qt::SolidLine, Qt::DashLine, Qt::DashDotLine, Qt::DotLine};
constexpr double kDefaultLimit = 4; ///< ppl over FP16's; for ppl times the exact ppl
constexpr double kLeastKl = 1e-4;   ///< nats: below it the log axis of KL shows nothing of interest

QString datasetTitle(const QString &dataset) {
  return dataset == QLatin1String("wikitext2") ? QStringLiteral("WikiText-2")
         : dataset == QLatin1String("c4")      ? QStringLiteral("C4")
                                               : dataset;
}

/// A method of a table that we do not implement is called by what is printed before its bits: "KVQuant-4-1%".
QString publishedTitle(const std::string &method, const std::string &label) {
  const std::string title = methodTitle(method);
  return title != method ? QString::fromStdString(title) : QString::fromStdString(label).section(u'-', 0, 0);
}

} // namespace

CurveView::CurveView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_chart = new CurveChart;
  m_chart->setAccessibleName(tr("Cache size and quality"));
  m_chart->setAccessibleDescription(tr("Points of relative cache size against perplexity, one a policy; arrow keys move "
                                       "over them, Enter selects the policy"));
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addLayout(makeControls());
  column->addWidget(m_chart, 1);
  fillPublished();
  connect(m_chart, &ChartCanvas::activated, this, [this](int item) {
    if (const QString policy = m_chart->point(item).policy; !policy.isEmpty()) this->context().selection->setPolicy(policy);
  });
}

QLayout *CurveView::makeControls() {
  auto *bar = new QHBoxLayout;
  const auto combo = [&](const QString &name, const QString &tip) {
    auto *box = new QComboBox;
    box->setAccessibleName(name);
    box->setToolTip(tip);
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    box->setMinimumWidth(70);
    box->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
    bar->addWidget(box);
    return box;
  };
  m_metric = combo(tr("Quality measure"), tr("What the vertical axis shows"));
  m_metric->addItems({tr("Perplexity ratio"), tr("Perplexity"), tr("KL divergence")});
  m_limit = combo(tr("Frame"), tr("Up to which value the axis reaches; points beyond it are arrows at its edge"));
  m_limit->addItem(tr("Up to 4 ×"), kDefaultLimit);
  m_limit->addItem(tr("Up to 1.5 ×"), 1.5);
  m_limit->addItem(tr("Up to 1.1 ×"), 1.1);
  m_limit->addItem(tr("Everything"), 0.0);
  m_published =
      combo(tr("Published curves"),
            tr("Curves of the XQuant paper behind the measured ones; other models, so compare shapes, not values"));
  m_published->addItem(tr("Paper: off"));
  m_metric->setMinimumWidth(m_metric->sizeHint().width());
  m_limit->setMinimumWidth(m_limit->sizeHint().width()); // in a narrow dock the paper's models are cut first
  m_asMha = new QCheckBox(tr("as if MHA"));
  m_asMha->setToolTip(
      tr("Sizes as if the model had as many KV heads as query heads: what the paper's sizes for MHA models compare with"));
  bar->addWidget(m_asMha);
  bar->addStretch(1);
  for (QComboBox *box : {m_metric, m_limit, m_published})
    connect(box, &QComboBox::currentIndexChanged, this, [this] { refresh(); });
  connect(m_asMha, &QCheckBox::toggled, this, [this] { refresh(); });
  return bar;
}

void CurveView::fillPublished() {
  try {
    m_rows = parsePublished(publishedTables());
  } catch (const Error &e) {
    m_published->setToolTip(QString::fromUtf8(e.what()));
  }
  for (const PublishedRow &row : m_rows) {
    if (std::isnan(row.ratio)) continue;
    const QString model = QString::fromStdString(row.model), dataset = QString::fromStdString(row.dataset);
    const QStringList key{model, dataset};
    if (m_published->findData(key) < 0) m_published->addItem(tr("Paper: %1, %2").arg(model, datasetTitle(dataset)), key);
  }
  m_published->setEnabled(m_published->count() > 1);
  // The default model has grouped KV heads, as this one: its curve is the one to compare with.
  m_published->setCurrentIndex(
      std::max(0, m_published->findData(QStringList{QStringLiteral("Llama-3.1-8B"), QStringLiteral("wikitext2")})));
  m_published->view()->setMinimumWidth(220);
}

CurveView::Metric CurveView::metric() const { return static_cast<Metric>(m_metric->currentIndex()); }

void CurveView::setMetric(Metric metric) { m_metric->setCurrentIndex(static_cast<int>(metric)); }

double CurveView::valueOf(const CurvePoint &point) const {
  switch (metric()) {
  case Metric::Ratio: return point.ratio.mean;
  case Metric::Perplexity: return point.ppl;
  case Metric::Divergence: return point.kl.mean;
  }
  return point.ratio.mean;
}

ChartPoint CurveView::chartPoint(const CurvePoint &point, const PolicyRow &row, const RunData::Run &run) const {
  ChartPoint result;
  result.x = m_asMha->isChecked() ? point.relativeSizeMha : point.relativeSize;
  result.y = valueOf(point);
  const Estimate &estimate = metric() == Metric::Divergence ? point.kl : point.ratio;
  const double unit = metric() == Metric::Perplexity ? point.exactPpl : 1; // the paired interval, in ppl of these windows
  result.low = estimate.low * unit;
  result.high = estimate.high * unit;
  result.policy = QString::fromStdString(point.policy);
  result.text = curveTooltip(point, row, run);
  return result;
}

SeriesStyle CurveView::styleOf(const QString &family, const QString &method, Families &families) const {
  if (const auto known = families.lines.find(family); known == families.lines.end()) {
    const auto variant = static_cast<std::size_t>(families.variants[method]++);
    families.lines[family] = kVariantLines[std::min(variant, std::size(kVariantLines) - 1)];
  }
  SeriesStyle style = methodStyle(method);
  style.line = families.lines[family];
  return style;
}

void CurveView::addRun(const RunData::Run &run, MarkerFill fill, Families &families, std::vector<ChartSeries> &series,
                       std::vector<LegendEntry> &legend) {
  const std::vector<CurvePoint> points = curvePoints(run.policies, run.windows);
  std::map<QString, std::size_t> place; // of a family in `series`
  for (std::size_t i = 0; i < points.size(); ++i) {
    const bool isolated = isolatesLayer(points[i].policy); // hundreds, and no curve: one series without a line
    const QString family = isolated ? tr("Plan · one layer") : curveFamily(QString::fromStdString(points[i].policy));
    if (!place.contains(family)) {
      const bool isNew = !families.lines.contains(family);
      ChartSeries next;
      next.style = styleOf(family, QString::fromStdString(points[i].method), families);
      if (isolated) next.style.line = Qt::NoPen;
      if (isNew) legend.push_back({isolated ? family : policyTitle(family), next.style});
      next.style.fill = fill;
      place[family] = series.size();
      series.push_back(std::move(next));
    }
    if (!points[i].windows.empty()) m_exactPpl = points[i].exactPpl;
    if (std::isfinite(valueOf(points[i])) && points[i].relativeSize > 0)
      series[place[family]].points.push_back(chartPoint(points[i], run.policies[i], run));
  }
}

void CurveView::addRunLegend(const RunList &runs, std::vector<LegendEntry> &legend) const {
  if (runs.size() == 1 && runs.front()->recorded) legend.insert(legend.begin(), {tr("A recorded run"), {}, true});
  if (runs.size() < 2) return;
  legend.push_back({tr("Runs"), {}, true});
  for (std::size_t i = 0; i < runs.size(); ++i) {
    SeriesStyle style;
    style.color = Theme::current().colors().mutedText;
    style.line = Qt::NoPen;
    style.fill = static_cast<MarkerFill>(i % kMarkerFills);
    legend.push_back({runTitle(*runs[i]), style});
  }
}

void CurveView::addPublished(std::vector<ChartSeries> &series, std::vector<LegendEntry> &legend) const {
  const QStringList chosen = m_published->currentData().toStringList();
  if (chosen.size() != 2 || metric() != Metric::Ratio) return;
  legend.push_back({tr("Published, %1").arg(chosen[0]), {}, true});
  std::map<std::pair<std::string, std::string>, ChartSeries> curves; // table, method
  std::map<std::string, std::string> labels;                         // of a method, as printed
  for (const PublishedRow &row : m_rows) {
    if (QString::fromStdString(row.model) != chosen[0] || QString::fromStdString(row.dataset) != chosen[1] ||
        std::isnan(row.ratio))
      continue;
    labels[row.method] = row.label;
    ChartSeries &curve = curves[{row.table, row.method}];
    curve.faint = true;
    curve.style = methodStyle(QString::fromStdString(row.method));
    curve.style.line = row.table == m_rows.front().table ? Qt::DotLine : Qt::DashLine;
    curve.style.fill = MarkerFill::Hollow;
    curve.style.width = 1.4;
    ChartPoint point;
    point.x = row.relativeSize;
    point.y = row.ratio;
    point.text = tr("<b>%1</b>, published<br>%2, %3<br>size %4, perplexity %5 (%6)<br><i>%7</i>")
                     .arg(QString::fromStdString(row.label).toHtmlEscaped(), chosen[0], datasetTitle(chosen[1]),
                          formatNumber(row.relativeSize), formatNumber(row.ppl, 4), formatRatio(row.ratio),
                          QString::fromStdString(row.source));
    curve.points.push_back(std::move(point));
  }
  for (auto &[key, curve] : curves) {
    if (key.first != curves.begin()->first.first && key.second == "fp16") continue;
    legend.push_back({tr("%1, %2").arg(publishedTitle(key.second, labels[key.second]),
                                       QString::fromStdString(key.first).section(u'-', 1).replace(u'-', u' ')),
                      curve.style});
    series.push_back(std::move(curve));
  }
}

Range CurveView::frameFor(const std::vector<double> &values, Metric metric, double exact, double limit) {
  if (metric == Metric::Divergence) {
    Range range;
    for (double v : values)
      if (v >= kLeastKl) range.include(v);
    return range.empty() ? Range{1e-3, 1} : padded(range, Scale::Log, 0.08);
  }
  const double unit = metric == Metric::Perplexity ? exact : 1;
  Range range{0.98 * unit, 1.1 * unit};
  double least = std::numeric_limits<double>::infinity();
  for (double v : values) {
    if (v <= limit * unit || limit <= 0) range.include(v);
    if (v > 1.0001 * unit) least = std::min(least, v);
  }
  if (limit > 0 && least > limit * unit && std::isfinite(least))
    range.include(1.5 * least); // the best point is always inside
  return padded(range, Scale::Log, 0.06);
}

void CurveView::setFrame(const std::vector<ChartSeries> &series) {
  std::vector<double> values;
  Range x{0.1, 1};
  for (const ChartSeries &s : series)
    for (const ChartPoint &p : s.points) x.include(p.x), values.push_back(p.y);
  const QString yTitles[] = {tr("perplexity / FP16's perplexity"), tr("perplexity"), tr("mean KL to the exact model, nats")};
  const QString xTitle =
      m_asMha->isChecked() ? tr("cache size as if MHA (FP16 KV of all heads = 1)") : tr("cache size (FP16 KV = 1)");
  m_chart->setAxes({xTitle, Scale::Log, {x.min / 1.12, x.max * 1.12}},
                   {yTitles[m_metric->currentIndex()], Scale::Log,
                    frameFor(values, metric(), m_exactPpl, m_limit->currentData().toDouble())});
  m_chart->setValueFormat(metric() == Metric::Ratio ? formatRatio : [](double v) { return formatNumber(v); });
}

QString CurveView::emptyText() const {
  const RunList runs = shownRuns(context());
  if (runs.empty())
    return tr("No run yet.\nPress Start to measure the default policies, or open a finished run with File > Open.");
  return tr("The first window is being computed.\nPoints appear here one by one.");
}

void CurveView::refresh() {
  std::vector<ChartSeries> series;
  std::vector<LegendEntry> legend;
  const RunList runs = shownRuns(context());
  Families families;
  for (std::size_t i = 0; i < runs.size(); ++i)
    addRun(*runs[i], static_cast<MarkerFill>(i % kMarkerFills), families, series, legend);
  addRunLegend(runs, legend);
  const bool any = std::ranges::any_of(series, [](const ChartSeries &s) { return !s.points.empty(); });
  m_limit->setEnabled(metric() != Metric::Divergence);
  m_chart->setEmptyText(any ? QString() : emptyText());
  if (any) addPublished(series, legend);
  setFrame(series);
  m_chart->setReference(metric() == Metric::Ratio ? 1 : std::nan(""));
  m_chart->setMarkedPolicy(context().selection->policy());
  m_chart->setLegend(std::move(legend));
  m_chart->setSeries(std::move(series));
}

} // namespace xqs

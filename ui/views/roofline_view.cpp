// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/roofline_view.h"

#include "analysis/roofline.h"
#include "analysis/verdict_text.h"
#include "plot/format.h"
#include "plot/roofline_chart.h"
#include "theme.h"
#include "views/judge_lookup.h"
#include "views/profile_chooser.h"
#include "views/profile_lookup.h"
#include "views/run_lookup.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QVBoxLayout>

#include <algorithm>

namespace xqs {

namespace {

QString text(const std::string &s) { return QString::fromStdString(s); }

QString pointText(const RooflinePoint &p) {
  return RooflineView::tr("<b>%1</b>, %2<br>%3 tokens, batch %4<br>%5 FLOP a byte: %6 GFLOP over %7 (%8)<br>%9 TFLOP/s")
      .arg(policyTitle(text(p.policy)).toHtmlEscaped(), basisTitle(p.basis))
      .arg(p.context)
      .arg(p.batch)
      .arg(formatNumber(p.intensity()), formatNumber(1e-9 * p.flops), text(bytesText(p.bytes)), basisTitle(p.bytesBasis),
           formatNumber(1e-12 * p.rate()));
}

ChartPoint chartPoint(const RooflinePoint &p) {
  ChartPoint point;
  point.x = p.intensity(), point.y = p.rate();
  point.text = pointText(p);
  point.policy = text(p.policy);
  return point;
}

SeriesStyle pointStyle(const std::string &policy, MarkerFill fill) {
  SeriesStyle style = methodStyle(text(policy).section(u':', 0, 0));
  style.line = Qt::NoPen;
  style.fill = fill;
  return style;
}

} // namespace

struct RooflineView::Drawing {
  RooflineScope scope = RooflineScope::Attention;
  ProfilePoint point;
  std::vector<ChartSeries> series;
  std::vector<RooflineChart::Label> labels;
  std::vector<LegendEntry> legend;
  Range x, y;
  void add(const RooflinePoint &p, MarkerFill fill, bool faint) {
    series.push_back({pointStyle(p.policy, fill), {chartPoint(p)}, faint});
    x.include(p.intensity()), y.include(p.rate());
  }
};

RooflineView::RooflineView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_about = new QLabel;
  m_about->setObjectName(QStringLiteral("about"));
  m_about->setWordWrap(true);
  m_about->setForegroundRole(QPalette::PlaceholderText);
  m_scope = makeChoice(tr("Part of a step"),
                       tr("What a point stands for: everything that a step does with caches, or all of it"), this);
  m_scope->setObjectName(QStringLiteral("scope"));
  m_scope->addItems({tr("Caches: reading, rebuilding, attention"), tr("Whole step, weights included")});
  m_chart = new RooflineChart;
  m_chart->setAccessibleName(tr("Roofline"));
  m_chart->setAccessibleDescription(
      tr("FLOP a second over FLOP a byte of each policy, under the machine's roofs; arrow keys "
         "move over the points, Enter selects the policy"));
  m_note = new QLabel;
  m_note->setObjectName(QStringLiteral("note"));
  m_note->setAccessibleName(tr("Longest contexts"));
  m_note->setWordWrap(true);
  m_note->setTextInteractionFlags(Qt::TextSelectableByMouse);
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addWidget(m_about);
  column->addWidget(m_scope);
  column->addWidget(m_chart, 1);
  column->addWidget(m_note);
  connect(m_scope, &QComboBox::currentIndexChanged, this, &RooflineView::refresh);
  connect(m_chart, &ChartCanvas::activated, this, [this](int item) {
    if (const QString policy = m_chart->point(item).policy; !policy.isEmpty()) this->context().selection->setPolicy(policy);
  });
}

const ChartCanvas *RooflineView::picture() const { return m_chart; }

void RooflineView::refresh() {
  const JudgeLookup judged(context());
  const Judge judge = judged.judge();
  m_about->setText(tr("%1 · %2 · %3: chosen in the verdict")
                       .arg(judged.machine().title, text(judged.model().name), pointTitle(judged.point())));
  Drawing drawing;
  drawing.scope = static_cast<RooflineScope>(m_scope->currentIndex());
  drawing.point = judged.point();
  addPoints(judge, drawing);
  addMeasured(judged, drawing);
  addRoofs(judge, drawing);
  showDrawing(judge, std::move(drawing));
  showNote(judge);
}

void RooflineView::addPoints(const Judge &judge, Drawing &drawing) const {
  for (const RooflinePoint &p : predictedPoints(judge, drawing.scope, drawing.point.context, drawing.point.batch)) {
    drawing.add(p, MarkerFill::Hollow, false);
    const SeriesStyle style = pointStyle(p.policy, MarkerFill::Solid);
    drawing.labels.push_back(
        {p.intensity(), p.rate(), shortPolicyTitle(text(p.policy)), style.color, p.intensity() > judge.hardware().ridge()});
    const QString title = methodTitle(text(p.policy).section(u':', 0, 0));
    if (std::ranges::none_of(drawing.legend, [&](const LegendEntry &e) { return e.text == title; }))
      drawing.legend.push_back({title, style});
  }
}

void RooflineView::addMeasured(const JudgeLookup &judged, Drawing &drawing) const {
  const RunData::Run *run = judged.measuredRun();
  const auto mark = [&](const QString &title, MarkerFill fill) {
    SeriesStyle style;
    style.color = Theme::current().colors().mutedText;
    style.line = Qt::NoPen;
    style.fill = fill;
    drawing.legend.push_back({title, style});
  };
  drawing.legend.push_back({tr("Points"), {}, true});
  mark(tr("predicted"), MarkerFill::Hollow);
  if (run == nullptr) return;
  bool here = false, elsewhere = false;
  for (const RooflinePoint &p : measuredPoints(rowsOf(*run), drawing.scope)) {
    const bool chosen = ProfilePoint{p.context, p.batch} == drawing.point;
    drawing.add(p, MarkerFill::Solid, !chosen);
    (chosen ? here : elsewhere) = true;
  }
  if (here) mark(tr("measured"), MarkerFill::Solid);
  if (elsewhere) mark(tr("measured at other points (small)"), MarkerFill::Solid);
}

void RooflineView::addRoofs(const Judge &judge, Drawing &drawing) const {
  const Hardware &h = judge.hardware();
  drawing.x.include(h.ridge());
  drawing.x = {drawing.x.min / 3, drawing.x.max * 6};
  drawing.y.include(h.matrixRate);
  drawing.y = {drawing.y.min / 3, drawing.y.max * 2};
  const auto roof = [&](double memoryRate, double matrixRate, Qt::PenStyle line, const QString &title) {
    ChartSeries series;
    series.style.color = Theme::current().colors().mutedText;
    series.style.marker = Marker::None;
    series.style.line = line;
    series.style.width = 1.6;
    const double least = std::max(drawing.x.min, drawing.y.min / memoryRate), ridge = matrixRate / memoryRate;
    const QString roofText = tr("<b>%1</b><br>memory %2, %3 TFLOP/s<br>ridge point %4 FLOP a byte<br>"
                                "Points count the FLOPs of the algorithm: a product of FP32 rows and FP16 weights, which a "
                                "GPU does in two parts, reaches half of this roof")
                                 .arg(title, formatRate(memoryRate), formatNumber(1e-12 * matrixRate), formatNumber(ridge));
    for (const double x : {least, ridge, drawing.x.max}) {
      ChartPoint point;
      point.x = x, point.y = std::min(matrixRate, x * memoryRate);
      point.text = roofText;
      series.points.push_back(std::move(point));
    }
    drawing.legend.push_back({title, series.style});
    drawing.series.insert(drawing.series.begin(), std::move(series));
  };
  drawing.legend.push_back({tr("Roofs"), {}, true});
  roof(h.memoryRate, h.matrixRate, Qt::SolidLine, h.measured ? tr("measured peaks") : tr("data sheet"));
  if (!h.measured) roof(h.reachedMemoryRate(), h.reachedMatrixRate(), Qt::DashLine, tr("what kernels reach"));
}

void RooflineView::showDrawing(const Judge &judge, Drawing drawing) {
  m_chart->setAxes({tr("FLOP a byte"), Scale::Log, drawing.x}, {tr("FLOP/s"), Scale::Log, drawing.y});
  m_chart->setRidge(judge.hardware().ridge(), tr("ridge point: %1 FLOP a byte").arg(formatNumber(judge.hardware().ridge())));
  m_chart->setLabels(std::move(drawing.labels));
  m_chart->setMarkedPolicy(context().selection->policy());
  m_chart->setLegend(std::move(drawing.legend));
  m_chart->setSeries(std::move(drawing.series));
}

/// The paper's longest contexts as a table of widths, a row a reading of its formula.
void RooflineView::showNote(const Judge &judge) {
  const std::vector<ContextLimit> limits = contextLimits(judge.model(), judge.hardware());
  const auto row = [&](const QString &title, const auto &value) {
    QString cells;
    for (const ContextLimit &limit : limits)
      cells += QStringLiteral("<td align='right'>&nbsp;&nbsp;%1</td>").arg(value(limit));
    return QStringLiteral("<tr><td>%1</td>%2</tr>").arg(title, cells);
  };
  QString rows =
      row(tr("Tokens before rebuilding costs time, at"), [](const ContextLimit &l) { return tr("%1 bits").arg(l.bits); });
  const auto printed = [](const ContextLimit &l) { return text(tokensText(l.printed)); };
  if (judge.model().mha()) {
    rows += row(tr("the paper's formula (MHA)"), printed);
  } else {
    rows += row(tr("the paper's line for GQA: bytes of one latent"), printed);
    rows += row(tr("bytes of both latents"), [](const ContextLimit &l) { return text(tokensText(l.bothLatents)); });
  }
  m_note->setText(QStringLiteral("<table>%1</table>").arg(rows));
  m_note->setToolTip(text(contextSentence(judge.model(), judge.hardware())));
}

} // namespace xqs

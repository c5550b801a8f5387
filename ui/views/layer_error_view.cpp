// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/layer_error_view.h"

#include "plot/line_chart.h"
#include "theme.h"
#include "views/run_lookup.h"

#include <QCheckBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QVBoxLayout>

#include <cmath>

namespace xqs {

namespace {

struct Quantity {
  const char *name;
  double LayerErrorRow::*value;
  QRgb light, dark;
  Marker marker;
};
// Blue, orange, green of Okabe and Ito's palette: three tensors, apart from the methods' colours by their markers.
constexpr Quantity kQuantities[] = {
    {"K", &LayerErrorRow::k, 0xff0072b2, 0xff58aaf2, Marker::Circle},
    {"V", &LayerErrorRow::v, 0xffc44e00, 0xffff8648, Marker::Square},
    {"X", &LayerErrorRow::x, 0xff00806a, 0xff35cfa4, Marker::TriangleUp},
};

QColor paler(const QColor &color) {
  const QColor ground = Theme::current().colors().background;
  const auto mix = [](int a, int b) { return (a * 11 + b * 9) / 20; };
  return {mix(color.red(), ground.red()), mix(color.green(), ground.green()), mix(color.blue(), ground.blue())};
}

} // namespace

LayerErrorView::LayerErrorView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  auto *bar = new QHBoxLayout;
  const auto box = [&](const QString &text, const QString &tip) {
    auto *result = new QCheckBox(text);
    result->setToolTip(tip);
    result->setAccessibleName(tip);
    result->setChecked(true);
    bar->addWidget(result);
    connect(result, &QCheckBox::toggled, this, [this] { refresh(); });
    return result;
  };
  m_k = box(tr("K"), tr("Error of the keys after RoPE"));
  m_v = box(tr("V"), tr("Error of the values"));
  m_x = box(tr("X"), tr("Error of the attention input, where the method rebuilds it"));
  m_note = new QLabel;
  m_note->setMinimumWidth(10);
  m_note->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  bar->addWidget(m_note, 1);
  m_chart = new LineChart;
  m_chart->setTitles(tr("Layer"), tr("relative error"));
  m_chart->setAccessibleName(tr("Error by layer"));
  m_chart->setAccessibleDescription(
      tr("Relative errors of K, V and X by layer; left and right move over the layers, Enter selects one"));
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addLayout(bar);
  column->addWidget(m_chart, 1);
  connect(m_chart, &ChartCanvas::activated, this, [this](int layer) { this->context().selection->setLayer(layer); });
}

const ChartCanvas *LayerErrorView::picture() const { return m_chart; }

void LayerErrorView::addLines(std::vector<LineSeries> &lines, const RunData::Run &run, const PolicyRow &policy,
                              bool previewed) const {
  const QCheckBox *boxes[] = {m_k, m_v, m_x};
  for (const char *loop : {"open", "closed"})
    for (std::size_t q = 0; q < std::size(kQuantities); ++q) {
      if (!boxes[q]->isChecked()) continue;
      std::vector<double> values(static_cast<std::size_t>(layerCount(run)), std::nan(""));
      bool any = false;
      for (const LayerErrorRow &row : run.layerErrors) { // later windows replace earlier ones
        if (row.policy != policy.index || row.loop != loop || row.layer < 0 || row.layer >= run.row.layers) continue;
        values[static_cast<std::size_t>(row.layer)] = row.*kQuantities[q].value;
        any = any || row.*kQuantities[q].value > 0;
      }
      if (!any) continue;
      LineSeries line;
      const bool open = std::string_view(loop) == "open";
      line.name = QStringLiteral("%1 %2%3").arg(QLatin1String(kQuantities[q].name), open ? tr("open") : tr("closed"),
                                                previewed ? tr(" · preview") : QString());
      line.style.color = QColor::fromRgb(Theme::current().isDark() ? kQuantities[q].dark : kQuantities[q].light);
      if (previewed) line.style.color = paler(line.style.color);
      line.style.marker = open ? kQuantities[q].marker : Marker::None; // markers would hide the dashes
      line.style.fill = previewed ? MarkerFill::Hollow : MarkerFill::Solid;
      line.style.line = open ? Qt::SolidLine : Qt::DashLine;
      line.style.width = previewed ? 1.4 : 1.8;
      line.values = std::move(values);
      lines.push_back(std::move(line));
    }
}

void LayerErrorView::refresh() {
  const QString selected = shownPolicy(context()), previewed = previewedPolicy(context());
  const RunData::Run *preview = previewRun(context());
  std::vector<LineSeries> lines;
  for (const RunData::Run *run : sourceRuns(context())) {
    const PolicyRow *policy = findPolicy(*run, selected.toStdString());
    if (policy == nullptr) continue;
    addLines(lines, *run, *policy, false);
    if (!lines.empty()) break; // the first run that knows the policy's errors
  }
  if (preview != nullptr && previewed != selected)
    if (const PolicyRow *policy = findPolicy(*preview, previewed.toStdString())) addLines(lines, *preview, *policy, true);
  const bool both = !previewed.isEmpty() && previewed != selected;
  m_note->setText(both                 ? tr("%1; preview: %2").arg(policyTitle(selected), policyTitle(previewed))
                  : selected.isEmpty() ? QString()
                                       : policyTitle(selected));
  m_note->setToolTip(both ? tr("%1\npreview: %2").arg(selected, previewed) : selected);
  m_chart->setEmptyText(
      !lines.empty() ? QString()
      : selected.isEmpty()
          ? tr("No layer errors yet.\nStart a run, or change a setting for a preview.")
          : tr("No layer errors of %1.\nChoose another policy in the curve, or change a setting for a preview.")
                .arg(policyTitle(selected)));
  m_chart->setMarked(context().selection->layer());
  m_chart->setLines(std::move(lines));
}

} // namespace xqs

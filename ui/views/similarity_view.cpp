// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/similarity_view.h"

#include "plot/format.h"
#include "plot/heatmap_chart.h"
#include "views/run_lookup.h"

#include <QButtonGroup>
#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>
#include <QVBoxLayout>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace xqs {

namespace {

struct SiteChoice {
  const char *site, *label, *tip;
  bool diverging; ///< cosines of both signs
};
constexpr std::array<SiteChoice, 4> kSites{{
    {"x", QT_TRANSLATE_NOOP("SimilarityView", "X"),
     QT_TRANSLATE_NOOP("SimilarityView", "Attention input after the norm: what XQuant caches"), false},
    {"residual", QT_TRANSLATE_NOOP("SimilarityView", "Residual"),
     QT_TRANSLATE_NOOP("SimilarityView", "Residual stream before the norm"), false},
    {"k", QT_TRANSLATE_NOOP("SimilarityView", "K"), QT_TRANSLATE_NOOP("SimilarityView", "Keys before RoPE"), true},
    {"v", QT_TRANSLATE_NOOP("SimilarityView", "V"), QT_TRANSLATE_NOOP("SimilarityView", "Values"), true},
}};

std::vector<float> floats(const Blob &blob) {
  std::vector<float> result(blob.size() / sizeof(float));
  std::memcpy(result.data(), blob.data(),
              result.size() * sizeof(float)); // stores are little-endian, as every machine we build for
  return result;
}

/// Sequential: from the least value to 1. Diverging: symmetric around 0, the diagonal of ones left out, so that the small
/// cosines between layers are seen.
Range colorRange(const std::vector<float> &values, int size, bool diverging) {
  Range range;
  for (int r = 0; r < size; ++r)
    for (int c = 0; c < size; ++c)
      if (!diverging || r != c) range.include(static_cast<double>(values[static_cast<std::size_t>(r * size + c)]));
  if (range.empty()) return {0, 1};
  if (!diverging) return {std::floor(range.min * 10) / 10, 1};
  const double reach = std::max({std::abs(range.min), std::abs(range.max), 0.01});
  return {-reach, reach};
}

double neighbourMean(const std::vector<float> &values, int size) {
  double sum = 0;
  for (int i = 0; i + 1 < size; ++i) sum += static_cast<double>(values[static_cast<std::size_t>(i * size + i + 1)]);
  return size > 1 ? sum / (size - 1) : std::nan("");
}

} // namespace

SimilarityView::SimilarityView(const ViewContext &context, QWidget *parent) : View(context, parent) {
  m_sites = new QButtonGroup(this);
  auto *bar = new QHBoxLayout;
  bar->setSpacing(4);
  for (std::size_t i = 0; i < kSites.size(); ++i) {
    auto *button = new QToolButton;
    button->setText(tr(kSites[i].label));
    button->setToolTip(tr(kSites[i].tip));
    button->setAccessibleName(tr("Similarity of %1").arg(tr(kSites[i].label)));
    button->setCheckable(true);
    button->setChecked(i == 0);
    m_sites->addButton(button, static_cast<int>(i));
    bar->addWidget(button);
  }
  m_note = new QLabel;
  m_note->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  m_note->setMinimumWidth(10); // elides instead of widening the dock
  bar->addWidget(m_note, 1);
  m_chart = new HeatmapChart;
  m_chart->setAccessibleName(tr("Similarity between layers"));
  m_chart->setAccessibleDescription(
      tr("Heatmap of the mean cosine between the layers of the exact model; arrow keys move, Enter selects the layer"));
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(6, 6, 6, 6);
  column->addLayout(bar);
  column->addWidget(m_chart, 1);
  connect(m_sites, &QButtonGroup::idClicked, this, [this] { refresh(); });
  connect(m_chart, &ChartCanvas::activated, this,
          [this](int item) { this->context().selection->setLayer(m_chart->row(item)); });
}

const ChartCanvas *SimilarityView::picture() const { return m_chart; }

QString SimilarityView::site() const { return QLatin1String(kSites[static_cast<std::size_t>(m_sites->checkedId())].site); }

const SimilarityRow *SimilarityView::row() const {
  const std::string wanted = site().toStdString();
  for (const RunData::Run *run : sourceRuns(context()))
    for (auto r = run->similarities.rbegin(); r != run->similarities.rend(); ++r)
      if (r->site == wanted && r->layers > 0 &&
          r->cosine.size() == static_cast<std::size_t>(r->layers * r->layers) * sizeof(float))
        return &*r;
  return nullptr;
}

void SimilarityView::refresh() {
  const SimilarityRow *found = row();
  if (found == nullptr) {
    m_note->clear();
    m_chart->setMatrix({}, 0, {0, 1}, false);
    m_chart->setEmptyText(tr("No similarities yet.\nStart a run with captures, or open a finished one with File > Open."));
    return;
  }
  const int size = static_cast<int>(found->layers);
  const SiteChoice &choice = kSites[static_cast<std::size_t>(m_sites->checkedId())];
  m_chart->setEmptyText({});
  m_chart->setMarked(context().selection->layer());
  const std::vector<float> values = floats(found->cosine);
  m_chart->setMatrix(values, size, colorRange(values, size, choice.diverging), choice.diverging);
  m_chart->setAxes({tr("Layer"), Scale::Linear, {-0.5, size - 0.5}, true},
                   {tr("Layer"), Scale::Linear, {-0.5, size - 0.5}, true, true});
  m_chart->setValueTitle(tr("cosine"));
  m_note->setText(tr("neighbours: mean %1").arg(formatNumber(neighbourMean(values, size))));
  m_note->setToolTip(tr("Mean cosine between layers that follow each other, %1, window %2 of the exact model")
                         .arg(siteTitle(site()))
                         .arg(found->window));
}

void SimilarityView::applyTheme() { m_chart->recolor(); }

} // namespace xqs

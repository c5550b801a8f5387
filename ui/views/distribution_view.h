// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QCheckBox;
class QComboBox;
class QLabel;
class QSlider;
class QSpinBox;
class QTableWidget;

namespace xqs {

class HistogramChart;
class HistogramGrid;

/// Distributions by layer at one site: every layer small, the selected one large, the exact tensor filled and the selected
/// policy's reconstruction (of a run or of a preview) as a line over it, with their statistics.
class DistributionView : public View {
  Q_OBJECT
public:
  DistributionView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override { refresh(); }
  const ChartCanvas *picture() const override;

private:
  /// Rows of one run at one site by layer; null where a layer has none.
  struct Rows {
    const RunData::Run *run = nullptr;
    std::vector<const SummaryRow *> exact, rebuilt;
    bool hasRebuilt() const;
  };
  QLayout *makeControls();
  QWidget *makeChart();
  QWidget *makeTable();
  Rows rowsOf(const RunData::Run &run, const std::string &site, const std::string &policy) const;
  /// The first run that has the site's rows, one with the policy's reconstruction where there is one.
  Rows findRows(const std::string &site, const std::string &policy) const;
  void showEmpty();
  void showGrid(const Rows &rows, const QColor &color);
  void showLayer(const Rows &rows, const QColor &color);
  void fillTable(const SummaryRow *exact, const SummaryRow *rebuilt);

  QComboBox *m_site = nullptr;
  QSlider *m_slider = nullptr;
  QSpinBox *m_layer = nullptr;
  QCheckBox *m_log = nullptr;
  QLabel *m_note = nullptr;
  HistogramGrid *m_grid = nullptr;
  HistogramChart *m_chart = nullptr;
  QTableWidget *m_table = nullptr;
};

} // namespace xqs

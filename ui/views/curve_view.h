// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/curve_chart.h"
#include "views/run_lookup.h"

#include "analysis/published.h"

class QCheckBox;
class QComboBox;
class QLabel;

namespace xqs {

struct CurvePoint;

/// Cache size against quality, live: one series a method family and run, with the paper's published curves behind.
class CurveView : public View {
  Q_OBJECT
public:
  enum class Metric { Ratio, Perplexity, Divergence };

  CurveView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override { refresh(); }
  const ChartCanvas *picture() const override { return m_chart; }

  void setMetric(Metric metric);
  CurveChart *chart() const { return m_chart; }

  /// The frame's upper end for measured values: all of them up to `limit`, none of them needed (0: everything).
  static Range frameFor(const std::vector<double> &values, Metric metric, double exact, double limit);

private:
  QLayout *makeControls();
  void fillPublished();
  Metric metric() const;
  double valueOf(const CurvePoint &point) const;
  ChartPoint chartPoint(const CurvePoint &point, const PolicyRow &row, const RunData::Run &run) const;
  /// What the families drawn so far look like; the same in every run.
  struct Families {
    std::map<QString, Qt::PenStyle> lines;
    std::map<QString, int> variants; ///< families of a method
  };
  SeriesStyle styleOf(const QString &family, const QString &method, Families &families) const;
  /// Appends the run's series, and the legend lines of families that are new.
  void addRun(const RunData::Run &run, MarkerFill fill, Families &families, std::vector<ChartSeries> &series,
              std::vector<LegendEntry> &legend);
  void addRunLegend(const RunList &runs, std::vector<LegendEntry> &legend) const;
  void addPublished(std::vector<ChartSeries> &series, std::vector<LegendEntry> &legend) const;
  void setFrame(const std::vector<ChartSeries> &series);
  QString emptyText() const;

  CurveChart *m_chart = nullptr;
  QComboBox *m_metric = nullptr, *m_published = nullptr, *m_limit = nullptr;
  QCheckBox *m_asMha = nullptr;
  std::vector<PublishedRow> m_rows;
  double m_exactPpl = 1; ///< of the run drawn last
};

} // namespace xqs

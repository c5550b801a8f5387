// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "analysis/timeline.h"
#include "plot/timeline_chart.h"
#include "views/view.h"

#include <optional>

class QComboBox;
class QLabel;

namespace xqs {

class ProfileChooser;

/// When each launch of a decoding step ran, a lane a queue, coloured by part of the step; other policies of the same point
/// can stand below on the same axis.
class TimelineView : public View {
  Q_OBJECT
public:
  TimelineView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override;
  const ChartCanvas *picture() const override;
  const TimelineChart &chart() const { return *m_chart; }

private:
  /// One policy's step as the chart holds it. Rows move in memory while a run grows: they are kept by index.
  struct Step {
    std::int64_t policy = 0;
    std::int64_t lengthNs = 0;
    std::vector<std::size_t> rows; ///< of RunData::Run::kernels, by start
    std::vector<LayerSpan> layers;
    std::vector<PartTime> parts;
    std::map<std::int64_t, OperationTime> operations;
    bool magnified = false; ///< bytes of single launches were measured
  };
  /// What a bar stands for: a launch, or a span of a layer.
  struct Source {
    std::size_t step = 0;
    std::optional<std::size_t> row;
    LayerSpan layer;
  };
  /// What the chart was made of: it is made anew when this differs.
  struct Shown {
    RunData::Key run;
    ProfilePoint point;
    std::vector<std::int64_t> policies;
    std::int64_t layer = 0;
    std::size_t rows = 0, steps = 0;
    friend bool operator==(const Shown &, const Shown &) = default;
  };

  QWidget *setUpBar();
  void showChoices(const RunData::Run *run);
  std::vector<std::int64_t> chosenPolicies(const RunData::Run &run) const;
  void showStep(const RunData::Run &run, const Shown &shown);
  bool isShown(std::int64_t layer) const; ///< of the layers that are chosen
  void rebuild(const RunData::Run &run);
  void showEmptyText(const RunData::Run &run);
  Step makeStep(const RunData::Run &run, std::int64_t policy) const;
  std::vector<std::string> partNames() const;
  TimelineChart::Part legendPart(const std::string &part) const;
  void addBars(TimelineChart::Data &chart, const RunData::Run &run, std::size_t index,
               const std::vector<std::string> &parts);
  QString heading(const RunData::Run &run, const Step &step) const;
  QString barLabel(int bar) const;
  QString barText(int bar) const;
  QString launchText(const RunData::Run &run, const Step &step, const KernelRow &launch) const;
  QString measuredText(const KernelRow &launch, const PeakRow *peak) const;
  QString sourceText(const RunData::Run &run) const;

  ProfileChooser *m_chooser = nullptr;
  QComboBox *m_against = nullptr, *m_layer = nullptr;
  std::optional<int> m_chosenAgainst; ///< by the user; none: all where they are few
  TimelineChart *m_chart = nullptr;
  QLabel *m_source = nullptr;
  Shown m_shown;
  std::vector<Step> m_steps;
  std::vector<Source> m_sources; ///< one a bar
};

} // namespace xqs

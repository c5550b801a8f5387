// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QComboBox;
class QLabel;
class QStackedWidget;

namespace xqs {

class BarChart;
class ProfileChooser;
class StripChart;
struct TradePoint;

/// The device's traffic while the steps of a profile or a generation ran: sampled bytes a second over time, growing while a
/// run goes on; where nothing was sampled the sentence why, and what a profile's steps moved by count, point by point.
class ThroughputView : public View {
  Q_OBJECT
public:
  ThroughputView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override;
  const ChartCanvas *picture() const override;

private:
  void showNothing();
  void showSamples(const RunData::Run &run);
  void showUnsampled(const RunData::Run &run);
  QString rowTitle(const RunData::Run &run, const ThroughputRow &row) const;
  void fillBars(const RunData::Run &run);
  QString barText(const RunData::Run &run, const TradePoint &trade) const;
  QString policyName(const RunData::Run &run, std::int64_t index, bool brief) const;

  /// Which samples the strip has; it is filled anew when this differs.
  struct Shown {
    RunData::Key run;
    int span = 0;
    std::int64_t policy = -1; ///< of the chosen one alone; -1: all
    ProfilePoint point;
    friend bool operator==(const Shown &, const Shown &) = default;
  };

  QComboBox *m_span = nullptr;
  ProfileChooser *m_chooser = nullptr;
  QStackedWidget *m_pages = nullptr;
  StripChart *m_strip = nullptr;
  BarChart *m_bars = nullptr;
  QLabel *m_note = nullptr;
  Shown m_shown;
  std::size_t m_rows = 0; ///< of the run, looked at so far
};

} // namespace xqs

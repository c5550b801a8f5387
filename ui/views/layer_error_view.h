// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QCheckBox;
class QLabel;

namespace xqs {

class LineChart;
struct LineSeries;

/// Relative errors of K, V and (where rebuilt) X by layer: open loop solid, closed loop dashed, for the selected policy and,
/// paler, for the policy that was previewed last.
class LayerErrorView : public View {
  Q_OBJECT
public:
  LayerErrorView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override { refresh(); }
  const ChartCanvas *picture() const override;

private:
  /// Appends the lines of one policy in one run.
  void addLines(std::vector<LineSeries> &lines, const RunData::Run &run, const PolicyRow &policy, bool previewed) const;

  LineChart *m_chart = nullptr;
  QCheckBox *m_k = nullptr, *m_v = nullptr, *m_x = nullptr;
  QLabel *m_note = nullptr;
};

} // namespace xqs

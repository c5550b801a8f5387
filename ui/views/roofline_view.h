// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/curve_chart.h"
#include "views/view.h"

class QComboBox;
class QLabel;

namespace xqs {

class Judge;
class JudgeLookup;
class RooflineChart;
struct RooflinePoint;

/// Where each policy stands under a machine's roofs: predicted points, and measured ones of a profile drawn over them
/// (core/analysis/roofline). Of the machine, model and point that the verdict is about. Below: the paper's longest contexts
/// before rebuilding costs time.
class RooflineView : public View {
  Q_OBJECT
public:
  RooflineView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override { refresh(); }
  const ChartCanvas *picture() const override;
  const RooflineChart &chart() const { return *m_chart; }

private:
  struct Drawing;
  void addPoints(const Judge &judge, Drawing &drawing) const;
  void addMeasured(const JudgeLookup &judged, Drawing &drawing) const;
  void addRoofs(const Judge &judge, Drawing &drawing) const;
  void showDrawing(const Judge &judge, Drawing drawing);
  void showNote(const Judge &judge);

  QLabel *m_about = nullptr;
  QComboBox *m_scope = nullptr; ///< RooflineScope
  RooflineChart *m_chart = nullptr;
  QLabel *m_note = nullptr;
};

} // namespace xqs

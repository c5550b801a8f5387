// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "analysis/traffic.h"
#include "plot/bar_chart.h"
#include "views/view.h"

class QCheckBox;
class QComboBox;
class QLabel;
class QSplitter;
class QTableView;

namespace xqs {

class KernelPanel;
class ProfileChooser;
class TrafficTable;

/// DRAM bytes of a decoding step by layer and by method, counted from shapes beside measured by counters; below, each
/// policy's step as figures. Or one policy's step by kernel, as a table alone.
class TrafficView : public View {
  Q_OBJECT
public:
  TrafficView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override { refresh(); }
  const ChartCanvas *picture() const override;
  const BarChart &chart() const { return *m_chart; }

private:
  /// One segment of a pair of bars: what was counted and measured of a part, or of everything.
  struct Piece {
    QString title;
    QColor color;
    TrafficSum sum;        ///< its bytes; NaN: not counted, not measured
    std::size_t order = 0; ///< in a stack
  };
  using Pieces = std::vector<Piece>;
  /// Bars of each kind.
  struct Bases {
    int counted = 0, measured = 0;
  };

  QWidget *setUpBar();
  QWidget *makeTable();
  bool byMethod() const;
  bool byKernel() const;
  static Piece pieceOf(const std::string &part, const TrafficSum &sum);
  void showChart(const RunData::Run &run, ProfilePoint point);
  std::vector<std::pair<QString, Pieces>> layerPieces(const RunData::Run &run, ProfilePoint point) const;
  std::vector<std::pair<QString, Pieces>> methodPieces(const RunData::Run &run, ProfilePoint point) const;
  void addGroup(BarChart::Data &chart, const QString &title, const Pieces &pieces) const;
  void showLegend(Bases bases, const std::vector<std::pair<QString, Pieces>> &groups);
  void showTable(const RunData::Run *run, ProfilePoint point);
  QString note(const RunData::Run &run, ProfilePoint point, Bases bases) const;
  void activate(int item);

  ProfileChooser *m_chooser = nullptr;
  QComboBox *m_by = nullptr;
  QCheckBox *m_parts = nullptr;
  BarChart *m_chart = nullptr;
  QLabel *m_note = nullptr;
  TrafficTable *m_table = nullptr;
  QTableView *m_tableView = nullptr;
  QSplitter *m_bars = nullptr; ///< chart and table
  KernelPanel *m_kernels = nullptr;
  std::vector<QString> m_groups; ///< layers, or canonical policies
};

} // namespace xqs

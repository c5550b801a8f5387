// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QComboBox;
class QLabel;
class QSplitter;
class QTableView;
class QTextBrowser;

namespace xqs {

class Judge;
class JudgeBar;
class MatrixChart;
class VerdictTable;
struct VerdictCell;

/// Which method wins bytes, quality and time on a machine: a table at one context and batch, sentences, and a map over
/// contexts and batches (core/analysis/verdict).
class VerdictView : public View {
  Q_OBJECT
public:
  VerdictView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override { refresh(); }
  const ChartCanvas *picture() const override;

protected:
  void resizeEvent(QResizeEvent *event) override;

private:
  QWidget *makeFigures();
  QWidget *makeMap();
  void showFigures(const Judge &judge, ProfilePoint point);
  void fillMapChoice(const Judge &judge);
  void showMap(const Judge &judge, ProfilePoint point);
  /// Which policy a cell of the map shows.
  std::size_t policyOf(const VerdictCell &cell) const;
  void choose(int item);

  JudgeBar *m_bar = nullptr;
  QSplitter *m_split = nullptr;
  VerdictTable *m_table = nullptr;
  QTableView *m_tableView = nullptr;
  QTextBrowser *m_text = nullptr;
  QComboBox *m_of = nullptr; ///< what the map shows: the fastest, or one policy
  MatrixChart *m_map = nullptr;
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/sensitivity_table.h"
#include "views/view.h"

class QComboBox;
class QLabel;
class QStackedWidget;

namespace xqs {

class MatrixChart;

/// What each layer costs by itself: settings over layers, KL as colour on a log scale, from the isolated plans in the open
/// files (core/analysis/sensitivity).
class SensitivityView : public View {
  Q_OBJECT
public:
  SensitivityView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override;
  const ChartCanvas *picture() const override;

Q_SIGNALS:
  void cellChosen(const xqs::LayerChoice &choice); ///< clicked, or Enter
  void studyWanted();                              ///< nothing is measured yet: the study that would

private:
  void setUpEmptyPage();
  void readTables();
  void showTable();
  void choose(int item);

  QStackedWidget *m_pages = nullptr;
  QComboBox *m_which = nullptr;
  QLabel *m_note = nullptr;
  MatrixChart *m_chart = nullptr;
  std::vector<SensitivityTable> m_tables;
  std::size_t m_rowsSeen = 0; ///< windows of all runs when the tables were made: they are made again when it changes
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "views/view.h"

class QButtonGroup;
class QLabel;

namespace xqs {

class HeatmapChart;

/// L x L mean cosine between the layers of the exact model: post-norm X, residual stream, K before RoPE, V (paper, figure
/// 3).
class SimilarityView : public View {
  Q_OBJECT
public:
  SimilarityView(const ViewContext &context, QWidget *parent);
  void refresh() override;
  void applyTheme() override;
  const ChartCanvas *picture() const override;

private:
  const SimilarityRow *row() const;
  QString site() const;

  HeatmapChart *m_chart = nullptr;
  QButtonGroup *m_sites = nullptr;
  QLabel *m_note = nullptr;
};

} // namespace xqs

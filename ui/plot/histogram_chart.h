// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"

#include <cstdint>

namespace xqs {

/// Counts in even bins from `min` to `max`, with the same bins for a second tensor (empty: there is none).
struct HistogramPair {
  double min = 0, max = 0;
  std::vector<std::uint32_t> exact, rebuilt;
  bool empty() const { return exact.empty(); }
  double binWidth() const { return exact.empty() ? 0 : (max - min) / static_cast<double>(exact.size()); }
};

/// One distribution, large: the exact tensor filled, the reconstruction a line over it. Bins are the items.
class HistogramChart : public ChartCanvas {
  Q_OBJECT
public:
  using ChartCanvas::ChartCanvas;
  void setHistogram(HistogramPair pair, const QColor &rebuiltColor);
  void setLogCounts(bool log);
  void setTitles(const QString &x, const QString &exact, const QString &rebuilt);
  const HistogramPair &histogram() const { return m_pair; }

  int itemCount() const override { return static_cast<int>(m_pair.exact.size()); }
  QPointF itemPixel(int item) const override;
  QString itemText(int item) const override;

protected:
  void paintData(QPainter &painter) const override;
  int itemAt(QPointF position) const override;

private:
  void updateAxes();
  HistogramPair m_pair;
  QColor m_color;
  bool m_log = true;
  QString m_xTitle, m_exactTitle, m_rebuiltTitle;
};

/// All layers at a glance: one small histogram a layer, each with its own range, the selected one framed. Layers are the
/// items.
class HistogramGrid : public ChartCanvas {
  Q_OBJECT
public:
  using ChartCanvas::ChartCanvas;
  void setHistograms(std::vector<HistogramPair> layers, const QColor &rebuiltColor);
  void setLogCounts(bool log);
  void setSelected(int layer);
  void setTexts(std::vector<QString> texts) { m_texts = std::move(texts); } ///< tooltips, one a layer

  int itemCount() const override { return static_cast<int>(m_layers.size()); }
  QPointF itemPixel(int item) const override; ///< the cell's centre
  QString itemText(int item) const override;
  QSize minimumSizeHint() const override { return {160, 100}; }

protected:
  void paintData(QPainter &painter) const override;
  void paintCursor(QPainter &painter, int item) const override;
  int itemAt(QPointF position) const override;
  int neighbour(int item, int key) const override;
  bool hasAxes() const override { return false; }

private:
  int columns() const;
  QRectF cell(int layer) const;
  std::vector<HistogramPair> m_layers;
  std::vector<QString> m_texts;
  QColor m_color;
  bool m_log = true;
  int m_selected = 0;
};

} // namespace xqs

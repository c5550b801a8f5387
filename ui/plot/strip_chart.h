// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/chart_canvas.h"

#include <limits>

namespace xqs {

/// Rates that were sampled over time: reads, and writes on top of them, as areas, with a line at the most in each pixel and
/// a dashed one at the peak. Sections stand one behind the other, or where their time says. Samples are the items.
class StripChart : public ChartCanvas {
  Q_OBJECT
public:
  struct Section {
    QString title;                    ///< what ran; shown where it differs from the section before
    double start = 0, interval = 0;   ///< seconds
    std::vector<float> reads, writes; ///< bytes a second, as many of each
    double at = 0;                    ///< on the axis; set by the chart
    double end() const { return at + interval * static_cast<double>(reads.size()); } ///< on the axis
  };

  explicit StripChart(QWidget *parent = nullptr);
  void setTitles(const QString &reads, const QString &writes, const QString &most);
  /// `gaps`: the sections that follow stand where their time says.
  void clear(bool gaps);
  /// Sections in the order of time.
  void append(Section section);
  /// NaN: none is known.
  void setPeak(double bytesPerSecond, const QString &text);
  /// Axes and colours anew: after sections were appended, and when the theme changed.
  void rescale();
  const std::vector<Section> &sections() const { return m_sections; }

  int itemCount() const override { return static_cast<int>(m_count); }
  QPointF itemPixel(int item) const override;
  QString itemText(int item) const override;
  int itemAt(QPointF position) const override;

protected:
  void paintData(QPainter &painter) const override;
  void paintCursor(QPainter &painter, int item) const override;
  int neighbour(int item, int key) const override;

private:
  struct Place {
    std::size_t section = 0, sample = 0;
  };
  Place place(int item) const;
  double middleOf(const Place &place) const; ///< of the sample, after its section's begin
  double total(const Place &place) const;
  void paintSection(QPainter &painter, const Section &section) const;
  void paintTitles(QPainter &painter) const;
  void paintPeak(QPainter &painter) const;

  std::vector<Section> m_sections;
  std::vector<std::size_t> m_begin; ///< item of each section's first sample
  std::size_t m_count = 0;
  double m_most = 0;   ///< bytes a second, reads and writes
  double m_unit = 1e9; ///< bytes a second, one on the y axis
  double m_peak = std::numeric_limits<double>::quiet_NaN();
  bool m_gaps = false;
  QString m_peakText, m_reads, m_writes, m_mostText;
};

} // namespace xqs

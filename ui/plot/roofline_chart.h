// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/curve_chart.h"

namespace xqs {

/// A roofline over log axes: FLOP/s over FLOP a byte. Roofs and points are series of the CurveChart; besides, a vertical
/// line at the ridge point with its name, and names beside points where there is room.
class RooflineChart : public CurveChart {
  Q_OBJECT
public:
  using CurveChart::CurveChart;
  void setRidge(double intensity, const QString &name); ///< NaN: none
  struct Label {
    double x = 0, y = 0; ///< of its point
    QString text;
    QColor color;
    bool below = false; ///< its point lies on a flat roof: rather below or above than beside it
  };
  void setLabels(std::vector<Label> labels);

protected:
  void paintData(QPainter &painter) const override;

private:
  void paintRidge(QPainter &painter) const;
  void paintLabels(QPainter &painter) const;
  double m_ridge = std::nan("");
  QString m_ridgeName;
  std::vector<Label> m_labels;
};

} // namespace xqs

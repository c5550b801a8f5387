// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "plot/axis.h"

#include <QRectF>
#include <QString>

class QFontMetricsF;
class QPainter;

namespace xqs {

class ColorMap;

/// A colour map with its values: what the legend of a map of colours is.
struct ColorBar {
  const ColorMap &map;
  Scale scale = Scale::Linear; ///< Log: colours stand for the logarithm
  Range range;
  QString title;
};

/// Room beside or below a plot; `available`: the length of that side.
QSizeF colorBarSize(const QFontMetricsF &metrics, const QString &title, double available, bool beside);
/// In `rect`, upright where it is higher than wide; `plot` is what the bar stands along.
void paintColorBar(QPainter &painter, const QRectF &rect, const QRectF &plot, const ColorBar &bar);

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/size_bar.h"

#include "cache/layout.h"
#include "theme.h"

#include <QPainter>

#include <algorithm>
#include <numeric>

namespace xqs {

SizeBar::SizeBar(QWidget *parent) : QWidget(parent) {
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
  setAccessibleName(tr("Parts of the cache against FP16"));
}

void SizeBar::setSizes(const CacheBytes &bytes, std::int64_t fp16Bytes, const QColor &color) {
  m_parts = {static_cast<double>(bytes.codes), static_cast<double>(bytes.scales), static_cast<double>(bytes.outliers),
             static_cast<double>(bytes.residual)};
  m_fp16 = 8.0 * static_cast<double>(fp16Bytes);
  m_color = color;
  setToolTip(
      tr("Frame: the model's own FP16 cache. Filled, from the left: codes, scales and zeros, outlier channels, residual "
         "tokens."));
  update();
}

void SizeBar::paintEvent(QPaintEvent *) {
  QPainter painter(this);
  const Theme::Colors &c = Theme::current().colors();
  const QRectF frame = QRectF(rect()).adjusted(0.5, 2.5, -0.5, -2.5);
  painter.fillRect(frame, c.background);
  if (m_fp16 > 0) {
    // A cache larger than FP16 fills the bar; the mark then shows where FP16 ends.
    const double full = std::max(m_fp16, std::accumulate(m_parts.begin(), m_parts.end(), 0.0));
    constexpr std::array<float, 4> kStrength = {1.0f, 0.62f, 0.4f, 0.22f};
    double x = frame.left();
    for (std::size_t i = 0; i < m_parts.size(); ++i) {
      const double width = frame.width() * m_parts[i] / full;
      QColor color = m_color;
      color.setAlphaF(kStrength[i]);
      painter.fillRect(QRectF(x, frame.top(), width, frame.height()), color);
      x += width;
    }
    const double end = frame.left() + frame.width() * m_fp16 / full;
    painter.setPen(c.text);
    if (end < frame.right() - 1) painter.drawLine(QPointF(end, frame.top()), QPointF(end, frame.bottom()));
  }
  painter.setPen(c.border);
  painter.drawRect(frame);
}

} // namespace xqs

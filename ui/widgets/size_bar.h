// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QWidget>

#include <array>
#include <cstdint>

namespace xqs {

struct CacheBytes;

/// The parts of a cache as one stacked bar whose frame is the FP16 cache: how much is codes and what the rest costs.
class SizeBar : public QWidget {
  Q_OBJECT
public:
  explicit SizeBar(QWidget *parent = nullptr);
  /// `fp16Bytes`: the model's own FP16 KV.
  void setSizes(const CacheBytes &bytes, std::int64_t fp16Bytes, const QColor &color);
  QSize sizeHint() const override { return {200, 16}; }
  QSize minimumSizeHint() const override { return {80, 16}; }

protected:
  void paintEvent(QPaintEvent *event) override;

private:
  std::array<double, 4> m_parts{}; ///< bits: codes, scales and zeros, outliers, residual
  double m_fp16 = 0;               ///< bits
  QColor m_color;
};

} // namespace xqs

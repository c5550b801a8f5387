// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QString>

#include <cstdint>

/// How figures are written, in one place. Decimal points and ASCII digits whatever the locale: figures are copied into
/// papers.
namespace xqs {

/// `digits` significant digits without an exponent between 1e-4 and 1e6: "0.0312", "13.2", "46600", "1.2e+07". NaN: "–".
QString formatNumber(double value, int digits = 3);
/// "3.4 MiB", "512 B": binary units, 3 significant digits.
QString formatBytes(std::int64_t bytes);
/// What an axis that reaches to `bytes` counts in: {1048576, "MiB"}.
struct ByteUnit {
  double bytes = 1;
  QString name;
};
ByteUnit byteUnitFor(double bytes);
/// 0.128 -> "12.8 %".
QString formatPercent(double fraction);
/// "1.04 ×" for ppl over FP16's ppl, four digits below 2 (differences of a percent matter), "1520 ×" beyond.
QString formatRatio(double ratio);
/// "0.41 s", "2 min 05 s", "1 h 02 min".
QString formatSeconds(double seconds);
/// "312 ns", "12.3 µs", "1.24 ms", "2.1 s".
QString formatNanoseconds(double nanoseconds);
/// Bytes a second as in data sheets: "812 GB/s", "4.8 TB/s", powers of ten.
QString formatRate(double bytesPerSecond);
/// What an axis that reaches to this rate counts in: {1e9, "GB/s"} or {1e12, "TB/s"}.
struct RateUnit {
  double bytesPerSecond = 1e9;
  QString name;
};
RateUnit rateUnitFor(double bytesPerSecond);
/// 12345678 -> "12.3 M": counts on axes.
QString formatCount(double count);
/// A linear tick with the decimals that `step` needs; from steps of 1000 on in k, from 100,000 on in M.
QString formatTick(double value, double step);
/// A log tick: plain from 0.001 to 99999, else a power of ten with superscript digits.
QString formatLogTick(double value);

} // namespace xqs

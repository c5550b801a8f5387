// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/format.h"

#include <QLocale>

#include <algorithm>
#include <array>
#include <cmath>

namespace xqs {

namespace {

const QString kNothing = QStringLiteral("–");
constexpr std::array<const char *, 5> kByteUnits{"B", "KiB", "MiB", "GiB", "TiB"};

QString fixed(double value, int decimals) {
  return QLocale::c().toString(value, 'f', std::clamp(decimals, 0, 12)).remove(u',');
}

int exponentOf(double value) { return static_cast<int>(std::floor(std::log10(std::abs(value)))); }

QString superscript(int number) {
  static const QString digits = QStringLiteral("⁰¹²³⁴⁵⁶⁷⁸⁹");
  QString result = number < 0 ? QStringLiteral("⁻") : QString();
  for (QChar c : QString::number(std::abs(number))) result += digits[c.digitValue()];
  return result;
}

} // namespace

QString formatNumber(double value, int digits) {
  if (std::isnan(value)) return kNothing;
  if (std::isinf(value)) return value > 0 ? QStringLiteral("∞") : QStringLiteral("−∞");
  if (value == 0) return QStringLiteral("0");
  const int exponent = exponentOf(value);
  if (exponent < -4 || exponent >= 6) return QString::number(value, 'e', std::max(digits - 1, 0));
  const double unit = std::pow(10.0, exponent - digits + 1); // 46578 -> 46600
  const double rounded = std::round(value / unit) * unit;
  return fixed(rounded, digits - 1 - exponentOf(rounded));
}

QString formatBytes(std::int64_t bytes) {
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (std::abs(value) >= 1024 && unit + 1 < kByteUnits.size()) value /= 1024, ++unit;
  return (unit == 0 ? QString::number(bytes) : formatNumber(value)) + u' ' + QLatin1String(kByteUnits[unit]);
}

ByteUnit byteUnitFor(double bytes) {
  ByteUnit unit{1, QLatin1String(kByteUnits[0])};
  for (std::size_t i = 1; i < kByteUnits.size() && bytes >= 1024 * unit.bytes; ++i)
    unit = {unit.bytes * 1024, QLatin1String(kByteUnits[i])};
  return unit;
}

QString formatPercent(double fraction) {
  return std::isnan(fraction) ? kNothing : formatNumber(fraction * 100) + QStringLiteral(" %");
}

QString formatRatio(double ratio) {
  if (std::isnan(ratio)) return kNothing;
  return formatNumber(ratio, ratio < 2 ? 4 : 3) + QStringLiteral(" ×");
}

QString formatSeconds(double seconds) {
  if (std::isnan(seconds)) return kNothing;
  if (seconds < 60) return formatNumber(seconds) + QStringLiteral(" s");
  const auto total = static_cast<long long>(std::llround(seconds));
  if (total < 3600) return QStringLiteral("%1 min %2 s").arg(total / 60).arg(total % 60, 2, 10, QLatin1Char('0'));
  return QStringLiteral("%1 h %2 min").arg(total / 3600).arg(total / 60 % 60, 2, 10, QLatin1Char('0'));
}

QString formatNanoseconds(double nanoseconds) {
  if (std::isnan(nanoseconds)) return kNothing;
  const double size = std::abs(nanoseconds);
  if (size < 1e3) return formatNumber(nanoseconds) + QStringLiteral(" ns");
  if (size < 1e6) return formatNumber(nanoseconds / 1e3) + QStringLiteral(" µs");
  if (size < 1e9) return formatNumber(nanoseconds / 1e6) + QStringLiteral(" ms");
  return formatSeconds(nanoseconds / 1e9);
}

QString formatRate(double bytesPerSecond) {
  if (std::isnan(bytesPerSecond)) return kNothing;
  const double size = std::abs(bytesPerSecond);
  if (size >= 1e12) return formatNumber(bytesPerSecond / 1e12) + QStringLiteral(" TB/s");
  if (size >= 1e9) return formatNumber(bytesPerSecond / 1e9) + QStringLiteral(" GB/s");
  if (size >= 1e6) return formatNumber(bytesPerSecond / 1e6) + QStringLiteral(" MB/s");
  return formatNumber(bytesPerSecond / 1e3) + QStringLiteral(" kB/s");
}

RateUnit rateUnitFor(double bytesPerSecond) {
  return bytesPerSecond >= 2e12 ? RateUnit{1e12, QStringLiteral("TB/s")} : RateUnit{1e9, QStringLiteral("GB/s")};
}

QString formatCount(double count) {
  if (std::isnan(count)) return kNothing;
  const double size = std::abs(count);
  if (size >= 1e9) return formatNumber(count / 1e9) + QStringLiteral(" G");
  if (size >= 1e6) return formatNumber(count / 1e6) + QStringLiteral(" M");
  if (size >= 1e4) return formatNumber(count / 1e3) + QStringLiteral(" k");
  return formatNumber(count, 4);
}

QString formatTick(double value, double step) {
  if (std::abs(value) < step * 1e-6) return QStringLiteral("0");
  const double unit = step >= 1e5 ? 1e6 : step >= 1e3 ? 1e3 : 1; // one unit an axis: it follows from the step
  const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step / unit) - 1e-9)));
  const QString suffix = unit == 1e6 ? QStringLiteral("M") : unit == 1e3 ? QStringLiteral("k") : QString();
  return fixed(value / unit, decimals).replace(u'-', QChar(0x2212)) + suffix;
}

QString formatLogTick(double value) {
  if (value >= 0.999e-3 && value < 1e5) return QString::number(value, 'g', 6);
  const int exponent = static_cast<int>(std::floor(std::log10(value) + 1e-9));
  const double mantissa = value / std::pow(10.0, exponent);
  const QString power = QStringLiteral("10") + superscript(exponent);
  return std::abs(mantissa - 1) < 1e-6 ? power : QString::number(mantissa, 'g', 2) + QStringLiteral("·") + power;
}

} // namespace xqs

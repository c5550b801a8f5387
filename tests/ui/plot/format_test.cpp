// SPDX-License-Identifier: GPL-3.0-or-later
#include "plot/format.h"

#include <gmock/gmock.h>

#include <cmath>

namespace xqs {
namespace {

TEST(Format, ThreeSignificantDigits) {
  EXPECT_EQ(formatNumber(13.184), QString("13.2"));
  EXPECT_EQ(formatNumber(0.031249), QString("0.0312"));
  EXPECT_EQ(formatNumber(46578), QString("46600"));
  EXPECT_EQ(formatNumber(9.996), QString("10.0"));
  EXPECT_EQ(formatNumber(0.0099996), QString("0.0100"));
  EXPECT_EQ(formatNumber(-4.5), QString("-4.50"));
  EXPECT_EQ(formatNumber(1234567), QString("1.23e+06"));
  EXPECT_EQ(formatNumber(0), QString("0"));
  EXPECT_EQ(formatNumber(std::nan("")), QString("–"));
  EXPECT_EQ(formatNumber(INFINITY), QString("∞"));
  EXPECT_EQ(formatNumber(30.961, 4), QString("30.96"));
}

TEST(Format, Bytes) {
  EXPECT_EQ(formatBytes(0), QString("0 B"));
  EXPECT_EQ(formatBytes(1023), QString("1023 B"));
  EXPECT_EQ(formatBytes(1024), QString("1.00 KiB"));
  EXPECT_EQ(formatBytes(23592960), QString("22.5 MiB"));
  EXPECT_EQ(formatBytes(std::int64_t{5} << 30), QString("5.00 GiB"));
}

TEST(Format, RatiosNearOneKeepTheirPerMille) {
  EXPECT_EQ(formatRatio(1.0123), QString("1.012 ×"));
  EXPECT_EQ(formatRatio(3.027), QString("3.03 ×"));
  EXPECT_EQ(formatRatio(3534), QString("3530 ×"));
}

TEST(Format, SecondsAndPercent) {
  EXPECT_EQ(formatSeconds(0.412), QString("0.412 s"));
  EXPECT_EQ(formatSeconds(125), QString("2 min 05 s"));
  EXPECT_EQ(formatSeconds(3725), QString("1 h 02 min"));
  EXPECT_EQ(formatPercent(0.1406), QString("14.1 %"));
}

TEST(Format, DurationsAndRates) {
  EXPECT_EQ(formatNanoseconds(312), QString("312 ns"));
  EXPECT_EQ(formatNanoseconds(12345), QString("12.3 µs"));
  EXPECT_EQ(formatNanoseconds(1.2345e6), QString("1.23 ms"));
  EXPECT_EQ(formatNanoseconds(2.5e9), QString("2.50 s"));
  EXPECT_EQ(formatRate(4.1e12), QString("4.10 TB/s")); // powers of ten, as data sheets have them
  EXPECT_EQ(formatRate(812e9), QString("812 GB/s"));
  EXPECT_EQ(formatRate(std::nan("")), QString("–"));
  EXPECT_EQ(byteUnitFor(3 << 20).name, QString("MiB"));
  EXPECT_EQ(byteUnitFor(1023).bytes, 1);
}

TEST(Format, LogTicks) {
  EXPECT_EQ(formatLogTick(0.1), QString("0.1"));
  EXPECT_EQ(formatLogTick(1e-4), QString("10⁻⁴"));
  EXPECT_EQ(formatLogTick(2e6), QString("2·10⁶"));
  EXPECT_EQ(formatLogTick(10000), QString("10000"));
}

} // namespace
} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "run/kernel_figures.h"

#include <gmock/gmock.h>

#include <cmath>

namespace xqs {
namespace {

constexpr CounterSet kBytes = CounterSet::Traffic;

KernelRow launch(std::int64_t layer, const char *part, const char *function, std::int64_t call, std::int64_t lane = -1) {
  KernelRow row;
  row.layer = layer, row.lane = lane, row.part = part, row.operation = "operation", row.launch = function, row.call = call;
  return row;
}

RangeRecord kernel(int layer, const char *part, const char *function, double bytes, int lane = -1) {
  RangeRecord range{{static_cast<std::int16_t>(layer), static_cast<std::int16_t>(lane), part}, function, {}};
  range.figures.dramRead = bytes, range.figures.dramWrite = 2 * bytes, range.figures.cycles = 3 * bytes;
  return range;
}

std::vector<double> reads(const std::vector<KernelRow> &rows) {
  std::vector<double> all;
  for (const KernelRow &row : rows) all.push_back(row.measuredRead);
  return all;
}

TEST(KernelFigures, GoToTheLaunchOfTheSamePlaceAndFunction) {
  std::vector<KernelRow> rows{launch(0, "qkv", "gemv", 1), launch(0, "qkv", "rope", 2), launch(1, "qkv", "gemv", 3),
                              launch(0, "attend", "gemv", 4, 0), launch(0, "attend", "gemv", 5, 1)};
  const std::vector<RangeRecord> ranges{kernel(1, "qkv", "gemv", 30), kernel(0, "attend", "gemv", 50, 1),
                                        kernel(0, "qkv", "rope", 20), kernel(0, "attend", "gemv", 40, 0),
                                        kernel(0, "qkv", "gemv", 10)};
  const KernelMatch match = addKernelFigures(rows, kBytes, ranges);
  EXPECT_TRUE(match.same());
  EXPECT_EQ(match.launches, 5);
  EXPECT_EQ(match.missing, 0);
  EXPECT_THAT(reads(rows), testing::ElementsAre(10, 20, 30, 40, 50));
  EXPECT_EQ(rows[1].measuredWrite, 40);
  EXPECT_EQ(rows[1].cycles, 60);
  EXPECT_TRUE(std::isnan(rows[1].cacheHitRate));
}

/// Rows are by start: a queue that runs beside the others may start what was called later first.
TEST(KernelFigures, OfOnePlaceGoInTheOrderOfCalls) {
  std::vector<KernelRow> rows{launch(0, "attend", "copy", 8), launch(0, "attend", "copy", 3), launch(0, "attend", "copy", 3),
                              launch(0, "attend", "copy", 5)};
  const std::vector<RangeRecord> ranges{kernel(0, "attend", "copy", 31), kernel(0, "attend", "copy", 32),
                                        kernel(0, "attend", "copy", 5), kernel(0, "attend", "copy", 8)};
  EXPECT_EQ(addKernelFigures(rows, kBytes, ranges).missing, 0);
  EXPECT_THAT(reads(rows), testing::ElementsAre(8, 31, 32, 5));
}

TEST(KernelFigures, OfWhatWasCountedAnotherNumberOfTimesBelongToNobody) {
  std::vector<KernelRow> rows{launch(0, "cache", "pack", 1), launch(0, "cache", "pack", 2), launch(0, "cache", "norm", 3),
                              launch(1, "cache", "pack", 4)};
  const std::vector<RangeRecord> ranges{kernel(0, "cache", "pack", 1), kernel(0, "cache", "norm", 3),
                                        kernel(1, "cache", "pack", 4), kernel(1, "cache", "pack", 5),
                                        kernel(1, "cache", "close", 6)};
  const KernelMatch match = addKernelFigures(rows, kBytes, ranges);
  EXPECT_FALSE(match.same());
  EXPECT_EQ(match.others, 3);
  EXPECT_EQ(match.missing, 3);
  EXPECT_EQ(match.extra, 1 + 2 + 1);
  for (const std::size_t i : {0, 1, 3}) EXPECT_TRUE(std::isnan(rows[i].measuredRead)) << i;
  EXPECT_EQ(rows[2].measuredRead, 3);
  // A later step that launched what this one did not takes nothing away.
  const std::vector<RangeRecord> later{kernel(0, "cache", "pack", 1), kernel(0, "cache", "pack", 2),
                                       kernel(1, "cache", "pack", 4)};
  EXPECT_EQ(addKernelFigures(rows, kBytes, later).missing, 0);
  EXPECT_THAT(reads(rows), testing::ElementsAre(1, 2, 3, 4));
}

TEST(KernelFigures, CopiesAreNoKernels) {
  std::vector<KernelRow> rows{launch(0, "cache", "memcpy DtoD", 1), launch(0, "cache", "memset", 2),
                              launch(0, "cache", "pack", 3)};
  const KernelMatch match = addKernelFigures(rows, kBytes, std::vector<RangeRecord>{kernel(0, "cache", "pack", 7)});
  EXPECT_TRUE(match.same());
  EXPECT_EQ(match.launches, 1);
  EXPECT_EQ(match.missing, 0);
  EXPECT_TRUE(std::isnan(rows[0].measuredRead) && std::isnan(rows[1].measuredRead));
}

TEST(KernelFigures, WhereNobodyNamesFunctionsOperationsMeet) {
  std::vector<KernelRow> rows{launch(0, "qkv", "", 1), launch(0, "qkv", "", 2)};
  rows[1].operation = "rope";
  const std::vector<RangeRecord> ranges{kernel(0, "qkv", "operation", 1), kernel(0, "qkv", "rope", 2)};
  EXPECT_EQ(addKernelFigures(rows, kBytes, ranges).missing, 0);
  EXPECT_THAT(reads(rows), testing::ElementsAre(1, 2));
}

TEST(KernelFigures, HitRatesComeByThemselvesAndWhatWasDroppedIsMissing) {
  std::vector<KernelRow> rows{launch(0, "qkv", "gemv", 1), launch(0, "qkv", "rope", 2)};
  std::vector<RangeRecord> ranges{kernel(0, "qkv", "gemv", 10), kernel(0, "qkv", "rope", 20)};
  addKernelFigures(rows, kBytes, ranges);
  ranges[0].figures = {}, ranges[0].figures.cacheHitRate = 0.5, ranges[1].figures = {};
  const KernelMatch match = addKernelFigures(rows, CounterSet::HitRate, ranges);
  EXPECT_TRUE(match.same());
  EXPECT_EQ(match.missing, 1);
  EXPECT_EQ(rows[0].cacheHitRate, 0.5);
  EXPECT_THAT(reads(rows), testing::ElementsAre(10, 20)) << "they stay";
  EXPECT_EQ(addKernelFigures(rows, kBytes, {}).others, 2);
}

} // namespace
} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "analysis/kernel_sums.h"

#include <gmock/gmock.h>

#include <cmath>

namespace xqs {
namespace {

KernelRow launch(const char *function, std::int64_t call, std::int64_t duration, double counted) {
  KernelRow row;
  row.operation = "matmul", row.launch = function, row.call = call, row.durationNs = duration, row.bytes = counted;
  row.startNs = 1000 * call;
  return row;
}

/// What the microscope said of a launch.
KernelRow &measured(KernelRow &row, double read, double accesses = 0, double hitRate = std::nan("")) {
  row.measuredRead = read, row.measuredWrite = read / 4, row.measuredSeconds = 1;
  row.cacheAccesses = accesses, row.cacheMisses = accesses / 2, row.tensorInstructions = 7, row.cacheHitRate = hitRate;
  return row;
}

/// One operation is two kernels: a product and the sum of its parts.
std::vector<KernelRow> rows() {
  return {launch("gemv", 1, 100, 4000), launch("gemv", 2, 300, 8000), launch("combine", 2, 200, 0),
          launch("rope", 3, 50, 100)};
}

KernelSum of(const std::vector<KernelRow> &all, const std::string &function) {
  for (const KernelSum &sum : kernelSums(stepKernels(all, 0, 0, 1)))
    if (sum.function == function) return sum;
  ADD_FAILURE() << "no sum of " << function;
  return {};
}

TEST(KernelSums, AFunctionsLaunchesAreOneSumAndTheLongestComesFirst) {
  std::vector<KernelRow> all = rows();
  KernelRow other = all.front();
  other.context = 512; // another point
  all.push_back(other);
  const std::vector<KernelSum> sums = kernelSums(stepKernels(all, 0, 0, 1));
  ASSERT_EQ(sums.size(), 3u);
  EXPECT_EQ(sums[0].function, "gemv");
  EXPECT_EQ(sums[0].launches, 2);
  EXPECT_EQ(sums[0].nanoseconds, 400);
  EXPECT_DOUBLE_EQ(sums[0].share, 400.0 / 650);
  EXPECT_DOUBLE_EQ(sums[0].countedBytes, 12000);
  EXPECT_EQ(sums[1].function, "combine");
  EXPECT_EQ(sums[2].function, "rope");
  EXPECT_TRUE(kernelSums({}).empty());
}

TEST(KernelSums, CountedRatesAreOfWholeOperations) {
  EXPECT_DOUBLE_EQ(of(rows(), "gemv").countedRate(), 12000 / 600e-9) << "with the launches that add its parts up";
  EXPECT_TRUE(std::isnan(of(rows(), "combine").countedRate())) << "its bytes stand on another function";
  EXPECT_TRUE(std::isnan(of(rows(), "gemv").measuredBytes()));
  EXPECT_TRUE(std::isnan(of(rows(), "gemv").measuredRate()));
  EXPECT_TRUE(std::isnan(of(rows(), "gemv").cacheHitRate));
}

TEST(KernelSums, MeasuredFiguresAreOfTheLaunchesThatHaveThem) {
  std::vector<KernelRow> all = rows();
  measured(all[0], 4000, 300, 0.9), measured(all[2], 80, 0);
  KernelSum gemv = of(all, "gemv");
  EXPECT_EQ(gemv.measured, 1) << "of two";
  EXPECT_DOUBLE_EQ(gemv.measuredBytes(), 5000);
  EXPECT_DOUBLE_EQ(gemv.measuredRate(), 5000 / 100e-9) << "over the time of that one";
  EXPECT_DOUBLE_EQ(gemv.cacheHitRate, 0.9);
  measured(all[1], 8000, 100, 0.1);
  gemv = of(all, "gemv");
  EXPECT_EQ(gemv.measured, 2);
  EXPECT_DOUBLE_EQ(gemv.measuredBytes(), 15000);
  EXPECT_DOUBLE_EQ(gemv.measuredRate(), 15000 / 400e-9);
  EXPECT_DOUBLE_EQ(gemv.cacheHitRate, (300 * 0.9 + 100 * 0.1) / 400);
  EXPECT_DOUBLE_EQ(gemv.cacheMisses, 200);
  EXPECT_DOUBLE_EQ(gemv.tensorInstructions, 14);
  EXPECT_TRUE(std::isnan(of(all, "combine").cacheHitRate)) << "nothing came to the cache";
}

/// A CPU whose memory controllers are closed, and which names no functions.
TEST(KernelSums, OperationsWithoutMeasuredBytesKeepTheirCaches) {
  std::vector<KernelRow> all = rows();
  for (KernelRow &row : all) row.launch.clear(), row.measuredSeconds = 1, row.cacheAccesses = 10, row.cacheMisses = 4;
  const KernelSum sum = of(all, "matmul");
  EXPECT_EQ(sum.measured, 4);
  EXPECT_TRUE(std::isnan(sum.measuredBytes()) && std::isnan(sum.measuredRate()));
  EXPECT_DOUBLE_EQ(sum.cacheMisses, 16);
}

} // namespace
} // namespace xqs

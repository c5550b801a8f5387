// SPDX-License-Identifier: Apache-2.0
#include "analysis/timeline.h"

#include <gmock/gmock.h>

#include <cmath>

namespace xqs {
namespace {

KernelRow launch(std::int64_t start, std::int64_t duration, std::int64_t layer, const char *part, std::int64_t call,
                 double bytes = 0, std::int64_t queue = 0) {
  KernelRow row;
  row.policy = 1, row.context = 64, row.batch = 2;
  row.startNs = start, row.durationNs = duration, row.layer = layer, row.part = part, row.call = call, row.bytes = bytes;
  row.queue = queue;
  return row;
}

/// Two layers with a rebuild beside them and logits; not in the order of their start.
std::vector<KernelRow> rows() {
  std::vector<KernelRow> rows{launch(0, 100, 0, "qkv", 1, 3000),        launch(500, 200, -1, "logits", 6, 9000),
                              launch(100, 50, 0, "attend", 2, 1000),    launch(150, 150, 0, "attend", 2),
                              launch(110, 300, 1, "attend", 3, 500, 2), launch(300, 100, 1, "qkv", 4, 3000),
                              launch(400, 100, 1, "attend", 5, 1000)};
  KernelRow other = rows.front();
  other.context = 128;
  rows.push_back(other);
  return rows;
}

TEST(Timeline, AStepIsThePointsRowsByStart) {
  const std::vector<KernelRow> all = rows();
  const StepKernels step = stepKernels(all, 1, 64, 2);
  ASSERT_EQ(step.size(), 7u);
  for (std::size_t i = 1; i < step.size(); ++i) EXPECT_LE(step[i - 1]->startNs, step[i]->startNs);
  EXPECT_EQ(stepLength(step), 700);
  EXPECT_EQ(stepKernels(all, 1, 128, 2).size(), 1u);
  EXPECT_TRUE(stepKernels(all, 0, 64, 2).empty());
  EXPECT_EQ(stepLength({}), 0);
}

TEST(Timeline, PartsHaveTheirTimeAndTheirShareOfIt) {
  const std::vector<KernelRow> all = rows();
  const std::vector<PartTime> parts = partTimes(stepKernels(all, 1, 64, 2));
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].part, "qkv");
  EXPECT_EQ(parts[0].nanoseconds, 200);
  EXPECT_DOUBLE_EQ(parts[0].share, 0.2);
  EXPECT_DOUBLE_EQ(parts[0].countedBytes, 6000);
  EXPECT_EQ(parts[1].part, "attend");
  EXPECT_EQ(parts[1].nanoseconds, 600);
  EXPECT_DOUBLE_EQ(parts[1].countedBytes, 2500);
  EXPECT_EQ(parts[2].part, "logits");
  EXPECT_DOUBLE_EQ(parts[2].share, 0.2);
}

TEST(Timeline, AnOperationIsAllLaunchesOfItsCall) {
  const std::vector<KernelRow> all = rows();
  const auto operations = operationTimes(stepKernels(all, 1, 64, 2));
  ASSERT_EQ(operations.size(), 6u);
  EXPECT_EQ(operations.at(2).launches, 2);
  EXPECT_EQ(operations.at(2).nanoseconds, 200);
  EXPECT_DOUBLE_EQ(operations.at(2).countedBytes, 1000);
  EXPECT_DOUBLE_EQ(operations.at(2).bytesPerSecond(), 5e9) << "1000 bytes in 200 ns";
  EXPECT_TRUE(std::isnan(OperationTime{}.bytesPerSecond()));
}

TEST(Timeline, LayersSpanTheirLaunchesOnTheComputeQueue) {
  const std::vector<KernelRow> all = rows();
  const std::vector<LayerSpan> spans = layerSpans(stepKernels(all, 1, 64, 2));
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].layer, 0);
  EXPECT_EQ(spans[0].startNs, 0);
  EXPECT_EQ(spans[0].endNs, 300);
  EXPECT_EQ(spans[1].layer, 1);
  EXPECT_EQ(spans[1].startNs, 300) << "not where layer 1 is rebuilt ahead";
  EXPECT_EQ(spans[1].endNs, 500);
}

} // namespace
} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "analysis/traffic.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <initializer_list>

using namespace xqs;

namespace {

/// A step of two layers at 100 tokens: layer 0 moves twice what layer 1 does; logits outside. `factor`: of time, bytes and
/// FLOPs of the parts that a method changes.
struct Example {
  std::vector<PolicyRow> policies;
  std::vector<StepRow> steps;
  std::vector<TrafficRow> traffic;

  void addRow(std::int64_t policy, std::int64_t layer, const std::string &part, double bytes, double ratio) {
    TrafficRow row;
    row.policy = policy, row.context = 100, row.layer = layer, row.part = part;
    row.seconds = 1e-9 * bytes, row.countedBytes = bytes, row.countedFlops = 10 * bytes;
    row.measuredSeconds = row.seconds, row.measuredRead = 0.75 * ratio * bytes, row.measuredWrite = 0.25 * ratio * bytes;
    traffic.push_back(row);
  }
  void addPoint(const std::string &policy, std::int64_t cacheBytes, double factor, double ratio = 1.1) {
    const std::int64_t index = std::ssize(policies);
    PolicyRow &row = policies.emplace_back();
    row.index = index, row.policy = policy, row.method = policy.substr(0, policy.find(':'));
    double all = 0;
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      const double scale = layer == 0 ? 2 : 1, cache = 10 * scale * factor, attend = 40 * scale * factor, rest = 50 * scale;
      addRow(index, layer, "cache", cache, ratio), addRow(index, layer, "attend", attend, ratio);
      addRow(index, layer, "feed forward", rest, ratio);
      addRow(index, layer, "", cache + attend + rest, ratio);
      all += cache + attend + rest;
    }
    addRow(index, -1, "logits", 30, ratio), addRow(index, -1, "", 30, ratio);
    StepRow &step = steps.emplace_back();
    step.policy = index, step.context = 100, step.cacheBytes = cacheBytes, step.countedBytes = all + 30;
    step.seconds = 1e-9 * step.countedBytes, step.measuredRead = ratio * 0.7 * step.countedBytes;
    step.measuredWrite = ratio * 0.3 * step.countedBytes;
  }
};

Example example() {
  Example e;
  e.addPoint("xquant:bits=2", 200, 3); // fewer bytes, more work
  e.addPoint("fp16", 1000, 1);
  return e;
}

TEST(SampledTraffic, MeansAreOverTimeAndPeaksOfSingleSamples) {
  const auto row = [](std::int64_t intervalNs, std::initializer_list<float> read, std::initializer_list<float> write) {
    ThroughputRow r;
    r.intervalNs = intervalNs;
    r.read.resize(read.size() * sizeof(float)), r.write.resize(write.size() * sizeof(float));
    std::memcpy(r.read.data(), read.begin(), r.read.size()), std::memcpy(r.write.data(), write.begin(), r.write.size());
    return r;
  };
  SampledTraffic traffic;
  EXPECT_TRUE(std::isnan(traffic.meanRead())) << "nothing was sampled";
  traffic.add(row(1'000'000, {1e9f, 3e9f}, {0, 1e9f}));
  traffic.add(row(6'000'000, {10e9f}, {2e9f})); // three times as long as both before
  EXPECT_EQ(traffic.samples, 3);
  EXPECT_NEAR(traffic.seconds, 8e-3, 1e-12);
  EXPECT_NEAR(traffic.meanRead(), (1 + 3 + 60) / 8.0 * 1e9, 1e3);
  EXPECT_NEAR(traffic.meanWrite(), (0 + 1 + 12) / 8.0 * 1e9, 1e3);
  EXPECT_EQ(traffic.peakRead, 10e9);
  EXPECT_EQ(traffic.peakWrite, 2e9);
}

} // namespace

TEST(Traffic, SumsByLayerPartAndPolicyTakeEveryByteOnce) {
  const Example e = example();
  const ProfileKey xquant{0, 100, 1};
  const auto layers = trafficByLayer(e.traffic, xquant);
  ASSERT_EQ(layers.size(), 3u);
  EXPECT_DOUBLE_EQ(layers.at(-1).countedBytes, 30);
  EXPECT_DOUBLE_EQ(layers.at(0).countedBytes, 2 * (3 * 50 + 50));
  EXPECT_DOUBLE_EQ(layers.at(1).countedBytes, 3 * 50 + 50);
  EXPECT_NEAR(layers.at(0).ratio(), 1.1, 1e-12);
  const auto parts = trafficByPart(e.traffic, xquant);
  EXPECT_DOUBLE_EQ(parts.at("attend").countedBytes, 3 * 3 * 40);
  EXPECT_DOUBLE_EQ(parts.at("attend").countedFlops, 10 * 3 * 3 * 40);
  EXPECT_FALSE(parts.contains(""));
  const auto policies = trafficByPolicy(e.traffic, 100, 1);
  for (const StepRow &step : e.steps) EXPECT_DOUBLE_EQ(policies.at(step.policy).countedBytes, step.countedBytes);
  EXPECT_TRUE(trafficByPolicy(e.traffic, 200, 1).empty());
  EXPECT_DOUBLE_EQ(cacheTraffic(e.traffic, xquant).countedBytes, 3 * 3 * 50);
}

TEST(Traffic, TheHitRateOfASumIsThatOfItsAccesses) {
  TrafficRow a, b;
  a.cacheAccesses = 300, a.cacheMisses = 30, a.cacheHitRate = 0.9, a.cycles = 7;
  b.cacheAccesses = 100, b.cacheMisses = 80, b.cacheHitRate = 0.1, b.cycles = 5;
  TrafficSum sum;
  sum.add(a), sum.add(b);
  EXPECT_DOUBLE_EQ(sum.cacheHitRate(), (300 * 0.9 + 100 * 0.1) / 400);
  EXPECT_DOUBLE_EQ(sum.cacheMisses, 110);
  EXPECT_DOUBLE_EQ(sum.cycles, 12);
  b.cacheHitRate = std::nan("");
  sum.add(b);
  EXPECT_TRUE(std::isnan(sum.cacheHitRate()));
}

TEST(Traffic, TheSumOverLayersIsComparedWithTheStepThatWasMeasuredByItself) {
  Example e = example();
  EXPECT_NEAR(layersBesideStep(e.steps[0], e.traffic), 0, 1e-12);
  e.steps[0].measuredRead *= 1.1; // 0.7 of the step
  EXPECT_NEAR(layersBesideStep(e.steps[0], e.traffic), 1 / 1.07 - 1, 1e-12);
  e.steps[0].measuredRead = std::nan("");
  EXPECT_TRUE(std::isnan(layersBesideStep(e.steps[0], e.traffic)));
  EXPECT_TRUE(std::isnan(layersBesideStep(e.steps[1], {})));
}

TEST(Traffic, APointIsComparedWithFp16AtItsContextAndBatch) {
  Example e = example();
  const std::vector<TradePoint> points = tradePoints(e.policies, e.steps, e.traffic);
  ASSERT_EQ(points.size(), 2u);
  const TradePoint &xquant = points[0], &fp16 = points[1];
  EXPECT_EQ(xquant.policy, "xquant:bits=2");
  EXPECT_EQ(xquant.method, "xquant");
  EXPECT_EQ(xquant.savedBytes, 800);
  EXPECT_NEAR(xquant.savedMeasured, -1.1 * 2 * 150, 1e-9) << "it moved more";
  EXPECT_DOUBLE_EQ(xquant.rebuildFlops, 10 * 2 * 150);
  EXPECT_NEAR(xquant.extraSeconds, 1e-9 * 2 * 150, 1e-18);
  EXPECT_NEAR(xquant.cacheShare, 450.0 / 630, 1e-12);
  EXPECT_NEAR(xquant.stepRatio, 630.0 / 330, 1e-12);
  EXPECT_NEAR(xquant.countedRate(), 1e9, 1);
  EXPECT_NEAR(xquant.measuredRate(), 1.1e9, 1);
  EXPECT_EQ(fp16.savedBytes, 0);
  EXPECT_EQ(fp16.stepRatio, 1);
}

TEST(Traffic, ABatchReadsEveryCacheAndWhatIsMissingIsNoZero) {
  Example e = example();
  e.steps.erase(e.steps.begin() + 1); // no FP16
  e.steps[0].batch = 4;               // traced nowhere
  const std::vector<TradePoint> points = tradePoints(e.policies, e.steps, e.traffic);
  ASSERT_EQ(points.size(), 1u);
  EXPECT_EQ(points[0].cacheBytes, 800);
  for (const double figure : {points[0].savedBytes, points[0].rebuildFlops, points[0].extraSeconds, points[0].stepRatio,
                              points[0].cacheShare, points[0].cache.countedBytes})
    EXPECT_TRUE(std::isnan(figure));
}

TEST(Traffic, AFigureThatOneRowLacksIsMissingInTheSum) {
  Example e = example();
  e.traffic[0].measuredWrite = std::nan("");
  const TrafficSum cache = cacheTraffic(e.traffic, {0, 100, 1});
  EXPECT_TRUE(std::isnan(cache.measuredBytes()));
  EXPECT_TRUE(std::isnan(cache.ratio()));
  EXPECT_GT(cache.measuredRead, 0);
  EXPECT_GT(cache.countedBytes, 0);
}

TEST(Traffic, PointsStandByContextThenBatchThenPolicy) {
  std::vector<PolicyRow> policies(2);
  policies[0].policy = "fp16", policies[1].index = 1, policies[1].policy = "kivi:bits=2";
  std::vector<StepRow> steps;
  for (const auto &[policy, context, batch] : {std::array{1, 20, 1}, {0, 20, 1}, {0, 10, 2}, {1, 10, 1}, {0, 10, 1}}) {
    StepRow &step = steps.emplace_back();
    step.policy = policy, step.context = context, step.batch = batch;
  }
  std::vector<ProfileKey> keys;
  for (const TradePoint &point : tradePoints(policies, steps, {})) keys.push_back(point.key);
  EXPECT_THAT(keys, testing::ElementsAre(ProfileKey{0, 10, 1}, ProfileKey{1, 10, 1}, ProfileKey{0, 10, 2},
                                         ProfileKey{0, 20, 1}, ProfileKey{1, 20, 1}));
}

TEST(Traffic, TheLastRowOfAnInstrumentSays) {
  std::vector<InstrumentRow> rows(3);
  rows[0].instrument = rows[2].instrument = "timeline", rows[1].instrument = "counters";
  rows[2].dropped = 7;
  const std::vector<InstrumentRow> last = lastInstruments(rows);
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[0].dropped, 7);
  EXPECT_EQ(last[1].instrument, "counters");
  std::vector<PeakRow> peaks(1);
  peaks[0].name = "copy";
  EXPECT_EQ(peakOf(peaks, "copy"), peaks.data());
  EXPECT_EQ(peakOf(peaks, "matmul"), nullptr);
}

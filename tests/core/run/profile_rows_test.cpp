// SPDX-License-Identifier: Apache-2.0
#include "run/profile_rows.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

namespace xqs {
namespace {

constexpr PointKey kKey{1, 2, 300, 4};

KernelRecord record(int layer, int lane, const char *part, const char *operation, std::int64_t startNs, double bytes) {
  KernelRecord r{
      {static_cast<std::int16_t>(layer), static_cast<std::int16_t>(lane), part}, operation, startNs, 100, bytes, 2 * bytes};
  return r;
}

RangeRecord range(int layer, const char *part, double bytes, double accesses = kNotMeasured, double hitRate = kNotMeasured) {
  RangeRecord r;
  r.tag = {static_cast<std::int16_t>(layer), -1, part};
  r.figures.dramRead = bytes, r.figures.dramWrite = bytes / 2, r.figures.seconds = 1e-9 * bytes;
  r.figures.cacheAccesses = accesses, r.figures.cacheHitRate = hitRate;
  return r;
}

const TrafficRow &find(const std::vector<TrafficRow> &rows, std::int64_t layer, const std::string &part) {
  for (const TrafficRow &row : rows)
    if (row.layer == layer && row.part == part) return row;
  ADD_FAILURE() << "no row of layer " << layer << " '" << part << "'";
  return rows.front();
}

std::vector<KernelRecord> timeline() {
  return {record(-1, -1, "embedding", "embed", 1000, 10), record(0, -1, "cache", "copy", 1200, 0),
          record(0, 0, "attend", "attention", 1400, 100), record(1, -1, "cache", "copy", 1450, 20),
          record(0, 1, "attend", "attention", 1600, 100), record(-1, -1, "logits", "matmul", 1900, 30)};
}

TEST(ProfileRows, ALaunchIsARowWithTimesFromTheFirstOn) {
  const std::vector<KernelRecord> records = timeline();
  const std::vector<KernelRow> rows = kernelRows(kKey, records);
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows[0].startNs, 0);
  EXPECT_EQ(rows[5].startNs, 900);
  EXPECT_EQ(rows[4].sequence, 4);
  EXPECT_EQ(rows[4].lane, 1);
  EXPECT_EQ(rows[4].part, "attend");
  EXPECT_EQ(rows[4].operation, "attention");
  EXPECT_EQ(rows[4].bytes, 100);
  for (const KernelRow &row : rows) EXPECT_TRUE(row.run == 1 && row.policy == 2 && row.context == 300 && row.batch == 4);
  EXPECT_TRUE(kernelRows(kKey, {}).empty());
}

TEST(ProfileRows, LanesOfALayersPartAreOneRowAndALayerHasOneOfEverything) {
  const std::vector<TrafficRow> rows = trafficRows(kKey, timeline());
  EXPECT_EQ(rows.size(), 3u + 3u + 2u); // -1: embedding, logits, all; 0: cache, attend, all; 1: cache, all
  EXPECT_EQ(find(rows, 0, "attend").countedBytes, 200);
  EXPECT_EQ(find(rows, 0, "attend").countedFlops, 400);
  EXPECT_NEAR(find(rows, 0, "").seconds, 300e-9, 1e-15);
  EXPECT_EQ(find(rows, -1, "").countedBytes, 40);
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end(), [](const auto &a, const auto &b) { return a.layer < b.layer; }));
  for (const TrafficRow &row : rows) {
    EXPECT_TRUE(std::isnan(row.measuredRead) && std::isnan(row.measuredWrite) && std::isnan(row.measuredSeconds));
    EXPECT_TRUE(std::isnan(row.cacheAccesses) && std::isnan(row.cacheMisses) && std::isnan(row.cacheHitRate));
    EXPECT_TRUE(std::isnan(row.cycles) && std::isnan(row.tensorInstructions));
  }
}

TEST(ProfileRows, RangesOfALayersPartAreSummed) {
  std::vector<TrafficRow> rows = trafficRows(kKey, timeline());
  const std::vector<RangeRecord> ranges = {range(-1, "embedding", 8), range(0, "attend", 100), range(1, "cache", 20),
                                           range(0, "attend", 60), range(1, "qkv", 4)};
  addCounted(rows, kKey, ranges);
  EXPECT_EQ(find(rows, 0, "attend").measuredRead, 160);
  EXPECT_EQ(find(rows, 0, "attend").measuredWrite, 80);
  EXPECT_EQ(find(rows, 0, "").measuredRead, 160);
  EXPECT_EQ(find(rows, 1, "").measuredRead, 24);
  EXPECT_EQ(find(rows, 1, "qkv").measuredRead, 4) << "a range that the timeline does not know";
  EXPECT_EQ(find(rows, 1, "qkv").countedBytes, 0);
  EXPECT_TRUE(std::isnan(find(rows, 0, "cache").measuredRead)) << "no range of it";
  EXPECT_TRUE(std::isnan(find(rows, 0, "attend").cycles)) << "not counted at all";
  EXPECT_EQ(stepBytes(ranges).read, 192);
  EXPECT_EQ(stepBytes(ranges).write, 96);
  EXPECT_TRUE(std::isnan(stepBytes({}).read));
}

TEST(ProfileRows, RangesOfLayersTellLayersAlone) {
  std::vector<TrafficRow> rows = trafficRows(kKey, timeline());
  const std::vector<RangeRecord> ranges = {range(0, "", 100), range(1, "", 20), range(0, "", 50)};
  addCounted(rows, kKey, ranges);
  EXPECT_EQ(find(rows, 0, "").measuredRead, 150);
  EXPECT_TRUE(std::isnan(find(rows, 0, "attend").measuredRead));
}

TEST(ProfileRows, WithoutATimelineNothingIsCounted) {
  std::vector<TrafficRow> rows;
  addCounted(rows, kKey, std::vector<RangeRecord>{range(0, "attend", 100), range(0, "cache", 20)});
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(find(rows, 0, "").measuredRead, 120);
  for (const TrafficRow &row : rows)
    EXPECT_TRUE(std::isnan(row.seconds) && std::isnan(row.countedBytes) && std::isnan(row.countedFlops)) << row.part;
}

TEST(ProfileRows, ARangeWithoutAFigureLeavesTheSumWithoutIt) {
  std::vector<TrafficRow> rows = trafficRows(kKey, timeline());
  std::vector<RangeRecord> ranges = {range(0, "attend", 100), range(0, "attend", 60)};
  ranges[1].figures.dramWrite = kNotMeasured;
  addCounted(rows, kKey, ranges);
  EXPECT_EQ(find(rows, 0, "attend").measuredRead, 160);
  EXPECT_TRUE(std::isnan(find(rows, 0, "attend").measuredWrite));
  EXPECT_TRUE(std::isnan(stepBytes(ranges).write));
}

TEST(ProfileRows, HitRatesAreWeightedWithAccesses) {
  std::vector<TrafficRow> rows = trafficRows(kKey, timeline());
  const std::vector<RangeRecord> traffic = {range(0, "attend", 1, 900), range(0, "cache", 1, 50),
                                            range(0, "attend", 1, 100)};
  const std::vector<RangeRecord> hits = {range(0, "attend", 1, kNotMeasured, 0.5), range(0, "cache", 1, kNotMeasured, 1),
                                         range(0, "attend", 1, kNotMeasured, 0.9)};
  addHitRates(rows, hits, traffic);
  EXPECT_NEAR(find(rows, 0, "attend").cacheHitRate, 0.54, 1e-12);
  EXPECT_NEAR(find(rows, 0, "").cacheHitRate, (450 + 90 + 50) / 1050.0, 1e-12);
  EXPECT_TRUE(std::isnan(find(rows, 1, "").cacheHitRate));
  addHitRates(rows, hits, {}); // nothing to weight with
  EXPECT_NEAR(find(rows, 0, "attend").cacheHitRate, 0.7, 1e-12);
}

std::vector<float> floats(const Blob &blob) {
  std::vector<float> values(blob.size() / sizeof(float));
  std::memcpy(values.data(), blob.data(), blob.size());
  return values;
}

TEST(ProfileRows, SamplesAreRatesAndAGapBeginsANewRow) {
  const std::vector<ThroughputSample> samples = {{5000, 6000, 1000, 500}, {6000, 7010, 2020, 0},
                                                 {7010, 8000, 990, 99},   // one stretch, a little uneven
                                                 {20000, 21000, 3000, 0}, // after a gap
                                                 {21000, 25000, 4000, 0}, // another interval
                                                 {25000, 25000, 1, 1}};   // nothing
  const std::vector<ThroughputRow> rows = throughputRows(kKey, samples, 4000);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].startNs, 1000);
  EXPECT_EQ(rows[0].intervalNs, 1000);
  EXPECT_THAT(floats(rows[0].read), testing::ElementsAre(1e9f, 2e9f, 1e9f));
  EXPECT_THAT(floats(rows[0].write), testing::ElementsAre(0.5e9f, 0, 0.1e9f));
  EXPECT_EQ(rows[1].startNs, 16000);
  EXPECT_THAT(floats(rows[1].read), testing::ElementsAre(3e9f));
  EXPECT_EQ(rows[2].intervalNs, 4000);
  EXPECT_THAT(floats(rows[2].read), testing::ElementsAre(1e9f));
  EXPECT_TRUE(throughputRows(kKey, {}, 0).empty());
}

TEST(ProfileRows, AnInstrumentIsARowWithItsSentence) {
  const InstrumentRow row = instrumentRow(
      7, {Instrument::Counters, InstrumentState::NoPermission, "not for you", "perf", "a b", kNotMeasured, 3}, 11);
  EXPECT_EQ(row.run, 7);
  EXPECT_EQ(row.instrument, "counters");
  EXPECT_EQ(row.state, "no-permission");
  EXPECT_EQ(row.sentence, "not for you");
  EXPECT_EQ(row.source, "perf");
  EXPECT_EQ(row.metrics, "a b");
  EXPECT_EQ(row.dropped, 11);
  EXPECT_TRUE(std::isnan(row.selfTestExpected));
  EXPECT_EQ(row.selfTestRead, 3);
}

} // namespace
} // namespace xqs

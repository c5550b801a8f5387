// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include "store/merge.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>

using namespace xqs;
using namespace xqs::test;
using testing::HasSubstr;
namespace fs = std::filesystem;

namespace {

RunRow studyRun(const std::string &key = "key") {
  RunRow run = exampleRun();
  run.study = "bits", run.studyKey = key, run.uuid = "uuid of " + key;
  return run;
}

/// A shard: the exact windows and some policies over two windows.
void writeShard(const fs::path &file, const std::vector<std::int64_t> &policies, const RunRow &row = studyRun(),
                double exactNll = 3) {
  RunStore store(file);
  const RowId run = store.beginRun(row);
  for (const std::int64_t index : policies) {
    PolicyRow policy;
    policy.run = run, policy.index = index, policy.policy = "policy " + std::to_string(index);
    store.append(policy);
  }
  for (std::int64_t window = 0; window < 2; ++window) {
    std::vector<std::int64_t> all = {-1};
    all.insert(all.end(), policies.begin(), policies.end());
    for (const std::int64_t index : all) {
      WindowRow score;
      score.run = run, score.policy = index, score.window = window;
      score.meanNll = exactNll + 0.1 * static_cast<double>(index + 1 + 10 * window);
      PositionRow position;
      position.run = run, position.policy = index, position.window = window, position.sameTop = {1};
      store.append(std::vector<Record>{score, position});
    }
  }
  store.append(exampleEnd(run));
}

std::vector<std::pair<std::int64_t, std::int64_t>> pointsIn(const fs::path &file) {
  RunReader reader(file);
  std::vector<std::pair<std::int64_t, std::int64_t>> points;
  for (const WindowRow &row : reader.rowsAfter<WindowRow>(0)) points.emplace_back(row.policy, row.window);
  std::sort(points.begin(), points.end());
  return points;
}

} // namespace

TEST(Merge, ShardsOfOneStudyBecomeOneRun) {
  const TempFolder folder;
  writeShard(folder / "1.xqs", {0, 2}), writeShard(folder / "2.xqs", {1});
  const fs::path in[] = {folder / "1.xqs", folder / "2.xqs"};
  const MergeResult result = mergeStores(folder / "all.xqs", in);
  EXPECT_EQ(result.newRuns, 1);
  EXPECT_EQ(result.points, 6);
  RunReader reader(folder / "all.xqs");
  EXPECT_EQ(reader.rowsAfter<RunRow>(0).size(), 1u);
  EXPECT_EQ(reader.rowsAfter<PolicyRow>(0).size(), 3u);
  EXPECT_EQ(reader.rowsAfter<PositionRow>(0).size(), 8u);
  const decltype(pointsIn("")) expected = {{-1, 0}, {-1, 1}, {0, 0}, {0, 1}, {1, 0}, {1, 1}, {2, 0}, {2, 1}};
  EXPECT_EQ(pointsIn(folder / "all.xqs"), expected);
  const auto ends = reader.rowsAfter<RunEndRow>(0);
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(ends[0].status, "finished");
  EXPECT_EQ(ends[0].seconds, 3.0);
}

TEST(Merge, TwiceIsOnceAndAPartIsCompletedLater) {
  const TempFolder folder;
  writeShard(folder / "1.xqs", {0}), writeShard(folder / "2.xqs", {1});
  const fs::path one[] = {folder / "1.xqs"}, both[] = {folder / "1.xqs", folder / "2.xqs"};
  mergeStores(folder / "all.xqs", one);
  EXPECT_EQ(mergeStores(folder / "all.xqs", one).points, 0);
  EXPECT_EQ(RunReader(folder / "all.xqs").rowsAfter<RunEndRow>(0).size(), 1u) << "nothing new, no new end";
  EXPECT_EQ(mergeStores(folder / "all.xqs", both).points, 2);
  EXPECT_EQ(pointsIn(folder / "all.xqs").size(), 6u);
  EXPECT_EQ(mergeStores(folder / "all.xqs", both).newRuns, 0);
}

TEST(Merge, OtherRunsAreCopiedOnce) {
  const TempFolder folder;
  RunRow eval = exampleRun(), other = exampleRun();
  other.uuid = "another";
  eval.studyKey = other.studyKey = "key"; // the same setting, but no study: two runs
  writeShard(folder / "1.xqs", {0}, eval), writeShard(folder / "2.xqs", {1}, other);
  writeShard(folder / "3.xqs", {0}, studyRun("a")), writeShard(folder / "4.xqs", {1}, studyRun("b"));
  const fs::path in[] = {folder / "1.xqs", folder / "2.xqs", folder / "3.xqs", folder / "4.xqs"};
  EXPECT_EQ(mergeStores(folder / "all.xqs", in).newRuns, 4);
  EXPECT_EQ(mergeStores(folder / "all.xqs", in).newRuns, 0);
  RunReader reader(folder / "all.xqs");
  EXPECT_EQ(reader.rowsAfter<WindowRow>(0).size(), 16u);
  EXPECT_EQ(reader.rowsAfter<RunEndRow>(0).size(), 4u);
}

TEST(Merge, AKilledPartIsTaken) {
  const TempFolder folder;
  writeShard(folder / "1.xqs", {0});
  inChild([&] {
    RunStore store(folder / "2.xqs");
    WindowRow row;
    row.run = store.beginRun(studyRun()), row.policy = 5, row.meanNll = 1;
    store.append(row);
    store.flush();
    return ::raise(SIGKILL);
  });
  const fs::path in[] = {folder / "1.xqs", folder / "2.xqs"};
  mergeStores(folder / "all.xqs", in);
  EXPECT_THAT(pointsIn(folder / "all.xqs"), testing::Contains(std::pair<std::int64_t, std::int64_t>(5, 0)));
  const RunEndRow end = RunReader(folder / "all.xqs").rowsAfter<RunEndRow>(0).at(0);
  EXPECT_EQ(end.status, "cancelled");
  EXPECT_THAT(end.message, HasSubstr("1 had not finished"));
}

TEST(Merge, ADifferentMeaningIsRefusedBeforeAnythingIsWritten) {
  const TempFolder folder;
  writeShard(folder / "1.xqs", {0});
  {
    RunStore store(folder / "2.xqs");
    PolicyRow policy;
    policy.run = store.beginRun(studyRun()), policy.index = 0, policy.policy = "something else";
    store.append(policy);
  }
  writeShard(folder / "3.xqs", {1}, studyRun(), 3.01);
  for (const char *other : {"2.xqs", "3.xqs"}) {
    const fs::path in[] = {folder / "1.xqs", folder / other};
    const auto [code, text] = errorOf([&] { mergeStores(folder / "all.xqs", in); });
    EXPECT_EQ(code, Code::Usage);
    EXPECT_THAT(text, HasSubstr("1.xqs"));
    EXPECT_THAT(text, HasSubstr(other));
    EXPECT_FALSE(fs::exists(folder / "all.xqs"));
  }
  writeShard(folder / "4.xqs", {1}, studyRun(), 3.000001); // another machine's rounding
  const fs::path in[] = {folder / "1.xqs", folder / "4.xqs"};
  EXPECT_EQ(mergeStores(folder / "all.xqs", in).points, 4);
  const fs::path self[] = {folder / "all.xqs"}, none[] = {folder / "none.xqs"};
  EXPECT_EQ(errorOf([&] { mergeStores(folder / "all.xqs", self); }).first, Code::Usage);
  EXPECT_EQ(errorOf([&] { mergeStores(folder / "all.xqs", none); }).first, Code::NotFound);
}

TEST(Merge, AGenerationIsCopiedTokenByTokenOnce) {
  const TempFolder folder;
  RunRow row = exampleRun();
  row.kind = "generate";
  const auto write = [&](const fs::path &file, std::int64_t tokens) { // the same run, read earlier and later
    RunStore store(file);
    const RowId run = store.beginRun(row);
    for (std::int64_t step = 0; step < tokens; ++step)
      for (const std::int64_t policy : {-1, 0}) {
        GeneratedRow token;
        token.run = run, token.policy = policy, token.step = step, token.token = 100 * policy + step;
        store.append(token);
      }
  };
  write(folder / "1.xqs", 3), write(folder / "2.xqs", 5);
  const fs::path in[] = {folder / "1.xqs", folder / "2.xqs", folder / "1.xqs"};
  EXPECT_EQ(mergeStores(folder / "all.xqs", in).newRuns, 1);
  const auto tokens = RunReader(folder / "all.xqs").rowsAfter<GeneratedRow>(0);
  ASSERT_EQ(tokens.size(), 10u);
  for (const GeneratedRow &token : tokens) EXPECT_EQ(token.token, 100 * token.policy + token.step);
}

TEST(Merge, EveryRecordKindIsCopied) {
  const TempFolder folder;
  {
    RunStore store(folder / "1.xqs");
    const RowId run = store.beginRun(studyRun());
    [&]<class... T>(RecordList<RunRow, T...>) {
      const auto append = [&](auto row) {
        row.run = run;
        store.append(Record(row));
      };
      (append(T{}), ...);
    }(AllRecords{});
  }
  const fs::path in[] = {folder / "1.xqs"};
  mergeStores(folder / "all.xqs", in);
  const auto json = nlohmann::json::parse(exportJson(folder / "all.xqs"));
  for (const auto &[table, rows] : json.items()) EXPECT_TRUE(!rows.is_array() || rows.size() == 1u) << table;
}

TEST(Merge, AProfileIsCopiedWithEveryPointOnce) {
  const TempFolder folder;
  {
    RunStore store(folder / "1.xqs");
    RunRow row = exampleRun();
    row.kind = "profile", row.uuid = "a profile";
    const RowId run = store.beginRun(row);
    const auto at = [&]<class T>(T point, std::int64_t context) {
      point.run = run, point.context = context;
      return point;
    };
    for (const std::int64_t context : {512, 1024}) {
      KernelRow second = at(KernelRow{}, context);
      second.sequence = 1;
      TrafficRow part = at(TrafficRow{}, context);
      part.part = "attend";
      store.append(std::vector<Record>{at(KernelRow{}, context), second, at(TrafficRow{}, context), part,
                                       at(ThroughputRow{}, context), at(StepRow{}, context)});
    }
    for (const std::int64_t dropped : {0, 3}) { // the second says what was dropped
      InstrumentRow instrument;
      instrument.run = run, instrument.instrument = "timeline", instrument.dropped = dropped;
      store.append(instrument);
    }
    InstrumentRow changed; // it says another thing at the end
    changed.run = run, changed.instrument = "timeline", changed.sentence = "events", changed.dropped = 3;
    store.append(changed);
    PeakRow peak;
    peak.run = run, peak.name = "copy";
    store.append(peak);
  }
  const fs::path in[] = {folder / "1.xqs"};
  for (int time = 0; time < 2; ++time) mergeStores(folder / "all.xqs", in);
  RunReader reader(folder / "all.xqs");
  EXPECT_EQ(reader.rowsAfter<StepRow>(0).size(), 2u);
  EXPECT_EQ(reader.rowsAfter<KernelRow>(0).size(), 4u);
  EXPECT_EQ(reader.rowsAfter<TrafficRow>(0).size(), 4u);
  EXPECT_EQ(reader.rowsAfter<ThroughputRow>(0).size(), 2u);
  EXPECT_EQ(reader.rowsAfter<PeakRow>(0).size(), 1u);
  const auto instruments = reader.rowsAfter<InstrumentRow>(0);
  ASSERT_EQ(instruments.size(), 3u);
  EXPECT_EQ(instruments.back().dropped, 3);
  EXPECT_EQ(instruments.back().sentence, "events");
}

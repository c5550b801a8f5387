// SPDX-License-Identifier: Apache-2.0
// Studies that stop, continue, grow and are done in parts: the figures are always those of one undisturbed run.
#include "run/study_runner.h"

#include "cpu_backends.h"
#include "store/merge.h"
#include "support/figures.h"
#include "support/model_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

using namespace xqs;
using namespace xqs::test;
using nlohmann::json;
using testing::HasSubstr;

namespace {

/// Two runs of three policies over two windows, with everything that is recorded.
const char *const kStudy = R"({
  "base": {"model": "synthetic:layers=2,d=32,heads=2,kv_heads=2,vocab=64", "windows": 2, "window": 32, "lanes": 2,
           "noise_floor": true, "backend": "reference", "threads": 1},
  "policies": ["fp16"], "grid": {"policy": ["xquant:bits=4"], "group": [16, 32], "state": ["all", "stream"]}})";
constexpr int kPoints = 2 * 3 * 2;

class StudyRun : public testing::Test {
protected:
  StudyRun() {
    static const XqsBackendModule *const kBuiltIn[] = {cpuBackendModule(), referenceBackendModule()};
    m_backends = listBackends(kBuiltIn);
  }
  StudyOutcome run(const std::string &store, const std::string &study = kStudy, StudyPart part = {},
                   const StudyHooks &hooks = {}) {
    part.store = m_dir / store;
    return runStudy(Study::parse(study, "study.json"), part, m_backends, hooks);
  }
  json exported(const std::string &store) { return json::parse(exportJson(m_dir / store)); }
  json figures(const std::string &store) { return figuresOf(exported(store)); }
  static std::string changed(const char *from, const char *to) {
    std::string study = kStudy;
    return study.replace(study.find(from), std::string(from).size(), to);
  }

  TempDir m_dir;
  std::vector<BackendInfo> m_backends;
};

TEST_F(StudyRun, StoppedAnywhereAndContinuedEqualsAnUndisturbedOne) {
  EXPECT_EQ(run("whole.xqs").computed, kPoints);
  const json whole = figures("whole.xqs");
  EXPECT_EQ(whole.at("window_result").size(), kPoints + 2u * 2u);
  EXPECT_EQ(whole.at("position").size(), kPoints + 2u * 2u);
  EXPECT_EQ(whole.at("noise").size(), 2u * 3u);
  EXPECT_EQ(whole.at("layer_error").size(), 2u * 3u * 2u * 2u);
  int stops = 0;
  for (bool finished = false; !finished; ++stops) {
    ASSERT_LT(stops, 100);
    std::stop_source stop;
    StudyHooks hooks;
    hooks.stop = stop.get_token();
    hooks.progress = [&, calls = 0](const StudyProgress &) mutable { // at another place every time
      if (++calls > 3 + 2 * stops) stop.request_stop();
    };
    try {
      run("parts.xqs", kStudy, {}, hooks);
      finished = true;
    } catch (const Error &error) {
      ASSERT_EQ(error.code(), Code::Cancelled) << error.what();
    }
  }
  EXPECT_GT(stops, 4);
  EXPECT_EQ(differenceOf(whole, figures("parts.xqs")), "");
  const json parts = exported("parts.xqs");
  EXPECT_EQ(parts.at("run").size(), 2u);
  EXPECT_EQ(parts.at("run_end").back().at("status"), "finished");
  EXPECT_THAT(parts.at("log").dump(), HasSubstr("continued on"));
}

TEST_F(StudyRun, AFinishedOneIsSkippedAndALongerOneComputesWhatIsNew) {
  run("s.xqs");
  const std::string before = exportJson(m_dir / "s.xqs");
  EXPECT_EQ(run("s.xqs").computed, 0);
  EXPECT_EQ(exportJson(m_dir / "s.xqs"), before);
  EXPECT_EQ(run("s.xqs", changed("[16, 32]", "[16, 8, 32]")).computed, 2 * 2); // one policy more, in the middle
  EXPECT_EQ(run("s.xqs", changed("\"windows\": 2", "\"windows\": 3")).computed, kPoints / 2);
  const json store = exported("s.xqs");
  EXPECT_EQ(store.at("run").size(), 2u);
  std::set<std::pair<int, int>> indices; // of a run
  for (const json &policy : store.at("policy"))
    EXPECT_TRUE(indices.insert({policy["run"].get<int>(), policy["policy_index"].get<int>()}).second);
  EXPECT_EQ(indices.size(), 2u * 4u);
  std::set<std::string> points;
  for (const json &row : store.at("window_result"))
    EXPECT_TRUE(
        points.insert(fmt::format("{} {} {}", row["run"].dump(), row["policy_index"].dump(), row["window"].dump())).second);
}

TEST_F(StudyRun, ShardsMergedEqualOneProcess) {
  const std::string oneLane = changed("\"lanes\": 2", "\"lanes\": 1"); // counted traffic is shared among lanes
  run("whole.xqs", oneLane);
  std::vector<std::filesystem::path> shards;
  for (int i = 1; i <= 3; ++i) {
    StudyPart part;
    part.shard = i, part.shards = 3;
    run(fmt::format("{}.xqs", i), oneLane, part);
    shards.emplace_back(m_dir / fmt::format("{}.xqs", i));
  }
  mergeStores(m_dir / "merged.xqs", shards);
  EXPECT_EQ(differenceOf(figures("whole.xqs"), figures("merged.xqs")), "");
  EXPECT_EQ(run("merged.xqs", oneLane).computed, 0);
}

TEST_F(StudyRun, WhatAnotherStoreHasIsLeftOut) {
  StudyPart first;
  first.shard = 1, first.shards = 2;
  run("known.xqs", kStudy, first);
  StudyPart rest;
  rest.known = m_dir / "known.xqs";
  run("rest.xqs", kStudy, rest);
  EXPECT_EQ(exported("rest.xqs").at("window_result").size() + exported("known.xqs").at("window_result").size(),
            kPoints + 4u);
}

TEST_F(StudyRun, APolicyThatDoesNotFitIsAProblemAndTheRestIsDone) {
  const std::string study = changed("[\"fp16\"]", "[\"low-rank:rank=999\", \"fp16\"]");
  for (int time = 0; time < 2; ++time) {
    const StudyOutcome outcome = run("s.xqs", study);
    EXPECT_EQ(outcome.points, kPoints);
    ASSERT_EQ(outcome.problems.size(), 2u);
    EXPECT_THAT(outcome.problems[0], HasSubstr("low-rank:rank=999"));
  }
  const json store = exported("s.xqs");
  ASSERT_EQ(store.at("problem").size(), 2u); // one a run, once
  EXPECT_EQ(store["problem"][0].at("code"), "does-not-fit");
  EXPECT_EQ(store["problem"][0].at("policy_index"), 0);
  EXPECT_EQ(store.at("policy")[0].at("policy_index"), 1);
  EXPECT_EQ(store.at("run_end")[0].at("status"), "finished");
}

TEST_F(StudyRun, ARunThatCannotStartDoesNotEndTheStudy) {
  const StudyOutcome outcome = run("s.xqs", changed("\"state\": [\"all\", \"stream\"]", "\"window\": [1000000, 32]"));
  EXPECT_EQ(outcome.failedRuns.size(), 1u);
  EXPECT_EQ(outcome.computed, kPoints / 2);
}

TEST_F(StudyRun, EvalAlwaysMakesARunOfItsOwn) {
  Experiment experiment = Study::parse(kStudy, "s").expand({}).front();
  SessionOptions options;
  options.model = experiment.model, options.backend = experiment.backend, options.threads = 1;
  Session session(options, m_backends);
  RunStore store(m_dir / "s.xqs");
  Runner(session, experiment, &store).run({});
  Runner(session, experiment, &store).run({});
  store.close();
  EXPECT_EQ(run("s.xqs").computed, kPoints);
  EXPECT_EQ(exported("s.xqs").at("run").size(), 4u);
}

TEST(StudyKey, ChangesWithEverythingThatMovesAFigureAndWithNothingElse) {
  const Experiment base;
  const auto key = [](const auto &change) {
    Experiment e;
    change(e);
    return studyKey(e, "model", "tokens", "calibration");
  };
  const std::string same = studyKey(base, "model", "tokens", "calibration");
  std::set<std::string> keys = {same,
                                studyKey(base, "other", "tokens", "calibration"),
                                studyKey(base, "model", "other", "calibration"),
                                studyKey(base, "model", "tokens", "other"),
                                key([](Experiment &e) { e.window = 64; }),
                                key([](Experiment &e) { e.state = State::Stream; }),
                                key([](Experiment &e) { e.protocol = Protocol::LlamaPerplexity; }),
                                key([](Experiment &e) { e.seed = 1; }),
                                key([](Experiment &e) { e.backend = "cuda"; })};
  EXPECT_EQ(keys.size(), 9u);
  EXPECT_EQ(key([](Experiment &e) {
              e.threads = 3, e.lanes = 9, e.captures = false, e.positions = false, e.noiseFloor = true;
              e.firstWindow = 2, e.windows = 5, e.policies = {PolicySpec::parse("fp16")}, e.text = "elsewhere/same.txt";
            }),
            same);
}

} // namespace

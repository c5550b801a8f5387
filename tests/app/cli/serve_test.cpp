// SPDX-License-Identifier: Apache-2.0
// The engine process, driven over its pipes as the window does.
#include "app/cli/process.h"
#include "support/model_files.h"

#include <csignal>

using namespace xqs::test;
using nlohmann::json;

namespace {

const std::string kModel = "synthetic:layers=4,d=64,heads=4,kv_heads=2,vocab=256";

class Serve : public testing::Test {
protected:
  void open(const std::string &model = kModel) {
    EXPECT_EQ(m_engine.next()["event"], "hello");
    m_engine.send({{"cmd", "open"}, {"model", model}, {"text", "builtin:primer"}, {"store", m_store}});
    const json opened = m_engine.until("model");
    ASSERT_FALSE(opened.is_null());
    EXPECT_EQ(opened["shape"]["layers"], model == kModel ? 4 : 24);
    EXPECT_GT(opened["tokens"], 1000);
    m_previewRun = opened["preview_run"];
  }
  json stored() {
    const Outcome outcome = runCli({"export", m_store, "--json"});
    EXPECT_EQ(outcome.exitCode, 0) << outcome.err;
    return json::parse(outcome.out);
  }
  static std::size_t count(const json &table, std::int64_t run) {
    return static_cast<std::size_t>(
        std::count_if(table.begin(), table.end(), [&](const json &row) { return row.at("run") == run; }));
  }
  void quit() {
    m_engine.send({{"cmd", "quit"}});
    const Outcome end = m_engine.wait();
    EXPECT_EQ(end.exitCode, 0) << end.err;
    EXPECT_FALSE(end.timedOut);
    EXPECT_EQ(end.err, "");
    EXPECT_FALSE(std::filesystem::exists(m_store + "-wal"));
  }

  TempDir m_dir;
  std::string m_store = m_dir / "session.xqs";
  RunningCli m_engine{{"serve"}};
  std::int64_t m_previewRun = 0;
};

const json kSmallRun = {
    {"cmd", "run"}, {"spec", {{"window", 64}, {"windows", 2}, {"policies", {"fp16", "xquant:bits=4", "kivi-star:bits=2"}}}}};
/// Long enough that a command arrives in the middle.
const json kLongRun = {
    {"cmd", "run"}, {"spec", {{"window", 128}, {"lanes", 1}, {"policies", {"fp16", "xquant:bits=4", "xquant-cl:bits=2"}}}}};

TEST_F(Serve, PreviewRunQuit) {
  open();
  m_engine.send({{"cmd", "preview"}, {"policy", "xquant-cl:bits=2,source=x"}});
  const json preview = m_engine.until("preview");
  EXPECT_EQ(preview["run"], m_previewRun);
  EXPECT_EQ(preview["policy_index"], 0);
  EXPECT_EQ(preview["policy"], "xquant-cl:bits=2,source=x");
  const json before = stored(); // committed when the event is sent
  EXPECT_EQ(count(before["layer_error"], m_previewRun), 4u);
  EXPECT_GT(count(before["summary"], m_previewRun), 4u * 4u);

  m_engine.send(kSmallRun);
  const json started = m_engine.until("run-started");
  ASSERT_FALSE(started.is_null());
  const json progress = m_engine.until("progress");
  EXPECT_EQ(progress["total"], 2 * 4);
  const json ended = m_engine.until("run-ended");
  EXPECT_EQ(ended["run"], started["run"]);
  EXPECT_EQ(ended["status"], "finished");
  quit();
  const json after = stored();
  EXPECT_EQ(count(after["window_result"], started["run"].get<std::int64_t>()), 8u);
  EXPECT_EQ(count(after["layer_error"], started["run"].get<std::int64_t>()), 3u * 4u * 2u);
  EXPECT_EQ(after["run_end"].size(), 2u);
}

TEST_F(Serve, CancelEndsARunAndKeepsWhatIsFinished) {
  open("synthetic:layers=24,d=64,heads=4,kv_heads=2");
  m_engine.send(kLongRun);
  const json started = m_engine.until("run-started");
  json progress;
  do progress = m_engine.until("progress");
  while (!progress.is_null() && progress["done"] < 2);
  m_engine.send({{"cmd", "cancel"}});
  const json ended = m_engine.until("run-ended");
  EXPECT_EQ(ended["status"], "cancelled");
  m_engine.send(kSmallRun); // the session is usable again
  EXPECT_EQ(m_engine.until("run-ended")["status"], "finished");
  quit();
  const std::size_t kept = count(stored()["window_result"], started["run"].get<std::int64_t>());
  EXPECT_GE(kept, 2u);
  EXPECT_LT(kept, progress["total"].get<std::size_t>()) << "it ran on to its end";
}

const json kGenerate = {
    {"cmd", "generate"},
    {"spec", {{"prompt", "a cache"}, {"raw", true}, {"tokens", 9}, {"policies", {"fp16", "xquant:bits=2,group=16"}}}}};

TEST_F(Serve, GeneratesIntoTheStoreAndIsCancelled) {
  open();
  m_engine.send(kGenerate);
  const json started = m_engine.until("run-started");
  ASSERT_FALSE(started.is_null());
  EXPECT_EQ(m_engine.until("progress")["total"], 9);
  EXPECT_EQ(m_engine.until("run-ended")["status"], "finished");
  json endless = kGenerate;
  endless["spec"]["tokens"] = 1 << 20;
  m_engine.send(endless);
  ASSERT_FALSE(m_engine.until("run-started").is_null());
  while (m_engine.until("progress")["done"] < 3) {
  }
  m_engine.send({{"cmd", "cancel"}});
  EXPECT_EQ(m_engine.until("run-ended")["status"], "cancelled");
  json empty = kGenerate;
  empty["spec"]["prompt"] = "";
  m_engine.send(empty);
  EXPECT_NE(m_engine.until("error")["message"].get<std::string>().find("empty"), std::string::npos);
  quit();
  const json store = stored();
  EXPECT_EQ(count(store["generated"], started["run"].get<std::int64_t>()), 3u * 9u);
  EXPECT_EQ(store["run"].size(), 3u) << "the preview's, two generations";
  EXPECT_EQ(store["run_end"][1]["status"], "cancelled");
}

TEST_F(Serve, ProfilesIntoTheStoreAndIsCancelled) {
  open();
  json profile = {
      {"cmd", "profile"},
      {"spec", {{"contexts", {48}}, {"policies", {"fp16", "xquant:bits=2,group=16"}}, {"steps", 2}, {"costs", false}}}};
  m_engine.send(profile);
  const json started = m_engine.until("run-started");
  ASSERT_FALSE(started.is_null());
  const json progress = m_engine.until("progress");
  EXPECT_EQ(progress["total"], 2);
  EXPECT_FALSE(progress["text"].get<std::string>().empty());
  EXPECT_EQ(m_engine.until("run-ended")["status"], "finished");
  profile["spec"]["shape"] = "smollm2-135m", profile["spec"]["layers"] = 1; // beside the open model
  m_engine.send(profile);
  const json shape = m_engine.until("run-started");
  EXPECT_EQ(m_engine.until("run-ended")["status"], "finished");
  profile["spec"]["steps"] = 100000;
  m_engine.send(profile);
  json text;
  do text = m_engine.until("progress")["text"];
  while (text.is_string() && text.get<std::string>().find("timing steps") == std::string::npos);
  m_engine.send({{"cmd", "cancel"}});
  EXPECT_EQ(m_engine.until("run-ended")["status"], "cancelled");
  profile["spec"]["shape"] = "gpt-2";
  m_engine.send(profile);
  EXPECT_NE(m_engine.until("error")["message"].get<std::string>().find("gpt-2"), std::string::npos);
  m_engine.send({{"cmd", "profile"}});
  EXPECT_NE(m_engine.until("error")["message"].get<std::string>().find("'spec' is missing"), std::string::npos);
  quit();
  const json store = stored();
  EXPECT_EQ(count(store["step"], started["run"].get<std::int64_t>()), 2u);
  EXPECT_EQ(count(store["step"], shape["run"].get<std::int64_t>()), 2u);
  EXPECT_EQ(store["run"][1]["model"], store["run"][0]["model"]) << "the preview's model";
  EXPECT_NE(store["run"][2]["model"].get<std::string>().find("smollm2"), std::string::npos);
}

TEST_F(Serve, APauseHoldsTheRunAndAnswersPreviews) {
  open("synthetic:layers=24,d=64,heads=4,kv_heads=2");
  m_engine.send(kLongRun);
  ASSERT_FALSE(m_engine.until("run-started").is_null());
  m_engine.send({{"cmd", "pause"}});
  m_engine.send({{"cmd", "preview"}, {"policy", "kivi-star:bits=3"}});
  EXPECT_EQ(m_engine.until("preview")["policy"], "kivi-star:bits=3"); // answered by the run's thread, which waits
  EXPECT_TRUE(m_engine.next(std::chrono::seconds(2)).is_null());
  m_engine.send({{"cmd", "resume"}});
  EXPECT_FALSE(m_engine.until("progress").is_null());
  m_engine.send({{"cmd", "cancel"}});
  EXPECT_EQ(m_engine.until("run-ended")["status"], "cancelled");
  quit();
}

TEST_F(Serve, EstimatesRunsAndContinuesAStudy) {
  open();
  const std::string study =
      json{{"name", "two"},
           {"base", {{"model", kModel}, {"window", 64}, {"windows", 2}, {"captures", false}}},
           {"policies", {"fp16", "low-rank:rank=4096"}},
           {"grid",
            {{"policy", json::array({"xquant"})}, {"bits", {4, 2}}, {"text", {"builtin:primer", "builtin:calibration"}}}}}
          .dump();
  const auto estimate = [&](int tag) {
    m_engine.send({{"cmd", "estimate"}, {"study", study}, {"tag", tag}});
    return m_engine.until("estimate");
  };
  const json before = estimate(7);
  EXPECT_EQ(before["tag"], 7);
  EXPECT_EQ(before["points"], 2 * 2 * 3);
  EXPECT_EQ(before["missing"], 2 * 2 * 3);
  EXPECT_EQ(before["runs"].size(), 2u);
  EXPECT_EQ(before["runs"][0]["misfits"].size(), 1u);
  EXPECT_GT(before["estimated_seconds"], 0);
  m_engine.send({{"cmd", "study"}, {"study", study}});
  EXPECT_FALSE(m_engine.until("run-started").is_null());
  const json ended = m_engine.until("run-ended");
  EXPECT_EQ(ended["status"], "finished");
  EXPECT_NE(ended["message"].get<std::string>().find("rank"), std::string::npos);
  EXPECT_EQ(estimate(8)["missing"], 0);
  m_engine.send({{"cmd", "study"}, {"study", study}}); // nothing is computed twice
  EXPECT_EQ(m_engine.until("run-ended")["status"], "finished");
  m_engine.send({{"cmd", "preview"}, {"policy", "kivi-star:bits=3"}}); // on the open text, whatever the study used
  EXPECT_EQ(m_engine.until("preview")["run"], m_previewRun);
  quit();
  const json rows = stored();
  std::size_t points = 0;
  for (const json &row : rows["window_result"]) points += row["policy_index"] >= 0;
  EXPECT_EQ(points, 12u);
}

TEST_F(Serve, AStudyMayGoToAnotherStore) {
  open();
  const std::string other = m_dir / "other.xqs";
  m_engine.send(
      {{"cmd", "study"},
       {"store", other},
       {"name", "one.json"},
       {"study",
        json{{"base", {{"model", kModel}, {"window", 64}, {"windows", 1}}}, {"policies", json::array({"fp16"})}}.dump()}});
  EXPECT_EQ(m_engine.until("run-ended")["status"], "finished");
  quit();
  EXPECT_EQ(stored()["window_result"].size(), 0u);
  const json there = json::parse(runCli({"export", other, "--json"}).out);
  ASSERT_EQ(there["run"].size(), 1u);
  EXPECT_EQ(there["run"][0]["study"], "one");
}

TEST_F(Serve, TheNewestOfWaitingPreviewsIsAnswered) {
  open();
  std::string burst;
  for (const char *policy : {"kivi-star:bits=2", "kivi-star:bits=3", "kivi-star:bits=4"})
    burst += json{{"cmd", "preview"}, {"policy", policy}}.dump() + "\n";
  m_engine.sendText(burst);
  json preview;
  do preview = m_engine.until("preview");
  while (!preview.is_null() && preview["policy"] != "kivi-star:bits=4");
  EXPECT_FALSE(preview.is_null());
  quit();
}

TEST_F(Serve, WrongCommandsAreAnsweredAndHarmless) {
  EXPECT_EQ(m_engine.next()["event"], "hello");
  const auto refused = [&](const std::string &line, const char *event = "error") {
    m_engine.sendText(line + "\n");
    const json answer = m_engine.until(event);
    EXPECT_FALSE(answer.is_null()) << line;
    return answer;
  };
  EXPECT_EQ(refused("nonsense")["code"], "usage");
  EXPECT_EQ(refused("[1]")["code"], "usage");
  EXPECT_EQ(refused(R"({"cmd":"dance"})")["code"], "usage");
  EXPECT_EQ(refused(R"({"cmd":"run","spec":{"policies":["fp16"]}})")["code"], "usage");
  EXPECT_NE(refused(R"({"cmd":"preview","policy":"fp16"})", "preview-failed")["message"].get<std::string>().find("open"),
            std::string::npos);
  EXPECT_EQ(refused(R"({"cmd":"open","model":"/no/such/file","store":")" + m_store + "\"}")["code"], "not-found");
  EXPECT_EQ(refused(R"({"cmd":"open","colour":"red"})")["code"], "usage");
  EXPECT_EQ(refused(R"({"cmd":"open","store":"/proc/run.xqs"})")["code"], "store-unwritable");
  m_engine.send({{"cmd", "open"}, {"model", kModel}, {"store", m_store}});
  EXPECT_FALSE(m_engine.until("model").is_null());
  EXPECT_EQ(refused(R"({"cmd":"run","spec":{"policies":["low-rank:rank=4096"]}})")["code"], "usage");
  EXPECT_EQ(refused(R"({"cmd":"run"})")["code"], "usage");
  EXPECT_EQ(refused(R"({"cmd":"generate"})")["code"], "usage");
  EXPECT_EQ(refused(R"({"cmd":"generate","spec":{"prompt":"x"}})")["code"], "unsupported") << "no chat template";
  refused(R"({"cmd":"preview","policy":"xquant:bits=7"})", "preview-failed");
  EXPECT_EQ(refused(R"({"cmd":"study"})")["code"], "usage");
  EXPECT_EQ(refused(R"({"cmd":"study","study":"{\"base\":{},\"policies\":[\"nonsense\"]}"})")["code"], "usage");
  EXPECT_EQ(refused(R"({"cmd":"estimate","tag":3,"study":"{"})", "estimate-failed")["tag"], 3);
  quit();
}

TEST_F(Serve, TheEndOfTheInputIsAQuit) {
  open("synthetic:layers=24,d=64,heads=4,kv_heads=2");
  m_engine.send(kLongRun);
  ASSERT_FALSE(m_engine.until("run-started").is_null());
  m_engine.closeInput();
  const Outcome end = m_engine.wait();
  EXPECT_FALSE(end.timedOut);
  EXPECT_EQ(end.exitCode, 0) << end.err;
  EXPECT_EQ(stored()["run_end"].size(), 2u);
}

TEST_F(Serve, TerminatedItEndsCleanly) {
  open();
  m_engine.signal(SIGTERM);
  EXPECT_EQ(m_engine.wait().exitCode, 0);
  EXPECT_EQ(stored()["run_end"].size(), 1u);
}

} // namespace

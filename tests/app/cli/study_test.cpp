// SPDX-License-Identifier: Apache-2.0
// Studies as a person starts them: killed, in shards, in jobs, merged, compared.
#include "app/cli/process.h"
#include "support/figures.h"
#include "support/model_files.h"

#include <csignal>
#include <random>

using namespace xqs::test;
using nlohmann::json;

namespace {

constexpr int kUsage = 2, kInput = 3;
const std::string kModel = "synthetic:layers=3,d=64,heads=4,kv_heads=2,vocab=256";

/// 15 policies over 4 windows: 60 points. One lane and one thread, so that nothing depends on who computes beside whom.
json sixtyPoints() {
  return {{"base", {{"model", kModel}, {"window", 64}, {"windows", 4}, {"lanes", 1}, {"threads", 1}, {"noise_floor", true}}},
          {"policies", {"fp16", "low-rank:rank=16", "plan:1=kivi-star:bits=2"}},
          {"grid",
           {{"policy", {"xquant", "kivi-star", "xquant-cl:source=x", "xquant-cl:source=x,domain=residual"}},
            {"bits", {2, 3, 4}}}}};
}

json exported(const std::string &store) { return parsed(runCli({"export", store, "--json"})); }

class StudyCommand : public testing::Test {
protected:
  Outcome run(const std::string &store, const std::vector<std::string> &more = {}) {
    std::vector<std::string> arguments = {"run", m_study, "--store", store};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return runCli(arguments, {}, std::chrono::seconds(90));
  }
  void expectDone(const Outcome &outcome) {
    EXPECT_EQ(outcome.exitCode, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
  }

  TempDir m_dir;
  std::string m_study = writeFile(m_dir / "study.json", sixtyPoints().dump());
};

TEST_F(StudyCommand, KilledTwentyTimesItLosesNothingThatWasFinished) {
  const auto started = std::chrono::steady_clock::now();
  expectDone(run(m_dir / "whole.xqs"));
  const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started);
  const json expected = figuresOf(exported(m_dir / "whole.xqs"));
  ASSERT_EQ(expected.at("window_result").size(), 64u);

  const std::string store = m_dir / "killed.xqs";
  std::mt19937 random(7);
  json before = json::object();
  int killed = 0;
  for (int i = 0; i < 20; ++i) {
    RunningCli running({"run", m_study, "--store", store});
    running.closeInput();
    usleep(static_cast<useconds_t>(random() % static_cast<unsigned>(whole.count() / 4 + 1)));
    running.signal(SIGKILL);
    killed += running.wait().exitCode != 0;
    const Outcome left = runCli({"export", store, "--json"});
    if (left.exitCode != 0) { // killed before the store was made
      EXPECT_EQ(left.exitCode, kInput) << left.err;
      EXPECT_TRUE(before.empty()) << left.err;
      continue;
    }
    json now = figuresOf(json::parse(left.out));
    if (!before.empty()) {
      for (const char *table : {"window_result", "position", "noise", "layer_error", "summary"})
        EXPECT_TRUE(std::includes(now[table].begin(), now[table].end(), before[table].begin(), before[table].end()))
            << "kill " << i << " lost rows of " << table;
    }
    before = std::move(now);
  }
  EXPECT_GE(killed, 5); // the others found nothing left to do
  expectDone(run(store));
  EXPECT_EQ(differenceOf(expected, figuresOf(exported(store))), "");
  EXPECT_FALSE(std::filesystem::exists(store + "-wal"));
}

TEST_F(StudyCommand, ShardsMergedAndJobsEqualOneProcess) {
  expectDone(run(m_dir / "whole.xqs"));
  const json expected = figuresOf(exported(m_dir / "whole.xqs"));

  std::vector<std::string> merge = {"merge", m_dir / "merged.xqs"};
  for (const char *shard : {"1/3", "2/3", "3/3"}) {
    merge.push_back(m_dir / (std::string(1, shard[0]) + ".xqs"));
    expectDone(run(merge.back(), {"--shard", shard}));
  }
  expectDone(runCli(merge));
  EXPECT_EQ(differenceOf(expected, figuresOf(exported(m_dir / "merged.xqs"))), "");

  const Outcome jobs = run(m_dir / "jobs.xqs", {"--jobs", "2"});
  expectDone(jobs);
  EXPECT_NE(jobs.out.find(": 60 windows under a policy, 60 of them computed now"), std::string::npos) << jobs.out;
  EXPECT_EQ(differenceOf(expected, figuresOf(exported(m_dir / "jobs.xqs"))), "");
  for (const auto &entry : std::filesystem::directory_iterator(m_dir / "."))
    EXPECT_EQ(entry.path().string().find(".part-"), std::string::npos) << "left behind: " << entry.path();
}

TEST_F(StudyCommand, KilledJobsAreTakenUpAgain) {
  expectDone(run(m_dir / "whole.xqs"));
  const std::string store = m_dir / "jobs.xqs";
  {
    RunningCli running({"run", m_study, "--store", store, "--jobs", "2"});
    running.closeInput();
    for (int i = 0; i < 500 && !std::filesystem::exists(store + ".part-2-wal"); ++i) usleep(10'000);
    usleep(200'000);
    running.signal(SIGKILL);
    running.wait();
  }
  for (int i = 0; i < 500 && std::filesystem::exists(store + ".part-1-writer"); ++i)
    usleep(10'000); // they end by themselves
  for (int i = 0; i < 500 && std::filesystem::exists(store + ".part-2-writer"); ++i) usleep(10'000);
  expectDone(run(store, {"--jobs", "3"}));
  EXPECT_EQ(differenceOf(figuresOf(exported(m_dir / "whole.xqs")), figuresOf(exported(store))), "");
}

TEST_F(StudyCommand, ADryRunListsPointsBytesAndWhatIsMissing) {
  const Outcome table = runCli({"run", m_study, "--dry-run"});
  expectDone(table);
  EXPECT_NE(table.out.find("60 points"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("estimated time"), std::string::npos);
  expectDone(run(m_dir / "s.xqs", {"--shard", "1/2"}));
  const Outcome outcome = runCli({"run", m_study, "--dry-run", "--json", "--store", m_dir / "s.xqs"});
  expectDone(outcome);
  const json plan = json::parse(outcome.out);
  ASSERT_EQ(plan.at("runs").size(), 1u);
  const json &policies = plan["runs"][0].at("policies");
  ASSERT_EQ(policies.size(), 15u);
  for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(policies[i].at("missing_windows"), i % 2 == 0 ? 0 : 4) << i;
  EXPECT_EQ(policies[0].at("format_bytes_per_window"), 3 * 2 * 64 * 32 * 2);
  EXPECT_EQ(policies[0].at("store_macs_per_token"), 3 * 2 * 64 * 32);
  EXPECT_EQ(policies[1].at("rebuild_macs_per_token"), 3 * 2 * 16 * 32); // low-rank:rank=16
  EXPECT_GT(plan.at("estimated_seconds").get<double>(), 0);
}

TEST_F(StudyCommand, CompareAndParetoSayWhatTheStoreHas) {
  expectDone(run(m_dir / "a.xqs"));
  expectDone(run(m_dir / "b.xqs", {"--set", "windows=3"}));
  const Outcome outcome = runCli({"compare", m_dir / "a.xqs", (m_dir / "b.xqs") + "#1", "--json"});
  expectDone(outcome);
  const json compared = json::parse(outcome.out);
  EXPECT_EQ(compared.at("policies").size(), 16u); // the exact model too
  for (const json &policy : compared["policies"]) {
    EXPECT_EQ(policy.at("sets")[1].at("nll_difference").at("mean"), 0.0) << policy;
    EXPECT_EQ(policy.at("sets")[1].at("nll_difference").at("windows"), 3);
  }
  EXPECT_EQ(compared.at("noise_floor").at("measured"), 30);
  EXPECT_GT(compared["noise_floor"].at("nll").get<double>(), 0);
  expectDone(runCli({"compare", m_dir / "a.xqs", m_dir / "b.xqs"}));

  const Outcome front = runCli({"pareto", m_dir / "a.xqs", "--json", "--within", "0.5"});
  expectDone(front);
  const json group = json::parse(front.out).at("groups").at(0);
  int onFront = 0;
  for (const json &point : group.at("points")) {
    onFront += point.at("front").get<bool>();
    for (const json &other : group["points"])
      EXPECT_FALSE(point["front"] == true && other["relative_size"] < point["relative_size"] &&
                   other["kl"]["mean"] < point["kl"]["mean"])
          << point["policy"] << " is beaten by " << other["policy"];
  }
  EXPECT_GE(onFront, 2);
  EXPECT_TRUE(group.at("best").is_object());
  EXPECT_NE(runCli({"pareto", m_dir / "a.xqs"}).out.find("front"), std::string::npos);

  // The same settings on other windows share no front with these; those scored again on the same ones are there once.
  expectDone(run(m_dir / "a.xqs", {"--set", "windows=2", "--set", "noise_floor=false"}));
  expectDone(runCli({"eval", "--model", kModel, "--window", "64", "--first-window", "4", "--windows", "2", "--threads", "1",
                     "--policy", "xquant:bits=2", "--store", m_dir / "a.xqs"}));
  const json groups = json::parse(runCli({"pareto", m_dir / "a.xqs", "--json"}).out).at("groups");
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].at("points").size(), 15u);
  ASSERT_EQ(groups[1].at("points").size(), 1u);
  EXPECT_EQ(groups[1].at("windows"), json({4, 5}));
}

TEST_F(StudyCommand, SlurmWritesAScriptAndStudiesCanBeCopied) {
  expectDone(
      runCli({"slurm", m_study, "--store", m_dir / "out.xqs", "--shards", "3", "--partition", "p", "-o", m_dir / "s.sh"}));
  EXPECT_EQ(std::system(("bash -n '" + (m_dir / "s.sh") + "'").c_str()), 0);
  for (const char *name : {"default", "svd-rank", "sensitivity"}) {
    const Outcome source = runCli({"studies", name});
    expectDone(source);
    expectDone(
        runCli({"run", writeFile(m_dir / "copy.json", source.out), "--dry-run", "--set", "model=synthetic:d=256,heads=4"}));
  }
  expectRefusal(runCli({"studies", "novel"}), kUsage);
}

TEST_F(StudyCommand, EveryMistakeIsOneSentence) {
  const auto refused = [&](const std::vector<std::string> &arguments, int code, const char *mention) {
    const std::string message = expectRefusal(runCli(arguments), code);
    EXPECT_NE(message.find(mention), std::string::npos) << message;
  };
  const std::string store = m_dir / "s.xqs";
  for (const auto &[source, mention] : std::vector<std::pair<std::string, const char *>>{
           {R"({"base": {}, "grid": {"policy": ["xquant"], "bits": [5]}})", "2, 3, 4, 8 or 16"},
           {R"({"base": {}, "gird": {}})", "gird"},
           {R"({"base": {"modle": "x"}, "policies": ["fp16"]})", "modle"},
           {R"({"isolated": {"policies": ["fp16"], "layers": "all of them"}})", "layers"},
           {R"({"base": {"state": "none"}, "policies": ["fp16"]})", "none"},
           {R"({"grid": 7})", "grid"},
           {"{\"base\": ", "JSON"},
           {std::string(100'000, '['), "JSON"}})
    refused({"run", writeFile(m_dir / "bad.json", source), "--store", store}, kUsage, mention);
  refused({"run", m_study}, kUsage, "--store");
  for (const char *shard : {"0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", ""})
    refused({"run", m_study, "--store", store, "--shard", shard}, kUsage, "--shard");
  refused({"run", m_study, "--store", store, "--set", "windows"}, kUsage, "--set");
  refused({"run", m_study, "--store", store, "--set", "widows=2"}, kUsage, "widows");
  refused({"run", m_study, "--store", store, "--jobs", "0"}, kUsage, "--jobs");
  refused({"run", m_study, "--store", store, "--set", "model=nowhere.gguf"}, kInput, "nowhere.gguf");
  refused({"run", m_dir / "none.json", "--store", store}, kInput, "none.json");
  EXPECT_FALSE(std::filesystem::exists(store));
  refused({"merge", store, m_dir / "none.xqs"}, kInput, "none.xqs");
  refused({"compare", m_dir / "none.xqs", m_dir / "none.xqs"}, kInput, "none.xqs");
  refused({"pareto", m_dir / "none.xqs"}, kInput, "none.xqs");
  refused({"slurm", m_study, "--store", store, "--time", "one day"}, kUsage, "--time");
  expectDone(run(m_dir / "a.xqs", {"--set", "windows=1"}));
  refused({"compare", m_dir / "a.xqs", (m_dir / "a.xqs") + "#7"}, kUsage, "#7");
  refused({"compare", m_dir / "a.xqs", (m_dir / "a.xqs") + "#x"}, kUsage, "#");
  refused({"merge", m_dir / "a.xqs", m_dir / "a.xqs"}, kUsage, "itself");
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// From a measured matrix to a verified plan, as a person does it.
#include "app/cli/process.h"
#include "support/model_files.h"

#include <gmock/gmock.h>

#include <sys/stat.h>

using namespace xqs::test;
using nlohmann::json;
using testing::HasSubstr;

namespace {

constexpr int kUsage = 2, kInput = 3, kOutput = 4;
const std::string kModel = "synthetic:layers=3,d=64,heads=4,kv_heads=2,vocab=256,seed=5";

json matrixStudy(const std::string &model = kModel) {
  return {{"name", "matrix"},
          {"base",
           {{"model", model}, {"window", 64}, {"windows", 3}, {"captures", false}, {"positions", false}, {"threads", 1}}},
          {"policies",
           {"fp16", "kivi-star:bits=2,group=32,first_layers=0", "kivi-star:bits=4,group=32,first_layers=0",
            "xquant:bits=4,source=x,first_layers=0"}},
          {"isolated",
           {{{"policies", {"kivi-star:bits=2,group=32", "kivi-star:bits=4,group=32"}}, {"sides", {"k", "v"}}},
            {{"policies", {"xquant:bits=2,source=x", "xquant:bits=4,source=x"}}}}}};
}

class Solve : public testing::Test {
protected:
  static Outcome expectDone(Outcome outcome) {
    EXPECT_EQ(outcome.exitCode, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return outcome;
  }
  void measure(const json &study = matrixStudy()) {
    expectDone(runCli({"run", writeFile(m_dir / "study.json", study.dump()), "--store", m_store}));
  }
  std::vector<std::string> arguments(const std::vector<std::string> &more) const {
    std::vector<std::string> all = {"solve", m_store};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  json solved(std::vector<std::string> more) const {
    more.emplace_back("--json");
    return json::parse(expectDone(runCli(arguments(more))).out);
  }
  std::string refused(const std::vector<std::string> &more, int code) const {
    return expectRefusal(runCli(arguments(more)), code);
  }
  json windowRows() const { return json::parse(expectDone(runCli({"export", m_store, "--json"})).out).at("window_result"); }

  TempDir m_dir;
  std::string m_store = m_dir / "s.xqs";
};

TEST_F(Solve, TheMatrixIsWhatTheSinglePlansScored) {
  measure();
  const json matrix = json::parse(expectDone(runCli({"sensitivity", m_store, "--json"})).out);
  ASSERT_EQ(matrix.at("settings").size(), 6u);
  EXPECT_EQ(matrix.at("windows"), json({0, 1, 2}));
  const json &cell = matrix["settings"][3].at("layers")[1]; // kivi-star:bits=4, V, layer 1
  EXPECT_EQ(matrix["settings"][3].at("name"), "kivi-star:bits=4,group=32, V");
  const json eval = json::parse(expectDone(runCli({"eval", "--model", kModel, "--window", "64", "--windows", "3", "--policy",
                                                   "plan:1.v=kivi-star:bits=4,group=32", "--json"}))
                                    .out);
  double mean = 0;
  for (const json &kl : eval.at("policies")[0].at("kl_mean")) mean += kl.get<double>() / 3;
  EXPECT_NEAR(cell.at("kl").at("mean").get<double>(), mean, 1e-12);
  EXPECT_NEAR(cell.at("extra_kl").at("mean").get<double>(), mean - matrix.at("fp16_kl").at("mean").get<double>(), 1e-12);
  EXPECT_EQ(cell.at("format_bytes_per_token"), (32 * 4 + 32) / 8);
  const Outcome table = expectDone(runCli({"sensitivity", m_store}));
  EXPECT_THAT(table.out, HasSubstr("kivi-star:bits=4,group=32, V"));
}

TEST_F(Solve, ThePlanFileIsThePlanAndTakesTheBytesItSays) {
  measure();
  const std::string file = m_dir / "plan.json";
  const json result = solved({"--relative-size", "0.4", "-o", file});
  EXPECT_LE(result.at("relative_size").get<double>(), 0.4);
  EXPECT_EQ(result.at("layers").size(), 3u);
  EXPECT_EQ(result.at("verified"), nullptr);
  const json eval = json::parse(expectDone(runCli({"eval", "--model", kModel, "--window", "64", "--windows", "1", "--policy",
                                                   "plan:@" + file, "--json"}))
                                    .out)
                        .at("policies")[0];
  EXPECT_EQ(eval.at("policy"), result.at("plan"));
  EXPECT_NEAR(eval.at("format_bytes_per_window").get<double>() / 64, result.at("bytes_per_token").get<double>(), 1e-9);
  // More bytes are never expected to cost more.
  double before = 1e9;
  for (const char *size : {"0.2", "0.3", "0.4", "0.6", "0.9"}) {
    const double kl = solved({"--relative-size", size}).at("predicted").at("sum_kl").get<double>();
    EXPECT_LE(kl, before + 1e-12) << size;
    before = kl;
  }
  // The smallest plan within that KL is no larger than the one that has it.
  const double kl = result["predicted"].at("kl").at("mean").get<double>();
  EXPECT_LE(solved({"--kl", json(kl * 1.0001).dump()}).at("bytes_per_token"), result["bytes_per_token"]);
}

TEST_F(Solve, VerifyingScoresPlanAndUniformsOnOtherWindowsOnce) {
  measure();
  const std::vector<std::string> arguments = {
      "--same-bytes-as",          "kivi-star:bits=4,group=32,first_layers=0", "--verify", "--windows", "4", "--against",
      "kivi-star:bits=2,group=32"};
  const json result = solved(arguments);
  const json &verified = result.at("verified");
  EXPECT_EQ(verified.at("first_window"), 3);
  EXPECT_EQ(verified.at("windows"), 4);
  EXPECT_EQ(verified.at("plan").at("measured_kl").at("windows"), 4);
  EXPECT_GT(verified["plan"]["measured_kl"].at("mean").get<double>(), 0);
  EXPECT_EQ(verified["plan"].at("policy"), result.at("plan"));
  EXPECT_GT(verified.at("noise_floor_kl").get<double>(), 0);
  ASSERT_TRUE(verified.at("best").is_number());
  const json &best = verified.at("uniform")[verified["best"].get<std::size_t>()];
  EXPECT_LE(best.at("bytes_per_token"), result.at("budget_bytes_per_token"));
  EXPECT_NEAR(best.at("plan_difference").at("mean").get<double>(),
              verified["plan"]["measured_kl"]["mean"].get<double>() - best["measured_kl"]["mean"].get<double>(), 1e-9);

  // The same policies by hand on those windows.
  const json eval =
      json::parse(expectDone(runCli({"eval", "--model", kModel, "--window", "64", "--first-window", "3", "--windows", "4",
                                     "--policy", result["plan"].get<std::string>(), "--json"}))
                      .out);
  double mean = 0;
  for (const json &kl : eval.at("policies")[0].at("kl_mean")) mean += kl.get<double>() / 4;
  EXPECT_NEAR(verified["plan"]["measured_kl"]["mean"].get<double>(), mean, 1e-9);

  const json rows = windowRows();
  EXPECT_EQ(solved(arguments), result);
  EXPECT_EQ(windowRows(), rows) << "a second verification computed something again";
  // Its rows do not change what the plan is chosen from.
  EXPECT_EQ(solved({"--same-bytes-as", arguments[1]}).at("predicted"), result["predicted"]);
  EXPECT_THAT(expectDone(runCli(this->arguments(arguments))).out, HasSubstr("the best of these that is no larger"));
}

TEST_F(Solve, WhatCannotBeSolvedIsToldInOneSentence) {
  EXPECT_THAT(refused({"--kl", "0.1"}, kInput), HasSubstr("does not exist"));
  measure();
  EXPECT_THAT(refused({}, kUsage), HasSubstr("--kl"));
  EXPECT_THAT(refused({"--kl", "0.1", "--relative-size", "0.3"}, kUsage), HasSubstr("--kl"));
  EXPECT_THAT(refused({"--kl", "-1"}, kUsage), HasSubstr("--kl"));
  EXPECT_THAT(refused({"--bytes-per-token", "10"}, kUsage), HasSubstr("take from 60.0 to 384.0 (FP16)"));
  EXPECT_THAT(refused({"--relative-size", "3"}, kUsage), HasSubstr("0.1562 to 1 of FP16"));
  EXPECT_THAT(refused({"--same-bytes-as", "no-such"}, kUsage), HasSubstr("no-such"));
  EXPECT_THAT(refused({"--relative-size", "0.4", "-o", m_dir / "no/folder/plan.json"}, kOutput), HasSubstr("plan"));
  const std::vector<std::string> verify = {"--relative-size", "0.4", "--verify"};
  const auto verifying = [&](std::vector<std::string> more) {
    more.insert(more.begin(), verify.begin(), verify.end());
    return more;
  };
  EXPECT_THAT(refused(verifying({"--first-window", "2"}), kUsage), HasSubstr("window 2 has chosen the plan"));
  EXPECT_THAT(refused(verifying({"--first-window", "90000"}), kInput), HasSubstr("whole windows"));
  EXPECT_THAT(refused(verifying({"--text", m_dir / "none.txt"}), kInput), HasSubstr("none.txt"));
  EXPECT_THAT(refused(verifying({"--against", "low-rank:rank=64"}), kUsage), HasSubstr("full rank"));
  EXPECT_THAT(refused(verifying({"--model", "synthetic:layers=3,d=64,heads=4,kv_heads=2,vocab=256,seed=6"}), kUsage),
              HasSubstr("another model"));
  EXPECT_EQ(windowRows().size(), 3u * (1 + 4 + 18)) << "a refusal left rows behind";

  expectDone(runCli(
      {"eval", "--model", kModel, "--window", "64", "--windows", "1", "--policy", "fp16", "--store", m_dir / "plain.xqs"}));
  for (const char *command : {"sensitivity", "solve"}) {
    std::vector<std::string> arguments = {command, m_dir / "plain.xqs"};
    if (command == std::string("solve")) arguments.insert(arguments.end(), {"--kl", "0.1"});
    EXPECT_THAT(expectRefusal(runCli(arguments), kUsage), HasSubstr("run sensitivity"));
  }
  const json other = matrixStudy("synthetic:layers=3,d=64,heads=4,kv_heads=2,vocab=256,seed=9");
  measure(other);
  EXPECT_THAT(refused({"--kl", "0.1"}, kUsage), HasSubstr("2 matrices"));
  expectDone(runCli({"solve", m_store + "#2", "--relative-size", "0.4"}));
}

TEST_F(Solve, AnUnfinishedMatrixSaysWhatIsLeftOut) {
  json study = matrixStudy();
  study["isolated"][1]["layers"] = "0-1";
  measure(study);
  const json result = solved({"--relative-size", "0.6"});
  EXPECT_EQ(result.at("left_out"), json({"xquant:bits=2,source=x", "xquant:bits=4,source=x"}));
  study["isolated"].erase(0);
  std::filesystem::remove(m_store);
  measure(study);
  EXPECT_THAT(refused({"--relative-size", "0.6"}, kUsage), HasSubstr("no setting of the matrix is measured in every layer"));
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// xqscope-cli verdict: what it says and what it refuses.
#include "app/cli/process.h"
#include "support/model_files.h"

using namespace xqs::test;
using nlohmann::json;

namespace {

std::vector<std::string> arguments(const std::vector<std::string> &more) {
  std::vector<std::string> all = {"verdict"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

json rowOf(const json &verdict, const std::string &policy) {
  for (const json &row : verdict.at("policies"))
    if (row.at("policy") == policy) return row;
  return {};
}

TEST(Verdict, TableSaysWhoWinsWhatAndBothContexts) {
  const Outcome outcome = runCli(arguments({"--gpu", "h100-pcie", "--shape", "llama-3.1-8b", "--context", "32768"}));
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  for (const char *said : {"ridge point 378 FLOP a byte", "1 sequence of 32768 tokens", "published", "predicted", "counted",
                           "Bytes: ", "Quality per byte: ", "Time: KIVI* 2 bits is fastest", "costs more time than it saves",
                           ": 40.6k, ", "; 41.6k, "})
    EXPECT_NE(outcome.out.find(said), std::string::npos) << said << "\n" << outcome.out;
}

TEST(Verdict, JsonNamesTheBasisOfEveryFigure) {
  const json verdict = parsed(runCli(arguments({"--gpu", "h100-sxm", "--shape", "llama-2-7b", "--context", "8192", "--batch",
                                                "2", "--policy", "xquant:bits=2", "--json"})));
  ASSERT_EQ(verdict.at("policies").size(), 2u); // FP16 besides
  EXPECT_EQ(verdict["policies"][0].at("policy"), "fp16");
  const json x = rowOf(verdict, "xquant:bits=2");
  EXPECT_EQ(x.at("cache_bytes_per_sequence").at("basis"), "counted");
  EXPECT_EQ(x.at("moved_bytes_per_step").at("basis"), "counted");
  EXPECT_EQ(x.at("step").at("basis"), "predicted");
  EXPECT_EQ(x.at("quality").at("basis"), "published");
  EXPECT_NEAR(x.at("quality").at("ppl_ratio").get<double>(), 11.21 / 5.47, 1e-9);
  EXPECT_GT(x.at("time_to_fp16").at("value").get<double>(), 1);
  EXPECT_EQ(verdict.at("fewest_bytes"), "xquant:bits=2");
  EXPECT_EQ(verdict.at("fastest"), "fp16");
  EXPECT_NEAR(verdict.at("gpu").at("ridge_flop_per_byte").get<double>(), 989.4 / 3.35, 1e-6);
  EXPECT_FALSE(verdict.contains("map"));
}

TEST(Verdict, TheMapHasACellAPoint) {
  const std::vector<std::string> asked = {"--gpu", "rtx-4090", "--shape", "smollm2-135m", "--map"};
  std::vector<std::string> asJson = asked;
  asJson.push_back("--json");
  const json map = parsed(runCli(arguments(asJson))).at("map");
  EXPECT_EQ(map.at("cells").size(), 9u * 7u);
  for (const json &cell : map.at("cells")) EXPECT_EQ(cell.at("steps").size(), map.at("policies").size());
  const Outcome outcome = runCli(arguments(asked));
  EXPECT_NE(outcome.out.find("Fastest method that rebuilds K or V"), std::string::npos) << outcome.out;
}

TEST(Verdict, TakesModelsAndStores) {
  const TempDir dir;
  ASSERT_EQ(runCli({"eval", "--model", "synthetic", "--text", "builtin:primer", "--window", "64", "--windows", "1",
                    "--policy", "xquant:bits=2", "--store", dir / "run.xqs"})
                .exitCode,
            0);
  // The store's run says which model; numbers drawn at random say nothing of quality.
  const json verdict = parsed(runCli(arguments({dir / "run.xqs", "--gpu", "h200", "--json"})));
  for (const json &row : verdict.at("policies")) EXPECT_EQ(row.at("quality").at("basis"), "unknown");
  const json same = parsed(runCli(arguments({"--model", "synthetic", "--gpu", "h200", "--json"})));
  EXPECT_EQ(verdict.at("policies")[0].at("cache_bytes_per_sequence"), same.at("policies")[0].at("cache_bytes_per_sequence"));
  const std::string message = expectRefusal(runCli(arguments({dir / "run.xqs"})), 2);
  EXPECT_NE(message.find("verdict needs --gpu NAME, one of h100-pcie"), std::string::npos) << message;
}

TEST(Verdict, AProfilesMachineAndStepsCountWithoutBeingNamed) {
  const TempDir dir;
  const Outcome profile = runCli({"profile", "--shape", "smollm2-135m", "--layers", "1", "--quick", "--context", "64",
                                  "--store", dir / "p.xqs", "--backend", "cpu"});
  ASSERT_EQ(profile.exitCode, 0) << profile.err;
  const json verdict = parsed(runCli(arguments({dir / "p.xqs", "--json"})));
  EXPECT_EQ(verdict.at("gpu").at("id"), "measured");
  EXPECT_EQ(verdict.at("context"), 64) << "the longest that was measured";
  ASSERT_EQ(verdict.at("policies").size(), 4u);
  for (const json &row : verdict.at("policies")) {
    EXPECT_EQ(row.at("step").at("basis"), "measured") << row;
    EXPECT_EQ(row.at("time_to_fp16").at("basis"), "measured") << row;
    EXPECT_TRUE(row.at("fits").get<bool>());
  }
  const json elsewhere = parsed(runCli(arguments({dir / "p.xqs", "--context", "128", "--json"})));
  for (const json &row : elsewhere.at("policies")) EXPECT_EQ(row.at("step").at("basis"), "predicted") << row;
  const json preset = parsed(runCli(arguments({dir / "p.xqs", "--gpu", "h200", "--context", "64", "--json"})));
  for (const json &row : preset.at("policies")) EXPECT_EQ(row.at("step").at("basis"), "predicted") << row;
}

TEST(Verdict, SaysWhatIsWrong) {
  const struct {
    std::vector<std::string> arguments;
    int exitCode;
    const char *said;
  } kCases[] = {
      {{"--shape", "llama-2-7b"}, 2, "verdict needs --gpu NAME"},
      {{"--gpu", "h100", "--shape", "llama-2-7b"}, 2, "no GPU is called 'h100'; there are h100-pcie, h100-sxm, h200"},
      {{"--gpu", "measured", "--shape", "llama-2-7b"}, 2, "needs a store with a profile of this model"},
      {{"--gpu", "h200"}, 2, "verdict needs --shape S or --model M, or a store"},
      {{"--gpu", "h200", "--shape", "gpt-2"}, 2, "no shape is called 'gpt-2'"},
      {{"--gpu", "h200", "--shape", "llama-2-7b", "--model", "default"}, 2, "excludes"},
      {{"--gpu", "h200", "--shape", "smollm2-135m", "--policy", "low-rank:rank=4096"}, 2, "is above the full rank"},
      {{"/no/such.xqs", "--gpu", "h200"}, 3, "/no/such.xqs"},
      {{"--gpu", "h200", "--shape", "llama-2-7b", "--context", "0"}, 2, "--context"},
  };
  for (const auto &[given, exitCode, said] : kCases) {
    const std::string message = expectRefusal(runCli(arguments(given)), exitCode);
    EXPECT_NE(message.find(said), std::string::npos) << message;
  }
}

} // namespace

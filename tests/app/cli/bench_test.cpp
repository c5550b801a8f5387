// SPDX-License-Identifier: Apache-2.0
// xqscope-cli bench, as small as it goes.
#include "app/cli/process.h"
#include "support/model_files.h"

#include <fstream>

using namespace xqs::test;
using nlohmann::json;

namespace {

std::vector<std::string> arguments(const std::vector<std::string> &more) {
  std::vector<std::string> all = {"bench", "decode",  "--shape", "smollm2-135m", "--layers", "1", "--context",
                                  "64",    "--batch", "2",       "--steps",      "2"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

class BenchOn : public testing::TestWithParam<const char *> {};
INSTANTIATE_TEST_SUITE_P(Backends, BenchOn, testing::Values("cpu", "reference"));

TEST_P(BenchOn, TableAndJsonSayTheSame) {
  const TempDir dir;
  const Outcome outcome = runCli(
      arguments({"--backend", GetParam(), "--policy", "xquant:bits=2", "--policy", "fp16", "--json", dir / "bench.json"}));
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("xquant:bits=2"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("scaled to 30 layers"), std::string::npos) << outcome.out;
  const json bench = json::parse(std::ifstream(dir / "bench.json"));
  EXPECT_EQ(bench.at("shape"), "smollm2-135m");
  EXPECT_EQ(bench.at("backend"), GetParam());
  EXPECT_EQ(bench.at("layers"), 1);
  EXPECT_EQ(bench.at("shape_layers"), 30);
  EXPECT_EQ(bench.at("context"), 64);
  EXPECT_EQ(bench.at("batch"), 2);
  for (const char *key : {"device", "machine", "time"}) EXPECT_FALSE(bench.at(key).get<std::string>().empty()) << key;
  ASSERT_EQ(bench.at("policies").size(), 2u); // the baseline once, first
  const json &fp16 = bench["policies"][0], &xquant = bench["policies"][1];
  EXPECT_EQ(fp16.at("policy"), "fp16");
  EXPECT_EQ(fp16.at("speed_to_fp16"), 1.0);
  EXPECT_EQ(fp16.at("cache_per_sequence").at("format_bytes"), 2 * 64 * 192 * 2);
  EXPECT_EQ(fp16.at("scaled_to_all_layers").at("cache_per_sequence").at("format_bytes"), 30 * 2 * 64 * 192 * 2);
  EXPECT_LT(xquant.at("size_to_fp16"), 1.0);
  for (const json &row : {fp16, xquant}) {
    EXPECT_EQ(row.at("cache_per_sequence"), row.at("predicted_cache"));
    EXPECT_EQ(row.at("step_ms").size(), 2u);
    EXPECT_EQ(row.at("ms_per_step_quartiles").size(), 2u);
    EXPECT_NEAR(row.at("tokens_per_second").get<double>() * row.at("ms_per_step").get<double>(), 2000, 1e-6);
    for (const json &figures : {row, row.at("scaled_to_all_layers")})
      for (const char *key : {"tokens_per_second", "ms_per_step", "weight_bytes", "counted_bytes_per_step",
                              "counted_gb_per_second", "speed_to_fp16", "size_to_fp16"})
        EXPECT_GT(figures.at(key).get<double>(), 0) << key;
    double share = 0;
    for (const json &operation : row.at("operations")) share += operation.at("share").get<double>();
    EXPECT_NEAR(share, 1, 1e-9);
    EXPECT_GT(row.at("traced_bytes_per_step"), row.at("cache_per_sequence").at("format_bytes"));
    EXPECT_FALSE(row.at("attention_kernels").empty());
  }
}

TEST(Bench, TakesEveryMethod) {
  std::vector<std::string> policies;
  const std::vector<std::string> kPolicies = {"kivi:bits=2,group=32,residual=32",
                                              "kivi-star:bits=2,group=32",
                                              "xquant:bits=3,group=32,source=x,rotate=hadamard,outlier_channels=2,center=on",
                                              "xquant-cl:bits=2,group=32",
                                              "low-rank:rank=16",
                                              "plan:0.k=kivi-star:bits=4,group=32;0.v=xquant:bits=2,group=32"};
  for (const std::string &policy : kPolicies) policies.insert(policies.end(), {"--policy", policy});
  const TempDir dir;
  policies.insert(policies.end(), {"--json", dir / "bench.json"});
  const Outcome outcome = runCli(arguments(policies));
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  EXPECT_EQ(json::parse(std::ifstream(dir / "bench.json")).at("policies").size(), 1 + kPolicies.size());
}

TEST(Bench, SaysWhatIsWrong) {
  const struct {
    std::vector<std::string> arguments;
    int exitCode;
    const char *said;
  } kCases[] = {
      {{"bench", "decode"}, 2, "--shape is required"},
      {{"bench", "prefill"}, 2, "there are decode"},
      {{"bench", "decode", "--shape", "gpt-2"}, 2, "no shape is called 'gpt-2'; there are llama-2-7b"},
      {arguments({"--policy", "xquent:bits=2"}), 2, "unknown method 'xquent'"},
      {arguments({"--policy", "low-rank:rank=4096"}), 2, "rank=4096 is above the full rank"},
      {arguments({"--backend", "abacus"}), 5, "no backend is called 'abacus'"},
      {arguments({"--json", "/no/such/folder/bench.json"}), 4, "cannot be written"},
      {{"bench", "decode", "--shape", "smollm2-135m", "--layers", "31"}, 2, "from 1 to 30"},
      {{"bench", "decode", "--shape", "llama-2-7b", "--context", "1000000", "--batch", "1000"},
       5,
       "lower --context, --batch or --layers"},
  };
  for (const auto &[given, exitCode, said] : kCases) {
    const std::string message = expectRefusal(runCli(given), exitCode);
    EXPECT_NE(message.find(said), std::string::npos) << message;
  }
}

TEST(Bench, ExplainsItselfAndItsShapesAreModels) {
  const Outcome help = runCli({"bench", "decode", "--help"});
  EXPECT_EQ(help.exitCode, 0);
  EXPECT_NE(help.out.find("llama-2-7b, llama-3.1-8b, mistral-7b, smollm2-135m"), std::string::npos) << help.out;
  const json info = parsed(runCli({"info", "--model", "shape:llama-3.1-8b", "--json"}));
  EXPECT_EQ(info.at("parameters"), 8030261248);
  EXPECT_EQ(info.at("fp16_kv_bytes_per_token"), 32 * 2 * 1024 * 2);
}

} // namespace

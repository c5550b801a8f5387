// SPDX-License-Identifier: Apache-2.0
// Caches that one generation keeps and another goes on from; tasks.
#include "app/cli/process.h"
#include "support/default_model.h"
#include "support/model_files.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

using namespace xqs::test;
using nlohmann::json;

namespace {

constexpr int kUsage = 2, kInput = 3, kOutput = 4;
const std::string kModel = "synthetic:layers=3,d=32,heads=2,kv_heads=1,vocab=256,seed=5";

std::vector<std::string> generate(std::vector<std::string> more, const std::string &model = kModel) {
  std::vector<std::string> arguments = {"generate", "--model", model, "--raw", "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string prompt(int words) {
  std::string text;
  for (int i = 0; i < words; ++i) text += "word " + std::to_string(i * i) + " ";
  return text;
}

TEST(KeptCache, GoesOnWithTheTokensOfOneGeneration) {
  const TempDir dir;
  for (const char *policy : {"xquant-cl:bits=2,group=32", "kivi:bits=2", "xquant:bits=2,group=16,outlier_channels=1"}) {
    const json whole = parsed(runCli(generate({"--prompt", prompt(20), "--tokens", "40", "--policy", policy})));
    const std::vector<int> expected = whole.at("sequences")[1].at("tokens");
    const json first = parsed(
        runCli(generate({"--prompt", prompt(20), "--tokens", "15", "--policy", policy, "--cache-save", dir / "kept"})));
    EXPECT_EQ(first.at("saved").at("tokens"), first.at("prompt_tokens").get<int>() + 14);
    const json second =
        parsed(runCli(generate({"--cache-load", dir / "kept", "--tokens", "25", "--cache-save", dir / "kept again"})));
    EXPECT_EQ(second.at("loaded_tokens"), first.at("saved").at("tokens"));
    std::vector<int> tokens = first.at("sequences")[1].at("tokens");
    for (const json &token : second.at("sequences")[0].at("tokens")) tokens.push_back(token);
    EXPECT_EQ(tokens, expected) << policy;
    EXPECT_EQ(second.at("sequences")[0].at("format_bytes"), whole.at("sequences")[1].at("format_bytes"));
    EXPECT_EQ(second.at("saved").at("tokens"), whole.at("sequences")[1].at("cache_tokens"));
  }
}

/// On the emulated GPU, where the host's memory is another: the same text, and a kept cache goes on in either place.
TEST(KeptCache, CachesInTheHostsMemoryChangeNoText) {
  const TempDir dir;
  setenv("XQSCOPE_BACKEND_PATH", XQS_EMULATED_FOLDER, 1);
  const auto run = [&](const char *placement, std::vector<std::string> more) {
    for (const char *word : {"--backend", "cuda", "--tokens", "6", "--placement", placement}) more.emplace_back(word);
    const json result = parsed(runCli(generate(more)));
    EXPECT_EQ(result.at("placement"), placement);
    return result;
  };
  const std::vector<std::string> fresh = {"--prompt", prompt(6),
                                          "--policy", "fp16",
                                          "--policy", "xquant:bits=4,group=32",
                                          "--policy", "kivi:bits=2,group=32,residual=32",
                                          "--policy", "xquant-cl:bits=3,group=32"};
  EXPECT_EQ(run("host", fresh).at("sequences"), run("device", fresh).at("sequences"));
  run("host", {"--prompt", prompt(6), "--policy", "xquant:bits=4,group=32", "--cache-save", dir / "kept"});
  EXPECT_EQ(run("host", {"--cache-load", dir / "kept"}).at("sequences"),
            run("device", {"--cache-load", dir / "kept"}).at("sequences"));
  unsetenv("XQSCOPE_BACKEND_PATH");
  expectRefusal(runCli(generate({"--prompt", "a", "--policy", "fp16", "--placement", "moon"})), kUsage);
}

TEST(KeptCache, APromptComesAfterItAndKeepCutsIt) {
  const TempDir dir;
  const std::string text = prompt(30), policy = "xquant:bits=2,group=32,source=x";
  parsed(runCli(generate({"--prompt", text, "--tokens", "1", "--policy", policy, "--cache-save", dir / "kept"})));
  // Cut to what stands before " word 9 " and told otherwise: as if it had been said so at once (a token a byte).
  const std::size_t cut = text.find("word 100 ");
  const json rewound = parsed(runCli(generate(
      {"--cache-load", dir / "kept", "--cache-keep", std::to_string(cut), "--prompt", "other words", "--tokens", "9"})));
  EXPECT_EQ(rewound.at("prompt_tokens"), 11);
  const json fresh =
      parsed(runCli(generate({"--prompt", text.substr(0, cut) + "other words", "--tokens", "9", "--policy", policy})));
  EXPECT_EQ(rewound.at("sequences")[0].at("tokens"), fresh.at("sequences")[1].at("tokens"));

  const std::string message = expectRefusal(
      runCli(generate({"--cache-load", dir / "kept", "--cache-keep", std::to_string(text.size() + 1)})), kUsage);
  EXPECT_NE(message.find("holds"), std::string::npos) << message;
}

TEST(KeptCache, LengthsThatAreNotPossibleAreNamed) {
  const TempDir dir;
  parsed(runCli(generate(
      {"--prompt", prompt(20), "--tokens", "1", "--policy", "kivi-star:bits=2,group=32", "--cache-save", dir / "kept"})));
  const std::string message =
      expectRefusal(runCli(generate({"--cache-load", dir / "kept", "--cache-keep", "50", "--prompt", "x"})), kUsage);
  EXPECT_NE(message.find("32 and 64"), std::string::npos) << message;
}

TEST(KeptCache, WhatDoesNotFitIsRefused) {
  const TempDir dir;
  const std::string kept = dir / "kept";
  const std::string policy = "xquant:bits=2,group=16,source=x,outlier_channels=1";
  parsed(runCli(generate({"--prompt", "words", "--tokens", "3", "--policy", policy, "--cache-save", kept})));
  const auto load = [&](std::vector<std::string> more, const std::string &model = kModel) {
    more.insert(more.end(), {"--cache-load", kept});
    return runCli(generate(more, model));
  };
  parsed(load({"--policy", policy})); // itself
  EXPECT_NE(expectRefusal(load({"--policy", "fp16"}), kUsage).find("fp16"), std::string::npos);
  EXPECT_NE(expectRefusal(load({}, kModel + ",residual=0.5"), kUsage).find("another model"), std::string::npos);
  EXPECT_NE(expectRefusal(load({"--calibration", "builtin:primer"}), kUsage).find("calibration"), std::string::npos);
  expectRefusal(load({"--policy", "fp16", "--policy", policy}), kUsage);
  expectRefusal(load({"--system", "x"}), kUsage);
  expectRefusal(load({"--cache-keep", "2"}), kUsage); // nothing to go on with
  expectRefusal(runCli(generate({"--prompt", "x", "--policy", "fp16", "--cache-keep", "2"})), kUsage);
  expectRefusal(runCli(generate({"--policy", "fp16"})), kUsage);
  expectRefusal(runCli(generate({"--prompt", "x"})), kUsage);
  expectRefusal(
      runCli(generate({"--prompt", "x", "--policy", "fp16", "--tokens", "1", "--cache-save", dir / "no/such/folder"})),
      kOutput);
  expectRefusal(runCli(generate({"--cache-load", dir / "missing"})), kInput);
  expectRefusal(runCli(generate({"--cache-load", dir / "."})), kInput);
  std::filesystem::resize_file(kept, std::filesystem::file_size(kept) - 100);
  EXPECT_NE(expectRefusal(load({}), kInput).find("truncated"), std::string::npos);
}

TEST(KeptCache, ADiskThatIsFullLeavesNothing) {
  const TempDir dir;
  expectRefusal(runCli(generate({"--prompt", prompt(50), "--tokens", "1", "--policy", "fp16", "--cache-save", dir / "kept"}),
                       {.fileBytes = 4096}),
                kOutput);
  EXPECT_TRUE(std::filesystem::is_empty(dir / "."));
}

TEST(KeptCache, AChatGoesOnWithItsNextTurn) {
  XQS_NEED_MODEL(model);
  const TempDir dir;
  const auto run = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"generate", "--model", model, "--json"});
    return parsed(runCli(more));
  };
  int promptTokens = 0;
  const auto turnAfter = [&](const char *tokens) {
    const json first =
        run({"--prompt", "Say hello to Ada.", "--policy", "fp16", "--tokens", tokens, "--cache-save", dir / "kept"});
    const json second = run({"--cache-load", dir / "kept", "--prompt", "What is a cache?", "--tokens", "3"});
    EXPECT_EQ(second.at("loaded_tokens"), first.at("saved").at("tokens"));
    promptTokens = first.at("prompt_tokens");
    EXPECT_FALSE(second.at("sequences")[0].at("text").get<std::string>().empty());
    return std::pair(first.at("sequences")[1].at("ended").get<bool>(), second.at("prompt_tokens").get<int>());
  };
  const auto turnAfterKeeping = [&](int tokens) {
    const json second = run({"--cache-load", dir / "kept", "--cache-keep", std::to_string(tokens), "--prompt",
                             "What is a cache?", "--tokens", "1"});
    return second.at("prompt_tokens").get<int>();
  };
  const auto [cutEnded, afterCut] = turnAfter("2");
  const auto [wholeEnded, afterWhole] = turnAfter("250");
  EXPECT_FALSE(cutEnded);
  ASSERT_TRUE(wholeEnded);
  EXPECT_EQ(afterCut, afterWhole + 1); // a reply that ended needs no end; both feed the token that was drawn last
  // The prompt ends in <|im_end|> \n <|im_start|> ass istant \n: what is there already is not said again.
  const int prompted = promptTokens, whole = turnAfterKeeping(prompted - 6);
  EXPECT_EQ(turnAfterKeeping(prompted - 5), whole - 1);
  EXPECT_EQ(turnAfterKeeping(prompted - 4), whole - 2);
  EXPECT_EQ(turnAfterKeeping(prompted - 3), whole - 3);
}

TEST(Generate, TheNoiseFloorStandsBesideTheAgreement) {
  const std::vector<std::string> arguments =
      generate({"--prompt", "a cache", "--tokens", "12", "--policy", "xquant:bits=2,group=8", "--policy", "fp16"});
  std::vector<std::string> measured = arguments;
  measured.push_back("--noise-floor");
  const json without = parsed(runCli(arguments)), with = parsed(runCli(measured));
  ASSERT_EQ(with.at("sequences").size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const json &sequence = with.at("sequences")[i];
    EXPECT_EQ(sequence.at("tokens"), without.at("sequences")[i].at("tokens")); // measuring changes nothing
    EXPECT_EQ(sequence.at("same_as_perturbed"), 12) << i;                      // random weights are far from every tie
    EXPECT_FALSE(without.at("sequences")[i].contains("same_as_perturbed"));
  }
  EXPECT_EQ(with.at("sequences")[2].at("same_as_exact"), 12); // FP16
}

/// On the emulated GPU, with a stand-in for CUPTI that samples what the emulator moves.
class SampledText : public testing::Test {
protected:
  void SetUp() override {
#if defined(XQS_FAKE_CUPTI)
    set("XQSCOPE_BACKEND_PATH", XQS_EMULATED_FOLDER), set("XQSCOPE_CUPTI", XQS_FAKE_CUPTI);
#else
    GTEST_SKIP() << "no CUPTI headers of CUDA 13 to build a stand-in for CUPTI with";
#endif
  }
  ~SampledText() override {
    for (const std::string &name : m_set) unsetenv(name.c_str());
  }
  void set(const std::string &name, const std::string &value) {
    setenv(name.c_str(), value.c_str(), 1);
    m_set.push_back(name);
  }
  static std::vector<std::string> arguments(const std::string &store, std::vector<std::string> more) {
    std::vector<std::string> all = {"generate",
                                    "--model",
                                    "synthetic:layers=2,d=32,heads=2,kv_heads=1,vocab=256",
                                    "--raw",
                                    "--prompt",
                                    "a cache",
                                    "--policy",
                                    "xquant:bits=2,group=32",
                                    "--backend",
                                    "cuda",
                                    "--store",
                                    store};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  static json stored(const std::string &store) {
    const Outcome outcome = runCli({"export", store, "--json"});
    EXPECT_EQ(outcome.exitCode, 0) << outcome.err;
    return json::parse(outcome.out);
  }
  const TempDir m_dir;
  std::vector<std::string> m_set;
};

TEST_F(SampledText, TheTrafficIsStoredAndTheTextIsTheSame) {
  const json without = parsed(runCli(arguments(m_dir / "without.xqs", {"--tokens", "4", "--json"})));
  const json with = parsed(runCli(arguments(m_dir / "with.xqs", {"--tokens", "4", "--json", "--sampling-us", "200"})));
  ASSERT_EQ(with.at("sequences").size(), 2u);
  for (std::size_t i = 0; i < 2; ++i)
    EXPECT_EQ(with.at("sequences")[i].at("tokens"), without.at("sequences")[i].at("tokens"));
  EXPECT_FALSE(without.contains("traffic"));
  const json &traffic = with.at("traffic");
  EXPECT_EQ(traffic.at("measured"), true);
  EXPECT_GT(traffic.at("read_mean"), 0);
  EXPECT_GE(traffic.at("read_peak"), traffic.at("read_mean"));
  EXPECT_GT(traffic.at("write_mean"), 0);

  const json rows = stored(m_dir / "with.xqs");
  EXPECT_EQ(json::parse(rows["run"][0]["spec"].get<std::string>()).at("sampling_us"), 200);
  ASSERT_EQ(rows.at("instrument").size(), 1u);
  EXPECT_EQ(rows["instrument"][0]["state"], "ready");
  EXPECT_TRUE(rows.at("peak").empty());
  std::size_t samples = 0;
  for (const json &row : rows.at("throughput")) {
    EXPECT_EQ(row["policy_index"], -1);
    EXPECT_EQ(row["batch"], 2);
    samples += row["read"].size();
  }
  EXPECT_GT(samples, 0u);
  EXPECT_EQ(traffic.at("samples"), samples);
  EXPECT_TRUE(stored(m_dir / "without.xqs").at("throughput").empty());
  for (const char *store : {"with.xqs", "without.xqs"}) {
    ASSERT_EQ(runCli({"report", m_dir / store, "-o", m_dir / "page.html"}).exitCode, 0);
    std::ostringstream page;
    page << std::ifstream(m_dir / "page.html").rdbuf();
    const bool told = page.str().find("While tokens were drawn, measured, of the whole device: read") != std::string::npos;
    EXPECT_EQ(told, store == std::string("with.xqs"));
    EXPECT_EQ(page.str().find("rebuild cost"), std::string::npos) << "it is no profile";
  }
}

TEST_F(SampledText, TheLastLineHasMeansAndPeaksAndWhatWasLost) {
  set("XQS_FAKE_CUPTI_OVERFLOWS", "1"); // of the self test, which is not counted, and of the text
  const Outcome outcome = runCli(arguments(m_dir / "run.xqs", {"--tokens", "4", "--sampling-us", "200"}));
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::ContainsRegex("memory traffic measured, of the whole device: read [0-9.]+ GB/s \\(at "
                                                  "most [0-9.]+\\), written [0-9.]+ GB/s \\(at most [0-9.]+\\), [0-9]+ "
                                                  "samples over [0-9.]+ s; times that samples were lost: 1\n$"));
  const json rows = stored(m_dir / "run.xqs");
  EXPECT_EQ(rows.at("instrument").back()["dropped"], 1);
}

TEST_F(SampledText, WhereItIsRefusedTheSentenceIsSaidAndStored) {
  set("XQS_FAKE_CUPTI_ANSWERS", "cuptiPmSamplingEnable=26");
  const Outcome outcome = runCli(arguments(m_dir / "run.xqs", {"--tokens", "4", "--sampling-us", "200"}));
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::ContainsRegex("memory traffic was not measured: [^\n]*dcgmi profile --pause"));
  const json rows = stored(m_dir / "run.xqs");
  EXPECT_EQ(rows["run_end"][0]["status"], "finished");
  EXPECT_FALSE(rows.at("generated").empty());
  ASSERT_EQ(rows.at("instrument").size(), 1u);
  EXPECT_EQ(rows["instrument"][0]["instrument"], "sampling");
  EXPECT_EQ(rows["instrument"][0]["state"], "in-use");
  EXPECT_THAT(rows["instrument"][0]["sentence"].get<std::string>(), testing::HasSubstr("dcgmi profile --pause"));
  EXPECT_THAT(rows["log"][0]["text"].get<std::string>(), testing::HasSubstr("dcgmi profile --pause"));
  EXPECT_TRUE(rows.at("throughput").empty());
}

TEST_F(SampledText, AnIntervalThatTheDeviceCannotKeepIsSaidAndTheTextGoesOn) {
  const Outcome outcome = runCli(arguments(m_dir / "run.xqs", {"--tokens", "4", "--sampling-us", "5"}));
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::ContainsRegex("memory traffic was not measured: [^\n]*every 5 us"));
  const json rows = stored(m_dir / "run.xqs");
  EXPECT_EQ(rows["run_end"][0]["status"], "finished");
  EXPECT_EQ(rows.at("problem").at(0)["code"], "instrument-lost");
}

TEST(Generate, SamplesNeedAStore) {
  const std::string message = expectRefusal(
      runCli(generate({"--prompt", "a", "--policy", "fp16", "--tokens", "2", "--sampling-us", "100"})), kUsage);
  EXPECT_NE(message.find("--store"), std::string::npos) << message;
  expectRefusal(runCli(generate({"--prompt", "a", "--policy", "fp16", "--sampling-us", "1000001"})), kUsage);
}

TEST(Task, CopyAndPasskeyCountWithIntervals) {
  const json copies = parsed(runCli({"task", "copy", "--model", kModel, "--policy", "fp16", "--policy",
                                     "xquant:bits=2,group=8", "--lengths", "8,20", "--trials", "3", "--json"}));
  ASSERT_EQ(copies.at("rows").size(), 6u);
  EXPECT_TRUE(copies.at("rows")[0].at("policy").is_null());
  const json &row = copies.at("rows")[5];
  EXPECT_EQ(row.at("distance"), 20);
  EXPECT_EQ(row.at("tokens_a_trial"), 19);
  EXPECT_EQ(row.at("nll").at("windows"), 3);
  EXPECT_LT(row.at("nll").at("low"), row.at("nll").at("high"));

  const json keys = parsed(runCli({"task", "passkey", "--model", kModel, "--policy", "fp16", "--lengths", "430", "--depths",
                                   "0,1", "--trials", "2", "--json"}));
  EXPECT_EQ(keys.at("rows").size(), 2u);
  EXPECT_EQ(keys.at("total").at("exact").at("of"), 4);
  EXPECT_EQ(keys.at("total").at("policies")[0].at("of"), 0); // random weights find nothing: nothing was asked
  EXPECT_TRUE(keys.at("total").at("policies")[0].at("share").is_null());
}

TEST(Task, Refusals) {
  expectRefusal(runCli({"task"}), kUsage);
  expectRefusal(runCli({"task", "copy", "--model", kModel}), kUsage);
  expectRefusal(runCli({"task", "copy", "--model", kModel, "--policy", "fp16", "--lengths", "1"}), kUsage);
  expectRefusal(runCli({"task", "copy", "--model", kModel, "--policy", "fp16", "--lengths", "1000000"}), kUsage);
  expectRefusal(runCli({"task", "passkey", "--model", kModel, "--policy", "fp16", "--depths", "2"}), kUsage);
  const std::string message =
      expectRefusal(runCli({"task", "passkey", "--model", kModel, "--policy", "fp16", "--lengths", "20"}), kUsage);
  EXPECT_NE(message.find("at least"), std::string::npos) << message;
}

} // namespace

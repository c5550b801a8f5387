// SPDX-License-Identifier: Apache-2.0
// Caches that one generation keeps and another goes on from; tasks.
#include "app/cli/process.h"
#include "support/default_model.h"
#include "support/model_files.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
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

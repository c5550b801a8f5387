// SPDX-License-Identifier: Apache-2.0
// xqscope-cli as a person and a script use it, on a small synthetic model.
#include "app/cli/process.h"
#include "support/model_files.h"

#include <gmock/gmock.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

using namespace xqs::test;
using nlohmann::json;

namespace {

const std::string kModel = "synthetic:layers=4,d=64,heads=4,kv_heads=2,vocab=256";

TEST(Help, EverySubcommandExplainsItselfAndItsExitCodes) {
  for (const char *command : {"info", "policies", "eval", "layers", "run", "studies", "merge", "compare", "pareto", "slurm",
                              "generate", "serve", "report", "export", "bench", "profile"}) {
    const Outcome help = runCli({command, "--help"});
    EXPECT_EQ(help.exitCode, 0) << command;
    EXPECT_EQ(help.err, "") << command;
    EXPECT_NE(help.out.find("Exit codes:"), std::string::npos) << command;
  }
  const Outcome all = runCli({"--help"});
  EXPECT_NE(all.out.find("interrupted; what was finished is kept"), std::string::npos) << all.out;
  EXPECT_NE(runCli({"eval", "--help"}).out.find("xqscope-cli policies"), std::string::npos);
  EXPECT_NE(runCli({"policies"}).out.find("xquant-cl"), std::string::npos);
  EXPECT_EQ(runCli({"--version"}).out.find("xqscope-cli "), 0u);
}

TEST(CommandLine, SaysWhatIsWrong) {
  const struct {
    std::vector<std::string> arguments;
    const char *said;
  } kCases[] = {
      {{"evla", "--json"}, "no command 'evla'; there are info, policies, eval"},
      {{"task", "cpoy"}, "no command 'cpoy'; there are copy, passkey; see xqscope-cli task --help"},
      {{}, "a command is missing; there are info, policies"},
      {{"eval", "--polcy", "fp16"}, "'--polcy' is not known; see xqscope-cli eval --help"},
      {{"eval", "--window", "64"}, "--policy is required"},
      {{"eval", "--policy", "fp16", "--threads", "2000"}, "--threads"},
      {{"compare", "one.xqs"}, "2"},
      {{"export", "F.xqs", "--csv", "folder", "--json"}, "--csv excludes --json"},
      {{"info", "--model", "x", "--backends"}, "--model excludes --backends"},
      {{"generate", "--prompt", "a", "--prompt-file", "b", "--policy", "fp16"}, "--prompt excludes --prompt-file"},
      {{"solve", "F.xqs"}, "Exactly 1 option from [--bytes-per-token"},
      {{"pareto", "F.xqs", "--quality", "x"}, "--quality"},
      {{"run", "sensitivty", "--dry-run"}, "no study 'sensitivty'; built in are"},
      {{"slurm", "--set", "windows=2", "no-such-study", "--store", "S.xqs"}, "no study 'no-such-study'"},
  };
  for (const auto &[arguments, said] : kCases) {
    const Outcome outcome = runCli(arguments);
    EXPECT_EQ(outcome.exitCode, 2) << said;
    EXPECT_NE(outcome.err.find(said), std::string::npos) << outcome.err;
  }
}

TEST(Policies, JsonSaysEverythingAFormNeeds) {
  const json methods = parsed(runCli({"policies", "--json"}));
  std::vector<std::string> names;
  for (const json &method : methods) {
    names.push_back(method.at("name"));
    EXPECT_FALSE(method.at("title").get<std::string>().empty());
    EXPECT_FALSE(method.at("meaning").get<std::string>().empty());
    for (const json &p : method.at("parameters")) {
      EXPECT_FALSE(p.at("meaning").get<std::string>().empty()) << p;
      EXPECT_EQ(p.at("default").is_null(), p.at("required").get<bool>()) << p;
      if (p.at("type") == "choice")
        EXPECT_GE(p.at("choices").size(), 2u) << p;
      else
        EXPECT_TRUE(p.contains("allowed") || p.at("min") <= p.at("max")) << p;
    }
  }
  EXPECT_EQ(names, (std::vector<std::string>{"fp16", "kivi", "kivi-star", "xquant", "xquant-cl", "low-rank", "plan"}));
}

TEST(Info, DescribesAModelAndTheBackends) {
  const json info = parsed(runCli({"info", "--model", kModel, "--json"}));
  EXPECT_EQ(info.at("layers"), 4);
  EXPECT_EQ(info.at("dkv"), 32);
  EXPECT_EQ(info.at("fp16_kv_bytes_per_token"), 4 * 2 * 32 * 2);
  const json backends = parsed(runCli({"info", "--backends", "--json"}));
  EXPECT_EQ(backends.at(0).at("name"), "cpu");
  EXPECT_TRUE(backends.at(0).at("usable").get<bool>());
}

/// A copy of the program by itself: no module lies beside it.
TEST(Info, SaysWhatWouldMakeCudaUsableWhereItWasNotBuilt) {
  const TempDir folder;
  const std::string program = folder / "xqscope-cli";
  std::filesystem::copy_file(XQS_CLI, program);
  const auto says = [&](const std::string &arguments) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> pipe(
        popen(("env -u XQSCOPE_BACKEND_PATH " + program + " " + arguments + " 2>&1").c_str(), "r"), pclose);
    std::string text(1 << 14, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), pipe.get()));
    return text;
  };
  const json rows = json::parse(says("info --backends --json"));
  EXPECT_EQ(rows.back().at("name"), "cuda");
  EXPECT_THAT(rows.back().at("reason").get<std::string>(), testing::HasSubstr("packaging/run.sh --cuda-toolkit"));
  EXPECT_THAT(says("info --backends"), testing::ContainsRegex("cuda +unusable +no module libxqs_cuda.so"));
  EXPECT_THAT(says("eval --model " + kModel + " --policy fp16 --backend cuda"),
              testing::HasSubstr("build where nvcc is (packaging/run.sh --cuda-toolkit fetches it)"));
}

TEST(Eval, JsonHasExactlyTheDocumentedShape) {
  const json result =
      parsed(runCli({"eval", "--model", kModel, "--text", "builtin:primer", "--window", "128", "--windows", "2", "--state",
                     "all", "--policy", "fp16", "--policy", "kivi-star:group=32,bits=2", "--json"}));
  EXPECT_EQ(result.size(), 2u);
  EXPECT_EQ(result.at("exact").size(), 2u);
  ASSERT_EQ(result.at("exact").at("mean_nll").size(), 2u);
  const double mean = (result["exact"]["mean_nll"][0].get<double>() + result["exact"]["mean_nll"][1].get<double>()) / 2;
  EXPECT_NEAR(result.at("exact").at("ppl").get<double>(), std::exp(mean), 1e-9 * std::exp(mean));
  ASSERT_EQ(result.at("policies").size(), 2u);
  for (const json &policy : result["policies"]) {
    EXPECT_EQ(policy.size(), 13u) << policy;
    for (const char *key : {"mean_nll", "kl_mean", "top1"}) EXPECT_EQ(policy.at(key).size(), 2u) << key;
    EXPECT_NEAR(policy.at("bits_per_element").get<double>(), 16 * policy.at("relative_size").get<double>(), 1e-12);
    for (const char *key : {"ppl", "format_bytes_per_window", "allocated_bytes", "relative_size_mha", "seconds"})
      EXPECT_GT(policy.at(key).get<double>(), 0) << key;
  }
  const json &fp16 = result["policies"][0], &kivi = result["policies"][1];
  EXPECT_EQ(fp16.at("policy"), "fp16");
  EXPECT_EQ(fp16.at("format_bytes_per_window"), 4 * 2 * 128 * 32 * 2);
  EXPECT_EQ(fp16.at("relative_size"), 1.0);
  EXPECT_EQ(fp16.at("store_macs_per_token"), 4 * 2 * 64 * 32); // K and V of every layer
  EXPECT_EQ(fp16.at("rebuild_macs_per_token"), 0);
  EXPECT_EQ(kivi.at("policy"), "kivi-star:bits=2,group=32"); // canonical: registry order
  EXPECT_GT(kivi.at("kl_mean")[0].get<double>(), fp16.at("kl_mean")[0].get<double>());
}

/// Everything that `eval` measures but the time. Windows of 50 tokens: no tile of any BLAS kernel divides them.
json figures(const char *threads, const char *lanes) {
  json result = parsed(runCli({"eval",
                               "--model",
                               kModel,
                               "--window",
                               "50",
                               "--windows",
                               "2",
                               "--policy",
                               "fp16",
                               "--policy",
                               "kivi-star:bits=4",
                               "--policy",
                               "xquant:bits=3",
                               "--policy",
                               "xquant-cl:bits=2,source=x",
                               "--policy",
                               "xquant-cl:bits=3",
                               "--threads",
                               threads,
                               "--lanes",
                               lanes,
                               "--json"}));
  for (json &policy : result["policies"]) policy.erase("seconds");
  return result;
}
void expectSameForThreadsAndLanes() {
  const json one = figures("1", "1");
  EXPECT_EQ(figures("2", "1"), one);
  EXPECT_EQ(figures("3", "1"), one);
  EXPECT_EQ(figures("1", "2"), one);
  EXPECT_EQ(figures("3", "4"), one);
}
TEST(Eval, IsTheSameForAnyNumberOfThreadsAndLanes) { expectSameForThreadsAndLanes(); }

/// The kernels that most processors run, whichever this one has: OpenBLAS reads the variable when it starts.
TEST(Eval, IsTheSameForAnyNumberOfThreadsAndLanesOnHaswell) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    GTEST_SKIP() << "this processor has no AVX2 and FMA";
#else
  GTEST_SKIP() << "no x86 processor";
#endif
  const TempDir dir;
  setenv("OPENBLAS_CORETYPE", "Haswell", 1);
  expectSameForThreadsAndLanes();
  runCli({"eval", "--model", kModel, "--window", "16", "--windows", "1", "--policy", "fp16", "--store", dir / "run.xqs"});
  unsetenv("OPENBLAS_CORETYPE");
  const json run = parsed(runCli({"export", dir / "run.xqs", "--json"})).at("run").at(0);
  EXPECT_NE(run.dump().find("OpenBLAS for Haswell"), std::string::npos) << run;
}

TEST(Eval, TableAndStoreAgreeWithItself) {
  const TempDir dir;
  const Outcome table = runCli({"eval", "--model", kModel, "--window", "64", "--windows", "1", "--policy", "low-rank:rank=8",
                                "--store", dir / "run.xqs"});
  EXPECT_EQ(table.exitCode, 0) << table.err;
  EXPECT_NE(table.out.find("low-rank:rank=8"), std::string::npos) << table.out;
  const json store = parsed(runCli({"export", dir / "run.xqs", "--json"}));
  EXPECT_EQ(store.at("run").size(), 1u);
  EXPECT_EQ(store.at("run_end").at(0).at("status"), "finished");
  EXPECT_EQ(store.at("window_result").size(), 2u); // exact and policy
  EXPECT_EQ(store.at("layer_error").size(), 8u);   // open and closed loop of 4 layers
  EXPECT_EQ(store.at("similarity").size(), 4u);
}

TEST(Layers, JsonHasExactlyTheDocumentedShape) {
  const json result = parsed(runCli({"layers", "--model", kModel, "--window", "100", "--first-window", "1", "--policy",
                                     "fp16", "--policy", "xquant:bits=16", "--json"}));
  EXPECT_EQ(result.size(), 4u);
  ASSERT_EQ(result.at("policies").size(), 2u);
  for (const json &policy : result["policies"]) {
    EXPECT_EQ(policy.size(), 3u);
    EXPECT_EQ(policy.at("k_rel_error").size(), 4u);
    EXPECT_EQ(policy.at("v_rel_error").size(), 4u);
    for (const json &error : policy["k_rel_error"]) EXPECT_LT(error.get<double>(), 2e-3);
  }
  for (const char *site : {"post_norm", "residual", "k_pre_rope", "v"}) {
    const json &matrix = result.at("similarity").at(site);
    ASSERT_EQ(matrix.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(matrix.at(i).at(i).get<double>(), 1, 1e-5) << site;
  }
  for (const char *k : {"1", "2", "4", "8"}) EXPECT_TRUE(result.at("outlier_hit_rate_percent").at(k).is_number());
  EXPECT_TRUE(result.at("layers_with_latent_channel_0_largest").is_number_integer());
}

TEST(Run, WritesAStoreThatExports) {
  const TempDir dir;
  writeFile(dir / "spec.json",
            json{{"model", kModel}, {"window", 64}, {"windows", 2}, {"policies", {"fp16", "xquant-cl:bits=4"}}}.dump());
  const Outcome run = runCli({"run", dir / "spec.json", "--store", dir / "run.xqs", "--report", dir / "run.html"});
  EXPECT_EQ(run.exitCode, 0) << run.err;
  EXPECT_GT(std::filesystem::file_size(dir / "run.html"), 1000u);
  EXPECT_FALSE(std::filesystem::exists(dir / "run.xqs-wal"));
  const json store = parsed(runCli({"export", dir / "run.xqs", "--json"}));
  EXPECT_EQ(store.at("window_result").size(), 6u);
  EXPECT_EQ(store.at("policy").at(1).at("policy"), "xquant-cl:bits=4");
  const Outcome csv = runCli({"export", dir / "run.xqs", "--csv", dir / "csv"});
  EXPECT_EQ(csv.exitCode, 0) << csv.err;
  EXPECT_TRUE(std::filesystem::exists(dir / "csv/window_result.csv"));
}

TEST(Run, AnInterruptKeepsFinishedWindows) {
  const TempDir dir;
  writeFile(dir / "spec.json", json{{"model", "synthetic:layers=8,d=128,heads=4,kv_heads=2"},
                                    {"window", 256},
                                    {"policies", {"fp16", "xquant:bits=4", "xquant-cl:bits=4"}}}
                                   .dump());
  RunningCli run({"run", dir / "spec.json", "--store", dir / "run.xqs"});
  run.closeInput();
  for (int i = 0; i < 400 && !std::filesystem::exists(dir / "run.xqs-wal"); ++i) usleep(10'000);
  usleep(300'000);
  run.signal(SIGINT);
  expectRefusal(run.wait(), 6);
  const json store = parsed(runCli({"export", dir / "run.xqs", "--json"}));
  EXPECT_EQ(store.at("run_end").at(0).at("status"), "cancelled");
}

TEST(Generate, LanesGrowBesideTheExactModel) {
  const json result = parsed(runCli({"generate", "--model", kModel, "--raw", "--prompt", "a cache", "--tokens", "12",
                                     "--policy", "fp16", "--policy", "xquant:bits=2,group=8", "--json"}));
  const json &sequences = result.at("sequences");
  ASSERT_EQ(sequences.size(), 3u);
  EXPECT_TRUE(sequences[0].at("policy").is_null());
  for (const json &s : sequences) {
    EXPECT_EQ(s.at("tokens").size(), 12u);
    EXPECT_EQ(s.at("cache_tokens"), result.at("prompt_tokens").get<int>() + 11); // the last token is not fed any more
  }
  EXPECT_EQ(sequences[1].at("policy"), "fp16");
  EXPECT_LT(sequences[2].at("format_bytes"), sequences[1].at("format_bytes"));
  EXPECT_EQ(sequences[0].at("same_as_exact"), 12);
}

TEST(Generate, TheStoreHoldsWhatWasPrinted) {
  const TempDir dir;
  const json result =
      parsed(runCli({"generate", "--model", kModel, "--raw", "--prompt", "a cache", "--tokens", "12", "--policy",
                     "xquant:bits=2,group=8", "--noise-floor", "--store", dir / "g.xqs", "--json"}));
  EXPECT_TRUE(result.at("sequences")[1].contains("same_as_perturbed"));
  const json store = parsed(runCli({"export", dir / "g.xqs", "--json"}));
  EXPECT_EQ(store.at("run").at(0).at("kind"), "generate");
  EXPECT_EQ(store.at("run_end").at(0).at("status"), "finished");
  std::vector<std::vector<std::int64_t>> tokens(2);
  std::vector<std::string> texts(2);
  for (const json &row : store.at("generated")) {
    const auto column = row.at("policy_index").get<std::size_t>() + 1;
    tokens.at(column).push_back(row.at("token"));
    texts.at(column) += row.at("text").get<std::string>();
  }
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(json(tokens[i]), result.at("sequences")[i].at("tokens"));
    EXPECT_EQ(texts[i], result.at("sequences")[i].at("text"));
  }
  EXPECT_EQ(store.at("generated").back().at("format_bytes"), result.at("sequences")[1].at("format_bytes"));
  const Outcome report = runCli({"report", dir / "g.xqs", "-o", dir / "g.html"});
  EXPECT_EQ(report.exitCode, 0) << report.err;
  std::stringstream page;
  page << std::ifstream(dir / "g.html").rdbuf();
  EXPECT_NE(page.str().find("Generated text"), std::string::npos);
  EXPECT_NE(page.str().find("xqscope-cli generate --model"), std::string::npos);
  EXPECT_NE(page.str().find("--policy xquant:bits=2,group=8"), std::string::npos);
}

TEST(Generate, AModelWithoutAChatTemplateSaysWhatToDo) {
  const auto result = runCli({"generate", "--model", kModel, "--prompt", "hello", "--policy", "fp16"});
  EXPECT_NE(result.exitCode, 0);
  EXPECT_NE(result.err.find("--raw"), std::string::npos) << result.err;
}

} // namespace

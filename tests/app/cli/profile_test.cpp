// SPDX-License-Identifier: Apache-2.0
// xqscope-cli profile, as small as it goes.
#include "app/cli/process.h"
#include "support/model_files.h"

#include <gmock/gmock.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace xqs::test;
using nlohmann::json;

namespace {

class Profile : public testing::Test {
protected:
  std::vector<std::string> arguments(const std::vector<std::string> &more) const {
    std::vector<std::string> all = {"profile", "--store", m_dir / "out.xqs"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  json stored() const {
    const Outcome outcome = runCli({"export", m_dir / "out.xqs", "--json"});
    EXPECT_EQ(outcome.exitCode, 0) << outcome.err;
    return json::parse(outcome.out);
  }
  std::string contentOf(const std::string &name) const {
    std::ostringstream text;
    text << std::ifstream(m_dir / name).rdbuf();
    return text.str();
  }
  TempDir m_dir;
};

TEST_F(Profile, OneCommandGivesTableStoreReportAndJson) {
  const Outcome outcome = runCli(arguments({"--shape", "smollm2-135m", "--layers", "1", "--quick", "--context", "64",
                                            "--report", m_dir / "page.html", "--json", m_dir / "out.json"}));
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  for (const char *text : {"ms/step", "cache MB read", "counted GB/s", "measured GB/s", "xquant-cl:bits=2",
                           "limit copy: measured ", " GB/s (", " GFLOP/s (", "timeline: ", "counters: ", "sampling: "})
    EXPECT_NE(outcome.out.find(text), std::string::npos) << text << "\n" << outcome.out;
  const json store = stored();
  ASSERT_EQ(store.at("run").size(), 1u);
  EXPECT_EQ(store["run"][0].at("kind"), "profile");
  EXPECT_EQ(store.at("run_end").at(0).at("status"), "finished");
  EXPECT_EQ(store.at("step").size(), 4u);
  EXPECT_EQ(store.at("instrument").size(), 3u);
  EXPECT_FALSE(store.at("peak").empty());
  EXPECT_FALSE(store.at("kernel").empty());
  for (const json &step : store.at("step")) {
    double bytes = 0;
    for (const json &row : store.at("traffic"))
      if (row.at("policy_index") == step.at("policy_index") && row.at("part") == "")
        bytes += row.at("counted_bytes").get<double>();
    EXPECT_NEAR(bytes, step.at("counted_bytes").get<double>(), 1e-6 * bytes);
    EXPECT_TRUE(step.at("timeline_cost").is_null()) << "--quick measures no costs";
  }
  const json figures = json::parse(std::ifstream(m_dir / "out.json"));
  EXPECT_FALSE(figures.contains("kernels")) << "thousands of rows that nobody asked for";
  EXPECT_EQ(figures.at("steps").size(), 4u);
  EXPECT_EQ(figures.at("run").at("uuid"), store["run"][0].at("uuid"));
  EXPECT_NE(contentOf("page.html").find("Bandwidth saved against rebuild cost"), std::string::npos);
  // A report of the store later is the same page.
  ASSERT_EQ(runCli({"report", m_dir / "out.xqs", "-o", m_dir / "again.html"}).exitCode, 0);
  EXPECT_EQ(contentOf("again.html"), contentOf("page.html"));
}

/// The CUDA backend as it is, on the emulator: what only a device can say is not told, and nothing else is missing.
TEST_F(Profile, RunsOnACudaDevice) {
  setenv("XQSCOPE_BACKEND_PATH", XQS_EMULATED_FOLDER, 1);
  const Outcome outcome =
      runCli(arguments({"--model", "synthetic:layers=2,d=32,heads=2,kv_heads=1,vocab=256", "--context", "40", "--batch", "2",
                        "--policy", "xquant:bits=2,group=32", "--policy", "kivi:bits=2,group=16,residual=16", "--steps", "2",
                        "--placement", "host", "--hit-rate", "--backend", "cuda"}));
  unsetenv("XQSCOPE_BACKEND_PATH");
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  const json store = stored();
  EXPECT_EQ(store["run"][0].at("backend"), "cuda");
  ASSERT_EQ(store.at("step").size(), 3u) << outcome.out;
  std::vector<std::string> peaks;
  for (const json &row : store.at("peak")) peaks.push_back(row.at("name"));
  EXPECT_EQ(peaks, (std::vector<std::string>{"copy", "matmul", "host-copy"}));
  for (const json &step : store.at("step")) {
    EXPECT_GT(step.at("counted_bytes"), step.at("cache_bytes"));
    EXPECT_FALSE(step.at("timeline_cost").is_null());
  }
  for (const json &row : store.at("kernel")) EXPECT_GE(row.at("duration_ns"), 0);
}

/// The microscope on the emulated device with a fake CUPTI: what it measured is in the table, in JSON and in the store.
TEST_F(Profile, TheMicroscopeShowsWhatEveryKernelMoves) {
#if defined(XQS_FAKE_CUPTI)
  setenv("XQSCOPE_BACKEND_PATH", XQS_EMULATED_FOLDER, 1), setenv("XQSCOPE_CUPTI", XQS_FAKE_CUPTI, 1);
  const Outcome outcome =
      runCli(arguments({"--model", "synthetic:layers=2,d=32,heads=2,kv_heads=1,vocab=256", "--context", "20,40", "--policy",
                        "xquant:bits=2,group=32", "--steps", "1", "--sampling-us", "0", "--no-costs", "--microscope",
                        "--backend", "cuda", "--json", m_dir / "out.json"}));
  unsetenv("XQSCOPE_BACKEND_PATH"), unsetenv("XQSCOPE_CUPTI");
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  for (const char *text : {"xquant:bits=2,group=32", "40 tokens x 1: kernels of a step", "counted MB", "measured MB",
                           "measured GB/s", "25.00%", "kernel_"})
    EXPECT_NE(outcome.out.find(text), std::string::npos) << text << "\n" << outcome.out;
  EXPECT_EQ(outcome.out.find("20 tokens x 1: kernels"), std::string::npos) << "the longest context alone";
  const json kernels = json::parse(std::ifstream(m_dir / "out.json")).at("kernels");
  EXPECT_EQ(kernels.size(), stored().at("kernel").size());
  std::size_t measured = 0;
  for (const json &row : kernels) {
    const bool copy = row.at("launch").get<std::string>().starts_with("mem");
    EXPECT_EQ(row.at("measured_read").is_null(), copy) << row.dump();
    measured += copy ? 0 : 1;
  }
  EXPECT_GT(measured, 100u);
#else
  GTEST_SKIP() << "no CUPTI headers to build a stand-in for CUPTI with";
#endif
}

TEST_F(Profile, ASpecIsRepeatedAndOptionsBesideItCount) {
  const std::vector<std::string> small = {"--model",    "synthetic:layers=2,d=64,heads=4,kv_heads=2",
                                          "--contexts", "48,32",
                                          "--batch",    "1,2",
                                          "--policy",   "xquant:bits=2",
                                          "--steps",    "2",
                                          "--no-costs", "--no-kernels"};
  ASSERT_EQ(runCli(arguments(small)).exitCode, 0);
  const json first = stored();
  EXPECT_EQ(first.at("step").size(), 2u * 2u * 2u);
  EXPECT_TRUE(first.at("kernel").empty());
  const std::string spec = writeFile(m_dir / "spec.json", first["run"][0].at("spec").get<std::string>());
  const Outcome again = runCli(arguments({"--spec", spec, "--batch", "1"}));
  ASSERT_EQ(again.exitCode, 0) << again.err;
  const json both = stored();
  ASSERT_EQ(both.at("run").size(), 2u);
  json expected = json::parse(first["run"][0].at("spec").get<std::string>());
  expected["batches"] = {1};
  EXPECT_EQ(json::parse(both["run"][1].at("spec").get<std::string>()), expected);
}

TEST_F(Profile, WhatDoesNotFitIsAProblemOfTheRun) {
  const Outcome outcome =
      runCli(arguments({"--model", "synthetic:layers=1,d=32,heads=2,kv_heads=1,vocab=256", "--context", "8,16777216",
                        "--batch", "4096", "--policy", "low-rank:rank=4096", "--steps", "1", "--no-costs", "--no-kernels"}));
  ASSERT_EQ(outcome.exitCode, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("problem: policy 'low-rank:rank=4096'"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("problem: fp16, 16777216 tokens x 4096"), std::string::npos) << outcome.out;
  const json store = stored();
  EXPECT_EQ(store.at("step").size(), 1u);
  ASSERT_EQ(store.at("problem").size(), 2u);
  EXPECT_EQ(store["problem"][1].at("code"), "out-of-memory");
  EXPECT_THAT(store["problem"][1].at("text").get<std::string>(),
              testing::HasSubstr("are needed beside the loaded model (4096 caches")); // not "weights 0.0"
}

TEST_F(Profile, SaysWhatIsWrong) {
  const std::string broken = writeFile(m_dir / "broken.json", "{\"contexts\": [1],");
  const std::string other = writeFile(m_dir / "other.json", "{\"window\": 512}");
  const struct {
    std::vector<std::string> arguments;
    int exitCode;
    const char *said;
  } kCases[] = {
      {{"profile", "--shape", "smollm2-135m"}, 2, "--store is required"},
      {arguments({"--shape", "gpt-2"}), 2, "no shape is called 'gpt-2'"},
      {arguments({"--shape", "smollm2-135m", "--layers", "31"}), 2, "from 1 to 30"},
      {arguments({"--shape", "smollm2-135m", "--model", "default"}), 2, "excludes"},
      {arguments({"--model", "/no/such/file"}), 3, "/no/such/file"},
      {arguments({"--model", "synthetic:layers=2", "--layers", "1", "--quick"}), 2, "built-in shape"},
      {arguments({"--shape", "smollm2-135m", "--policy", "xquent:bits=2"}), 2, "unknown method 'xquent'"},
      {arguments({"--shape", "smollm2-135m", "--form", "melted"}), 2, "no form is called 'melted'"},
      {arguments({"--shape", "smollm2-135m", "--placement", "moon"}), 2, "neither device nor host"},
      {arguments({"--shape", "smollm2-135m", "--context", "0"}), 2, "--context"},
      {arguments({"--shape", "smollm2-135m", "--backend", "abacus"}), 5, "no backend is called 'abacus'"},
      {arguments({"--shape", "smollm2-135m", "--microscope", "--no-kernels"}), 2, "leave 'kernels' and 'counters' on"},
      {arguments({"--spec", broken}), 2, "is not JSON"},
      {arguments({"--spec", other}), 2, "unknown key 'window'"},
      {arguments({"--shape", "smollm2-135m", "--json", "/no/such/folder/out.json"}), 4, "cannot be written"},
      {arguments({"--shape", "smollm2-135m", "--report", "/no/such/folder/page.html"}), 4, "cannot be written"},
      {{"profile", "--shape", "smollm2-135m", "--store", "/no/such/folder/out.xqs"}, 4, "/no/such/folder"},
  };
  for (const auto &[given, exitCode, said] : kCases) {
    const std::string message = expectRefusal(runCli(given), exitCode);
    EXPECT_NE(message.find(said), std::string::npos) << message;
  }
  EXPECT_FALSE(std::filesystem::exists(m_dir / "out.xqs")) << "what was refused leaves nothing behind";
}

TEST_F(Profile, HelpSaysWhatFormItTakesByItself) {
  EXPECT_THAT(runCli({"profile", "--help"}).out, testing::HasSubstr("pipelined; the default is fused"));
}

TEST_F(Profile, InterruptedItKeepsWhatIsFinished) {
  RunningCli cli(arguments({"--shape", "smollm2-135m", "--layers", "2", "--context", "64,4096", "--steps", "2", "--no-costs",
                            "--report", m_dir / "page.html"}));
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < deadline) { // until a point is there
    const Outcome exported = runCli({"export", m_dir / "out.xqs", "--json"});
    const json now = exported.exitCode == 0 ? json::parse(exported.out) : json::object();
    if (now.contains("step") && !now["step"].empty()) break;
  }
  cli.signal(SIGINT);
  const Outcome outcome = cli.wait();
  EXPECT_EQ(outcome.exitCode, 6);
  EXPECT_THAT(outcome.err, testing::HasSubstr("what was finished is in the store"));
  EXPECT_FALSE(std::filesystem::exists(m_dir / "page.html")) << "half a report, or an empty one";
  const json store = stored();
  EXPECT_EQ(store.at("run_end").at(0).at("status"), "cancelled");
  EXPECT_FALSE(store.at("step").empty());
}

} // namespace

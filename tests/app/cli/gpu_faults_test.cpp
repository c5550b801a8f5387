// SPDX-License-Identifier: Apache-2.0
// Faults of a GPU, with the real program and the emulated CUDA module: a driver that is missing or too old, no code for the
// device, too little memory, a kernel that breaks the device. Each is one sentence, and the CPU goes on.
#include "app/cli/process.h"
#include "support/model_files.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

using namespace xqs::test;
using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

namespace {

constexpr int kResources = 5;
const std::string kModel = "synthetic:layers=2,d=32,heads=2,kv_heads=1,vocab=256";
const std::string kTinyModel = "synthetic:layers=1,d=32,heads=2,kv_heads=1,vocab=256";
constexpr std::size_t kPoints = 4;              ///< of the study below
constexpr const char *kNoMemory = "1000";       ///< bytes: not even the weights
constexpr const char *kLittleMemory = "250000"; ///< the weights, no window of 512 tokens
constexpr const char *kGoesOn = "xqscope-cli: goes on with the CPU: ";

std::vector<std::string> eval(std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"eval",
                                        "--model",
                                        kModel,
                                        "--window",
                                        "32",
                                        "--windows",
                                        "2",
                                        "--policy",
                                        "fp16",
                                        "--policy",
                                        "xquant:bits=4,group=32",
                                        "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

class GpuFaults : public testing::Test {
protected:
  GpuFaults() { set("XQSCOPE_BACKEND_PATH", XQS_EMULATED_FOLDER); }
  ~GpuFaults() override {
    for (const char *name : m_set) unsetenv(name);
  }
  void set(const char *name, const char *value) {
    setenv(name, value, 1);
    m_set.push_back(name);
  }
  /// The backend of every run in a store, and its windows under a policy.
  json stored(const std::string &store) {
    const Outcome outcome = runCli({"export", store, "--json"});
    EXPECT_EQ(outcome.exitCode, 0) << outcome.err;
    return json::parse(outcome.out);
  }
  static std::size_t points(const json &rows) {
    return static_cast<std::size_t>(std::count_if(rows["window_result"].begin(), rows["window_result"].end(),
                                                  [](const json &row) { return row["policy_index"] >= 0; }));
  }
  /// A study of kPoints points, small enough for emulated kernels.
  std::vector<std::string> runArguments(const std::string &store, const std::string &backend) {
    const json study = {{"base", {{"model", kTinyModel}, {"window", 16}, {"windows", 2}, {"lanes", 1}, {"captures", false}}},
                        {"policies", {"fp16", "xquant:bits=4,group=16"}}};
    return {"run", writeFile(m_dir / "study.json", study.dump()), "--store", store, "--backend", backend};
  }
  TempDir m_dir;
  std::string m_store = m_dir / "run.xqs";
  std::vector<const char *> m_set;
};

/// What keeps a GPU from being used at all.
struct Obstacle {
  const char *name, *variable, *value, *sentence;
};
void PrintTo(const Obstacle &obstacle, std::ostream *out) { *out << obstacle.name; }
constexpr Obstacle kObstacles[] = {
    {"driverTooOld", "XQS_EMULATOR_DRIVER", "12040", "driver supports CUDA 12.4, 13.0 needed"},
    {"noDriver", "XQS_EMULATOR_DRIVER", "0", "no NVIDIA driver or GPU"},
    {"noDevice", "XQS_EMULATOR_DEVICES", "0", "no NVIDIA driver or GPU"},
    {"wrongArchitecture", "XQS_EMULATOR_NO_IMAGE", "1", "this build has no code for compute capability 9.0"},
};
class GpuObstacles : public GpuFaults, public testing::WithParamInterface<Obstacle> {
protected:
  GpuObstacles() { set(GetParam().variable, GetParam().value); }
};
INSTANTIATE_TEST_SUITE_P(All, GpuObstacles, testing::ValuesIn(kObstacles), [](const auto &o) { return o.param.name; });

TEST_P(GpuObstacles, AskedForByNameIsRefusedWithTheReason) {
  const std::string sentence = expectRefusal(runCli(eval({"--backend", "cuda"})), kResources);
  EXPECT_THAT(sentence, HasSubstr(GetParam().sentence));
  EXPECT_THAT(sentence, HasSubstr("available: cpu"));
}

TEST_P(GpuObstacles, AutoComputesOnTheCpuAndSaysWhyWhereItIsAsked) {
  const json rows = parsed(runCli(eval({"--store", m_store}))); // nothing on stderr: it is no error
  EXPECT_FALSE(rows.empty());
  const json run = stored(m_store);
  EXPECT_EQ(run["run"][0]["backend"], "cpu");
  EXPECT_THAT(run["log"].dump(), HasSubstr(std::string("CUDA is not used: ") + GetParam().sentence));
  const Outcome info = runCli({"info", "--backends"});
  EXPECT_THAT(info.out, HasSubstr(std::string("CUDA is not used: ") + GetParam().sentence));
  const json backends = parsed(runCli({"info", "--backends", "--json"}));
  const auto cuda = std::find_if(backends.begin(), backends.end(), [](const json &b) { return b["name"] == "cuda"; });
  ASSERT_NE(cuda, backends.end());
  EXPECT_EQ((*cuda)["reason"], GetParam().sentence);
}

TEST_P(GpuObstacles, TheEngineOpensTheModelOnTheCpuAndSaysWhy) {
  RunningCli engine({"serve"});
  const json hello = engine.next();
  EXPECT_THAT(hello["backends"].dump(), HasSubstr(GetParam().sentence));
  engine.send({{"cmd", "open"}, {"model", kModel}, {"store", m_store}});
  const json model = engine.until("model");
  EXPECT_EQ(model["backend"], "cpu");
  EXPECT_EQ(model["backend_note"], std::string("CUDA is not used: ") + GetParam().sentence);
  engine.send({{"cmd", "open"}, {"model", kModel}, {"store", m_store}, {"backend", "cuda"}});
  const json failed = engine.until("backend-failed");
  EXPECT_EQ(failed["code"], "backend-unusable");
  EXPECT_THAT(failed["message"].get<std::string>(), HasSubstr(GetParam().sentence));
  EXPECT_EQ(engine.wait().exitCode, kResources);
}

/// CUPTI is not asked about a GPU that is not there: the stand-in would abort.
TEST_P(GpuObstacles, NothingIsMeasuredOnAGpuThatCannotBeUsed) {
#if !defined(XQS_FAKE_CUPTI)
  GTEST_SKIP() << "no CUPTI headers of CUDA 13 to build a stand-in for CUPTI with";
#else
  set("XQSCOPE_CUPTI", XQS_FAKE_CUPTI);
  const json backends = parsed(runCli({"info", "--backends", "--json"}));
  for (const json &backend : backends) EXPECT_EQ(backend.contains("instruments"), backend["usable"].get<bool>());
#endif
}

TEST_F(GpuFaults, InfoSaysWhatInstrumentsCanMeasure) {
#if !defined(XQS_FAKE_CUPTI)
  GTEST_SKIP() << "no CUPTI headers of CUDA 13 to build a stand-in for CUPTI with";
#else
  const auto linesOf = [](const char *instrument, const char *state, const char *sentence) {
    return testing::ContainsRegex(std::string(instrument) + " +" + state + ": [^\n]*" + sentence);
  };
  EXPECT_THAT(runCli({"info", "--backends"}).out, linesOf("counters", "no-library", "CUPTI is switched off"));
  set("XQSCOPE_CUPTI", XQS_FAKE_CUPTI);
  const std::string ready = runCli({"info", "--backends"}).out;
  EXPECT_THAT(ready, linesOf("counters", "ready", "measured by CUPTI 13.0"));
  EXPECT_THAT(ready, linesOf("sampling", "ready", "measured by CUPTI 13.0"));
  set("XQS_FAKE_CUPTI_ANSWERS", "cuptiRangeProfilerEnable=35,cuptiPmSamplingEnable=26");
  const std::string refused = runCli({"info", "--backends"}).out;
  EXPECT_THAT(refused, linesOf("counters", "no-permission", "NVreg_RestrictProfilingToAdminUsers=0"));
  EXPECT_THAT(refused, linesOf("sampling", "in-use", "dcgmi profile --pause"));
  for (const json &backend : parsed(runCli({"info", "--backends", "--json"})))
    if (backend["usable"].get<bool>()) {
      ASSERT_EQ(backend["instruments"].size(), 3u);
      EXPECT_EQ(backend["instruments"][1]["instrument"], "counters");
      if (backend["name"] == "cuda") {
        EXPECT_EQ(backend["instruments"][1]["state"], "no-permission");
      }
    }
#endif
}

TEST_F(GpuFaults, AUsableGpuIsWhatAutoStandsFor) {
  EXPECT_THAT(runCli({"info", "--backends"}).out, testing::ContainsRegex("auto +cuda"));
}

TEST_F(GpuFaults, AGpuThatComputesOtherThingsIsNotUsed) {
  set("XQS_EMULATOR_WRONG", "1");
  const std::string sentence = expectRefusal(runCli(eval({"--backend", "cuda"})), kResources);
  EXPECT_THAT(sentence,
              testing::ContainsRegex("gives other results than 'cpu' on a small model \\(policy fp16: [0-9.]+ apart"));
  const Outcome outcome = runCli(eval({"--backend", "auto"}));
  EXPECT_EQ(outcome.exitCode, 0);
  EXPECT_THAT(outcome.err, StartsWith(kGoesOn));
}

TEST_F(GpuFaults, AModelThatDoesNotFitIsRefusedOrLoadedOnTheCpu) {
  set("XQS_EMULATOR_MEMORY", kNoMemory);
  const std::string sentence = expectRefusal(runCli(eval({"--backend", "cuda"})), kResources);
  EXPECT_THAT(sentence, testing::ContainsRegex("needs [0-9.]+ KiB of the GPU's memory, [0-9.]+ KiB are free"));
  EXPECT_THAT(sentence, HasSubstr("use a smaller model, or compute on the CPU (backend cpu)"));

  const Outcome outcome = runCli(eval({"--backend", "auto"}));
  EXPECT_EQ(outcome.exitCode, 0);
  EXPECT_THAT(outcome.err, StartsWith(kGoesOn));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_FALSE(json::parse(outcome.out).empty());

  const Outcome generated =
      runCli({"generate", "--model", kModel, "--prompt", "a", "--raw", "--tokens", "3", "--policy", "fp16", "--json"});
  EXPECT_EQ(generated.exitCode, 0) << generated.err;
  EXPECT_THAT(generated.err, StartsWith(kGoesOn));
}

TEST_F(GpuFaults, AStudyWhoseModelDoesNotFitIsComputedOnTheCpu) {
  set("XQS_EMULATOR_MEMORY", kNoMemory);
  expectRefusal(runCli(runArguments(m_store, "cuda")), kResources);
  const Outcome outcome = runCli(runArguments(m_store, "auto"));
  EXPECT_EQ(outcome.exitCode, 0) << outcome.err;
  EXPECT_THAT(outcome.err, StartsWith(kGoesOn));
  const json rows = stored(m_store);
  ASSERT_GE(rows["run"].size(), 1u);
  for (const json &run : rows["run"]) EXPECT_EQ(run["backend"], "cpu");
  EXPECT_EQ(points(rows), kPoints);
}

TEST_F(GpuFaults, AShapeIsProfiledOnTheCpuWhereTheGpuFailsBeforehand) {
  const auto profile = [&](const char *backend) {
    return runCli({"profile", "--shape", "smollm2-135m", "--layers", "1", "--context", "16", "--policy", "xquant:bits=2",
                   "--steps", "1", "--no-costs", "--no-kernels", "--store", m_store, "--backend", backend});
  };
  const std::pair<const char *, const char *> faults[] = {{"XQS_EMULATOR_MEMORY", kNoMemory}, {"XQS_EMULATOR_WRONG", "1"}};
  for (const auto &[name, value] : faults) {
    set(name, value);
    expectRefusal(profile("cuda"), kResources);
    const Outcome outcome = profile("auto");
    EXPECT_EQ(outcome.exitCode, 0) << name;
    EXPECT_THAT(outcome.err, StartsWith(kGoesOn)) << name;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    const json rows = stored(m_store);
    EXPECT_EQ(rows["run"].back()["backend"], "cpu");
    EXPECT_EQ(rows["run_end"].back()["status"], "finished");
    EXPECT_EQ(rows["run"].size(), rows["run_end"].size()) << "nothing was begun on the GPU";
    unsetenv(name);
  }
}

TEST_F(GpuFaults, ARunThatDoesNotFitIsRefusedBeforeItBegins) {
  set("XQS_EMULATOR_MEMORY", kLittleMemory);
  for (const char *backend : {"cuda", "auto"}) { // the model is loaded: what to change is the user's choice
    const std::string sentence = expectRefusal(runCli({"eval", "--model", kModel, "--window", "512", "--windows", "1",
                                                       "--policy", "fp16", "--backend", backend, "--store", m_store}),
                                               kResources);
    EXPECT_THAT(sentence, testing::ContainsRegex("512 tokens needs [0-9.]+ MiB of the GPU's memory, [0-9.]+ KiB are free"));
    EXPECT_THAT(sentence, HasSubstr("use a shorter window, or compute on the CPU"));
    EXPECT_FALSE(std::filesystem::exists(m_store));
  }
  const std::string sentence = expectRefusal(runCli({"generate", "--model", kModel, "--prompt", "a", "--raw", "--tokens",
                                                     "2000", "--policy", "fp16", "--backend", "cuda"}),
                                             kResources);
  EXPECT_THAT(sentence, HasSubstr("fewer tokens, caches in the host's memory (placement host), or compute on the CPU"));
}

TEST_F(GpuFaults, CachesThatDoNotFitMayLieInTheHostsMemory) {
  const auto run = [&](const char *memory, const char *placement) {
    set("XQS_EMULATOR_MEMORY", memory);
    return runCli({"generate", "--model", "synthetic:layers=12,d=32,heads=2,kv_heads=2,ffn=32,vocab=256", "--raw", "--json",
                   "--prompt", std::string(280, 'a'), "--tokens", "3", "--policy", "fp16", "--backend", "cuda",
                   "--placement", placement});
  };
  EXPECT_THAT(expectRefusal(run("2700000", "device"), kResources),
              HasSubstr("caches in the host's memory (placement host)"));
  const char *const between = "5700000"; // of what the two take
  EXPECT_THAT(expectRefusal(run(between, "device"), kResources), HasSubstr("free on the GPU"));
  EXPECT_EQ(parsed(run(between, "host")).at("sequences").size(), 2u);
}

TEST_F(GpuFaults, ABrokenGpuEndsARunWithASentenceAndTheCpuDoesIt) {
  set("XQS_EMULATOR_FAIL_AFTER", "1");
  const std::string sentence = expectRefusal(runCli(runArguments(m_store, "cuda")), kResources);
  EXPECT_THAT(sentence, HasSubstr("backend cuda"));
  EXPECT_THAT(sentence, HasSubstr("backend cpu"));
  const Outcome outcome = runCli(runArguments(m_store, "cpu"));
  EXPECT_EQ(outcome.exitCode, 0) << outcome.err;
}

TEST_F(GpuFaults, TheEngineSaysThatTheGpuFailedAndEnds) {
  set("XQS_EMULATOR_FAIL_AFTER", "1"); // while the model is loaded or its preview is prepared
  RunningCli engine({"serve"});
  EXPECT_EQ(engine.next()["event"], "hello");
  engine.send({{"cmd", "open"}, {"model", kModel}, {"store", m_store}});
  json event;
  while ((event = engine.next()).is_object() && event["event"] != "backend-failed") EXPECT_NE(event["event"], "error");
  ASSERT_TRUE(event.is_object());
  EXPECT_EQ(event["backend"], "cuda");
  EXPECT_EQ(event["code"], "backend-unusable");
  EXPECT_GT(event["message"].get<std::string>().size(), 30u);
  const Outcome end = engine.wait();
  EXPECT_EQ(end.exitCode, kResources);
  EXPECT_FALSE(end.timedOut);
  EXPECT_FALSE(std::filesystem::exists(m_store + "-wal")) << "the store was closed";
}

TEST_F(GpuFaults, TheEngineIsReadyForAnotherModelAfterOneThatDoesNotFit) {
  set("XQS_EMULATOR_MEMORY", "4000000");
  RunningCli engine({"serve"});
  const std::string large = "synthetic:layers=2,d=256,heads=2,kv_heads=1,vocab=2048,ffn=2048";
  for (int i = 0; i < 2; ++i) { // from nothing, and with a model open
    engine.send({{"cmd", "open"}, {"model", large}, {"store", m_store}});
    const json refused = engine.until("error");
    EXPECT_EQ(refused["code"], "out-of-memory");
    EXPECT_THAT(refused["message"].get<std::string>(), HasSubstr("use a smaller model, or compute on the CPU"));
    engine.send({{"cmd", "preview"}, {"policy", "fp16"}});
    EXPECT_THAT(engine.until("preview-failed")["message"].get<std::string>(), HasSubstr("no model is open"));
    engine.send({{"cmd", "open"}, {"model", kModel}, {"store", m_store}});
    EXPECT_EQ(engine.until("model")["backend"], "cuda");
  }
  engine.send({{"cmd", "open"}, {"model", large}, {"store", m_store}, {"backend", "cpu"}});
  EXPECT_EQ(engine.until("model")["backend"], "cpu");
  engine.send({{"cmd", "quit"}});
  EXPECT_EQ(engine.wait().exitCode, 0);
}

TEST_F(GpuFaults, PointsFinishedBeforeTheGpuBrokeAreKept) {
  std::size_t kept = 0;
  for (int launches = 70; launches < 1 << 20 && (kept == 0 || kept == kPoints); launches += launches / 4) {
    set("XQS_EMULATOR_FAIL_AFTER", std::to_string(launches).c_str());
    m_store = m_dir / (std::to_string(launches) + ".xqs");
    const Outcome outcome = runCli(runArguments(m_store, "cuda"));
    if (outcome.exitCode == 0) break;
    const std::string sentence = expectRefusal(outcome, kResources);
    EXPECT_THAT(sentence, HasSubstr("illegal memory access"));
    kept = std::filesystem::exists(m_store) ? points(stored(m_store)) : 0; // none: it broke before the run began
  }
  ASSERT_GT(kept, 0u);
  ASSERT_LT(kept, kPoints);
  unsetenv("XQS_EMULATOR_FAIL_AFTER");
  const Outcome rest = runCli(runArguments(m_store, "auto"));
  EXPECT_EQ(rest.exitCode, 0) << rest.err;
  EXPECT_THAT(rest.out, HasSubstr(std::to_string(kPoints - kept) + " of them computed now"));
  EXPECT_EQ(points(stored(m_store)), kPoints);
}

TEST_F(GpuFaults, TheEngineGoesOnAfterARunThatDoesNotFit) {
  set("XQS_EMULATOR_MEMORY", "4000000"); // the preview of 256 tokens, no window of 4096
  RunningCli engine({"serve"});
  engine.send({{"cmd", "open"}, {"model", kModel + ",context=8192"}, {"store", m_store}});
  ASSERT_EQ(engine.until("model")["backend"], "cuda");
  const auto run = [&](int window) {
    engine.send({{"cmd", "run"}, {"spec", {{"window", window}, {"windows", 1}, {"policies", {"fp16"}}}}});
  };
  run(2048);
  const json refused = engine.until("error");
  EXPECT_EQ(refused["code"], "out-of-memory");
  EXPECT_THAT(refused["message"].get<std::string>(), HasSubstr("use a shorter window"));
  const json study = {{"base", {{"model", kModel + ",context=8192"}, {"window", 2048}, {"windows", 1}}},
                      {"policies", {"fp16"}}};
  engine.send({{"cmd", "study"}, {"study", study.dump()}, {"name", "too large"}, {"store", m_store}});
  const json ended = engine.until("run-ended");
  EXPECT_EQ(ended["status"], "failed");
  EXPECT_THAT(ended["message"].get<std::string>(), HasSubstr("use a shorter window"));
  run(16);
  EXPECT_EQ(engine.until("run-ended")["status"], "finished");
}

} // namespace

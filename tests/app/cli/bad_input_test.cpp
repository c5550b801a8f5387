// SPDX-License-Identifier: Apache-2.0
// What is wrong with the world: one clear sentence that says what to do, an exit code, no crash, no hang.
#include "app/cli/process.h"
#include "support/model_files.h"

#include <algorithm>
#include <random>
#include <sys/stat.h>

using namespace xqs::test;
using nlohmann::json;
using testing::TestWithParam;

namespace {

constexpr int kUsage = 2, kInput = 3, kOutput = 4;
const std::string kModel = "synthetic:layers=2,d=32,heads=2,kv_heads=1";

std::vector<std::string> evalArguments(const std::string &model, const std::string &text,
                                       const std::string &policy = "fp16") {
  return {"eval", "--model", model, "--text", text, "--window", "32", "--windows", "1", "--policy", policy, "--json"};
}

/// A file, folder or device that is no regular file with content.
struct Place {
  const char *name;
  std::string (*make)(const TempDir &);
};
void PrintTo(const Place &place, std::ostream *out) { *out << place.name; }
const Place kPlaces[] = {
    {"missing", [](const TempDir &dir) { return dir / "missing"; }},
    {"missingFolder", [](const TempDir &dir) { return dir / "no/such/folder/file"; }},
    {"directory",
     [](const TempDir &dir) {
       std::filesystem::create_directory(dir / "folder");
       return dir / "folder";
     }},
    {"fifo",
     [](const TempDir &dir) {
       mkfifo((dir / "fifo").c_str(), 0600);
       return dir / "fifo";
     }},
    {"devZero", [](const TempDir &) { return std::string("/dev/zero"); }},
    {"empty", [](const TempDir &dir) { return writeFile(dir / "empty", ""); }},
    {"proc", [](const TempDir &) { return std::string("/proc/self/mem"); }},
    {"longName", [](const TempDir &dir) { return dir / std::string(5000, 'x'); }},
};

class BadPlace : public TestWithParam<Place> {
protected:
  TempDir m_dir;
  std::string m_path = GetParam().make(m_dir);
};
INSTANTIATE_TEST_SUITE_P(Places, BadPlace, testing::ValuesIn(kPlaces), [](const auto &place) { return place.param.name; });

TEST_P(BadPlace, AsModel) {
  expectRefusal(runCli({"info", "--model", m_path, "--json"}), kInput);
  expectRefusal(runCli(evalArguments(m_path, "builtin:primer")), kInput);
}
TEST_P(BadPlace, AsText) { expectRefusal(runCli(evalArguments(kModel, m_path)), kInput); }
TEST_P(BadPlace, AsExperiment) {
  const Outcome outcome = runCli({"run", m_path, "--store", m_dir / "run.xqs"});
  const bool readable = GetParam().name == std::string("empty") || GetParam().name == std::string("proc");
  expectRefusal(outcome, readable ? kUsage : kInput); // nothing in it is not JSON
  EXPECT_FALSE(std::filesystem::exists(m_dir / "run.xqs"));
}
TEST_P(BadPlace, AsPlan) {
  const bool readable = GetParam().name == std::string("empty") || GetParam().name == std::string("proc");
  expectRefusal(runCli(evalArguments(kModel, "builtin:primer", "plan:@" + m_path)), readable ? kUsage : kInput);
}
TEST_P(BadPlace, AsStoreToRead) {
  expectRefusal(runCli({"export", m_path, "--json"}), kInput);
  expectRefusal(runCli({"report", m_path, "-o", m_dir / "report.html"}), kInput);
  expectRefusal(runCli({"compare", m_path, m_path}), kInput);
  expectRefusal(runCli({"pareto", m_path}), kInput);
  expectRefusal(runCli({"merge", m_dir / "merged.xqs", m_path}), kInput);
  EXPECT_FALSE(std::filesystem::exists(m_dir / "merged.xqs"));
}

TEST(BadModel, TruncatedAtFiftyRandomPlaces) {
  const TempDir dir;
  const std::string whole = tinyLlama().bytes();
  ASSERT_EQ(runCli({"info", "--model", writeFile(dir / "whole.gguf", whole)}).exitCode, 0);
  std::mt19937 random(1);
  for (int i = 0; i < 50; ++i) {
    const std::size_t size = random() % whole.size();
    SCOPED_TRACE(size);
    expectRefusal(runCli({"info", "--model", writeFile(dir / "cut.gguf", whole.substr(0, size))}), kInput);
  }
}

TEST(BadModel, WrongMagicCountsAndTypes) {
  const TempDir dir;
  const auto refused = [&](const std::string &bytes) {
    return expectRefusal(runCli({"eval", "--model", writeFile(dir / "bad.gguf", bytes), "--policy", "fp16"}), kInput);
  };
  std::string wrongMagic = tinyLlama().bytes();
  wrongMagic[0] = 'X';
  refused(wrongMagic);
  for (const std::int64_t absurd : {std::int64_t{1} << 20, std::int64_t{1} << 40, INT64_MAX - 100, std::int64_t{-1000}}) {
    GgufBuilder tensors = tinyLlama(), values = tinyLlama();
    tensors.extraTensors = absurd;
    values.extraValues = absurd;
    refused(tensors.bytes());
    refused(values.bytes());
  }
  const std::string type = refused(tinyLlama().tensor("blk.1.attn_k.weight", {8, 4}, 9999, std::string(64, '\0')).bytes());
  EXPECT_NE(type.find("9999"), std::string::npos) << type;
  const std::string architecture = refused(tinyLlama().set("general.architecture", "mamba").bytes());
  EXPECT_NE(architecture.find("mamba"), std::string::npos) << architecture;
}

TEST(BadPolicy, NamesWhatIsWrongAndListsWhatIsValid) {
  struct Case {
    const char *policy;
    std::vector<const char *> mentions;
  };
  const Case cases[] = {
      {"xquart", {"xquart", "fp16", "xquant-cl"}},
      {"", {"fp16", "xquant-cl"}},
      {"xquant:bit=4", {"bit", "bits", "group", "source"}},
      {"xquant:bits=4,bits=3", {"bits"}},
      {"xquant:bits=", {"bits"}},
      {"xquant:=4", {"bits"}},
      {"xquant:", {"bits"}},
      {"xquant:bits", {"bits"}},
      {"xquant:bits=5", {"bits", "5", "2, 3, 4, 8 or 16"}},
      {"xquant:bits=4x", {"bits", "4x"}},
      {"xquant:bits=99999999999999999999", {"bits"}},
      {"xquant:bits=4,group=0", {"group"}},
      {"xquant:bits=4,source=y", {"source", "auto, x or latent"}},
      {"low-rank", {"rank"}},
      {"low-rank:rank=4096", {"rank"}}, // valid by itself, above this model's
      {"fp16:bits=4", {"bits"}},
  };
  for (const Case &c : cases) {
    SCOPED_TRACE(c.policy);
    const std::string message = expectRefusal(runCli(evalArguments(kModel, "builtin:primer", c.policy)), kUsage);
    for (const char *word : c.mentions) EXPECT_NE(message.find(word), std::string::npos) << word << " in " << message;
  }
}

TEST(BadText, TooShort) {
  const TempDir dir;
  const std::string shortText = writeFile(dir / "short.txt", "Too short a text.");
  const std::string message = expectRefusal(runCli(evalArguments(kModel, shortText)), kInput);
  EXPECT_NE(message.find("longer text"), std::string::npos) << message;
  expectRefusal(runCli({"eval", "--model", kModel, "--window", "64", "--windows", "100000", "--policy", "fp16"}), kInput);
  expectRefusal(runCli({"layers", "--model", kModel, "--window", "64", "--first-window", "100000", "--policy", "fp16"}),
                kInput);
  expectRefusal(runCli({"eval", "--model", kModel + ",context=64", "--window", "65", "--policy", "fp16"}), kUsage);
}

TEST(BadCommandLine, IsAnsweredWithOneSentence) {
  for (const std::vector<std::string> &arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"evaluate"},
                                             {"eval", "--model", kModel},
                                             {"eval", "--policy", "fp16", "--window", "0"},
                                             {"eval", "--policy", "fp16", "--window", "many"},
                                             {"eval", "--policy", "fp16", "--state", "some"},
                                             {"eval", "--policy", "fp16", "--model"},
                                             {"eval", "--policy", "fp16", "--surprise"},
                                             {"eval", "--policy", "fp16", "--text", "builtin:novel"},
                                             {"eval", "--policy", "fp16", "--model", "synthetic:layers=0"},
                                             {"info"},
                                             {"export", "F.xqs"},
                                             {"run", "default"}}) {
    SCOPED_TRACE(testing::PrintToString(arguments));
    expectRefusal(runCli(arguments), kUsage);
  }
  expectRefusal(runCli({"eval", "--model", kModel, "--policy", "fp16", "--backend", "abacus"}), 5);
}

TEST(BadExperiment, NamesTheKey) {
  const TempDir dir;
  struct Case {
    const char *spec, *mention;
  };
  for (const Case &c : {Case{"{", "JSON"},
                        {"[]", "object"},
                        {"{}", "policies"},
                        {R"({"polices": ["fp16"]})", "polices"},
                        {R"({"policies": []})", "policies"},
                        {R"({"policies": "fp16"})", "policies"},
                        {R"({"policies": [4]})", "policies"},
                        {R"({"policies": ["fp16"], "window": 1})", "window"},
                        {R"({"policies": ["fp16"], "window": "512"})", "window"},
                        {R"({"policies": ["fp16"], "windows": 18446744073709551615})", "windows"},
                        {R"({"policies": ["fp16"], "state": "none"})", "none"},
                        {R"({"policies": ["fp16:bits=2"]})", "bits"}}) {
    SCOPED_TRACE(c.spec);
    const std::string message =
        expectRefusal(runCli({"run", writeFile(dir / "spec.json", c.spec), "--store", dir / "run.xqs"}), kUsage);
    EXPECT_NE(message.find(c.mention), std::string::npos) << message;
  }
}

TEST(BadStore, NotWritable) {
  const TempDir dir;
  std::vector<std::string> arguments = evalArguments(kModel, "builtin:primer");
  arguments.insert(arguments.end(), {"--store", ""});
  for (const std::string &store :
       {dir / "no/such/folder/run.xqs", std::string("/proc/run.xqs"), std::string("/dev/null/run.xqs")}) {
    arguments.back() = store;
    SCOPED_TRACE(store);
    expectRefusal(runCli(arguments), kOutput);
  }
  arguments.back() = writeFile(dir / "text.xqs", "this is no store");
  const Outcome noStore = runCli(arguments);
  expectRefusal(noStore, noStore.exitCode == kInput ? kInput : kOutput);
}

TEST(BadStore, DiskFull) {
  const TempDir dir;
  std::vector<std::string> arguments = evalArguments(kModel, "builtin:primer");
  arguments.insert(arguments.end(), {"--store", dir / "whole.xqs"});
  ASSERT_EQ(runCli(arguments).exitCode, 0);
  const auto whole = static_cast<long>(std::filesystem::file_size(arguments.back()));
  for (const long percent : {0, 10, 50, 90}) {
    SCOPED_TRACE(percent);
    arguments.back() = dir / ("run" + std::to_string(percent) + ".xqs");
    expectRefusal(runCli(arguments, {.fileBytes = whole * percent / 100}), kOutput);
  }
}

TEST(BadStore, AResultThatCannotBePrinted) {
  RunningCli cli({"policies", "--json"});
  cli.closeOutput();
  expectRefusal(cli.wait(), kOutput);
}

} // namespace

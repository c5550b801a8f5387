// SPDX-License-Identifier: Apache-2.0
#include "run/experiment.h"

#include "run/resources.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

using namespace xqs;
using nlohmann::json;
using testing::HasSubstr;

namespace {

TEST(Experiment, SurvivesJson) {
  Experiment experiment = defaultExperiment();
  experiment.window = 128, experiment.firstWindow = 3, experiment.windows = 5, experiment.state = State::Stream;
  experiment.captures = false, experiment.backend = "reference", experiment.threads = 2, experiment.lanes = 1,
  experiment.seed = 7;
  experiment.model = "some.gguf", experiment.text = "builtin:calibration";
  const json written = toJson(experiment);
  EXPECT_EQ(toJson(parseExperiment(written.dump(), "spec")), written);
}

TEST(Experiment, MissingKeysTakeTheirDefaults) {
  const Experiment experiment = parseExperiment(R"({"policies": ["fp16"]})", "spec");
  EXPECT_EQ(experiment.model, "default");
  EXPECT_EQ(experiment.text, "builtin:primer");
  EXPECT_EQ(experiment.window, 512);
  EXPECT_EQ(experiment.windows, 0);
  EXPECT_EQ(experiment.state, State::All);
  EXPECT_TRUE(experiment.captures);
  EXPECT_EQ(experiment.lanes, 4);
}

TEST(Experiment, AnUnknownKeyIsNamedAndTheValidOnesListed) {
  try {
    parseExperiment(R"({"policies": ["fp16"], "widow": 3})", "spec");
    FAIL() << "accepted";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::Usage);
    EXPECT_THAT(error.what(), HasSubstr("'widow'"));
    EXPECT_THAT(error.what(), HasSubstr("first_window, windows, state, policies"));
  }
}

TEST(Experiment, TheDefaultShowsEveryMethodFamily) {
  std::vector<std::string> families;
  for (const PolicySpec &policy : defaultExperiment().policies) families.push_back(policy.method().name);
  for (const MethodInfo &method : methodRegistry()) {
    if (method.name == "plan") continue; // made of the others
    EXPECT_THAT(families, testing::Contains(method.name));
  }
  EXPECT_EQ(families.front(), "fp16"); // the reference point comes first
}

TEST(Resources, BuiltInTextsAreTheFilesByteForByte) {
  for (const char *name : {"primer", "calibration"}) {
    const TextSource built = loadText(std::string("builtin:") + name);
    const TextSource file = loadText(std::string(XQS_SOURCE_DIR "/resources/texts/") + name + ".md");
    EXPECT_EQ(built.sha256, file.sha256);
    EXPECT_EQ(built.bytes, file.bytes);
    EXPECT_EQ(file.name, std::string(name) + ".md");
  }
  EXPECT_EQ(json::parse(publishedTables())["format"], 1);
}

TEST(Resources, AnUnknownBuiltInTextListsTheOthers) {
  try {
    loadText("builtin:novel");
    FAIL() << "accepted";
  } catch (const Error &error) {
    EXPECT_THAT(error.what(), HasSubstr("builtin:primer, builtin:calibration"));
  }
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
#include "run/study.h"

#include "run/resources.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

using namespace xqs;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

ModelShape fourLayers(const std::string &) { return {4, 64, 4, 2, 16}; }

std::vector<Experiment> expanded(const std::string &source) { return Study::parse(source, "s.json").expand(fourLayers); }

std::vector<std::string> policiesOf(const Experiment &experiment) {
  std::vector<std::string> all;
  for (const PolicySpec &policy : experiment.policies) all.push_back(policy.canonical());
  return all;
}

std::string refusal(const std::string &source) {
  try {
    Study::parse(source, "s.json").expand(fourLayers);
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::Usage) << source;
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << source;
  return "";
}

TEST(Study, AGridLeavesOutWhatAMethodLacksAndRepeatsNothing) {
  const auto runs =
      expanded(R"({"policies": ["fp16"], "grid": {"policy": ["fp16", "xquant", "low-rank:rank=8", "kivi-star:bits=4"],
                                 "bits": [2, 4], "group": [32, 128]}})");
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_THAT(policiesOf(runs[0]),
              ElementsAre("fp16", "xquant:bits=2,group=32", "xquant:bits=2", "xquant:bits=4,group=32", "xquant:bits=4",
                          "low-rank:rank=8", "kivi-star:bits=4,group=32", "kivi-star:bits=4"));
}

TEST(Study, RunsAreOneForEachModelTextWindowStateAndProtocol) {
  const auto runs = expanded(R"({"base": {"windows": 2, "seed": 7}, "policies": ["fp16"],
      "grid": {"window": [64, 32], "model": ["synthetic:", "synthetic:seed=2"], "state": ["all", "stream"],
               "protocol": ["llama-perplexity"]}})");
  ASSERT_EQ(runs.size(), 8u);
  EXPECT_EQ(runs[0].model, "synthetic:");
  EXPECT_EQ(runs[3].model, "synthetic:");
  EXPECT_EQ(runs[4].model, "synthetic:seed=2"); // a model is loaded once
  EXPECT_EQ(runs[0].window, 64);
  EXPECT_EQ(runs[1].state, State::Stream);
  EXPECT_EQ(runs[2].window, 32);
  for (const Experiment &run : runs) {
    EXPECT_EQ(run.windows, 2);
    EXPECT_EQ(run.seed, 7);
    EXPECT_EQ(run.protocol, Protocol::LlamaPerplexity);
  }
}

TEST(Study, IsolatedLayersArePlansOfOneLayer) {
  const auto runs = expanded(R"({"isolated": [{"policies": ["kivi-star:bits=2"], "layers": "2-3", "sides": ["k", "v"]},
                                              {"policies": ["xquant:bits=4"], "layers": "all"},
                                              {"policies": ["xquant-cl:bits=2,source=x"], "layers": "all", "span": 2}]})");
  std::vector<std::string> expected;
  for (const char *plan :
       {"plan:2.k=kivi-star:bits=2", "plan:3.k=kivi-star:bits=2", "plan:2.v=kivi-star:bits=2", "plan:3.v=kivi-star:bits=2",
        "plan:0=xquant:bits=4", "plan:1=xquant:bits=4", "plan:2=xquant:bits=4", "plan:3=xquant:bits=4",
        "plan:0-1=xquant-cl:bits=2,source=x", "plan:1-2=xquant-cl:bits=2,source=x", "plan:2-3=xquant-cl:bits=2,source=x"})
    expected.push_back(PolicySpec::parse(plan).canonical());
  EXPECT_EQ(policiesOf(runs.at(0)), expected);
  EXPECT_THAT(refusal(R"({"isolated": {"policies": ["fp16"], "layers": "2-4"}})"), HasSubstr("layers 0 to 3"));
}

TEST(Study, AnExperimentIsAStudyOfOneRun) {
  const Study study = Study::parse(R"({"policies": ["fp16", "xquant:bits=4"], "window": 99})", "folder/mine.json");
  EXPECT_TRUE(study.isExperiment());
  EXPECT_EQ(study.name(), "mine");
  const auto runs = study.expand(fourLayers);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].window, 99);
  EXPECT_EQ(policiesOf(runs[0]).size(), 2u);
}

TEST(Study, KeysCanBeSetFromOutside) {
  Study study = Study::parse(R"({"base": {"window": 512}, "policies": ["fp16"], "grid": {"model": ["a", "b"]}})", "s.json");
  study.set("model", "synthetic:layers=2");
  study.set("window", "64");
  study.set("captures", "false");
  const auto runs = study.expand(fourLayers);
  ASSERT_EQ(runs.size(), 1u); // the grid's models are replaced
  EXPECT_EQ(runs[0].model, "synthetic:layers=2");
  EXPECT_EQ(runs[0].window, 64);
  EXPECT_FALSE(runs[0].captures);
  EXPECT_THROW(study.set("widow", "64"), Error);
}

TEST(Study, EveryBuiltInOneExpandsAndSaysWhatItIsFor) {
  const auto names = Study::builtInNames();
  EXPECT_THAT(names, testing::IsSupersetOf({"default", "svd-rank", "group-size", "accumulator", "residual-strength",
                                            "bandwidth", "sensitivity"}));
  for (const std::string &name : names) {
    SCOPED_TRACE(name);
    const Study study = Study::builtIn(name);
    EXPECT_EQ(study.name(), name);
    EXPECT_TRUE(study.isExperiment() || !study.about().empty());
    // SmolLM2's shape: every policy must fit the model that the study is made for
    const ModelShape shape{30, 576, 9, 3, 64};
    for (const Experiment &run : study.expand([&](const std::string &) { return shape; }))
      for (const PolicySpec &policy : run.policies)
        if (run.model == "default") {
          EXPECT_NO_THROW(footprint(policy, shape, run.window, run.state)) << policy.canonical();
        }
  }
  EXPECT_EQ(Study::builtIn("residual-strength").expand(fourLayers).size(), 5u);
}

TEST(Study, EveryMistakeIsOneSentenceThatNamesIt) {
  struct Case {
    const char *source, *mention;
  };
  for (const Case &c : {
           Case{R"({"grid": {"policy": ["xquant"]}})", "bits must be given"},
           {R"({"grid": {}})", "nothing to run"},
           {R"({"base": {}})", "nothing to run"},
           {R"({"base": []})", "'base' must be an object"},
           {R"({"base": {"policies": ["fp16"]}, "policies": ["fp16"]})", "'base' has no 'policies'"},
           {R"({"base": {"widow": 3}, "policies": ["fp16"]})", "'widow'"},
           {R"({"base": {"window": 1}, "policies": ["fp16"]})", "'window'"},
           {R"({"base": {}, "gird": {}, "policies": ["fp16"]})", "unknown key 'gird'"},
           {R"({"base": {}, "policies": []})", "'policies'"},
           {R"({"base": {}, "policies": ["fp16", 3]})", "'policies'"},
           {R"({"base": {}, "policies": ["fp61"]})", "unknown method 'fp61'"},
           {R"({"base": {}, "policies": ["fp16"], "name": 3})", "'name'"},
           {R"({"grid": ["fp16"]})", "'grid' must be an object"},
           {R"({"grid": {"policy": "fp16"}})", "'policy' of 'grid'"},
           {R"({"grid": {"policy": ["fp16"], "bits": []}})", "'bits' of 'grid'"},
           {R"({"grid": {"policy": ["xquant"], "bits": [2.5]}})", "'bits' of 'grid'"},
           {R"({"grid": {"policy": ["xquant"], "bits": [5]}})", "2, 3, 4, 8 or 16"},
           {R"({"grid": {"policy": ["fp16"], "bits": [4]}})", "applies to none"},
           {R"({"grid": {"bits": [4]}, "policies": ["fp16"]})", "needs a 'policy' list"},
           {R"({"grid": {"policy": ["xquant:bits=4"], "bites": [4]}})", "unknown key 'bites'"},
           {R"({"grid": {"policy": ["fp16"], "window": ["wide"]}})", "'window'"},
           {R"({"grid": {"policy": ["fp16"], "protocol": ["plain"]}})", "plain"},
           {R"({"isolated": 3})", "'isolated' must be"},
           {R"({"isolated": {}})", "lacks 'policies'"},
           {R"({"isolated": {"policies": ["fp16"], "layers": 3}})", "'layers'"},
           {R"({"isolated": {"policies": ["fp16"], "layers": "5-3"}})", "'layers'"},
           {R"({"isolated": {"policies": ["fp16"], "layers": "0-99999999999"}})", "'layers'"},
           {R"({"isolated": {"policies": ["fp16"], "sides": ["q"]}})", "'sides'"},
           {R"({"isolated": {"policies": ["fp16"], "span": 0}})", "'span'"},
           {R"({"isolated": {"policies": ["kivi:bits=5"]}})", "bits"},
           {R"({"isolated": {"police": ["fp16"]}})", "unknown key 'police'"},
       }) {
    const std::string message = refusal(c.source);
    EXPECT_THAT(message, HasSubstr(c.mention)) << c.source;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  std::string huge = R"({"grid": {"policy": ["xquant-cl"])";
  for (const char *key : {"bits", "group", "first_layers", "first_bits", "residual"}) {
    huge += fmt::format(", \"{}\": [", key);
    for (int i = 0; i < 300; ++i) huge += (i > 0 ? "," : "") + std::to_string(i + 16);
    huge += "]";
  }
  EXPECT_THAT(refusal(huge + "}}"), HasSubstr("more than 100000 policies"));
}

} // namespace

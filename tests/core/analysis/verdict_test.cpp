// SPDX-License-Identifier: Apache-2.0
#include "analysis/roofline.h"
#include "analysis/system_model.h"
#include "analysis/verdict.h"
#include "analysis/verdict_text.h"
#include "error.h"
#include "model/shapes.h"
#include "run/resources.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

namespace xqs {
namespace {

using testing::Contains;
using testing::HasSubstr;

const ModelSize &llama3() {
  static const ModelSize model = sizeOf(shapeConfig(builtInShape("llama-3.1-8b")));
  return model;
}
const ModelSize &llama2() {
  static const ModelSize model = sizeOf(shapeConfig(builtInShape("llama-2-7b")));
  return model;
}

RunRow runOf(const ModelSize &model, const char *kind) {
  RunRow run;
  run.id = 1, run.kind = kind, run.title = "Llama on a text", run.backend = "cuda", run.device = "a GPU";
  run.layers = model.layers, run.d = model.d, run.heads = model.heads, run.kvHeads = model.kvHeads, run.dh = model.dh;
  run.ffn = model.ffn, run.vocab = model.vocab;
  return run;
}

/// Rows of one run, owned.
struct Store {
  RunRow run;
  std::vector<PolicyRow> policies;
  std::vector<WindowRow> windows;
  std::vector<StepRow> steps;
  std::vector<TrafficRow> traffic;
  std::vector<PeakRow> peaks;
  RunRows rows() const { return {run, policies, windows, steps, traffic, peaks}; }

  void add(const std::string &policy) {
    PolicyRow row;
    row.run = run.id, row.index = std::ssize(policies), row.policy = policy;
    policies.push_back(row);
  }
  void score(std::int64_t policy, double nll, double kl) {
    WindowRow row;
    row.run = run.id, row.policy = policy, row.meanNll = nll, row.meanKl = kl;
    windows.push_back(row);
  }
  StepRow &step(std::int64_t policy, Index context, Index batch, double seconds) {
    StepRow row;
    row.run = run.id, row.policy = policy, row.context = context, row.batch = batch, row.seconds = seconds;
    row.measuredRead = row.measuredWrite = std::nan("");
    return steps.emplace_back(row);
  }
};

const VerdictRow &rowOf(const Verdict &verdict, const std::string &policy) {
  for (const VerdictRow &row : verdict.rows)
    if (row.policy == policy) return row;
  throw std::out_of_range(policy);
}

TEST(Verdict, SaysWhoWinsBytesAndTime) {
  const Judge judge(hardwarePreset("h100-sxm"), llama2(), usualPolicies());
  const Verdict v = judge.at(8192, 1);
  ASSERT_EQ(v.rows.front().policy, "fp16");
  EXPECT_EQ(v.rows[v.fastest].policy, "kivi-star:bits=2");
  EXPECT_EQ(v.rows[v.smallest].method.substr(0, 6), "xquant");
  const VerdictRow &x = rowOf(v, "xquant:bits=2");
  EXPECT_NEAR(x.bytesRatio, 0.076, 0.001); // (29 * 2.25 + 3 * 4.25) / 32 of 32
  EXPECT_GT(x.timeRatio, 2);
  EXPECT_EQ(x.time.basis, Basis::Predicted);
  EXPECT_TRUE(x.rebuilds);
  EXPECT_FALSE(rowOf(v, "kivi-star:bits=2").rebuilds);
  EXPECT_THAT(x.sentence(), HasSubstr("XQuant 2 bits stores 0.076 of FP16's bytes (counted) and takes"));
  EXPECT_THAT(x.sentence(), HasSubstr("(predicted)"));
  EXPECT_THAT(v.sentences, Contains(HasSubstr("Time: KIVI* 2 bits is fastest")));
  EXPECT_THAT(v.sentences, Contains(HasSubstr("Rebuilding costs more time than it saves here")));
  for (const std::string &sentence : v.sentences) { // no figure without where it comes from
    if (sentence.starts_with("Quality")) continue;
    EXPECT_THAT(sentence, testing::AnyOf(HasSubstr("counted"), HasSubstr("predicted")));
  }
}

TEST(Verdict, CachesThatDoNotFitComeFromTheHost) {
  const Judge judge(hardwarePreset("h100-sxm"), llama2(), usualPolicies());
  const Verdict v = judge.at(262144, 1); // FP16: 137 GB of cache
  const VerdictRow &fp16 = v.rows.front(), &x = rowOf(v, "xquant:bits=2");
  EXPECT_TRUE(fp16.time.inHost);
  EXPECT_EQ(fp16.fits, std::optional(false));
  const Hardware &h100 = judge.hardware(); // over the link, beside everything else, what is beyond the memory
  EXPECT_NEAR(fp16.time.seconds, (fp16.memoryBytes - h100.usableMemory()) / h100.reachedLinkRate(), 1e-3);
  EXPECT_EQ(x.fits, std::optional(true));
  EXPECT_LT(x.timeRatio, 0.4);
  EXPECT_THAT(v.sentences, Contains(HasSubstr("FP16 KV does not fit into H100 SXM")));
  EXPECT_THAT(v.sentences, Contains(HasSubstr("because part of FP16 KV has to come from the host's memory")));
  // Where 0.6 GiB of 64 are too many, reading those costs less than rebuilding.
  const Verdict little = judge.at(131072, 1);
  EXPECT_TRUE(little.rows.front().time.inHost);
  EXPECT_GT(rowOf(little, "xquant:bits=2").timeRatio, 5);
}

TEST(Verdict, ATimeThatNobodyKnowsWinsNothing) {
  Hardware noLink = hardwarePreset("h100-sxm");
  noLink.linkRate = 0;
  const Judge judge(noLink, llama2(), usualPolicies());
  const Verdict v = judge.at(131072, 1);
  EXPECT_TRUE(std::isnan(v.rows.front().time.seconds));
  EXPECT_EQ(v.rows[v.fastest].policy, "kivi-star:bits=2");
  const std::vector<Index> contexts{131072}, batches{1};
  EXPECT_EQ(judge.map(contexts, batches).front().fastest, v.fastest);
  EXPECT_THAT(v.sentences, Contains(HasSubstr("unknown FP16's time")).Times(0));
}

TEST(Verdict, MeasuredStepsComeBeforePredictionsAtTheirPoints) {
  Store profile{runOf(llama3(), "profile"), {}, {}, {}, {}, {}};
  profile.add("fp16"), profile.add("xquant:bits=2");
  profile.step(0, 8192, 1, 0.010);
  StepRow &counted = profile.step(1, 8192, 1, 0.019);
  counted.measuredRead = 1.6e10, counted.measuredWrite = 1e9;
  profile.step(0, 8192, 4, 0.020);
  Evidence evidence;
  addSteps(evidence, profile.rows(), llama3());
  Hardware measured = hardwarePreset("h100-sxm");
  measured.measured = true, measured.memory = 0;
  const Judge judge(measured, llama3(), usualPolicies(), evidence);
  const VerdictRow x = rowOf(judge.at(8192, 1), "xquant:bits=2");
  EXPECT_EQ(x.time.basis, Basis::Measured);
  EXPECT_DOUBLE_EQ(x.timeRatio, 1.9);
  EXPECT_EQ(x.timeRatioBasis, Basis::Measured);
  EXPECT_EQ(x.movedBasis, Basis::Measured);
  EXPECT_DOUBLE_EQ(x.movedBytes, 1.7e10);
  EXPECT_EQ(x.sentence(),
            "XQuant 2 bits stores 0.15 of FP16's bytes (counted) and takes 1.90 times its time here (measured).");
  // At batch 4 only FP16 was measured, and a ratio to it is a prediction.
  EXPECT_EQ(judge.at(8192, 4).rows.front().time.basis, Basis::Measured);
  EXPECT_EQ(rowOf(judge.at(8192, 4), "xquant:bits=2").timeRatioBasis, Basis::Predicted);
  EXPECT_DOUBLE_EQ(rowOf(judge.at(8192, 4), "xquant:bits=2").timeRatio,
                   judge.predict(4, 8192, 4).seconds / judge.predict(0, 8192, 4).seconds)
      << "a measured step and a predicted one are not divided";
  EXPECT_EQ(judge.at(4096, 1).rows.front().time.basis, Basis::Predicted);
  profile.run.spec = R"({"placement": "host"})";
  Evidence fromHost;
  addSteps(fromHost, profile.rows(), llama3());
  EXPECT_TRUE(Judge(measured, llama3(), usualPolicies(), fromHost).at(8192, 1).rows.front().time.inHost);
  // On another GPU, and of another model, these steps say nothing.
  const Judge preset(hardwarePreset("h100-sxm"), llama3(), usualPolicies(), evidence);
  EXPECT_EQ(preset.at(8192, 1).rows.front().time.basis, Basis::Predicted);
  Evidence other;
  addSteps(other, profile.rows(), llama2());
  EXPECT_TRUE(other.steps.empty());
}

TEST(Verdict, MeasuredStepsThatOverlapAreNotToldApart) {
  Store profile{runOf(llama3(), "profile"), {}, {}, {}, {}, {}};
  profile.add("fp16"), profile.add("kivi-star:bits=2"), profile.add("xquant:bits=2");
  const auto step = [&](std::int64_t policy, double low, double median, double high) {
    StepRow &row = profile.step(policy, 8192, 1, median);
    row.lowSeconds = low, row.highSeconds = high, row.countedBytes = 1e9;
  };
  step(0, 0.095, 0.119, 0.142), step(1, 0.117, 0.129, 0.151), step(2, 0.150, 0.2, 0.21);
  Evidence evidence;
  addSteps(evidence, profile.rows(), llama3());
  Hardware measured = hardwarePreset("h100-sxm");
  measured.measured = true;
  const Verdict v = Judge(measured, llama3(), {"kivi-star:bits=2", "xquant:bits=2"}, evidence).at(8192, 1);
  EXPECT_THAT(v.sentences, Contains(testing::AllOf(HasSubstr("FP16 KV is fastest, 119 ms"),
                                                   HasSubstr("overlap with those of KIVI* 2 bits:"))));
  EXPECT_EQ(v.rows.front().movedBytes, 1e9) << "as the profile counted them";
}

TEST(Verdict, SaysHowFarMeasuredStepsAreFromPredictedOnes) {
  Hardware measured = hardwarePreset("h100-sxm");
  measured.measured = true;
  const Judge unmeasured(measured, llama3(), {"xquant:bits=2"});
  EXPECT_EQ(unmeasured.at(8192, 1).check.points, 0);
  EXPECT_THAT(unmeasured.at(8192, 1).sentences, Contains(HasSubstr("Predictions:")).Times(0));
  Store profile{runOf(llama3(), "profile"), {}, {}, {}, {}, {}};
  profile.add("fp16"), profile.add("xquant:bits=2"), profile.add("kivi:bits=2"); // the last is not compared
  profile.step(0, 8192, 1, 1.5 * unmeasured.predict(0, 8192, 1).seconds);
  profile.step(1, 32768, 4, 4 * unmeasured.predict(1, 32768, 4).seconds);
  profile.step(2, 8192, 1, 1e6);
  Evidence evidence;
  addSteps(evidence, profile.rows(), llama3());
  const PredictionCheck check = Judge(measured, llama3(), {"xquant:bits=2"}, evidence).at(2048, 1).check;
  EXPECT_EQ(check.points, 2);
  EXPECT_NEAR(check.least, 1.5, 1e-9);
  EXPECT_NEAR(check.most, 4, 1e-9);
  EXPECT_THAT(Judge(measured, llama3(), {"xquant:bits=2"}, evidence).at(2048, 1).sentences,
              Contains(HasSubstr("at 2 measured points a step took 1.50 to 4.00 times what is predicted")));
}

TEST(Verdict, QualityIsMeasuredThenPublishedThenUnknown) {
  const std::vector<PublishedRow> published = parsePublished(publishedTables());
  std::vector<std::string> policies = usualPolicies();
  policies.push_back("xquant:bits=3,first_layers=0"); // of table 1
  policies.push_back("xquant:bits=3,group=64");       // of no table
  Store eval{runOf(llama3(), "eval"), {}, {}, {}, {}, {}};
  eval.add("xquant:bits=2");
  eval.score(-1, 2.0, 0), eval.score(0, 2.2, 0.3);
  Evidence evidence;
  addQualities(evidence, eval.rows(), llama3());
  addPublished(evidence, policies, llama3(), published);
  const Quality measured = evidence.qualityOf("xquant:bits=2"), printed = evidence.qualityOf("kivi-star:bits=2");
  EXPECT_EQ(measured.basis, Basis::Measured);
  EXPECT_DOUBLE_EQ(measured.kl, 0.3);
  EXPECT_NEAR(measured.ratio, std::exp(0.2), 1e-12);
  EXPECT_EQ(printed.basis, Basis::Published);
  EXPECT_NEAR(printed.ratio, 8.72 / 6.24, 1e-12);                                            // table 4
  EXPECT_NEAR(evidence.qualityOf("xquant:bits=3,first_layers=0").ratio, 6.43 / 6.24, 1e-12); // table 1
  EXPECT_NEAR(evidence.qualityOf("xquant-cl:bits=2").ratio, 6.60 / 6.24, 1e-12);
  EXPECT_EQ(evidence.qualityOf("xquant:bits=3,group=64").basis, Basis::Unknown);
  EXPECT_EQ(evidence.qualityOf("fp16").ratio, 1);
}

TEST(Verdict, RandomNumbersAndOtherModelsHaveNoQuality) {
  for (const bool generated : {true, false}) {
    Store eval{runOf(llama3(), "eval"), {}, {}, {}, {}, {}};
    if (generated)
      eval.run.weightTypes = "generated (291)";
    else
      eval.run.ffn = 1;
    eval.add("fp16");
    eval.score(-1, 2.0, 0), eval.score(0, 2.2, 0.3);
    Evidence evidence;
    addQualities(evidence, eval.rows(), llama3());
    EXPECT_TRUE(evidence.qualities.empty());
  }
}

TEST(Verdict, TheFrontComparesOnlyQualitiesOfOneKind) {
  Evidence evidence;
  evidence.qualities["fp16"] = {Basis::Measured, 1e-6, 1, "a"};
  evidence.qualities["kivi-star:bits=4"] = {Basis::Measured, 0.02, 1.02, "a"};
  evidence.qualities["xquant:bits=4"] = {Basis::Measured, 0.01, 1.01, "a"}; // as small as KIVI*, better
  evidence.qualities["xquant:bits=2"] = {Basis::Measured, 0.5, 1.5, "a"};
  evidence.qualities["kivi-star:bits=2"] = {Basis::Measured, 1e-3, 1.001, "b"}; // another text
  evidence.qualities["xquant-cl:bits=2"] = {Basis::Published, std::nan(""), 1.1, "paper"};
  const Verdict v = Judge(hardwarePreset("h200"), llama3(), usualPolicies(), evidence).at(8192, 1);
  std::vector<std::string> front;
  for (const VerdictRow &row : v.rows)
    if (row.front) front.push_back(row.policy);
  EXPECT_EQ(front, (std::vector<std::string>{"fp16", "xquant:bits=4", "xquant:bits=2"}));
  EXPECT_THAT(v.sentences, Contains(HasSubstr("FP16 KV, XQuant 4 bits and XQuant 2 bits are not beaten in both bytes and KL "
                                              "(a, measured)")));
}

TEST(Verdict, NothingKnownOfQualitySaysSo) {
  const Verdict v = Judge(hardwarePreset("h200"), llama3(), usualPolicies()).at(8192, 1);
  EXPECT_THAT(v.sentences, Contains(HasSubstr("Quality: none is known")));
}

TEST(Verdict, FP16IsPutInFrontAndEveryPolicyIsThereOnce) {
  const auto policies = [](const std::vector<std::string> &asked) {
    return Judge(hardwarePreset("h200"), llama3(), asked).policies();
  };
  const std::vector<std::string> both = {"fp16", "xquant:bits=2"};
  EXPECT_EQ(policies({"xquant:bits=2"}), both);
  EXPECT_EQ(policies({"xquant:bits=2,group=128", "fp16", "xquant:bits=2"}), both);
  EXPECT_THROW(policies({"low-rank:rank=4096"}), Error);
  EXPECT_EQ(fittingPolicies(std::vector<std::string>{"low-rank:rank=4096", "fp16", "no-method:x=1"}, llama3()),
            std::vector<std::string>{"fp16"});
}

TEST(Verdict, TheMapHasTheFastestOfEveryCell) {
  const Judge judge(hardwarePreset("a100"), llama2(), usualPolicies());
  const std::vector<Index> contexts = {1024, 32768, 262144}, batches = {1, 16};
  const std::vector<VerdictCell> cells = judge.map(contexts, batches);
  ASSERT_EQ(cells.size(), 6u);
  EXPECT_EQ(cells[1].context, 32768);
  EXPECT_EQ(cells[3].batch, 16);
  for (const VerdictCell &cell : cells) {
    const Verdict v = judge.at(cell.context, cell.batch);
    EXPECT_EQ(cell.fastest, v.fastest);
    for (std::size_t i = 0; i < v.rows.size(); ++i) EXPECT_DOUBLE_EQ(cell.ratio(i), v.rows[i].timeRatio);
  }
  // 16 sequences of 262144 tokens: 2-bit KIVI* takes 309 GB, XQuant half of that; neither fits.
  EXPECT_TRUE(cells[5].times[judge.policies().size() - 1].inHost);
  // Where KIVI* 2 bits no longer fits and XQuant 2 bits does, XQuant wins time too.
  const std::vector<Index> long256{262144}, four{4};
  const VerdictCell cell = judge.map(long256, four).front();
  EXPECT_TRUE(cell.times[2].inHost);
  EXPECT_FALSE(cell.times[4].inHost);
}

TEST(Verdict, SentencesAboutTheMachineNameBothReadings) {
  EXPECT_THAT(contextSentence(llama3(), hardwarePreset("h100-pcie")),
              testing::AllOf(HasSubstr(": 40.6k, "), HasSubstr("tokens at 2, 3, 4 bits by the paper's line"),
                             HasSubstr("; 41.6k, ")));
  EXPECT_THAT(contextSentence(llama2(), hardwarePreset("h100-pcie")),
              HasSubstr(": 2.3k, 2.3k, 2.3k tokens at 2, 3, 4 bits. "));
  EXPECT_THAT(hardwareSentence(hardwarePreset("h100-pcie")),
              HasSubstr("H100 PCIe: 2 TB/s of memory, 756 TFLOP/s, ridge point 378 FLOP a byte, 80.0 GiB"));
}

TEST(Roofline, PredictionsLieOnOrUnderTheRoof) {
  const Judge judge(hardwarePreset("h100-sxm"), llama3(), usualPolicies());
  const Hardware &h = judge.hardware();
  for (const RooflineScope scope : {RooflineScope::Attention, RooflineScope::Step})
    for (const RooflinePoint &p : predictedPoints(judge, scope, 32768, 4))
      EXPECT_LE(p.rate(), 1.0000001 * std::min(h.reachedMatrixRate(), p.intensity() * h.reachedMemoryRate())) << p.policy;
  const RooflinePoint fp16 = predictedPoints(judge, RooflineScope::Attention, 32768, 4).front();
  EXPECT_DOUBLE_EQ(fp16.intensity(), 4); // 32 heads of 128, two products: 16384 FLOP over 4096 bytes
}

TEST(Roofline, MeasuredPointsComeFromStepsAndFromTheCachesParts) {
  Store profile{runOf(llama3(), "profile"), {}, {}, {}, {}, {}};
  profile.add("fp16"), profile.add("xquant:bits=2");
  StepRow &step = profile.step(1, 8192, 1, 0.02);
  step.countedFlops = 4e12, step.countedBytes = 2e10;
  const auto traffic = [&](const char *part, Index layer, double read) {
    TrafficRow row;
    row.policy = 1, row.context = 8192, row.layer = layer, row.part = part;
    row.seconds = 0.001, row.countedBytes = 1e6, row.countedFlops = 3e9, row.measuredRead = read, row.measuredWrite = 0;
    profile.traffic.push_back(row);
  };
  traffic("attend", 0, 2e6), traffic("cache", 0, 1e6), traffic("qkv", 0, 5e6), traffic("", 0, 8e6),
      traffic("attend", 1, 2e6);
  const std::vector<RooflinePoint> steps = measuredPoints(profile.rows(), RooflineScope::Step);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].policy, "xquant:bits=2");
  EXPECT_DOUBLE_EQ(steps[0].intensity(), 200);
  EXPECT_EQ(steps[0].bytesBasis, Basis::Counted);
  EXPECT_EQ(steps[0].basis, Basis::Measured);
  std::vector<RooflinePoint> parts = measuredPoints(profile.rows(), RooflineScope::Attention);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_DOUBLE_EQ(parts[0].bytes, 5e6);
  EXPECT_EQ(parts[0].bytesBasis, Basis::Measured);
  EXPECT_DOUBLE_EQ(parts[0].rate(), 3e12);
  traffic("attend", 2, std::nan("")); // one range without counters: all bytes are the counted ones
  parts = measuredPoints(profile.rows(), RooflineScope::Attention);
  EXPECT_EQ(parts[0].bytesBasis, Basis::Counted);
  EXPECT_DOUBLE_EQ(parts[0].bytes, 4e6);
}

} // namespace
} // namespace xqs

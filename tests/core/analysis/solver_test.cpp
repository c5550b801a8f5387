// SPDX-License-Identifier: Apache-2.0
#include "analysis/verification.h"
#include "cache/layout.h"
#include "core/analysis/matrix_rows.h"
#include "support/refusal.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>

using namespace xqs;
using test::MatrixRows;
using testing::HasSubstr;
using testing::SizeIs;

namespace {

constexpr double kFloor = 0.001;
/// What layer i adds under each setting, nats.
constexpr double kX2[] = {0.5, 0.02, 0.03}, kX4[] = {0.04, 0.002, 0.001}, kK2[] = {0.1, 0.01, 0.2},
                 kV4[] = {0.005, 0.05, 0.01};

std::vector<double> windows(double extra) { return {kFloor + 0.9 * extra, kFloor + 1.1 * extra}; }

/// X at 2 and 4 bits, K at 2 bits (group 32: whole groups in 64 tokens), V at 4.
MatrixRows someRows() {
  MatrixRows rows;
  rows.add("fp16", {kFloor, kFloor});
  for (int layer = 0; layer < 3; ++layer) {
    const auto add = [&](const std::string &side, const std::string &policy, double extra) {
      rows.add("plan:" + std::to_string(layer) + side + "=" + policy, windows(extra));
    };
    add("", "xquant:bits=2,source=x", kX2[layer]);
    add("", "xquant:bits=4,source=x", kX4[layer]);
    add(".k", "kivi-star:bits=2,group=32", kK2[layer]);
    add(".v", "kivi-star:bits=4,group=32", kV4[layer]);
  }
  return rows;
}

/// Bytes a token of a layer.
constexpr double kFp16Side = 64, kX2Bytes = (64 * 2 + 32) / 8.0, kX4Bytes = (64 * 4 + 32) / 8.0,
                 kK2Bytes = (32 * 2 + 32) / 8.0, kV4Bytes = (32 * 4 + 32) / 8.0;

TEST(BudgetSolver, FindsTheBestOfAllPlans) {
  const BudgetSolver solver(someRows().matrix());
  struct Way {
    double bytes, extra[3];
  };
  const Way ways[] = {{2 * kFp16Side, {}},
                      {kX2Bytes, {kX2[0], kX2[1], kX2[2]}},
                      {kX4Bytes, {kX4[0], kX4[1], kX4[2]}},
                      {kK2Bytes + kFp16Side, {kK2[0], kK2[1], kK2[2]}},
                      {kFp16Side + kV4Bytes, {kV4[0], kV4[1], kV4[2]}},
                      {kK2Bytes + kV4Bytes, {kK2[0] + kV4[0], kK2[1] + kV4[1], kK2[2] + kV4[2]}}};
  EXPECT_NEAR(solver.leastBytes(), 3 * kX2Bytes, 1e-9);
  EXPECT_NEAR(solver.mostBytes(), 3 * 2 * kFp16Side, 1e-9);
  for (const double budget : {60.0, 76.0, 80.0, 100.0, 130.0, 200.0, 384.0}) {
    double best = 1e9;
    for (const Way &a : ways)
      for (const Way &b : ways)
        for (const Way &c : ways)
          if (a.bytes + b.bytes + c.bytes <= budget) best = std::min(best, a.extra[0] + b.extra[1] + c.extra[2]);
    const SolvedPlan solved = solver.withinBytes(budget);
    EXPECT_NEAR(solved.prediction.sumKl, kFloor + best, 1e-12) << budget;
    EXPECT_LE(solved.prediction.bytesPerToken, budget);
    // What is promised is what the plan stores.
    EXPECT_NEAR(solved.prediction.relativeSize, relativeSize(solved.plan, {3, 64, 4, 2, 16}, 64, State::All), 1e-12);
    const auto predicted = solver.predict(PolicySpec::parse(solved.plan.canonical()));
    ASSERT_TRUE(predicted);
    EXPECT_NEAR(predicted->sumKl, solved.prediction.sumKl, 1e-12);
    const SolvedPlan back = solver.withinKl(solved.prediction.kl.mean + 1e-9);
    EXPECT_LE(back.prediction.bytesPerToken, solved.prediction.bytesPerToken);
  }
  const Estimate kl = solver.withinBytes(3 * kX4Bytes).prediction.kl;
  EXPECT_EQ(kl.count, 2);
  EXPECT_LT(kl.low, kl.mean);
}

TEST(BudgetSolver, LimitsThatCannotBeMetNameTheRange) {
  const BudgetSolver solver(someRows().matrix());
  EXPECT_THAT(test::usageMessageOf([&] { solver.withinBytes(59); }),
              HasSubstr("from 60.0 to 384.0 (FP16), that is 0.1562 to 1 of FP16"));
  EXPECT_THAT(test::usageMessageOf([&] { solver.withinBytes(385); }), HasSubstr("from 60.0 to 384.0"));
  EXPECT_THAT(test::usageMessageOf([&] { solver.withinKl(0.0005); }), HasSubstr("lowest possible is 0.001"));
  EXPECT_EQ(solver.withinKl(0.001).plan.canonical(), "plan:0-2=fp16");
  MatrixRows partial;
  partial.add("plan:0=xquant:bits=2", {1}).add("plan:1=xquant:bits=2", {1});
  EXPECT_THAT(test::usageMessageOf([&] { BudgetSolver{partial.matrix()}; }),
              HasSubstr("no setting of the matrix is measured in every layer"));
}

TEST(BudgetSolver, UniformPoliciesAreRankedAndNamedAsOneCanRunThem) {
  const BudgetSolver solver(someRows().matrix());
  const auto uniforms = solver.uniformsWithin(3 * kX4Bytes);
  ASSERT_THAT(uniforms, SizeIs(3));
  EXPECT_EQ(uniforms[0].policy.canonical(), "xquant:bits=4,first_layers=0,source=x");
  EXPECT_EQ(uniforms[1].policy.canonical(), "plan:*.k=kivi-star:bits=2,group=32;*.v=kivi-star:bits=4,group=32");
  EXPECT_EQ(uniforms[2].policy.canonical(), "xquant:bits=2,first_layers=0,source=x");
  for (const UniformPolicy &u : uniforms)
    EXPECT_NEAR(u.prediction.relativeSize, relativeSize(u.policy, {3, 64, 4, 2, 16}, 64, State::All), 1e-12);
}

TEST(BudgetSolver, PredictsPoliciesThatTreatTheFirstLayersOtherwise) {
  const BudgetSolver solver(someRows().matrix());
  const auto predicted = solver.predict(PolicySpec::parse("xquant:bits=2,source=x,first_layers=1,first_bits=4"));
  ASSERT_TRUE(predicted);
  EXPECT_NEAR(predicted->sumKl, kFloor + kX4[0] + kX2[1] + kX2[2], 1e-12);
  EXPECT_FALSE(solver.predict(PolicySpec::parse("xquant:bits=8,source=x,first_layers=0")));
  EXPECT_FALSE(solver.predict(PolicySpec::parse("xquant-cl:bits=2")));
}

TEST(BudgetSolver, WholePoliciesCorrectTheSum) {
  MatrixRows rows = someRows();
  const auto whole = [](double sum) { return windows(2 * std::pow(sum, 1.25)); };
  rows.add("xquant:bits=2,source=x,first_layers=0", whole(kX2[0] + kX2[1] + kX2[2]));
  rows.add("xquant:bits=4,source=x,first_layers=0", whole(kX4[0] + kX4[1] + kX4[2]));
  rows.add("plan:*.k=kivi-star:bits=2,group=32;*.v=kivi-star:bits=4,group=32",
           whole(kK2[0] + kK2[1] + kK2[2] + kV4[0] + kV4[1] + kV4[2]));
  const BudgetSolver solver(rows.matrix());
  EXPECT_EQ(solver.correction().policies, 3u);
  EXPECT_NEAR(solver.correction().factor, 2, 1e-9);
  EXPECT_NEAR(solver.correction().exponent, 1.25, 1e-9);
  EXPECT_NEAR(solver.correction().typicalError, 0, 1e-9);
  EXPECT_NEAR(solver.correction().inverse(solver.correction()(0.3)), 0.3, 1e-12);
  const Prediction p = solver.withinBytes(3 * kX4Bytes).prediction;
  EXPECT_NEAR(p.kl.mean, kFloor + 2 * std::pow(p.sumKl - kFloor, 1.25), 1e-9);
  EXPECT_NEAR(BudgetSolver(someRows().matrix()).withinBytes(100).prediction.kl.mean,
              BudgetSolver(someRows().matrix()).withinBytes(100).prediction.sumKl, 1e-15); // nothing to correct by
}

TEST(BudgetSolver, UnfinishedSettingsAreLeftOut) {
  MatrixRows rows = someRows();
  rows.add("plan:0-1=xquant-cl:bits=2", {0, 0}).add("plan:1=kivi-star:bits=2", {0, 0});
  const BudgetSolver solver(rows.matrix());
  EXPECT_THAT(solver.leftOut(), testing::ElementsAre("xquant-cl:bits=2, delta", "kivi-star:bits=2"));
}

/// A base of 8 bits and deltas of 2, which are far cheaper than all else in layers 1 and 2.
TEST(BudgetSolver, DeltasFollowABaseAndArePartsOfOneChain) {
  MatrixRows rows = someRows();
  for (int layer = 0; layer < 3; ++layer) {
    const std::string end = std::to_string(layer);
    rows.add("plan:" + end + "=xquant-cl:bits=4,first_bits=8,source=x,domain=residual", windows(0.001));
    if (layer > 0)
      rows.add("plan:" + std::to_string(layer - 1) + "-" + end + "=xquant-cl:bits=2,first_bits=16,source=x,domain=residual",
               windows(0.002));
  }
  const BudgetSolver solver(rows.matrix());
  EXPECT_THAT(solver.leftOut(), SizeIs(0));
  const double base = (64 * 8 + 32) / 8.0;
  const SolvedPlan solved = solver.withinBytes(base + 2 * kX2Bytes);
  EXPECT_EQ(solved.plan.canonical(), "plan:0-2=xquant-cl:bits=2,first_bits=8,source=x,domain=residual");
  EXPECT_NEAR(solved.prediction.sumKl, kFloor + 0.001 + 2 * 0.002, 1e-12);
  EXPECT_NEAR(solved.prediction.relativeSize, relativeSize(solved.plan, {3, 64, 4, 2, 16}, 64, State::All), 1e-12);
  // As a policy that is the same in every layer it is known too.
  const auto uniforms = solver.uniformsWithin(base + 2 * kX2Bytes);
  ASSERT_FALSE(uniforms.empty());
  EXPECT_EQ(uniforms[0].policy.canonical(), "xquant-cl:bits=2,first_layers=0,first_bits=8,source=x,domain=residual");
  EXPECT_NEAR(uniforms[0].prediction.sumKl, solved.prediction.sumKl, 1e-12);
  const auto whole =
      solver.predict(PolicySpec::parse("xquant-cl:bits=2,first_layers=1,first_bits=8,source=x,domain=residual"));
  ASSERT_TRUE(whole);
  EXPECT_NEAR(whole->sumKl, solved.prediction.sumKl, 1e-12);
  // Where the budget is too small for the base, no delta stands without one.
  const SolvedPlan small = solver.withinBytes(3 * kX2Bytes + 4);
  EXPECT_EQ(small.plan.canonical().find("xquant-cl"), std::string::npos) << small.plan.canonical();
}

TEST(Verification, TakesTheWindowsAskedForAndComparesAtTheSameBytes) {
  MatrixRows rows = someRows();
  const BudgetSolver solver(rows.matrix());
  const SolvedPlan solved = solver.withinBytes(3 * kX4Bytes);
  const PolicySpec small = PolicySpec::parse("xquant:bits=2,source=x,first_layers=0"),
                   same = PolicySpec::parse("xquant:bits=4,source=x,first_layers=0"), large = PolicySpec::parse("fp16");
  rows.add(solved.plan.canonical(), {9, 9, 0.10, 0.12, 0.11, 9});
  rows.add(small.canonical(), {0, 0, 0.30, 0.32, 0.31, 0});
  if (same.canonical() != solved.plan.canonical()) rows.add(same.canonical(), {0, 0, 0.20, 0.21, 0.22, 0});
  const std::vector<PolicySpec> others = {small, same, large};
  const Verification v = verification(rows.rows, rows.rows.runs.front(), 2, 3, solver, solved.plan, others, 3 * kX4Bytes);
  EXPECT_NEAR(v.plan.kl.mean, 0.11, 1e-12);
  EXPECT_EQ(v.plan.kl.count, 3);
  ASSERT_THAT(v.others, SizeIs(3));
  EXPECT_NEAR(v.others[0].planDifference.mean, -0.2, 1e-12);
  EXPECT_NEAR(v.others[0].planDifference.standardError, 0, 1e-12);
  EXPECT_NEAR(v.others[1].kl.mean, 0.21, 1e-12);
  ASSERT_TRUE(v.best);
  EXPECT_EQ(*v.best, 1u);
  EXPECT_EQ(v.others[2].kl.count, 0); // not scored in those windows
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
#include "run/task_runner.h"

#include "support/default_model.h"
#include "support/small_model.h"

#include <gtest/gtest.h>

namespace xqs {
namespace {

TEST(CopyTaskRun, IsTheLossOfTheSecondCopyUnderEveryPolicy) {
  test::SmallModel m(test::kGqaModel);
  std::vector<std::unique_ptr<Method>> methods;
  std::vector<const Method *> lanes;
  for (const char *policy : {"fp16", "xquant:bits=2,group=32", "kivi:bits=2"}) {
    methods.push_back(prepareMethod(PolicySpec::parse(policy), *m.model, m.calibration));
    lanes.push_back(methods.back().get());
  }
  double done = 0;
  TaskPlan plan{{5, 70}, {}, 3, 11};
  plan.progress = [&](double fraction) { done = fraction; };
  const std::vector<CopyResult> results = runCopyTask(*m.model, lanes, plan);
  EXPECT_EQ(done, 1);
  ASSERT_EQ(results.size(), 2u);
  for (const CopyResult &r : results) {
    EXPECT_EQ(r.tokens, r.distance - 1);
    ASSERT_EQ(r.policies.size(), 3u);
    for (std::size_t trial = 0; trial < 3; ++trial) {
      // The evaluator's scores of the same positions.
      const CopyTask task = makeCopyTask(m.model->tokenizer(), r.distance, 11, trial);
      WindowEvaluator evaluator(*m.model, State::Stream);
      evaluator.exact(task.tokens);
      const auto mean = [&](const std::vector<float> &nll) {
        double sum = 0;
        for (auto i = static_cast<std::size_t>(task.firstScored - 1); i < nll.size(); ++i) sum += nll[i];
        return sum / static_cast<double>(r.tokens);
      };
      EXPECT_DOUBLE_EQ(r.exact.nll[trial], mean(evaluator.exactPositions().nll));
      const auto scored = evaluator.run(lanes);
      for (std::size_t i = 0; i < lanes.size(); ++i)
        EXPECT_DOUBLE_EQ(r.policies[i].nll[trial], mean(scored[i].positions.nll)) << i;
      EXPECT_EQ(r.policies[0].right[trial], r.exact.right[trial]); // FP16
    }
  }
}

TEST(CopyTaskRun, ASmallModelCopiesAndTwoBitsCopyWorse) {
  XQS_NEED_MODEL(file);
  test::SmallModel m(file, cpuBackendModule(), 0);
  const auto four = prepareMethod(PolicySpec::parse("xquant:bits=4"), *m.model, m.calibration);
  const auto two = prepareMethod(PolicySpec::parse("xquant:bits=2"), *m.model, m.calibration);
  const Method *const lanes[] = {four.get(), two.get()};
  const std::vector<CopyResult> results = runCopyTask(*m.model, lanes, {{32}, {}, 2, 1});
  const CopyResult &r = results.front();
  for (std::size_t trial = 0; trial < 2; ++trial) {
    EXPECT_GT(r.exact.right[trial], 15) << "of 31"; // by chance 0.0006 of one
    EXPECT_LT(r.exact.nll[trial], r.policies[1].nll[trial]);
    EXPECT_LT(r.policies[0].nll[trial], r.policies[1].nll[trial]);
  }
}

TEST(PasskeyTaskRun, PoliciesAreAskedOnlyWhereTheExactModelFindsTheKey) {
  test::SmallModel m(test::kGqaModel); // random weights find nothing
  const auto method = prepareMethod(PolicySpec::parse("fp16"), *m.model, m.calibration);
  const Method *const one = method.get();
  const std::vector<PasskeyResult> results = runPasskeyTask(*m.model, {&one, 1}, {{460}, {0.0, 1.0}, 2, 1});
  ASSERT_EQ(results.size(), 2u);
  for (const PasskeyResult &r : results) {
    EXPECT_EQ(r.trials, 2);
    EXPECT_EQ(r.exact, 0);
    EXPECT_EQ(r.policies, std::vector<Index>{0});
  }
  const std::uint64_t before = m.backend->operations();
  runPasskeyTask(*m.model, {}, {{460}, {0.0, 1.0}, 2, 1});
  const std::uint64_t exactAlone = m.backend->operations() - before;
  runPasskeyTask(*m.model, {&one, 1}, {{460}, {0.0, 1.0}, 2, 1});
  EXPECT_EQ(m.backend->operations() - before, 2 * exactAlone); // nothing was asked of the policy
  EXPECT_THROW(runPasskeyTask(*m.model, {&one, 1}, {{m.model->config().contextLength}, {0.5}, 1, 1}), Error);
}

TEST(PasskeyTaskRun, SmolLm2FindsKeysAndSoDoesItsFp16Cache) {
  XQS_NEED_MODEL(file);
  test::SmallModel m(file, cpuBackendModule(), 0);
  const auto fp16 = prepareMethod(PolicySpec::parse("fp16"), *m.model, m.calibration);
  const auto broken = prepareMethod(PolicySpec::parse("low-rank:rank=2"), *m.model, m.calibration);
  const Method *const lanes[] = {fp16.get(), broken.get()};
  const PasskeyResult r = runPasskeyTask(*m.model, lanes, {{160}, {0.5}, 4, 1}).front();
  EXPECT_GE(r.exact, 3);
  EXPECT_EQ(r.policies[0], r.exact);
  EXPECT_EQ(r.policies[1], 0);
}

} // namespace
} // namespace xqs

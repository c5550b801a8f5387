// SPDX-License-Identifier: Apache-2.0
#include "analysis/compare.h"
#include "error.h"

#include <gmock/gmock.h>

#include <cmath>

using namespace xqs;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

namespace {

RunRow runRow(RowId id, const std::string &backend = "cpu") {
  RunRow run;
  run.id = id, run.kind = "eval", run.model = "tiny", run.modelHash = "m0", run.text = "a.txt", run.tokensHash = "t0";
  run.window = 512, run.state = "all", run.protocol = "every position scored", run.backend = backend;
  return run;
}

PolicyRow policyRow(RowId run, std::int64_t index, const std::string &text) {
  PolicyRow row;
  row.run = run, row.index = index, row.policy = text, row.relativeSize = 0.25;
  return row;
}

WindowRow windowRow(RowId run, std::int64_t index, std::int64_t number, double nll, double kl) {
  WindowRow row;
  row.run = run, row.policy = index, row.window = number, row.meanNll = nll, row.meanKl = kl;
  return row;
}

/// One run of one policy, whose NLL lies `offset` above 3 + the window's number.
RowSet setOf(const std::string &name, const RunRow &run, const std::string &policy, double offset) {
  RowSet set{name, {run}, {policyRow(run.id, 0, policy)}, {}};
  for (int w = 0; w < 4; ++w) {
    set.windows.push_back(windowRow(run.id, -1, w, 3 + w, 0));
    set.windows.push_back(windowRow(run.id, 0, w, 3 + w + offset + 0.001 * (w % 2), 0.1 + offset + 0.001 * (w % 2)));
  }
  return set;
}

} // namespace

TEST(Compare, OnlyCommonWindowsCountAndTheLaterRowOfEach) {
  const std::vector<WindowRow> a = {windowRow(1, 0, 5, 9, 0.9), windowRow(1, 0, 2, 3.2, 0.2), windowRow(1, 0, 1, 9, 0.9),
                                    windowRow(1, 0, 1, 2.3, 0.3)},
                               b = {windowRow(2, 0, 1, 2, 0.1), windowRow(2, 0, 2, 3, 0.1), windowRow(2, 0, 3, 9, 0.9)};
  const Estimate nll = windowDifference(a, b, Quality::Nll), kl = windowDifference(a, b, Quality::Kl);
  EXPECT_EQ(nll.count, 2);
  EXPECT_NEAR(nll.mean, 0.25, 1e-15);
  EXPECT_NEAR(nll.standardError, 0.05, 1e-14);
  EXPECT_NEAR(kl.mean, 0.15, 1e-15);
  EXPECT_TRUE(std::isnan(windowDifference(a, {}, Quality::Kl).mean));
}

TEST(Compare, EveryFieldThatMattersIsNamed) {
  const RunRow a = runRow(1);
  EXPECT_THAT(differingFields(a, runRow(2, "cuda")), SizeIs(0)); // another backend: that is what one compares
  RunRow b = runRow(1);
  b.modelHash = "m1", b.model = "other";
  EXPECT_THAT(differingFields(a, b), ElementsAre("model_hash: m0 (tiny) and m1 (other)"));
  b = runRow(1), b.tokensHash = std::string(64, 'f'), b.text = "b.txt";
  EXPECT_THAT(differingFields(a, b), ElementsAre("tokens_hash: t0 (a.txt) and ffffffffffff (b.txt)"));
  b = runRow(1), b.window = 64, b.state = "stream", b.protocol = "half of them", b.kind = "preview";
  EXPECT_THAT(differingFields(a, b), testing::UnorderedElementsAre(StartsWith("window: 512 and 64"), StartsWith("state:"),
                                                                   StartsWith("protocol:"), StartsWith("kind:")));
}

TEST(Compare, ShardsOfAStudyAreOnePolicy) {
  RowSet set{"s.xqs", {runRow(1), runRow(2), runRow(3, "cuda")}, {}, {}};
  for (const RowId run : {1, 2, 3}) set.policies.push_back(policyRow(run, 7, "xquant:bits=4"));
  set.policies.push_back(policyRow(1, 8, "without windows"));
  set.policies.push_back(policyRow(9, 7, "of no run"));
  set.windows = {windowRow(1, 7, 1, 3, 0.1), windowRow(1, 7, 0, 4, 0.1), windowRow(2, 7, 2, 5, 0.1),
                 windowRow(2, -1, 2, 5, 0),  windowRow(3, 7, 0, 6, 0.1), windowRow(9, 7, 3, 7, 0.1)};
  const auto scores = scoresOf(set);
  ASSERT_EQ(scores.size(), 3u);
  EXPECT_EQ(scores[0].policy.policy, PolicyScores::kExact);
  EXPECT_TRUE(std::isnan(scores[0].policy.relativeSize));
  EXPECT_EQ(scores[1].policy.policy, "xquant:bits=4");
  ASSERT_EQ(scores[1].windows.size(), 3u); // 0, 1, 2 of two runs
  EXPECT_EQ(scores[1].windows[0].meanNll, 4);
  EXPECT_EQ(scores[1].windows[2].run, 2);
  EXPECT_EQ(scores[2].run.backend, "cuda"); // not mixed with the others
  set.runs[1].calibrationTokensHash = "other";
  EXPECT_EQ(scoresOf(set).size(), 4u);
  set.runs[1] = runRow(2), set.runs[1].state = "stream";
  EXPECT_EQ(scoresOf(set).size(), 4u);
}

TEST(Compare, ADifferenceIsHeldAgainstTheNoiseFloor) {
  const PolicyScores a = scoresOf(setOf("a", runRow(1), "p", 0.01)).at(1), b = scoresOf(setOf("b", runRow(1), "q", 0)).at(1);
  const Difference d = difference(a, b, {0.005, 0.005, 9}), back = difference(b, a, {});
  EXPECT_NEAR(d.nll.mean, 0.01, 1e-12);
  EXPECT_NEAR(d.kl.mean, 0.01, 1e-12);
  EXPECT_FALSE(touchesZero(d.nll)); // windows differ by 1, the pairs by nothing
  EXPECT_FALSE(d.nllBelowNoise || d.klBelowNoise);
  const double windows = static_cast<double>(d.nll.count);
  ASSERT_GT(windows, 1);
  const Difference nll = difference(a, b, {0.011 * std::sqrt(windows), 0, 9}); // each figure against its own floor,
  EXPECT_TRUE(nll.nllBelowNoise && !nll.klBelowNoise);
  const Difference kl = difference(a, b, {0.011, 0.011 * std::sqrt(windows), 9}); // that of a mean over the windows
  EXPECT_TRUE(kl.klBelowNoise && !kl.nllBelowNoise);
  EXPECT_NEAR(back.nll.mean, -0.01, 1e-12);
}

TEST(Compare, WhatIsNotTheSameTextIsRefusedByName) {
  RunRow other = runRow(1);
  other.tokensHash = "t1";
  const PolicyScores a = scoresOf(setOf("a", runRow(1), "p", 0)).at(1), b = scoresOf(setOf("b", other, "q", 0)).at(1);
  try {
    difference(a, b, {});
    FAIL() << "paired";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::Usage);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("p and q"), HasSubstr("tokens_hash: t0")));
  }
}

TEST(Compare, SetsStandSideBySide) {
  RunRow otherState = runRow(1);
  otherState.state = "stream";
  const std::vector<RowSet> sets = {setOf("a", runRow(1), "p", 0.01), setOf("b", runRow(1, "cuda"), "p", 0.03),
                                    setOf("c", otherState, "p", 0), setOf("d", runRow(4), "q", 0)};
  const auto rows = sideBySide(sets, {0.001, 0.001, 1});
  std::vector<std::string> policies;
  for (const ComparedRow &row : rows) policies.push_back(row.policy);
  ASSERT_THAT(policies, ElementsAre("exact model", "p", "exact model", "p", "q")); // of a and b (and d), of c, of d
  const ComparedRow &p = rows[1];
  ASSERT_EQ(p.cells.size(), 4u);
  EXPECT_TRUE(p.cells[0].scores && !p.cells[0].toFirst);
  ASSERT_TRUE(p.cells[1].toFirst);
  EXPECT_NEAR(p.cells[1].toFirst->nll.mean, 0.02, 1e-12);
  EXPECT_FALSE(p.cells[1].toFirst->nllBelowNoise);
  EXPECT_FALSE(p.cells[2].scores);
  EXPECT_EQ(p.cells[2].refused, "state: 'all' and 'stream'");
  EXPECT_TRUE(!p.cells[3].scores && p.cells[3].refused.empty()); // d has no p
  ASSERT_TRUE(rows[0].cells[1].toFirst);                         // the exact model: the noise between backends
  EXPECT_EQ(rows[0].cells[1].toFirst->nll.mean, 0);
  EXPECT_TRUE(rows[0].cells[1].toFirst->nllBelowNoise);
  EXPECT_TRUE(rows[4].cells[3].scores && !rows[4].cells[3].toFirst);
}

TEST(Compare, TheSameBackendIsPutBesideItself) {
  RowSet both = setOf("a", runRow(1, "cpu"), "p", 0.01);
  const RowSet more = setOf("a", runRow(2, "cuda"), "p", 0.02), one = setOf("b", runRow(1, "cuda"), "p", 0.02);
  both.runs.push_back(more.runs[0]), both.policies.push_back(more.policies[0]);
  both.windows.insert(both.windows.end(), more.windows.begin(), more.windows.end());
  int paired = 0;
  for (const ComparedRow &row : sideBySide(std::vector<RowSet>{both, one}, {})) {
    EXPECT_EQ(row.cells[1].refused, "");
    if (row.cells[0].scores->run.backend == "cpu") {
      EXPECT_FALSE(row.cells[1].scores); // although it may be paired and comes first
      continue;
    }
    ASSERT_TRUE(row.cells[1].toFirst);
    EXPECT_EQ(row.cells[1].toFirst->nll.mean, 0);
    ++paired;
  }
  EXPECT_EQ(paired, 2); // the exact model and p
}

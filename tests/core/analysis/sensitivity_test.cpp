// SPDX-License-Identifier: Apache-2.0
#include "core/analysis/matrix_rows.h"

#include <gmock/gmock.h>

#include <cmath>

using namespace xqs;
using test::MatrixRows;
using testing::ElementsAre;
using testing::SizeIs;

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

TEST(IsolatedLayer, IsAPlanOfOneQuantizedLayer) {
  const auto of = [](const char *policy) { return isolatedLayer(PolicySpec::parse(policy)); };
  ASSERT_TRUE(of("plan:3.k=kivi-star:bits=2"));
  EXPECT_EQ(of("plan:3.k=kivi-star:bits=2")->layer, 3);
  EXPECT_EQ(of("plan:3.k=kivi-star:bits=2")->side, Side::K);
  EXPECT_EQ(of("plan:3=xquant:bits=2;*=fp16")->side, std::nullopt);
  EXPECT_EQ(of("plan:3-4=xquant-cl:bits=2")->layer, 4); // a delta and its base
  EXPECT_EQ(of("plan:3-4=xquant-cl:bits=2")->span, 2);
  for (const char *other : {"xquant:bits=2", "plan:*=xquant:bits=2", "plan:3-4=xquant:bits=2", "plan:1=fp16",
                            "plan:3-5=xquant-cl:bits=2", "plan:3.k=kivi-star:bits=2;3.v=kivi-star:bits=2"})
    EXPECT_FALSE(of(other)) << other;
}

TEST(Sensitivity, CellsHoldKlAboveFp16WithBytes) {
  const SensitivityMatrix m = MatrixRows()
                                  .add("fp16", {0.001, 0.002})
                                  .add("plan:0.k=kivi-star:bits=2", {0.011, 0.022})
                                  .add("plan:2.k=kivi-star:bits=2", {0.002, 0.002})
                                  .add("plan:1=xquant:bits=4,source=x", {0.1, 0.2})
                                  .add("plan:1=no-such-method:bits=4", {9, 9})
                                  .add("plan:7=xquant:bits=4", {9, 9}) // beyond the model
                                  .add("xquant:bits=2", {0.5, 0.7})
                                  .matrix();
  EXPECT_THAT(m.windows, ElementsAre(0, 1));
  EXPECT_NEAR(m.fp16Kl().mean, 0.0015, 1e-12);
  ASSERT_THAT(m.settings, SizeIs(2));
  const SensitivitySetting &k = m.settings[0];
  EXPECT_EQ(k.policy, "kivi-star:bits=2");
  EXPECT_EQ(k.name, "kivi-star:bits=2, K");
  ASSERT_THAT(k.cells, SizeIs(3));
  EXPECT_NEAR(k.cells[0].kl.mean, 0.0165, 1e-12);
  EXPECT_NEAR(k.cells[0].extraKl.mean, 0.015, 1e-12);
  EXPECT_NEAR(k.cells[0].extraKl.standardError, 0.005, 1e-12);
  EXPECT_EQ(k.cells[1].kl.count, 0);
  EXPECT_TRUE(std::isnan(k.cells[1].extraKl.mean));
  EXPECT_FALSE(k.complete());
  // 64 tokens fill no group of 128: K is FP16 in state all; X is packed per token, groups of 64 channels.
  EXPECT_EQ(k.cells[0].bytesPerToken, 32 * 2);
  EXPECT_EQ(m.settings[1].cells[1].bytesPerToken, (64 * 4 + 32) / 8);
  ASSERT_THAT(m.whole, SizeIs(2)); // fp16 and xquant
  EXPECT_EQ(m.whole[1].policy.policy, "xquant:bits=2");
}

TEST(Sensitivity, AnInterruptedWindowIsLeftOutOfEveryCell) {
  const SensitivityMatrix m = MatrixRows()
                                  .add("fp16", {0, 0, 0})
                                  .add("plan:0=xquant:bits=2", {1, 2, 30})
                                  .add("plan:1=xquant:bits=2", {1, 2, kNone})
                                  .add("plan:2=xquant:bits=2", {1, 2, kNone})
                                  .add("xquant:bits=2", {1, kNone, 3})
                                  .matrix();
  EXPECT_THAT(m.windows, ElementsAre(0, 1));
  EXPECT_EQ(m.settings[0].cells[0].kl.mean, 1.5);
  EXPECT_TRUE(m.settings[0].complete());
  EXPECT_THAT(m.whole, SizeIs(1)); // xquant lacks window 1
}

TEST(Sensitivity, RunsOfOtherTextsAreMatricesOfTheirOwn) {
  MatrixRows rows;
  rows.add("plan:0=xquant:bits=2", {1});
  EXPECT_THAT(sensitivityMatrices(rows.rows), SizeIs(1));
  RunRow other = rows.rows.runs.front();
  other.id = 2, other.tokensHash = "other";
  rows.rows.runs.push_back(other);
  PolicyRow policy = rows.rows.policies.front();
  policy.run = 2;
  rows.rows.policies.push_back(policy);
  WindowRow window = rows.rows.windows.front();
  window.run = 2, window.meanKl = 5;
  rows.rows.windows.push_back(window);
  const auto matrices = sensitivityMatrices(rows.rows);
  ASSERT_THAT(matrices, SizeIs(2));
  EXPECT_EQ(matrices[0].settings[0].cells[0].kl.mean, 1);
  EXPECT_EQ(matrices[1].settings[0].cells[0].kl.mean, 5);
  EXPECT_THAT(sensitivityMatrices(RowSet{}), SizeIs(0));
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
#include "analysis/generation.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace xqs;

namespace {

GeneratedRow token(std::int64_t policy, std::int64_t step, std::int64_t bytes) {
  GeneratedRow row;
  row.policy = policy, row.step = step, row.cacheTokens = 10 + step, row.formatBytes = bytes;
  row.seconds = 0.25 * static_cast<double>(step);
  return row;
}

} // namespace

TEST(GenerationColumns, SayWhereTextsPartAndWhatTheCacheTakes) {
  std::vector<GeneratedRow> rows;
  for (std::int64_t step : {2, 0, 1, 3}) { // the order of the file does not matter
    rows.push_back(token(1, step, 30 * (10 + step)));
    rows.back().sameAsExact = step < 2, rows.back().sameAsPerturbed = step < 3;
  }
  for (std::int64_t step : {0, 1}) rows.push_back(token(-1, step, 100 * (10 + step))); // the exact model's text ends early
  rows.back().ends = 1;
  std::vector<PolicyRow> policies(3);
  for (std::int64_t i = 0; i < 3; ++i) policies[static_cast<std::size_t>(i)].index = i;

  const auto columns = generationColumns(rows, policies);
  ASSERT_EQ(columns.size(), 4u) << "the exact model and three policies, of which one has tokens";
  EXPECT_EQ(columns[0].policy, -1);
  EXPECT_TRUE(columns[0].ended);
  EXPECT_FALSE(columns[0].divergence);
  EXPECT_FALSE(columns[0].noiseMeasured);
  EXPECT_DOUBLE_EQ(columns[0].relativeSize, 1);
  const GenerationColumn &column = columns[2];
  EXPECT_EQ(column.policy, 1);
  ASSERT_EQ(column.tokens.size(), 4u);
  for (std::int64_t step = 0; step < 4; ++step) EXPECT_EQ(column.tokens[static_cast<std::size_t>(step)]->step, step);
  EXPECT_EQ(column.divergence, 2);
  EXPECT_EQ(column.noise, 3);
  EXPECT_TRUE(column.noiseMeasured);
  EXPECT_FALSE(column.withinNoise) << "it parts before its noise does";
  for (GeneratedRow &row : rows)
    if (row.policy == 1) row.sameAsPerturbed = row.step < 2;
  EXPECT_TRUE(generationColumns(rows, policies)[2].withinNoise);
  EXPECT_FALSE(column.ended);
  EXPECT_DOUBLE_EQ(column.tokensPerSecond, 4) << "three tokens in 0.75 s: the first one's time is the prompt's";
  EXPECT_DOUBLE_EQ(column.fp16BytesPerToken, 100);
  EXPECT_DOUBLE_EQ(column.relativeSize, 0.3) << "against as many FP16 tokens, also where the exact text has ended";
  EXPECT_TRUE(columns[1].tokens.empty());
  EXPECT_TRUE(std::isnan(columns[1].tokensPerSecond));
}

TEST(GenerationColumns, WithoutTheExactModelThereIsNoRelativeSize) {
  const auto columns = generationColumns({token(0, 0, 5)}, {});
  ASSERT_EQ(columns.size(), 2u);
  EXPECT_TRUE(columns[0].tokens.empty());
  EXPECT_TRUE(std::isnan(columns[1].relativeSize));
  EXPECT_FALSE(columns[1].divergence);
}

// SPDX-License-Identifier: Apache-2.0
#include "analysis/report.h"
#include "analysis/svg.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <limits>

using namespace xqs;
using testing::HasSubstr;
using testing::Not;

namespace {

ReportRows example() {
  ReportRows rows;
  rows.file = "a<b>.xqs";
  RunRow run;
  run.id = 1, run.title = "tiny & \"quoted\"", run.kind = "eval", run.heads = 4, run.kvHeads = 2, run.layers = 2;
  run.d = 64, run.dh = 16;
  run.protocol = "every position scored", run.spec = "{\"policies\": \"</pre><script>\"}";
  rows.runs = {run};
  const double nll[] = {0.01, 2.5,
                        std::numeric_limits<double>::quiet_NaN()}; // beside exact 3: good, beyond the frame, broken
  for (int i = 0; i < 3; ++i) {
    PolicyRow policy;
    policy.run = 1, policy.index = i, policy.method = "xquant", policy.policy = "xquant:bits=" + std::to_string(4 - i);
    policy.relativeSize = 0.25 - 0.05 * i, policy.formatBytes = 3 << 20;
    rows.policies.push_back(policy);
    LayerErrorRow error;
    error.run = 1, error.policy = i, error.loop = "open", error.k = 0.1, error.v = 0.2;
    rows.layerErrors.push_back(error);
    error.layer = 1;
    rows.layerErrors.push_back(error);
  }
  for (int window = 0; window < 2; ++window)
    for (int policy = -1; policy < 3; ++policy) {
      WindowRow row;
      row.run = 1, row.policy = policy, row.window = window,
      row.meanNll = 3 + (policy < 0 ? 0 : nll[policy]) + 0.001 * window * policy;
      rows.windows.push_back(row);
    }
  SimilarityRow similarity;
  similarity.run = 1, similarity.site = "x", similarity.layers = 2;
  const float cosine[] = {1, 0.5f, 0.5f, 1};
  similarity.cosine.resize(sizeof cosine);
  std::memcpy(similarity.cosine.data(), cosine, sizeof cosine);
  rows.similarities = {similarity};
  similarity.site = "v", similarity.cosine.resize(3); // damaged
  rows.similarities.push_back(similarity);
  ProblemRow problem;
  problem.run = 1, problem.policy = 2, problem.text = "a NaN <here>";
  rows.problems = {problem};
  rows.crashed = {1};
  return rows;
}

} // namespace

TEST(Report, SaysEverythingAndNeedsNothingElse) {
  const std::string page = htmlReport(example(), {});
  for (const char *text :
       {"a&lt;b&gt;.xqs", "tiny &amp; &quot;quoted&quot;", "every position scored", "crashed", "Ledger", "3.000 MiB",
        "to rebuild, M</th>", "<td>0.008192</td><td>0.004096</td>", "×12.2, 3 bits", "not finite, 2 bits",
        "X after the norm", "neighbours: 0.500", "Relative error of K", "a NaN &lt;here&gt;", "prefers-color-scheme: dark"})
    EXPECT_THAT(page, HasSubstr(text));
  for (const char *text : {"<script", "http", "url(data", "nan", "inf", "@import", "<b>.xqs"})
    EXPECT_THAT(page, Not(HasSubstr(text)));
}

TEST(Report, PartsWithoutRowsAreLeftOut) {
  ReportRows rows;
  rows.file = "empty.xqs";
  EXPECT_THAT(htmlReport(rows, {}), HasSubstr("holds no run"));
  rows.runs.resize(1);
  const std::string page = htmlReport(rows, {});
  for (const char *text : {"<svg viewBox", "Ledger", "Problems"}) EXPECT_THAT(page, Not(HasSubstr(text)));
}

TEST(Report, PublishedCurvesAreThoseOfTheSameKindOfModel) {
  PublishedRow gqa;
  gqa.table = "xquant-table-4", gqa.source = "the paper", gqa.method = "xquant", gqa.label = "XQuant-2", gqa.kind = "gqa";
  gqa.dataset = "wikitext2", gqa.model = "Grouped-8B", gqa.relativeSize = 0.15, gqa.ratio = 1.2;
  PublishedRow mha = gqa;
  mha.kind = "mha", mha.model = "Multi-7B";
  const std::string page = htmlReport(example(), {mha, gqa});
  EXPECT_THAT(page, HasSubstr("Grouped-8B on WikiText-2 as printed in the paper"));
  EXPECT_THAT(page, HasSubstr("XQuant, published"));
  EXPECT_THAT(page, Not(HasSubstr("Multi-7B")));
}

TEST(Svg, NumbersAreForPeople) {
  EXPECT_EQ(svg::number(1.23456, 3), "1.23");
  EXPECT_EQ(svg::number(46578.2, 3), "46578");
  EXPECT_EQ(svg::number(0.012345, 3), "0.0123");
  EXPECT_EQ(svg::number(-0.5, 2), "−0.50");
  EXPECT_EQ(svg::number(0, 3), "0.00");
  EXPECT_EQ(svg::number(3.2e-7, 3), "3.20e-07");
  EXPECT_EQ(svg::number(std::nan("")), "—");
}

TEST(Svg, ScalesMapEndsAndRoundTicks) {
  const svg::Scale linear{0, 10, 100, 200, false}, up{1, 100, 400, 0, true};
  EXPECT_DOUBLE_EQ(linear(2.5), 125);
  EXPECT_DOUBLE_EQ(up(10), 200);
  EXPECT_THAT(linear.ticks(5), testing::Pointwise(testing::DoubleNear(1e-9), std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_THAT(up.ticks(5), testing::Pointwise(testing::DoubleNear(1e-9), std::vector<double>{1, 2, 5, 10, 20, 50, 100}));
}

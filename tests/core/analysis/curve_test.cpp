// SPDX-License-Identifier: Apache-2.0
#include "analysis/curve.h"
#include "analysis/published.h"
#include "error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>

using namespace xqs;

namespace {

PolicyRow policy(RowId run, std::int64_t index, const std::string &text) {
  PolicyRow row;
  row.run = run, row.index = index, row.policy = text, row.method = text.substr(0, text.find(':')), row.relativeSize = 0.25;
  return row;
}

WindowRow window(RowId run, std::int64_t index, std::int64_t number, double nll, double kl = 0, double top1 = 1) {
  WindowRow row;
  row.run = run, row.policy = index, row.window = number, row.meanNll = nll, row.meanKl = kl, row.top1 = top1;
  return row;
}

} // namespace

TEST(Curve, OnlyWindowsThatBothHaveCount) {
  const auto points = curvePoints({policy(1, 0, "xquant:bits=4")},
                                  {
                                      window(1, -1, 0, 3.0), window(1, -1, 1, 4.0), window(1, -1, 2, 9.0), // exact only
                                      window(1, 0, 0, 3.1, 0.02, 0.9),                                     //
                                      window(1, 0, 1, 4.3, 0.04, 0.8),                                     //
                                      window(1, 0, 7, 9.0),                                                // policy only
                                      window(2, 0, 2, 1.0), window(2, -1, 7, 1.0),                         // another run
                                  });
  ASSERT_EQ(points.size(), 1u);
  const CurvePoint &p = points[0];
  EXPECT_EQ(p.windows, (std::vector<std::int64_t>{0, 1}));
  EXPECT_DOUBLE_EQ(p.exactPpl, std::exp(3.5));
  EXPECT_DOUBLE_EQ(p.ppl, std::exp(3.7));
  EXPECT_NEAR(p.nllDifference.mean, 0.2, 1e-15);
  EXPECT_NEAR(p.nllDifference.standardError, 0.1, 1e-14); // sd of {0.1, 0.3} is sqrt(0.02), over sqrt(2)
  EXPECT_NEAR(p.ratio.mean, std::exp(0.2), 1e-14);
  EXPECT_NEAR(p.ratio.high, std::exp(0.2 + 12.7062047 * 0.1), 1e-6);
  EXPECT_NEAR(p.kl.mean, 0.03, 1e-15);
  EXPECT_NEAR(p.top1, 0.85, 1e-15);
  EXPECT_EQ(p.relativeSize, 0.25);
}

TEST(Curve, OneWindowHasNoIntervalNoWindowNoFigure) {
  const auto points = curvePoints({policy(1, 0, "a"), policy(1, 1, "b")}, {window(1, -1, 0, 3.0), window(1, 0, 0, 3.1)});
  ASSERT_EQ(points.size(), 2u);
  EXPECT_NEAR(points[0].ratio.mean, std::exp(0.1), 1e-14);
  EXPECT_TRUE(std::isnan(points[0].ratio.low));
  EXPECT_TRUE(std::isnan(points[1].ppl) && std::isnan(points[1].ratio.mean));
  EXPECT_TRUE(points[1].windows.empty());
}

TEST(Curve, AWindowScoredAgainCountsOnce) {
  const auto points = curvePoints({policy(1, 0, "a")}, {window(1, -1, 0, 3), window(1, 0, 0, 5), window(1, 0, 0, 4)});
  EXPECT_EQ(points[0].windows.size(), 1u);
  EXPECT_DOUBLE_EQ(points[0].ppl, std::exp(4.0));
}

TEST(Curve, SeriesAreToldApartByEverythingButBits) {
  EXPECT_EQ(seriesOf("xquant-cl:bits=2,base=latent,group=64").bits, "2");
  EXPECT_EQ(seriesOf("xquant-cl:bits=2,base=latent,group=64").settings, "base=latent, group=64");
  EXPECT_EQ(seriesOf("fp16").settings, "");
}

TEST(Published, RatiosAreToTheFp16OfTheSameModelAndText) {
  std::ifstream file(XQS_SOURCE_DIR "/resources/published.json");
  const auto rows = parsePublished(std::string(std::istreambuf_iterator<char>(file), {}));
  EXPECT_EQ(rows.size(), 156u);
  int found = 0;
  for (const PublishedRow &row : rows) {
    EXPECT_TRUE(row.method != "fp16" || row.ratio == 1);
    EXPECT_FALSE(std::isnan(row.ratio)) << row.label << ' ' << row.model;
    if (row.label == "XQuant-CL-2" && row.model == "Llama-3.1-8B" && row.dataset == "c4") {
      ++found;
      EXPECT_DOUBLE_EQ(row.ratio, 10.15 / 9.54);
    }
    if (row.table == "xquant-table-1" && row.label == "KIVI*-2" && row.model == "Llama-2-13B" &&
        row.dataset == "wikitext2") {
      ++found;
      EXPECT_DOUBLE_EQ(row.ratio, 5.61 / 4.88); // its FP16 is in table 4
    }
  }
  EXPECT_EQ(found, 2);
  EXPECT_THROW(parsePublished("{}"), Error);
  EXPECT_THROW(parsePublished("["), Error);
}

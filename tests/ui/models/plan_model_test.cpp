// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/plan_model.h"

#include "error.h"

#include <QAbstractItemModelTester>

#include <gmock/gmock.h>

namespace xqs {
namespace {

const ModelShape kShape{6, 64, 4, 2, 16};
constexpr Index kTokens = 200;

PolicySpec spec(const char *text) { return PolicySpec::parse(text); }
std::string planOf(const PlanModel &model) { return model.plan().canonical(); }

class PlanModelTest : public ::testing::Test {
protected:
  void SetUp() override { model.setModel(kShape, kTokens, State::All); }
  PlanModel model;
  QAbstractItemModelTester tester{&model, QAbstractItemModelTester::FailureReportingMode::Warning};
};

TEST_F(PlanModelTest, StartsAsFp16) {
  EXPECT_EQ(model.rowCount(), kShape.layers);
  EXPECT_EQ(planOf(model), "plan:*=fp16");
  EXPECT_DOUBLE_EQ(model.relativeSize(), 1);
}

TEST_F(PlanModelTest, LayersAndSidesFollowWhatTheyAreGiven) {
  model.setLayers({0, 1, 2}, {}, spec("xquant:bits=4"));
  model.setLayers({1, 4}, Side::V, spec("kivi-star:bits=2,group=32"));
  EXPECT_EQ(planOf(model), "plan:0=xquant:bits=4;1.k=xquant:bits=4;1.v=kivi-star:bits=2,group=32;2=xquant:bits=4;"
                           "4.v=kivi-star:bits=2,group=32");
  EXPECT_TRUE(model.row(0).together());
  EXPECT_FALSE(model.row(1).together());
  model.setLayers({1}, Side::K, spec("kivi-star:bits=2,group=32"));
  EXPECT_TRUE(model.row(1).together());
}

TEST_F(PlanModelTest, ReadsAnyPlan) {
  for (const char *text : {"plan:0-1=xquant:bits=4;2-5=xquant-cl:bits=2", "plan:1.k=kivi-star:bits=2;1.v=kivi-star:bits=4",
                           "plan:0.v=xquant:bits=3;5=low-rank:rank=16"}) {
    model.setPlan(spec(text));
    EXPECT_EQ(planOf(model), text);
  }
  model.setPlan(spec("plan:2=fp16;*=xquant:bits=2"));
  EXPECT_EQ(planOf(model), "plan:0-1=xquant:bits=2;3-5=xquant:bits=2");
}

TEST_F(PlanModelTest, SizesAreTheLedgersAndAddUp) {
  for (const char *text : {"plan:0-1=xquant:bits=4;2-5=xquant:bits=2", "plan:1.k=kivi-star:bits=2;1.v=kivi-star:bits=4",
                           "plan:0=xquant:bits=4,outlier_channels=3,rotate=hadamard;3-5=xquant-cl:bits=2,source=x"}) {
    model.setPlan(spec(text));
    ASSERT_EQ(model.problem().toStdString(), "") << text;
    const CacheBytes bytes = footprint(spec(text), kShape, kTokens, State::All);
    EXPECT_EQ(model.bytes().formatBytes(), bytes.formatBytes()) << text;
    std::int64_t sum = 0;
    for (const PlanRow &row : model.rows()) sum += row.formatBytes;
    EXPECT_NEAR(static_cast<double>(sum), static_cast<double>(bytes.formatBytes()), kShape.layers)
        << text << ": bits round up";
    EXPECT_DOUBLE_EQ(model.relativeSize(), relativeSize(spec(text), kShape, kTokens, State::All)) << text;
  }
  EXPECT_FALSE(model.row(2).base);
  EXPECT_TRUE(model.row(3).base) << "the first layer of the chain";
  EXPECT_FALSE(model.row(4).base);
  EXPECT_GT(model.row(3).formatBytes, model.row(4).formatBytes) << "first_bits against bits";
}

TEST_F(PlanModelTest, WhatDoesNotFitIsKeptAndSaid) {
  model.setPlan(spec("plan:0-8=xquant:bits=4"));
  EXPECT_EQ(model.rowCount(), 9);
  EXPECT_THAT(model.problem().toStdString(), ::testing::HasSubstr("beyond"));
  EXPECT_EQ(model.row(0).formatBytes, -1);
  model.setModel({9, 64, 4, 2, 16}, kTokens, State::All); // a model with enough layers
  EXPECT_EQ(model.problem().toStdString(), "");
  EXPECT_EQ(planOf(model), "plan:0-8=xquant:bits=4");

  model.setModel(kShape, kTokens, State::All);
  model.setPlan(spec("plan:0-5=xquant:bits=4"));
  model.setLayers({2}, Side::K, spec("xquant-cl:bits=2"));
  EXPECT_THAT(model.problem().toStdString(), ::testing::HasSubstr("layer 2"));
}

TEST_F(PlanModelTest, RefusesWhatNoPlanHoldsAndChangesNothing) {
  model.setLayers({0}, {}, spec("xquant:bits=4"));
  const std::string before = planOf(model);
  EXPECT_THROW(model.setLayers({1}, {}, spec("plan:0=xquant:bits=4")), Error);
  EXPECT_THROW(model.setLayers({1}, {}, spec("xquant:bits=4,first_layers=1")), Error);
  EXPECT_THROW(model.setPlan(spec("xquant:bits=4")), Error);
  EXPECT_EQ(planOf(model), before);
}

} // namespace
} // namespace xqs

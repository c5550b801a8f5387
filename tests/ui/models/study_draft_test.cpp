// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/study_draft.h"

#include "error.h"
#include "run/resources.h"
#include "run/study.h"

#include <gmock/gmock.h>

#include <algorithm>

namespace xqs {
namespace {

QString builtIn(const std::string &name) {
  const auto text = builtInStudy(name);
  return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size()));
}

/// Policies of all runs of a study on a model of four layers.
std::vector<std::string> policies(const QString &source) {
  std::vector<std::string> all;
  for (const Experiment &e : Study::parse(source.toStdString(), "test.json").expand([](const std::string &) {
         return ModelShape{4, 64, 4, 2, 16};
       }))
    for (const PolicySpec &policy : e.policies)
      all.push_back(e.model + " " + std::to_string(e.window) + " " + policy.canonical());
  return all;
}

TEST(StudyDraft, EveryBuiltInStudyIsTheSameAfterIt) {
  for (const std::string &name : builtInStudies()) {
    const StudyDraft draft(builtIn(name));
    EXPECT_EQ(policies(draft.source()), policies(builtIn(name))) << name;
    EXPECT_EQ(draft.name().toStdString(), name);
  }
}

TEST(StudyDraft, WhatIsSetIsWhatRuns) {
  StudyDraft draft;
  draft.setValues(QStringLiteral("policies"), {QStringLiteral("fp16")});
  draft.setValues(QStringLiteral("policy"), {QStringLiteral("kivi-star"), QStringLiteral("xquant:source=x")});
  draft.setValues(QStringLiteral("bits"), {QStringLiteral("4"), QStringLiteral("2")});
  draft.setValues(QStringLiteral("window"), {QStringLiteral("64")});
  draft.setOtherLists({QStringLiteral("bits")}, {QStringLiteral("rotate = none, hadamard")});
  EXPECT_EQ(policies(draft.source()).size(), 1u + 2 * 2 * 2);
  EXPECT_EQ(draft.otherLists({QStringLiteral("bits")}), QStringList(QStringLiteral("rotate = none, hadamard")));
  draft.setValues(QStringLiteral("window"), {QStringLiteral("64"), QStringLiteral("128")}); // from the base to the grid
  EXPECT_EQ(policies(draft.source()).size(), 2u * 9);
  EXPECT_THAT(policies(draft.source()), ::testing::Contains("default 128 xquant:bits=2,source=x,rotate=hadamard"));
  draft.setValues(QStringLiteral("window"), {QStringLiteral("128")}); // and back
  draft.setOtherLists({QStringLiteral("bits")}, {});
  EXPECT_EQ(policies(draft.source()).size(), 5u);
}

TEST(StudyDraft, KeepsWhatItDoesNotKnow) {
  StudyDraft draft(builtIn("sensitivity"));
  const auto before = policies(draft.source());
  EXPECT_EQ(draft.isolatedGroups(), 5);
  draft.setValues(QStringLiteral("windows"), {QStringLiteral("2")});
  EXPECT_EQ(policies(draft.source()), before);
  EXPECT_EQ(draft.values(QStringLiteral("windows")), QStringList(QStringLiteral("2")));
}

TEST(StudyDraft, AnExperimentBecomesAStudy) {
  const QString experiment = QString::fromStdString(toJson(defaultExperiment()).dump());
  EXPECT_EQ(policies(StudyDraft(experiment).source()), policies(experiment));
}

TEST(StudyDraft, RefusesWhatIsNoObject) {
  EXPECT_THROW(StudyDraft(QStringLiteral("[1]")), Error);
  EXPECT_THROW(StudyDraft(QStringLiteral("{\"base\":")), Error);
  EXPECT_THROW(StudyDraft(QString(200'000, u'[')), Error);
  EXPECT_THROW(StudyDraft(QStringLiteral("{\"base\":") + QString(100'000, u'[') + QString(100'000, u']') + QLatin1Char('}')),
               Error);
}

} // namespace
} // namespace xqs

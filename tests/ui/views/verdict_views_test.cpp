// SPDX-License-Identifier: GPL-3.0-or-later
#include "analysis/roofline.h"
#include "analysis/verdict_text.h"
#include "plot/matrix_chart.h"
#include "plot/roofline_chart.h"
#include "theme.h"
#include "ui/support/qt_messages.h"
#include "ui/views/sample_profile.h"
#include "ui/views/sample_store.h"
#include "views/judge_lookup.h"
#include "views/roofline_view.h"
#include "views/verdict_table.h"
#include "views/verdict_view.h"

#include <QAbstractItemModelTester>
#include <QComboBox>
#include <QLabel>
#include <QTableView>
#include <QTest>
#include <QTextBrowser>

#include <gmock/gmock.h>

// Roofline and verdict: without a run, on scored windows, and on a profile whose measurements come first.
namespace xqs {
namespace {

using testing::HasSubstr;

template <class V> class JudgedView : public testing::Test {
protected:
  void open(bool withStore = true) {
    ASSERT_TRUE(!withStore || m_data.open(m_store.path()));
    m_view = std::make_unique<V>(ViewContext{&m_data, &m_selection}, nullptr);
    m_view->resize(1100, 640);
    m_view->show();
    ASSERT_TRUE(QTest::qWaitForWindowExposed(m_view.get()));
  }
  QComboBox &box(const char *name) { return *m_view->template findChild<QComboBox *>(QLatin1String(name)); }
  void choose(const char *name, const QString &start) {
    QComboBox &choice = box(name);
    for (int i = 0; i < choice.count(); ++i)
      if (choice.itemText(i).startsWith(start)) {
        choice.setCurrentIndex(i);
        return m_view->refresh();
      }
    FAIL() << name << " has no " << start.toStdString();
  }
  test::SampleStore m_store;
  RunData m_data;
  Selection m_selection;
  std::unique_ptr<V> m_view;
  const test::ExpectMessage m_tooltip{QStringLiteral("raise()")}; // the offscreen platform, of every tooltip
};

// Verdict -----------------------------------------------------------------------------------------------------------------

class VerdictOf : public JudgedView<VerdictView> {
protected:
  VerdictTable &table() { return *m_view->findChild<VerdictTable *>(); }
  MatrixChart &map() { return *m_view->findChild<MatrixChart *>(); }
  std::string sentences() { return m_view->findChild<QTextBrowser *>()->toPlainText().toStdString(); }
  int rowOf(const std::string &policy) {
    for (int i = 0; i < table().rowCount(); ++i)
      if (table().row(i).policy == policy) return i;
    return -1;
  }
  std::string cell(const std::string &policy, VerdictTable::Column column) {
    return table().index(rowOf(policy), column).data().toString().toStdString();
  }
  int itemOf(std::int64_t context, std::int64_t batch) {
    const std::vector<std::int64_t> contexts = mapContexts(), batches = mapBatches();
    const auto column = std::ranges::find(contexts, context) - contexts.begin();
    const auto row = std::ranges::find(batches, batch) - batches.begin();
    return static_cast<int>((std::ssize(batches) - 1 - row) * std::ssize(contexts) + column);
  }
};

TEST_F(VerdictOf, PredictsWithoutAnyRun) {
  open(false);
  QAbstractItemModelTester tester(&table());
  EXPECT_EQ(box("machine").currentText(), QStringLiteral("H100 SXM"));
  EXPECT_EQ(table().rowCount(), static_cast<int>(usualPolicies().size()));
  EXPECT_THAT(cell("fp16", VerdictTable::Step), HasSubstr("predicted"));
  EXPECT_THAT(cell("xquant:bits=2", VerdictTable::Quality), HasSubstr("published"));
  EXPECT_THAT(sentences(), HasSubstr("Rebuilding costs more time than it saves here"));
  EXPECT_THAT(sentences(), HasSubstr("counted"));
  EXPECT_EQ(map().itemCount(), 63);
}

TEST_F(VerdictOf, SaysTheSameAsTheJudge) {
  open(false);
  choose("machine", QStringLiteral("A100"));
  choose("model", QStringLiteral("llama-2-7b"));
  choose("context", QStringLiteral("8k"));
  choose("batch", QStringLiteral("batch 4"));
  const Judge judge = JudgeLookup({&m_data, &m_selection}).judge();
  const Verdict verdict = judge.at(8192, 4);
  ASSERT_EQ(table().rowCount(), static_cast<int>(verdict.rows.size()));
  for (int i = 0; i < table().rowCount(); ++i) {
    const VerdictRow &row = verdict.rows[static_cast<std::size_t>(i)];
    EXPECT_EQ(table().row(i).time.seconds, row.time.seconds);
    EXPECT_THAT(cell(row.policy, VerdictTable::Cache), HasSubstr(bytesText(row.cacheBytes)));
  }
  for (const std::string &sentence : verdict.sentences) EXPECT_THAT(sentences(), HasSubstr(sentence));
  EXPECT_EQ(m_selection.point(), (ProfilePoint{8192, 4})) << "every view follows";
}

TEST_F(VerdictOf, MeasuredStepsOfAProfileComeFirst) {
  test::addProfile(m_store.store(), {.layers = 32});
  open();
  EXPECT_EQ(box("machine").currentText(), QStringLiteral("Measured: NVIDIA H200"));
  EXPECT_EQ(box("context").currentText(), QStringLiteral("2k tokens")) << "its first point";
  const StepRow *step = nullptr;
  for (const StepRow &row : m_data.runs().front()->steps)
    if (row.policy == 0 && row.context == 2048 && row.batch == 1) step = &row;
  ASSERT_NE(step, nullptr);
  EXPECT_EQ(cell("fp16", VerdictTable::Step), secondsText(step->seconds) + " measured");
  EXPECT_THAT(cell("fp16", VerdictTable::Moved), HasSubstr("measured"));
  EXPECT_THAT(cell("xquant:bits=2,source=x", VerdictTable::Time), HasSubstr("measured"));
  choose("context", QStringLiteral("4k")); // was not measured
  EXPECT_THAT(cell("fp16", VerdictTable::Step), HasSubstr("predicted"));
  choose("machine", QStringLiteral("H200")); // a data sheet's machine was not measured at all
  choose("context", QStringLiteral("2k"));
  EXPECT_THAT(cell("fp16", VerdictTable::Step), HasSubstr("predicted"));
}

TEST_F(VerdictOf, ScoredWindowsAreTheQuality) {
  m_store.addRun();
  open();
  EXPECT_EQ(box("model").currentText(), QStringLiteral("SmolLM2-135M-Instruct"));
  EXPECT_THAT(cell("xquant:bits=2", VerdictTable::Quality), testing::AllOf(HasSubstr("KL 0."), HasSubstr("measured")));
  m_selection.setPolicy(QStringLiteral("low-rank:rank=160")); // of the run: compared too
  ASSERT_TRUE(QTest::qWaitFor([&] { return rowOf("low-rank:rank=160") >= 0; }, 5000));
  choose("model", QStringLiteral("llama-3.1-8b"));
  EXPECT_THAT(cell("xquant:bits=2", VerdictTable::Quality), HasSubstr("published"));
}

TEST_F(VerdictOf, AMapsCellChoosesThePointAndSaysEverything) {
  open(false);
  choose("machine", QStringLiteral("H100 SXM"));
  choose("model", QStringLiteral("llama-2-7b"));
  const int item = itemOf(131072, 1); // FP16 KV does not fit beside the weights
  const std::string text = map().itemText(item).toStdString();
  EXPECT_THAT(text, HasSubstr("131072 tokens, batch 1"));
  EXPECT_THAT(text, HasSubstr("in the host's memory"));
  EXPECT_THAT(text, HasSubstr("predicted"));
  QTest::mouseClick(&map(), Qt::LeftButton, {}, map().itemPixel(item).toPoint());
  EXPECT_EQ(m_selection.point(), (ProfilePoint{131072, 1}));
  ASSERT_TRUE(QTest::qWaitFor([&] { return box("context").currentText() == QStringLiteral("128k tokens"); }, 5000));
  EXPECT_THAT(sentences(), HasSubstr("FP16 KV does not fit into H100 SXM"));
}

TEST_F(VerdictOf, AClickedRowIsTheSelectedPolicy) {
  open(false);
  auto *view = m_view->findChild<QTableView *>();
  Q_EMIT view->clicked(table().index(rowOf("xquant:bits=4"), 0));
  EXPECT_EQ(m_selection.policy(), QStringLiteral("xquant:bits=4"));
}

// Roofline ----------------------------------------------------------------------------------------------------------------

class RooflineOf : public JudgedView<RooflineView> {
protected:
  /// As the verdict's boxes do.
  void judge(const char *machine, const char *model) {
    m_selection.setMachine(QLatin1String(machine)), m_selection.setModel(QLatin1String(model));
    m_view->refresh();
  }
  /// Items of a policy whose text says `what`.
  std::vector<int> items(const std::string &policy, const QString &what) {
    std::vector<int> found;
    for (int i = 0; i < m_view->chart().itemCount(); ++i)
      if (m_view->chart().point(i).policy.toStdString() == policy && m_view->chart().itemText(i).contains(what))
        found.push_back(i);
    return found;
  }
};

TEST_F(RooflineOf, PredictedPointsLieWhereTheModelSays) {
  open(false);
  judge("h100-sxm", "llama-3.1-8b");
  const Judge judge(hardwarePreset("h100-sxm"), JudgeLookup({&m_data, &m_selection}).model(), usualPolicies());
  for (const auto &[scope, title] :
       {std::pair(RooflineScope::Attention, "Caches"), std::pair(RooflineScope::Step, "Whole")}) {
    choose("scope", QLatin1String(title));
    for (const RooflinePoint &p : predictedPoints(judge, scope, 32768, 1)) {
      const std::vector<int> found = items(p.policy, QStringLiteral("predicted"));
      ASSERT_EQ(found.size(), 1u) << p.policy;
      EXPECT_DOUBLE_EQ(m_view->chart().point(found[0]).x, p.intensity());
      EXPECT_DOUBLE_EQ(m_view->chart().point(found[0]).y, p.rate());
      EXPECT_EQ(m_view->chart().beyond(found[0]), 0);
    }
  }
}

TEST_F(RooflineOf, MeasuredPointsAreDrawnOverPredictedOnes) {
  test::addProfile(m_store.store(), {.layers = 32});
  open();
  EXPECT_EQ(items("fp16", QStringLiteral("predicted")).size(), 1u);
  EXPECT_EQ(items("fp16", QStringLiteral("measured<br>")).size(), 4u) << "two contexts, two batches";
  choose("scope", QStringLiteral("Whole"));
  ASSERT_EQ(items("fp16", QStringLiteral("measured<br>2048 tokens, batch 4")).size(), 1u);
  const StepRow *step = nullptr;
  for (const StepRow &row : m_data.runs().front()->steps)
    if (row.policy == 0 && row.context == 2048 && row.batch == 4) step = &row;
  const ChartPoint &point = m_view->chart().point(items("fp16", QStringLiteral("measured<br>2048 tokens, batch 4")).front());
  EXPECT_DOUBLE_EQ(point.x, step->countedFlops / (step->measuredRead + step->measuredWrite));
  EXPECT_DOUBLE_EQ(point.y, step->countedFlops / step->seconds);
  judge("h200", ""); // another roof: the profile's points are not its
  EXPECT_TRUE(items("fp16", QStringLiteral("measured<br>")).empty());
}

TEST_F(RooflineOf, TheNoteHasBothLongestContexts) {
  open(false);
  judge("h100-pcie", "llama-3.1-8b");
  const QString note = m_view->findChild<QLabel *>(QStringLiteral("note"))->text();
  EXPECT_TRUE(note.contains(QLatin1String("40.6k"))) << note.toStdString();
  EXPECT_TRUE(note.contains(QLatin1String("41.6k"))) << note.toStdString();
  judge("h100-pcie", "llama-2-7b");
  const QString mha = m_view->findChild<QLabel *>(QStringLiteral("note"))->text();
  EXPECT_TRUE(mha.contains(QLatin1String("2.3k"))) << mha.toStdString();
  EXPECT_FALSE(mha.contains(QLatin1String("both latents"))) << "an MHA model has one formula";
}

TEST_F(RooflineOf, SaysWhoseRoofsTheyAre) {
  open(false);
  judge("a100", "llama-2-7b");
  m_selection.setPoint({8192, 4});
  m_view->refresh();
  const std::string about = m_view->findChild<QLabel *>(QStringLiteral("about"))->text().toStdString();
  EXPECT_THAT(about, testing::AllOf(HasSubstr("A100"), HasSubstr("llama-2-7b"), HasSubstr("8192 tokens · batch 4")));
}

TEST_F(RooflineOf, APointSelectsItsPolicyAndARoofSaysItsRates) {
  open(false);
  const int item = items("kivi-star:bits=2", QStringLiteral("predicted")).front();
  const_cast<RooflineChart &>(m_view->chart()).setCursorItem(item);
  QTest::keyClick(const_cast<RooflineChart *>(&m_view->chart()), Qt::Key_Return);
  EXPECT_EQ(m_selection.policy(), QStringLiteral("kivi-star:bits=2"));
  bool said = false;
  for (int i = 0; i < m_view->chart().itemCount(); ++i)
    said = said || m_view->chart().itemText(i).contains(QLatin1String("memory 3.35 TB/s, 989 TFLOP/s"));
  EXPECT_TRUE(said);
}

} // namespace
} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
// The plan editor, the sensitivity map and the study builder in the window, against the real engine process.
#include "plot/matrix_chart.h"
#include "ui/support/qt_messages.h"
#include "ui/support/window_with_engine.h"
#include "widgets/plan_editor.h"
#include "widgets/policy_editor.h"
#include "widgets/study_builder.h"
#include "widgets/study_form.h"

#include <QComboBox>
#include <QFile>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSignalSpy>
#include <QTabWidget>
#include <QTableView>
#include <QTemporaryDir>

#include <set>

namespace xqs {
namespace {

using ::testing::HasSubstr;
using Engine = EngineClient::State;
using test::kPatienceMs;

class ToolsTest : public test::WindowWithEngine {
protected:
  const test::ExpectMessage m_raised{QStringLiteral("raise()")}; // the offscreen platform, of every window that is
  void SetUp() override {
    WindowWithEngine::SetUp();
    ASSERT_TRUE(reaches(Engine::Ready)) << window->messages().text().toStdString();
  }
  template <class T> static T *part(QWidget &of, const char *name) { return of.findChild<T *>(QLatin1String(name)); }
  static void click(QWidget &of, const char *name) {
    auto *button = part<QPushButton>(of, name);
    ASSERT_NE(button, nullptr) << name;
    ASSERT_TRUE(button->isEnabled()) << name;
    QTest::mouseClick(button, Qt::LeftButton);
  }
  PlanEditor &plan(const char *text) {
    PlanEditor &editor = window->planEditor();
    editor.show();
    editor.setPlan(QLatin1String(text));
    return editor;
  }
  static void selectLayers(PlanEditor &editor, int first, int last) {
    auto *table = part<QTableView>(editor, "planTable");
    table->clearSelection();
    table->setSelectionMode(QAbstractItemView::MultiSelection);
    for (int row = first; row <= last; ++row) table->selectRow(row);
  }
  /// A study on the open model: 2 windows of fp16 and of xquant at 4 and 2 bits.
  static QString smallStudy(int windows = 2, const char *policies = R"(["fp16"])") {
    return QStringLiteral(R"({"name": "small", "base": {"model": "%1", "window": 64, "windows": %2, "captures": false},
      "policies": %3, "grid": {"policy": ["xquant"], "bits": [4, 2]}})")
        .arg(QStringLiteral("synthetic:layers=4,d=64,heads=4,kv_heads=2"))
        .arg(windows)
        .arg(QLatin1String(policies));
  }
  static QString forecast(StudyBuilder &builder) { return part<QLabel>(builder, "forecast")->text(); }
  static bool says(StudyBuilder &builder, const char *words) {
    return QTest::qWaitFor([&] { return forecast(builder).contains(QLatin1String(words)); }, kPatienceMs);
  }
  /// Windows under a policy that the session's file has, each once.
  std::set<std::tuple<RowId, std::int64_t, std::int64_t>> points() {
    window->workspace().data().poll();
    std::set<std::tuple<RowId, std::int64_t, std::int64_t>> all;
    for (const RunData::Run *run : window->workspace().data().runs())
      for (const WindowRow &row : run->windows)
        if (run->row.study == "small" && row.policy >= 0 && !all.insert({row.run, row.policy, row.window}).second)
          ADD_FAILURE() << "window " << row.window << " of policy " << row.policy << " was computed twice";
    return all;
  }
};

TEST_F(ToolsTest, APlanIsMadeInTheTableSizedPreviewedAndAdded) {
  PlanEditor &editor = plan("plan:*=fp16");
  EXPECT_EQ(part<QTableView>(editor, "planTable")->model()->rowCount(), 4);
  QSignalSpy previewed(&engine(), &EngineClient::previewReady);
  editor.setting().setPolicy(QStringLiteral("xquant:bits=2"));
  EXPECT_FALSE(part<QPushButton>(editor, "setBoth")->isEnabled()) << "no layer is selected";
  selectLayers(editor, 1, 2);
  click(editor, "setBoth");
  EXPECT_EQ(editor.plan(), QStringLiteral("plan:1-2=xquant:bits=2"));
  editor.setting().setPolicy(QStringLiteral("kivi-star:bits=4"));
  selectLayers(editor, 0, 0);
  click(editor, "setV");
  const QString expected = QStringLiteral("plan:0.v=kivi-star:bits=4;1-2=xquant:bits=2");
  EXPECT_EQ(editor.plan(), expected);
  EXPECT_EQ(part<QPlainTextEdit>(editor, "planText")->toPlainText(), expected);

  window->settings().policy().setPolicy(expected); // the ledger of the same policy
  const QString bytes = part<QLabel>(window->settings(), "format")->text();
  EXPECT_TRUE(bytes.endsWith(QLatin1String(" B"))) << bytes.toStdString();
  EXPECT_THAT(part<QLabel>(editor, "planSizes")->text().toStdString(), HasSubstr(bytes.toStdString()));
  ASSERT_TRUE(QTest::qWaitFor([&] { return window->workspace().selection().policy() == expected; }, kPatienceMs))
      << "previewed as any policy: " << window->messages().text().toStdString();

  click(editor, "addPlan");
  EXPECT_TRUE(window->settings().experiment().policies().contains(expected));
  click(editor, "undo");
  EXPECT_EQ(editor.plan(), QStringLiteral("plan:1-2=xquant:bits=2"));
}

TEST_F(ToolsTest, WhatIsWrongWithAPlanIsSaidAndNothingIsLost) {
  PlanEditor &editor = plan("plan:0-1=xquant:bits=4");
  const QString before = editor.plan();
  auto *text = part<QPlainTextEdit>(editor, "planText");
  text->setPlainText(QStringLiteral("plan:0-1=xquant:bits=4;1=fp16"));
  EXPECT_THAT(editor.problem().toStdString(), HasSubstr("overlap"));
  EXPECT_EQ(editor.plan(), before);
  EXPECT_EQ(text->toPlainText(), QStringLiteral("plan:0-1=xquant:bits=4;1=fp16")) << "what is typed stays";

  QTemporaryDir folder;
  const QString file = folder.filePath(QStringLiteral("plan.json"));
  ASSERT_TRUE(editor.saveTo(file)) << editor.problem().toStdString();
  editor.setPlan(QStringLiteral("plan:*=fp16"));
  ASSERT_TRUE(editor.loadFrom(file)) << editor.problem().toStdString();
  EXPECT_EQ(editor.plan(), before);
  EXPECT_FALSE(editor.saveTo(folder.filePath(QStringLiteral("no/such.json"))));
  EXPECT_THAT(editor.problem().toStdString(), HasSubstr("such.json"));

  QFile damaged(file);
  ASSERT_TRUE(damaged.open(QIODevice::WriteOnly));
  damaged.write("{\"layers\": {\"0-1\": \"xquant:bits=");
  damaged.close();
  EXPECT_FALSE(editor.loadFrom(file));
  EXPECT_THAT(editor.problem().toStdString(), HasSubstr("JSON"));
  EXPECT_FALSE(editor.loadFrom(folder.filePath(QStringLiteral("none.json"))));
  EXPECT_THAT(editor.problem().toStdString(), HasSubstr("none.json"));
  EXPECT_EQ(editor.plan(), before);

  editor.setPlan(QStringLiteral("plan:0-9=xquant:bits=4")); // more layers than the model has
  EXPECT_THAT(editor.problem().toStdString(), HasSubstr("beyond"));
  EXPECT_FALSE(part<QPushButton>(editor, "addPlan")->isEnabled());
  EXPECT_EQ(editor.plan(), QStringLiteral("plan:0-9=xquant:bits=4"));
}

TEST_F(ToolsTest, AStudyIsEstimatedRunAndNotComputedTwice) {
  StudyBuilder &builder = window->studyBuilder();
  builder.show();
  builder.form().setSource(smallStudy());
  ASSERT_TRUE(says(builder, "6 points")) << forecast(builder).toStdString() << builder.problem().toStdString();
  EXPECT_THAT(forecast(builder).toStdString(), HasSubstr("6 missing"));
  QSignalSpy ended(&engine(), &EngineClient::runEnded);
  click(builder, "startStudy");
  EXPECT_FALSE(part<QPushButton>(builder, "startStudy")->isEnabled());
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_EQ(ended[0][1].toString(), QStringLiteral("finished")) << ended[0][2].toString().toStdString();
  ASSERT_TRUE(says(builder, "All 6 points")) << forecast(builder).toStdString();
  EXPECT_EQ(points().size(), 6u);
  ASSERT_EQ(window->workspace().selection().runs().size(), 1u) << "its run is shown";
  click(builder, "startStudy");
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 2; }, kPatienceMs));
  EXPECT_EQ(points().size(), 6u);

  auto *bits = part<QLineEdit>(builder.form(), "study-bits"); // one value more in the form
  EXPECT_EQ(bits->text(), QStringLiteral("4, 2"));
  bits->setFocus();
  QTest::keyClicks(bits, QStringLiteral(", 3"));
  ASSERT_TRUE(says(builder, "8 points")) << forecast(builder).toStdString();
  EXPECT_THAT(forecast(builder).toStdString(), HasSubstr("2 missing"));
}

TEST_F(ToolsTest, ACancelledStudyGoesOnWhereItStopped) {
  StudyBuilder &builder = window->studyBuilder();
  builder.show();
  builder.form().setSource(smallStudy(200));
  ASSERT_TRUE(says(builder, "600 points")) << forecast(builder).toStdString();
  QSignalSpy ended(&engine(), &EngineClient::runEnded), progress(&engine(), &EngineClient::progress);
  click(builder, "startStudy");
  ASSERT_TRUE(QTest::qWaitFor([&] { return progress.count() > 2; }, kPatienceMs));
  click(builder, "cancelStudy");
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  ASSERT_EQ(ended[0][1].toString(), QStringLiteral("cancelled"));
  const std::size_t kept = points().size();
  EXPECT_GT(kept, 0u);
  EXPECT_LT(kept, 600u);
  ASSERT_TRUE(QTest::qWaitFor([&] { return part<QPushButton>(builder, "startStudy")->isEnabled(); }, kPatienceMs));
  click(builder, "startStudy");
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 2; }, kPatienceMs));
  EXPECT_EQ(ended[1][1].toString(), QStringLiteral("finished"));
  EXPECT_EQ(points().size(), 600u);
}

TEST_F(ToolsTest, WhatIsWrongWithAStudyIsSaid) {
  StudyBuilder &builder = window->studyBuilder();
  builder.show();
  const QString good = smallStudy();
  builder.form().setSource(good);
  ASSERT_TRUE(says(builder, "6 points"));
  auto *text = part<QPlainTextEdit>(builder.form(), "studyText");
  const auto typed = [&](const QString &source, const char *complaint) {
    text->setPlainText(source);
    return QTest::qWaitFor([&] { return builder.problem().contains(QLatin1String(complaint)); }, kPatienceMs);
  };
  ASSERT_TRUE(typed(good.left(40), "JSON"));
  EXPECT_FALSE(part<QPushButton>(builder, "startStudy")->isEnabled());
  EXPECT_EQ(text->toPlainText(), good.left(40));
  ASSERT_TRUE(typed(smallStudy(2, R"(["nonsense:bits=4"])"), "nonsense"));
  QTemporaryDir folder;
  EXPECT_FALSE(builder.loadFrom(folder.filePath(QStringLiteral("none.json"))));
  EXPECT_THAT(builder.problem().toStdString(), HasSubstr("nonsense")) << "the text is still there, and still wrong";
  builder.form().setSource(good);
  EXPECT_FALSE(builder.loadFrom(folder.filePath(QStringLiteral("none.json"))));
  EXPECT_THAT(builder.problem().toStdString(), HasSubstr("none.json"));
  EXPECT_EQ(builder.form().source(), good);
  QString elsewhere = good;
  builder.form().setSource(elsewhere.replace(QStringLiteral("synthetic:layers=4,d=64,heads=4,kv_heads=2"),
                                             QStringLiteral("/nowhere/model.gguf")));
  ASSERT_TRUE(
      QTest::qWaitFor([&] { return builder.problem().contains(QLatin1String("/nowhere/model.gguf")); }, kPatienceMs));

  // A setting that does not fit the model: the others run, and it is said before and after.
  builder.form().setSource(smallStudy(2, R"(["low-rank:rank=4096"])"));
  ASSERT_TRUE(says(builder, "4 points")) << forecast(builder).toStdString();
  EXPECT_THAT(part<QLabel>(builder, "estimateSource")->text().toStdString(), HasSubstr("1 settings cannot be measured"));
  QSignalSpy ended(&engine(), &EngineClient::runEnded);
  click(builder, "startStudy");
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_THAT(window->messages().text().toStdString(), HasSubstr("rank"));
  EXPECT_EQ(points().size(), 4u);
}

TEST_F(ToolsTest, SensitivitiesAreMeasuredShownAndTakenIntoThePlan) {
  auto *view = window->findChild<QWidget *>(QStringLiteral("sensitivity"));
  ASSERT_NE(view, nullptr);
  QWidget *dock = view->parentWidget();
  dock->show();
  dock->raise();
  ASSERT_TRUE(QTest::qWaitFor([&] { return view->isVisible(); }, kPatienceMs));
  click(*view, "startStudy");
  StudyBuilder &builder = window->studyBuilder();
  EXPECT_EQ(builder.form().studyName(), QStringLiteral("sensitivity"));
  EXPECT_TRUE(builder.form().source().contains(QLatin1String("synthetic:"))) << "on the model that is open";
  auto *length = part<QLineEdit>(builder.form(), "study-window");
  length->selectAll();
  QTest::keyClicks(length, QStringLiteral("64"));
  ASSERT_TRUE(says(builder, "174 points"))
      << forecast(builder).toStdString(); // 20 settings, 3 of them from layer 1 on, 10 policies, 2 windows
  QSignalSpy ended(&engine(), &EngineClient::runEnded);
  click(builder, "startStudy");
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  ASSERT_EQ(ended[0][1].toString(), QStringLiteral("finished")) << ended[0][2].toString().toStdString();
  auto *map = view->findChild<MatrixChart *>();
  ASSERT_TRUE(QTest::qWaitFor([&] { return map->itemCount() == 20 * 4; }, kPatienceMs));
  EXPECT_THAT(map->itemText(2).toStdString(), HasSubstr("kivi-star:bits=2"));

  PlanEditor &editor = plan("plan:*=fp16");
  editor.findChild<QTabWidget *>()->setCurrentIndex(1);
  auto *inEditor = editor.findChild<MatrixChart *>();
  ASSERT_TRUE(QTest::qWaitFor([&] { return inEditor->isVisible() && inEditor->itemCount() == 20 * 4; }, kPatienceMs));
  QTest::mouseClick(inEditor, Qt::LeftButton, {}, inEditor->itemPixel(2).toPoint()); // the first setting in layer 2
  EXPECT_EQ(editor.plan(), QStringLiteral("plan:2.k=kivi-star:bits=2"));
  EXPECT_EQ(window->workspace().selection().layer(), 2);
  QTest::mouseClick(inEditor, Qt::LeftButton, {}, inEditor->itemPixel(15 * 4 + 3).toPoint()); // a delta with its base
  EXPECT_THAT(editor.plan().toStdString(), HasSubstr("2-3=xquant-cl:"));
}

TEST_F(ToolsTest, AConditionedSettingShowsItsX) {
  QSignalSpy previewed(&engine(), &EngineClient::previewReady);
  const QString policy = QStringLiteral("xquant:bits=4,source=x,outlier_channels=2,rotate=hadamard,center=on,sink_tokens=1");
  window->settings().policy().setPolicy(policy);
  ASSERT_TRUE(QTest::qWaitFor([&] { return window->workspace().selection().policy() == policy; }, kPatienceMs))
      << window->messages().text().toStdString();
  window->workspace().data().poll();
  int withX = 0;
  for (const RunData::Run *run : window->workspace().data().runs())
    for (const LayerErrorRow &row : run->layerErrors)
      for (const PolicyRow &one : run->policies)
        withX +=
            one.policy == policy.toStdString() && one.run == row.run && one.index == row.policy && row.x > 0 && row.x < 0.2;
  EXPECT_EQ(withX, 4) << "a small error of X in every layer";
}

} // namespace
} // namespace xqs

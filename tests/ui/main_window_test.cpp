// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window.h"

#include "plot/chart_canvas.h"
#include "plot/curve_chart.h"
#include "support/default_model.h"
#include "theme.h"
#include "ui/support/window_with_engine.h"
#include "ui/views/sample_store.h"
#include "views/generation_column.h"
#include "views/generation_view.h"
#include "views/view.h"
#include "widgets/experiment_editor.h"
#include "widgets/generation_form.h"
#include "widgets/message_bar.h"
#include "widgets/policy_editor.h"
#include "widgets/settings_panel.h"

#include <QAbstractButton>
#include <QAbstractSpinBox>
#include <QAction>
#include <QApplication>
#include <QCheckBox>
#include <QComboBox>
#include <QDockWidget>
#include <QFile>
#include <QFileDialog>
#include <QImage>
#include <QJsonArray>
#include <QJsonDocument>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QSignalSpy>
#include <QSpinBox>
#include <QTemporaryDir>
#include <QTest>
#include <QTimer>
#include <QToolButton>
#include <QTreeWidget>

#include <gmock/gmock.h>

#include <algorithm>

namespace xqs {
namespace {

using test::kPatienceMs;
using test::WindowWithEngine;
using Engine = EngineClient::State;

WindowOptions quiet() {
  WindowOptions options;
  options.startEngine = false;
  options.remember = false;
  return options;
}

QString text(const QJsonObject &object) { return QString::fromUtf8(QJsonDocument(object).toJson()); }

QJsonObject generation(const QStringList &policies) {
  return {{QStringLiteral("prompt"), QStringLiteral("a cache of keys")},
          {QStringLiteral("raw"), true},
          {QStringLiteral("tokens"), 20},
          {QStringLiteral("policies"), QJsonArray::fromStringList(policies)}};
}

class MainWindowTest : public ::testing::TestWithParam<Theme::Mode> {
protected:
  void SetUp() override { Theme::current().apply(GetParam()); }
  void TearDown() override { Theme::current().apply(Theme::Mode::Light); }
};

TEST_P(MainWindowTest, OpensWithEveryViewAndWithoutAWarning) {
  MainWindow window(quiet());
  window.show();
  ASSERT_TRUE(QTest::qWaitForWindowExposed(&window));
  for (const ViewInfo &info : viewRegistry()) {
    View *view = window.view(QLatin1String(info.id));
    ASSERT_NE(view, nullptr) << info.id;
    EXPECT_FALSE(view->accessibleName().isEmpty()) << info.id;
    window.showView(QLatin1String(info.id));
    QTest::qWait(60); // it draws
    EXPECT_TRUE(view->isVisible()) << info.id;
  }
  EXPECT_TRUE(window.findChild<QAction *>(QStringLiteral("start"))->toolTip().size() > 0);
  EXPECT_FALSE(window.findChild<QAction *>(QStringLiteral("start"))->isEnabled());
}

TEST_P(MainWindowTest, EveryControlHasAName) {
  MainWindow window(quiet());
  auto *form = window.findChild<GenerationForm *>();
  ASSERT_NE(form, nullptr);
  for (const QWidget *widget : window.settings().findChildren<QWidget *>() + form->findChildren<QWidget *>()) {
    const bool control = qobject_cast<const QComboBox *>(widget) || qobject_cast<const QAbstractSpinBox *>(widget) ||
                         qobject_cast<const QAbstractButton *>(widget) || qobject_cast<const QLineEdit *>(widget);
    const bool inner = widget->objectName().startsWith(QLatin1String("qt_")) || // parts of Qt's own controls
                       qobject_cast<const QComboBox *>(widget->parentWidget());
    if (!control || inner) continue;
    const auto *button = qobject_cast<const QAbstractButton *>(widget);
    EXPECT_FALSE(widget->accessibleName().isEmpty() && (!button || button->text().isEmpty()))
        << widget->metaObject()->className() << " " << widget->objectName().toStdString();
  }
}

TEST_P(MainWindowTest, SavesAPictureOfEveryView) {
  QTemporaryDir folder;
  MainWindow window(quiet());
  window.show();
  for (const ViewInfo &info : viewRegistry()) {
    const QString file = folder.filePath(QLatin1String(info.id) + QStringLiteral(".png"));
    ASSERT_TRUE(window.savePicture(*window.view(QLatin1String(info.id)), file)) << info.id;
    EXPECT_GT(QImage(file).width(), 0) << info.id;
  }
  EXPECT_FALSE(
      window.savePicture(*window.view(QLatin1String(viewRegistry()[0].id)), folder.filePath(QStringLiteral("no/such.png"))));
}

INSTANTIATE_TEST_SUITE_P(Themes, MainWindowTest, ::testing::Values(Theme::Mode::Light, Theme::Mode::Dark));

TEST(MainWindowMessages, AnUnreadableFileIsASentenceNotADialog) {
  MainWindow window(quiet());
  window.show();
  window.workspace().openFiles({QStringLiteral("/nowhere/run.xqs")});
  EXPECT_TRUE(window.messages().isVisible());
  EXPECT_TRUE(window.messages().text().contains(QLatin1String("/nowhere/run.xqs")));
}

TEST(MainWindowMessages, EveryFileThatCannotBeOpenedIsNamed) {
  MainWindow window(quiet());
  window.workspace().openFiles({QStringLiteral("/nowhere/1.xqs"), QStringLiteral("/nowhere/2.xqs")});
  EXPECT_TRUE(window.messages().text().contains(QLatin1String("/nowhere/1.xqs"))) << window.messages().text().toStdString();
  EXPECT_TRUE(window.messages().text().contains(QLatin1String("/nowhere/2.xqs")));
}

/// What a newcomer sees first is nobody's figures, and says so.
TEST(MainWindowDemo, RecordedRunsAreCalledSo) {
  MainWindow window(quiet());
  window.show();
  const std::vector<const RunData::Run *> runs = window.workspace().data().runs();
  ASSERT_FALSE(runs.empty());
  EXPECT_TRUE(window.windowTitle().contains(QLatin1String("Recorded")));
  const auto &legend = window.view(QStringLiteral("curve"))->findChild<CurveChart *>()->legend();
  EXPECT_TRUE(QTest::qWaitFor([&] { return !legend.empty() && legend.size() > 1; }, kPatienceMs));
  EXPECT_TRUE(std::ranges::any_of(legend, [](const LegendEntry &e) { return e.text.contains(QLatin1String("recorded")); }));
}

/// The number of problems leads to as many lines of the log, whichever runs are shown.
TEST(MainWindowDemo, ProblemsAreCountedOfTheRunsThatTheLogSpeaksOf) {
  MainWindow window(quiet());
  window.show();
  auto *button = window.findChild<QToolButton *>(QStringLiteral("problems"));
  View *log = window.view(QStringLiteral("log"));
  std::size_t most = 0;
  for (const RunData::Run *run : window.workspace().data().runs()) {
    window.workspace().selection().setRuns({run->key});
    log->refresh();
    most = std::max(most, run->problems.size());
    EXPECT_EQ(!button->isHidden(), !run->problems.empty()) << run->row.title;
    for (const ProblemRow &problem : run->problems)
      EXPECT_EQ(
          log->findChild<QTreeWidget *>()->findItems(QString::fromStdString(problem.text), Qt::MatchContains, 2).size(), 1);
  }
  EXPECT_EQ(most, 1u) << "one of the recorded runs has a problem";
}

/// As packaging/run.sh opens it.
TEST(MainWindowRun, StartsTheDefaultExperimentByItself) {
  qputenv("XQSCOPE_CLI", XQS_CLI_FILE);
  WindowOptions options;
  options.remember = false, options.startRun = true;
  options.model = QStringLiteral("synthetic:layers=2,d=256,heads=4,kv_heads=4"); // room for its ranks
  MainWindow window(options);
  window.show();
  Workspace &workspace = window.workspace();
  QSignalSpy started(&workspace.engine(), &EngineClient::runStarted), ended(&workspace.engine(), &EngineClient::runEnded);
  ASSERT_TRUE(QTest::qWaitFor([&] { return started.count() == 1; }, kPatienceMs)) << window.messages().text().toStdString();
  const RunData::Run *run = workspace.data().find(workspace.selection().runs().front());
  ASSERT_NE(run, nullptr);
  EXPECT_FALSE(run->recorded);
  EXPECT_EQ(workspace.data().files().value(run->key.file), workspace.liveStore());
  workspace.engine().cancel();
  EXPECT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  qunsetenv("XQSCOPE_CLI");
}

TEST_F(WindowWithEngine, StartsRunsAndFinishes) {
  ASSERT_TRUE(reaches(Engine::Ready)) << window->messages().text().toStdString();
  choose({QStringLiteral("fp16"), QStringLiteral("xquant:bits=4"), QStringLiteral("kivi-star:bits=2")});
  ASSERT_TRUE(action("start")->isEnabled());
  EXPECT_FALSE(action("pause")->isEnabled());
  EXPECT_FALSE(action("cancel")->isEnabled());
  QSignalSpy ended(&engine(), &EngineClient::runEnded);
  action("start")->trigger();
  EXPECT_FALSE(action("start")->isEnabled());
  EXPECT_TRUE(action("cancel")->isEnabled());
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_EQ(ended[0][1].toString(), QStringLiteral("finished")) << ended[0][2].toString().toStdString();

  Workspace &workspace = window->workspace();
  ASSERT_EQ(workspace.selection().runs().size(), 1u) << "the run is shown";
  const RunData::Run *run = workspace.data().find(workspace.selection().runs()[0]);
  ASSERT_NE(run, nullptr);
  ASSERT_TRUE(QTest::qWaitFor([&] { return !run->ends.empty(); }, kPatienceMs));
  EXPECT_EQ(run->policies.size(), 3u);
  EXPECT_EQ(run->windows.size(), 2u * (3 + 1)) << "the exact model and three policies, two windows each";
  EXPECT_TRUE(window->windowTitle().contains(QLatin1String("live")));
}

TEST_F(WindowWithEngine, PreviewsASettingAndCancelsARun) {
  ASSERT_TRUE(reaches(Engine::Ready)) << window->messages().text().toStdString();
  QSignalSpy previewed(&engine(), &EngineClient::previewReady);
  window->settings().policy().setPolicy(QStringLiteral("xquant:bits=2"));
  ASSERT_TRUE(QTest::qWaitFor([&] { return previewed.count() == 1; }, kPatienceMs))
      << window->messages().text().toStdString();
  EXPECT_EQ(window->workspace().selection().policy(), QStringLiteral("xquant:bits=2"));

  choose({QStringLiteral("fp16")});
  window->settings().experiment().findChild<QSpinBox *>(QStringLiteral("windows"))->setValue(0);
  QSignalSpy started(&engine(), &EngineClient::runStarted), ended(&engine(), &EngineClient::runEnded);
  QSignalSpy restarted(&engine(), &EngineClient::restarted);
  action("start")->trigger();
  ASSERT_TRUE(QTest::qWaitFor([&] { return started.count() == 1; }, kPatienceMs));
  action("cancel")->trigger();
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_EQ(restarted.count(), 0);
  EXPECT_TRUE(reaches(Engine::Ready));
}

TEST_F(WindowWithEngine, GeneratesSideBySideAndStops) {
  ASSERT_TRUE(reaches(Engine::Ready)) << window->messages().text().toStdString();
  window->showView(QStringLiteral("generation"));
  auto *form = window->findChild<GenerationForm *>();
  auto *generate = form->findChild<QPushButton *>(QStringLiteral("generate"));
  auto *stop = form->findChild<QPushButton *>(QStringLiteral("stopGenerating"));
  auto *view = qobject_cast<GenerationView *>(window->view(QStringLiteral("generation")));
  QJsonObject request = generation({QStringLiteral("fp16"), QStringLiteral("xquant:bits=2,group=16")});
  request[QStringLiteral("sampling_us")] = 500;
  ASSERT_TRUE(form->setSpec(text(request)));
  const QJsonObject kept = QJsonDocument::fromJson(form->spec().toUtf8()).object();
  for (const QString &key : request.keys()) EXPECT_EQ(kept[key], request[key]) << key.toStdString();
  ASSERT_TRUE(generate->isEnabled()) << form->problem().toStdString();
  EXPECT_FALSE(stop->isEnabled());
  QSignalSpy ended(&engine(), &EngineClient::runEnded);
  auto *sampled = form->findChild<QCheckBox *>(QStringLiteral("sampleTraffic"));
  EXPECT_TRUE(sampled->isChecked());
  const auto *throughput = window->findChild<QDockWidget *>(QStringLiteral("dock-throughput"));
  EXPECT_TRUE(throughput->isHidden());
  generate->click();
  EXPECT_FALSE(throughput->isHidden()) << "what was asked for is to be seen";
  EXPECT_FALSE(generate->isEnabled());
  EXPECT_TRUE(stop->isEnabled());
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_EQ(ended[0][1].toString(), QStringLiteral("finished")) << ended[0][2].toString().toStdString();
  ASSERT_TRUE(QTest::qWaitFor(
      [&] { return view->columns().size() == 3 && view->columns()[2]->verdict().contains(QLatin1String("token")); },
      kPatienceMs));
  EXPECT_FALSE(view->columns()[0]->text().isEmpty());
  EXPECT_TRUE(generate->isEnabled());

  const auto *note = throughput->findChild<QLabel *>(QStringLiteral("note"));
  EXPECT_TRUE(QTest::qWaitFor([&] { return note->isVisible() && !note->text().isEmpty(); }, kPatienceMs))
      << "measured, or why not";
  sampled->setChecked(false);
  EXPECT_EQ(QJsonDocument::fromJson(form->spec().toUtf8()).object()[QStringLiteral("sampling_us")], 0);

  request[QStringLiteral("tokens")] = 1 << 20;
  form->setSpec(text(request));
  QSignalSpy progress(&engine(), &EngineClient::progress);
  generate->click();
  ASSERT_TRUE(QTest::qWaitFor([&] { return progress.count() > 10; }, kPatienceMs));
  stop->click();
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 2; }, kPatienceMs));
  EXPECT_EQ(ended[1][1].toString(), QStringLiteral("cancelled"));
  ASSERT_TRUE(reaches(Engine::Ready));
  EXPECT_FALSE(stop->isEnabled());
}

TEST_F(WindowWithEngine, SaysWhyNothingCanBeGenerated) {
  auto *form = window->findChild<GenerationForm *>();
  auto *generate = form->findChild<QPushButton *>(QStringLiteral("generate"));
  EXPECT_FALSE(generate->isEnabled());
  EXPECT_TRUE(form->problem().contains(QLatin1String("model"))) << form->problem().toStdString();
  ASSERT_TRUE(reaches(Engine::Ready));
  QJsonObject request = generation({});
  form->setSpec(text(request));
  EXPECT_FALSE(generate->isEnabled());
  EXPECT_TRUE(form->problem().contains(QLatin1String("policy")));
  form->findChild<QComboBox *>(QStringLiteral("policy1"))->setEditText(QStringLiteral("xquant:bits=7"));
  EXPECT_TRUE(form->problem().contains(QLatin1String("bits"))) << form->problem().toStdString();
  request = generation({QStringLiteral("fp16")});
  request[QStringLiteral("prompt")] = QStringLiteral("  ");
  form->setSpec(text(request));
  EXPECT_FALSE(generate->isEnabled());
  EXPECT_TRUE(form->problem().contains(QLatin1String("empty")));
  EXPECT_FALSE(form->setSpec(QStringLiteral("no json")));

  request[QStringLiteral("prompt")] = QString(static_cast<int>(engine().model()->context) + 1, u'x');
  for (const bool raw : {true, false}) { // too long; and a model without a chat template
    request[QStringLiteral("raw")] = raw;
    form->setSpec(text(request));
    ASSERT_TRUE(generate->isEnabled()) << form->problem().toStdString();
    QSignalSpy failed(&engine(), &EngineClient::failed);
    generate->click();
    ASSERT_TRUE(QTest::qWaitFor([&] { return failed.count() == 1; }, kPatienceMs));
    EXPECT_TRUE(window->messages().text().contains(raw ? QLatin1String("shorten it") : QLatin1String("plain text")))
        << window->messages().text().toStdString();
    EXPECT_TRUE(generate->isEnabled()) << "it can be corrected";
  }
}

TEST(MainWindowGeneration, ARecordedOneIsShownWhenItsFileIsOpened) {
  test::SampleStore store;
  store.addGeneration(6, 4);
  store.store().close();
  WindowOptions options = quiet();
  options.files = {store.path()};
  MainWindow window(options);
  window.show();
  auto *view = qobject_cast<GenerationView *>(window.view(QStringLiteral("generation")));
  ASSERT_TRUE(QTest::qWaitFor([&] { return view->isVisible() && view->columns().size() == 3; }, kPatienceMs));
  EXPECT_TRUE(view->columns()[2]->text().contains(QLatin1String("other4")));
  EXPECT_FALSE(window.findChild<GenerationForm *>()->problem().isEmpty()) << "no engine: nothing can be made";
  // Each tab has its own docks around it.
  auto *log = window.findChild<QDockWidget *>(QStringLiteral("dock-log"));
  EXPECT_TRUE(log->isHidden());
  window.showView(QStringLiteral("curve"));
  EXPECT_FALSE(log->isHidden());
  window.showView(QStringLiteral("generation"));
  EXPECT_TRUE(log->isHidden());
}

TEST_F(WindowWithEngine, AnUnusableModelIsASentence) {
  ASSERT_TRUE(reaches(Engine::Ready));
  window->settings().experiment().setModel(QStringLiteral("/nowhere/model.gguf"));
  ASSERT_TRUE(reaches(Engine::Waiting));
  EXPECT_TRUE(window->messages().text().contains(QLatin1String("/nowhere/model.gguf")));
  EXPECT_FALSE(action("start")->isEnabled());
}

/// Answers the next file dialog with a file, as a person types it.
void answerFileDialog(const QString &file) {
  QTimer::singleShot(0, [file] {
    auto *dialog = qobject_cast<QFileDialog *>(QApplication::activeModalWidget());
    if (dialog == nullptr) return answerFileDialog(file); // not shown yet
    dialog->findChild<QLineEdit *>(QStringLiteral("fileNameEdit"))->setText(file);
    QTest::keyClick(dialog, Qt::Key_Return);
  });
}

/// A window that only showed recorded runs, on a machine of somebody who now wants to measure.
TEST(MainWindowModel, OpeningOneStartsAnEngineThatHasIt) {
  XQS_NEED_MODEL(file);
  qputenv("XQSCOPE_CLI", XQS_CLI_FILE);
  MainWindow window(quiet());
  window.show();
  EngineClient &engine = window.workspace().engine();
  ASSERT_EQ(engine.state(), Engine::Stopped);
  answerFileDialog(QString::fromStdString(file));
  window.findChild<QAction *>(QStringLiteral("openModel"))->trigger();
  ASSERT_TRUE(QTest::qWaitFor([&] { return engine.state() == Engine::Ready; }, kPatienceMs))
      << window.messages().text().toStdString();
  EXPECT_EQ(engine.model()->layers, 30);
  EXPECT_TRUE(window.findChild<QAction *>(QStringLiteral("start"))->isEnabled());
  qunsetenv("XQSCOPE_CLI");
}

} // namespace
} // namespace xqs

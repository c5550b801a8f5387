// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window.h"

#include "plot/chart_canvas.h"
#include "theme.h"
#include "ui/support/window_with_engine.h"
#include "views/view.h"
#include "widgets/experiment_editor.h"
#include "widgets/message_bar.h"
#include "widgets/policy_editor.h"
#include "widgets/settings_panel.h"

#include <QAbstractButton>
#include <QAbstractSpinBox>
#include <QAction>
#include <QComboBox>
#include <QDockWidget>
#include <QFile>
#include <QImage>
#include <QLineEdit>
#include <QSignalSpy>
#include <QSpinBox>
#include <QTemporaryDir>
#include <QTest>

#include <gmock/gmock.h>

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
    if (auto *dock = window.findChild<QDockWidget *>(QStringLiteral("dock-") + QLatin1String(info.id))) dock->raise();
    QTest::qWait(60); // it draws
    EXPECT_TRUE(view->isVisible()) << info.id;
  }
  EXPECT_TRUE(window.findChild<QAction *>(QStringLiteral("start"))->toolTip().size() > 0);
  EXPECT_FALSE(window.findChild<QAction *>(QStringLiteral("start"))->isEnabled());
}

TEST_P(MainWindowTest, EveryControlHasAName) {
  MainWindow window(quiet());
  for (const QWidget *widget : window.settings().findChildren<QWidget *>()) {
    const bool control = qobject_cast<const QComboBox *>(widget) || qobject_cast<const QAbstractSpinBox *>(widget) ||
                         qobject_cast<const QAbstractButton *>(widget) || qobject_cast<const QLineEdit *>(widget);
    const bool inner = widget->objectName().startsWith(QLatin1String("qt_")); // parts of Qt's own controls
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

TEST_F(WindowWithEngine, AnUnusableModelIsASentence) {
  ASSERT_TRUE(reaches(Engine::Ready));
  window->settings().experiment().setModel(QStringLiteral("/nowhere/model.gguf"));
  ASSERT_TRUE(reaches(Engine::Waiting));
  EXPECT_TRUE(window->messages().text().contains(QLatin1String("/nowhere/model.gguf")));
  EXPECT_FALSE(action("start")->isEnabled());
}

} // namespace
} // namespace xqs

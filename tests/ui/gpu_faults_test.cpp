// SPDX-License-Identifier: GPL-3.0-or-later
// Faults of a GPU in the window, with the real engine and the emulated CUDA module: it stays, says so and goes on with the
// CPU.
#include "ui/support/window_with_engine.h"

#include <QMenu>
#include <QPointer>
#include <QSignalSpy>
#include <QToolButton>

#include <csignal>

namespace xqs {
namespace {

using Engine = EngineClient::State;
using test::kPatienceMs;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class GpuFaultsTest : public test::WindowWithEngine {
protected:
  void SetUp() override {} // `open` does it, when the fault is set
  void TearDown() override {
    window.reset();
    for (const char *name : {"XQSCOPE_BACKEND_PATH", "XQS_EMULATOR_MEMORY", "XQS_EMULATOR_FAIL_AFTER", "XQS_EMULATOR_DRIVER",
                             "XQS_EMULATOR_DEVICES", "XQS_EMULATOR_NO_IMAGE"})
      qunsetenv(name);
    WindowWithEngine::TearDown();
  }
  void open(const char *variable = nullptr, const char *value = nullptr) {
    qputenv("XQSCOPE_BACKEND_PATH", XQS_EMULATED_FOLDER);
    if (variable) qputenv(variable, value);
    WindowWithEngine::SetUp();
  }
  bool computesOn(const char *backend) {
    return QTest::qWaitFor(
        [&] { return engine().state() == Engine::Ready && engine().model()->backend == QLatin1String(backend); },
        kPatienceMs);
  }
  std::string message() { return window->messages().isVisible() ? window->messages().text().toStdString() : std::string(); }
  bool saysThatTheCpuGoesOn() {
    return QTest::qWaitFor(
        [&] { return QString::fromStdString(message()).startsWith(QLatin1String("Goes on with the CPU: ")); }, kPatienceMs);
  }
  QToolButton &status() { return *window->findChild<QToolButton *>(QStringLiteral("backend")); }
  bool previewsOnTheGpu() {
    if (!computesOn("cuda")) return false;
    QSignalSpy previewed(&engine(), &EngineClient::previewReady);
    engine().preview(QStringLiteral("fp16"));
    return QTest::qWaitFor([&] { return previewed.count() == 1; }, kPatienceMs) &&
           engine().backend() == QLatin1String("auto");
  }
  void runs() {
    choose({QStringLiteral("fp16"), QStringLiteral("xquant:bits=4")});
    QSignalSpy ended(&engine(), &EngineClient::runEnded);
    ASSERT_TRUE(action("start")->isEnabled());
    action("start")->trigger();
    ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
    EXPECT_EQ(ended[0][1].toString(), QStringLiteral("finished")) << ended[0][2].toString().toStdString();
  }
};

TEST_F(GpuFaultsTest, WhatKeepsTheGpuFromBeingUsedIsSaidWithoutAnError) {
  const struct {
    const char *variable, *value, *reason;
  } kObstacles[] = {{"XQS_EMULATOR_DRIVER", "12040", "driver supports CUDA 12.4, 13.0 needed"},
                    {"XQS_EMULATOR_DEVICES", "0", "no NVIDIA driver or GPU"},
                    {"XQS_EMULATOR_NO_IMAGE", "1", "this build has no code for compute capability 9.0"}};
  for (const auto &obstacle : kObstacles) {
    SCOPED_TRACE(obstacle.variable);
    open(obstacle.variable, obstacle.value);
    ASSERT_TRUE(computesOn("cpu"));
    EXPECT_EQ(message(), "");
    EXPECT_THAT(status().text().toStdString(), StartsWith("CPU"));
    EXPECT_THAT(status().toolTip().toStdString(), HasSubstr(obstacle.reason));
    EXPECT_TRUE(action("backend-auto")->isChecked());
    QAction *cuda = action("backend-cuda");
    ASSERT_NE(cuda, nullptr);
    EXPECT_FALSE(cuda->isEnabled());
    EXPECT_THAT(cuda->text().toStdString(), HasSubstr(obstacle.reason));
    window.reset();
    qunsetenv(obstacle.variable);
  }
}

TEST_F(GpuFaultsTest, TooLittleMemoryForTheModel) {
  open("XQS_EMULATOR_MEMORY", "1000");
  ASSERT_TRUE(saysThatTheCpuGoesOn()) << message();
  EXPECT_THAT(message(), ::testing::ContainsRegex("needs [0-9.]+ KiB of the GPU's memory, [0-9.]+ KiB are free"));
  EXPECT_THAT(message(), Not(HasSubstr("--backend")));
  const qint64 process = engine().processId();
  ASSERT_TRUE(computesOn("cpu"));
  EXPECT_EQ(engine().processId(), process) << "the engine goes on";
  EXPECT_TRUE(action("backend-auto")->isChecked()) << "a smaller model may fit";
  EXPECT_THAT(status().toolTip().toStdString(), HasSubstr("KiB are free"));
  runs();
}

TEST_F(GpuFaultsTest, AGpuThatBreaksDown) {
  open("XQS_EMULATOR_FAIL_AFTER", "1"); // while the model is loaded or its preview is prepared
  ASSERT_TRUE(saysThatTheCpuGoesOn()) << message();
  EXPECT_THAT(message(), HasSubstr("backend cuda"));
  ASSERT_TRUE(computesOn("cpu"));
  runs();
  action("backend-cuda")->trigger(); // another try, in the process that the CPU had: it fails again, and is survived again
  EXPECT_EQ(engine().backend(), QStringLiteral("cuda"));
  ASSERT_TRUE(QTest::qWaitFor([&] { return engine().backend() == QLatin1String("cpu"); }, kPatienceMs));
  ASSERT_TRUE(computesOn("cpu"));
}

TEST_F(GpuFaultsTest, TheBackendIsChosenInTheMenu) {
  open("XQS_EMULATOR_DEVICES", "0");
  ASSERT_TRUE(computesOn("cpu"));
  QSignalSpy ready(&engine(), &EngineClient::modelReady);
  const QPointer<QAction> chosen = action("backend-cpu");
  chosen->trigger();
  EXPECT_TRUE(chosen) << "it is not deleted inside its own signal";
  ASSERT_TRUE(QTest::qWaitFor([&] { return ready.count() == 1; }, kPatienceMs)) << "the model is opened there";
  EXPECT_EQ(engine().backend(), QStringLiteral("cpu"));
  EXPECT_TRUE(action("backend-cpu")->isChecked());
  EXPECT_FALSE(action("backend-auto")->isChecked());
  EXPECT_EQ(status().menu(), window->findChild<QMenu *>(QStringLiteral("backends")));
  EXPECT_THAT(status().toolTip().toStdString(), Not(HasSubstr("not used"))) << "it was chosen";
}

TEST_F(GpuFaultsTest, AnEngineKilledOnTheGpuComesBackThereOnceAndThenOnTheCpu) {
  open();
  ASSERT_TRUE(previewsOnTheGpu()) << message();
  EXPECT_THAT(status().text().toStdString(), StartsWith("CUDA"));
  for (const char *backend : {"cuda", "cpu"}) {
    QSignalSpy restarted(&engine(), &EngineClient::restarted);
    ::kill(static_cast<pid_t>(engine().processId()), SIGKILL);
    ASSERT_TRUE(QTest::qWaitFor([&] { return restarted.count() == 1; }, kPatienceMs));
    EXPECT_THAT(restarted[0][0].toString().toStdString(), HasSubstr("was killed"));
    ASSERT_TRUE(computesOn(backend)) << backend;
  }
  EXPECT_THAT(message(), StartsWith("Goes on with the CPU: "));
  runs();
}

TEST_F(GpuFaultsTest, ARunThatDoesNotFitAndAShorterOneThatDoes) {
  open("XQS_EMULATOR_MEMORY", "6000000"); // the preview, no window of 2048
  ASSERT_TRUE(previewsOnTheGpu()) << message();
  choose({QStringLiteral("fp16")});
  window->settings().experiment().findChild<QSpinBox *>(QStringLiteral("window"))->setValue(2048);
  action("start")->trigger();
  ASSERT_TRUE(QTest::qWaitFor([&] { return !message().empty(); }, kPatienceMs));
  EXPECT_THAT(message(), HasSubstr("are free"));
  EXPECT_TRUE(computesOn("cuda"));
  runs();
  EXPECT_EQ(engine().model()->backend, QStringLiteral("cuda"));
}

} // namespace
} // namespace xqs

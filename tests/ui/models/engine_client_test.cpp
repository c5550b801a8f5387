// SPDX-License-Identifier: GPL-3.0-or-later
#include "model/model_reader.h"
#include "models/engine_client.h"

#include <QElapsedTimer>
#include <QJsonArray>
#include <QSignalSpy>
#include <QStandardPaths>
#include <QTest>

#include <gmock/gmock.h>

namespace xqs {
namespace {

using State = EngineClient::State;
constexpr int kPatienceMs = 10000;

QJsonObject spec(int seed = 0) {
  return {{QStringLiteral("policies"), QJsonArray{QStringLiteral("fp16")}}, {QStringLiteral("seed"), seed}};
}

class EngineClientTest : public ::testing::Test {
protected:
  void SetUp() override {
    if (QStandardPaths::findExecutable(QStringLiteral("python3")).isEmpty())
      GTEST_SKIP() << "no python3 for the fake engine";
  }
  void startFake(const char *mode) {
    client.setProgram(QStringLiteral("python3"),
                      {QStringLiteral(XQS_SOURCE_DIR "/tests/ui/support/fake_engine.py"), QLatin1String(mode)});
    client.start();
  }
  bool reaches(State state) {
    return QTest::qWaitFor([&] { return client.state() == state; }, kPatienceMs);
  }
  bool opens(const char *mode) {
    startFake(mode);
    client.open(QStringLiteral("m.gguf"), QStringLiteral("t.txt"), QStringLiteral("s.xqs"));
    return reaches(State::Ready);
  }

  EngineClient client;
  QSignalSpy started{&client, &EngineClient::runStarted}, ended{&client, &EngineClient::runEnded};
  QSignalSpy failed{&client, &EngineClient::failed}, restarted{&client, &EngineClient::restarted};
};

TEST_F(EngineClientTest, OpensAModelAskedForBeforeTheEngineWasUp) {
  QSignalSpy loading(&client, &EngineClient::loading);
  ASSERT_TRUE(opens("good"));
  ASSERT_TRUE(client.model());
  EXPECT_EQ(client.model()->name, QStringLiteral("m.gguf"));
  EXPECT_EQ(client.model()->shape().dkv(), 32);
  EXPECT_EQ(client.model()->tokens, 5000);
  EXPECT_EQ(client.model()->previewRun, 1);
  ASSERT_EQ(loading.count(), 1);
  EXPECT_DOUBLE_EQ(loading[0][0].toDouble(), 0.5);
}

TEST_F(EngineClientTest, RunsToItsEnd) {
  QSignalSpy progress(&client, &EngineClient::progress);
  ASSERT_TRUE(opens("chatty")) << "lines that are no events are passed over";
  client.run(spec(1));
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_EQ(started[0][0].toLongLong(), 2);
  ASSERT_EQ(progress.count(), 1);
  const auto p = progress[0][0].value<EngineProgress>();
  EXPECT_DOUBLE_EQ(p.done / p.total, 0.1);
  EXPECT_DOUBLE_EQ(p.secondsLeft, 1.8);
  EXPECT_EQ(ended[0][1].toString(), QStringLiteral("finished"));
  EXPECT_EQ(client.state(), State::Ready);
}

TEST_F(EngineClientTest, AGenerationIsToldAsARunIs) {
  ASSERT_TRUE(opens("good"));
  client.generate(spec(1));
  EXPECT_EQ(client.state(), State::Running);
  client.generate(spec(1)); // not while one is in progress
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_EQ(client.state(), State::Ready);
  client.generate({{QStringLiteral("policies"), QJsonArray()}});
  ASSERT_TRUE(QTest::qWaitFor([&] { return failed.count() == 1; }, kPatienceMs));
  EXPECT_EQ(client.state(), State::Ready);
  EXPECT_EQ(started.count(), 1);
}

TEST_F(EngineClientTest, AProfileIsToldAsARunIs) {
  ASSERT_TRUE(opens("good"));
  client.profile(spec(1));
  EXPECT_EQ(client.state(), State::Running);
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_EQ(client.state(), State::Ready);
  EXPECT_EQ(started.count(), 1);
}

TEST_F(EngineClientTest, PausesResumesCancels) {
  ASSERT_TRUE(opens("good"));
  client.pause();
  EXPECT_EQ(client.state(), State::Ready) << "nothing runs";
  client.run(spec());
  ASSERT_TRUE(QTest::qWaitFor([&] { return started.count() == 1; }, kPatienceMs));
  client.pause();
  EXPECT_EQ(client.state(), State::Paused);
  client.resume();
  EXPECT_EQ(client.state(), State::Running);
  client.cancel();
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_EQ(ended[0][1].toString(), QStringLiteral("cancelled"));
  EXPECT_EQ(restarted.count(), 0);
}

TEST_F(EngineClientTest, ReplacesAnEngineThatIsDeafToCancel) {
  ASSERT_TRUE(opens("deaf"));
  client.run(spec());
  ASSERT_TRUE(QTest::qWaitFor([&] { return started.count() == 1; }, kPatienceMs));
  QElapsedTimer clock;
  clock.start();
  client.cancel();
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  EXPECT_GE(clock.elapsed(), 1900);
  EXPECT_EQ(ended[0][0].toLongLong(), 2);
  EXPECT_EQ(ended[0][1].toString(), QStringLiteral("cancelled"));
  ASSERT_EQ(restarted.count(), 1);
  EXPECT_THAT(restarted[0][0].toString().toStdString(), ::testing::HasSubstr("finished windows are kept"));
  ASSERT_TRUE(reaches(State::Ready)) << "the same model is opened again";
  EXPECT_EQ(client.model()->name, QStringLiteral("m.gguf"));
}

TEST_F(EngineClientTest, ReplacesAnEngineThatCrashes) {
  ASSERT_TRUE(opens("crash"));
  client.run(spec());
  ASSERT_TRUE(QTest::qWaitFor([&] { return restarted.count() == 1; }, kPatienceMs));
  ASSERT_EQ(ended.count(), 1);
  EXPECT_EQ(ended[0][1].toString(), QStringLiteral("failed"));
  EXPECT_THAT(restarted[0][0].toString().toStdString(), ::testing::HasSubstr("signal 11"));
  EXPECT_TRUE(reaches(State::Ready));
}

TEST_F(EngineClientTest, DoesNotLoadAgainWhatKilledIt) {
  startFake("crash-loading");
  client.open(QStringLiteral("huge.gguf"), QStringLiteral("t.txt"), QStringLiteral("s.xqs"));
  ASSERT_TRUE(QTest::qWaitFor([&] { return restarted.count() == 1; }, kPatienceMs));
  EXPECT_THAT(restarted[0][0].toString().toStdString(), ::testing::HasSubstr("another model"));
  EXPECT_TRUE(reaches(State::Waiting));
  EXPECT_EQ(restarted.count(), 1);
}

TEST_F(EngineClientTest, GivesUpOnAnEngineThatDoesNotStart) {
  startFake("stillborn");
  ASSERT_TRUE(QTest::qWaitFor([&] { return failed.count() == 1; }, kPatienceMs));
  EXPECT_EQ(client.state(), State::Stopped);
  EXPECT_THAT(failed[0][1].toString().toStdString(), ::testing::HasSubstr("libfoo"));
}

TEST_F(EngineClientTest, SaysThatTheProgramIsMissing) {
  client.setProgram(QStringLiteral("/nowhere/xqscope-cli"));
  client.start();
  ASSERT_TRUE(QTest::qWaitFor([&] { return failed.count() == 1; }, kPatienceMs));
  EXPECT_THAT(failed[0][1].toString().toStdString(), ::testing::HasSubstr("/nowhere/xqscope-cli"));
  EXPECT_EQ(client.state(), State::Stopped);
}

TEST_F(EngineClientTest, SaysWhyNoGpuIsUsed) {
  ASSERT_TRUE(opens("good"));
  EXPECT_EQ(client.backend(), QStringLiteral("auto"));
  EXPECT_EQ(client.model()->backend, QStringLiteral("cpu"));
  EXPECT_EQ(client.backendNote(), QStringLiteral("CUDA is not used: no GPU"));
  ASSERT_EQ(client.backends().size(), 2u);
  EXPECT_EQ(client.backends()[1].reason, QStringLiteral("no GPU"));
  EXPECT_EQ(failed.count() + restarted.count(), 0) << "that is no error";
}

TEST_F(EngineClientTest, GoesOnWithTheCpuWhereTheGpuFails) {
  for (const char *mode : {"gpu-fault", "gpu-hang"}) {
    SCOPED_TRACE(mode);
    EngineClient one;
    QSignalSpy runEnded(&one, &EngineClient::runEnded), replaced(&one, &EngineClient::restarted);
    one.setProgram(QStringLiteral("python3"),
                   {QStringLiteral(XQS_SOURCE_DIR "/tests/ui/support/fake_engine.py"), QLatin1String(mode)});
    one.start();
    one.open(QStringLiteral("m.gguf"), QStringLiteral("t.txt"), QStringLiteral("s.xqs"));
    const auto ready = [&] { return one.state() == State::Ready; };
    ASSERT_TRUE(QTest::qWaitFor(ready, kPatienceMs));
    EXPECT_EQ(one.model()->backend, QStringLiteral("cuda"));
    one.run(spec());
    ASSERT_TRUE(QTest::qWaitFor([&] { return replaced.count() == 1; }, kPatienceMs));
    EXPECT_EQ(runEnded.count(), 1);
    EXPECT_EQ(replaced[0][0].toString(), QStringLiteral("Goes on with the CPU: 10 MiB needed, 1 MiB free."));
    ASSERT_TRUE(QTest::qWaitFor(ready, kPatienceMs)) << "the model is opened again";
    EXPECT_EQ(one.model()->backend, QStringLiteral("cpu"));
    EXPECT_EQ(one.backend(), QStringLiteral("cpu"));
    EXPECT_EQ(one.backendNote(), QStringLiteral("10 MiB needed, 1 MiB free"));
    one.run(spec(1));
    ASSERT_TRUE(QTest::qWaitFor([&] { return runEnded.count() == 2; }, kPatienceMs));
    EXPECT_EQ(runEnded[1][1].toString(), QStringLiteral("finished"));
    one.setBackend(QStringLiteral("cuda")); // the user may try again
    ASSERT_TRUE(QTest::qWaitFor([&] { return ready() && one.model()->backend == QLatin1String("cuda"); }, kPatienceMs));
    EXPECT_TRUE(one.backendNote().isEmpty());
  }
}

TEST_F(EngineClientTest, AGpuThatFailsWhileLoadingDoesNotTakeTheModelAway) {
  startFake("gpu-fault-loading");
  client.open(QStringLiteral("m.gguf"), QStringLiteral("t.txt"), QStringLiteral("s.xqs"));
  ASSERT_TRUE(reaches(State::Ready));
  EXPECT_EQ(client.model()->backend, QStringLiteral("cpu"));
  EXPECT_EQ(client.model()->name, QStringLiteral("m.gguf"));
  EXPECT_EQ(restarted.count(), 1);
  EXPECT_EQ(failed.count(), 0);
}

TEST_F(EngineClientTest, AnEngineThatDiesTwiceOnTheGpuIsReplacedByOneOnTheCpu) {
  ASSERT_TRUE(opens("gpu-crash"));
  for (const char *backend : {"cuda", "cpu"}) {
    client.run(spec());
    ASSERT_TRUE(
        QTest::qWaitFor([&] { return restarted.count() == (backend == QLatin1String("cpu") ? 2 : 1); }, kPatienceMs));
    ASSERT_TRUE(reaches(State::Ready));
    EXPECT_EQ(client.model()->backend, QLatin1String(backend));
  }
  EXPECT_THAT(restarted[1][0].toString().toStdString(), ::testing::HasSubstr("Goes on with the CPU"));
  EXPECT_EQ(ended.count(), 2);
  client.run(spec(1));
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 3; }, kPatienceMs));
  EXPECT_EQ(ended[2][1].toString(), QStringLiteral("finished"));
}

TEST_F(EngineClientTest, ErrorsLeaveItUsable) {
  startFake("good");
  client.open(QStringLiteral("missing.gguf"), QStringLiteral("t.txt"), QStringLiteral("s.xqs"));
  ASSERT_TRUE(QTest::qWaitFor([&] { return failed.count() == 1; }, kPatienceMs));
  EXPECT_EQ(failed[0][0].toString(), QStringLiteral("not-found"));
  EXPECT_EQ(client.state(), State::Waiting);
  client.open(QStringLiteral("m.gguf"), QStringLiteral("t.txt"), QStringLiteral("s.xqs"));
  ASSERT_TRUE(reaches(State::Ready));
  client.run({{QStringLiteral("policies"), QJsonArray()}});
  ASSERT_TRUE(QTest::qWaitFor([&] { return failed.count() == 2; }, kPatienceMs));
  EXPECT_EQ(client.state(), State::Ready);
}

TEST_F(EngineClientTest, TheNewestPreviewWins) {
  ASSERT_TRUE(opens("good"));
  QSignalSpy ready(&client, &EngineClient::previewReady), bad(&client, &EngineClient::previewFailed);
  for (const char *policy : {"p1", "p2", "p3", "p4"}) client.preview(QLatin1String(policy));
  ASSERT_TRUE(QTest::qWaitFor([&] { return ready.count() == 2; }, kPatienceMs));
  EXPECT_EQ(ready[0][2].toString(), QStringLiteral("p1"));
  EXPECT_EQ(ready[1][2].toString(), QStringLiteral("p4"));
  client.preview(QStringLiteral("bad"));
  ASSERT_TRUE(QTest::qWaitFor([&] { return bad.count() == 1; }, kPatienceMs));
  EXPECT_EQ(ready.count(), 2);
}

} // namespace
} // namespace xqs

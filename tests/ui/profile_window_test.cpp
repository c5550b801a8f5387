// SPDX-License-Identifier: GPL-3.0-or-later
// A profile of decoding in the window: its dialog against the real engine process, and recorded ones that are opened.
#include "plot/bar_chart.h"
#include "ui/support/qt_messages.h"
#include "ui/support/window_with_engine.h"
#include "ui/views/sample_profile.h"
#include "ui/views/sample_store.h"
#include "views/timeline_view.h"
#include "widgets/profile_dialog.h"

#include <QAbstractButton>
#include <QCheckBox>
#include <QComboBox>
#include <QDockWidget>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSignalSpy>
#include <QToolButton>

namespace xqs {
namespace {

using ::testing::HasSubstr;
using Engine = EngineClient::State;
using test::kPatienceMs;

template <class T> T *part(QWidget &of, const char *name) { return of.findChild<T *>(QLatin1String(name)); }

class ProfileWindow : public test::WindowWithEngine {
protected:
  const test::ExpectMessage m_raised{QStringLiteral("raise()")}; // the offscreen platform, of every window that is
  ProfileDialog &dialog() {
    window->findChild<QAction *>(QStringLiteral("openProfile"))->trigger();
    return window->profileDialog();
  }
};

TEST_F(ProfileWindow, StartsFromTheDialogAndTheViewsGrowWithIt) {
  ASSERT_TRUE(reaches(Engine::Ready)) << window->messages().text().toStdString();
  ProfileDialog &form = dialog();
  EXPECT_TRUE(form.isVisible());
  part<QLineEdit>(form, "contexts")->setText(QStringLiteral("64, 32"));
  part<QPlainTextEdit>(form, "policies")->setPlainText(QStringLiteral("kivi-star:bits=2,group=16\n"));
  ASSERT_EQ(form.problem(), QString());
  QSignalSpy ended(&engine(), &EngineClient::runEnded);
  QTest::mouseClick(part<QPushButton>(form, "startProfile"), Qt::LeftButton);
  EXPECT_FALSE(form.isVisible());
  auto *view = qobject_cast<TimelineView *>(window->view(QStringLiteral("timeline")));
  EXPECT_TRUE(QTest::qWaitFor([&] { return view->isVisible(); }, kPatienceMs)) << "its tab is in front";
  ASSERT_TRUE(QTest::qWaitFor([&] { return ended.count() == 1; }, kPatienceMs));
  ASSERT_EQ(ended[0][1].toString(), QStringLiteral("finished")) << ended[0][2].toString().toStdString();
  ASSERT_TRUE(QTest::qWaitFor([&] { return view->chart().itemCount() > 0; }, kPatienceMs));
  const RunData::Run *run = window->workspace().data().find(window->workspace().selection().runs()[0]);
  ASSERT_NE(run, nullptr);
  EXPECT_EQ(run->row.kind, "profile");
  EXPECT_EQ(run->steps.size(), 4u) << "two policies at two contexts";
  EXPECT_FALSE(run->instruments.empty());
  EXPECT_TRUE(part<QToolButton>(*window, "instruments")->isVisible());
}

TEST_F(ProfileWindow, SaysWhatIsWrongWithTheRequest) {
  ProfileDialog &form = dialog();
  EXPECT_THAT(form.problem().toStdString(), HasSubstr("loaded")) << "the engine is not ready yet";
  ASSERT_TRUE(reaches(Engine::Ready));
  EXPECT_EQ(form.problem(), QString());
  part<QLineEdit>(form, "contexts")->setText(QStringLiteral("2048, many"));
  EXPECT_THAT(form.problem().toStdString(), HasSubstr("many"));
  EXPECT_FALSE(part<QPushButton>(form, "startProfile")->isEnabled());
  part<QLineEdit>(form, "contexts")->clear();
  part<QPlainTextEdit>(form, "policies")->setPlainText(QStringLiteral("xquant:bits=7"));
  EXPECT_THAT(form.problem().toStdString(), HasSubstr("bits"));
  QTest::mouseClick(part<QPushButton>(form, "fromExperiment"), Qt::LeftButton);
  EXPECT_EQ(form.problem(), QString());
  EXPECT_THAT(form.spec().toStdString(), HasSubstr("xquant-cl:"));
  for (const QWidget *control : form.findChildren<QWidget *>()) {
    if (control->objectName().isEmpty() || control->objectName().startsWith(QLatin1String("qt_"))) continue;
    const auto *button = qobject_cast<const QAbstractButton *>(control);
    const bool named = !control->accessibleName().isEmpty() || (button && !button->text().isEmpty());
    EXPECT_TRUE(named || !(control->focusPolicy() & Qt::TabFocus)) << control->objectName().toStdString();
  }
}

WindowOptions quiet(const QString &file = {}) {
  WindowOptions options;
  options.startEngine = options.remember = false;
  if (!file.isEmpty()) options.files = {file};
  return options;
}

TEST(ProfileForm, HoldsEveryKeyOfARequest) {
  const test::ExpectMessage raised(QStringLiteral("raise()"));
  MainWindow window(quiet());
  ProfileDialog &form = window.profileDialog();
  const QString wanted = QStringLiteral(
      R"({"shape": "llama-2-7b", "layers": 4, "contexts": [2048, 32768], "batches": [1, 4], "policies": ["xquant:bits=2"],
          "form": "pipelined", "placement": "host", "steps": 9, "kernels": false, "counters": false, "hit_rate": true,
          "costs": false, "sampling_us": 250})");
  ASSERT_TRUE(form.setSpec(wanted));
  const QJsonObject kept = QJsonDocument::fromJson(form.spec().toUtf8()).object();
  const QJsonObject asked = QJsonDocument::fromJson(wanted.toUtf8()).object();
  for (const QString &key : asked.keys()) EXPECT_EQ(kept[key], asked[key]) << key.toStdString();
  ASSERT_TRUE(form.setSpec(QStringLiteral(R"({"microscope": true})")));
  EXPECT_THAT(form.spec().toStdString(), HasSubstr(R"("microscope":true)"));
  part<QCheckBox>(form, "counters")->setChecked(false); // what it needs
  EXPECT_FALSE(part<QCheckBox>(form, "microscope")->isEnabled());
  EXPECT_THAT(form.spec().toStdString(), HasSubstr(R"("microscope":false)"));
  EXPECT_FALSE(form.setSpec(QStringLiteral("no json")));
  EXPECT_THAT(form.problem().toStdString(), HasSubstr("No engine is running: File > Open model starts one"));
}

TEST(ProfileFile, OpensOnItsTabWithItsDocksAround) {
  test::SampleStore store;
  test::addProfile(store.store(), {.layers = 4});
  store.store().close();
  MainWindow window(quiet(store.path()));
  window.show();
  auto *view = qobject_cast<TimelineView *>(window.view(QStringLiteral("timeline")));
  ASSERT_TRUE(QTest::qWaitFor([&] { return view->isVisible() && view->chart().itemCount() > 0; }, kPatienceMs));
  const auto dock = [&](const char *id) { return part<QDockWidget>(window, id); };
  EXPECT_FALSE(dock("dock-traffic")->isHidden());
  EXPECT_FALSE(dock("dock-throughput")->isHidden());
  EXPECT_TRUE(dock("dock-settings")->isHidden());
  auto *badge = part<QToolButton>(window, "instruments");
  EXPECT_THAT(badge->text().toStdString(), HasSubstr("measured"));
  window.showView(QStringLiteral("curve"));
  EXPECT_TRUE(dock("dock-traffic")->isHidden());
  EXPECT_FALSE(dock("dock-settings")->isHidden());
  badge->click(); // leads to the bytes it speaks of
  EXPECT_FALSE(dock("dock-traffic")->isHidden());
  auto *chart = window.view(QStringLiteral("traffic"))->findChild<BarChart *>();
  EXPECT_TRUE(QTest::qWaitFor([&] { return chart->itemCount() > 0; }, kPatienceMs));
}

} // namespace
} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "screenshots.h"

#include "main_window.h"
#include "theme.h"
#include "widgets/plan_editor.h"
#include "widgets/profile_dialog.h"
#include "widgets/study_builder.h"

#include <QApplication>
#include <QElapsedTimer>
#include <QTabWidget>
#include <QTimer>

#include <cstdio>

namespace xqs {

namespace {

constexpr int kWidth = 1280, kHeight = 800;
constexpr int kSettleMs = 700; ///< views repaint at most every 40 ms; charts and docks need a few rounds

/// A minute on a laptop.
constexpr char kSmallProfile[] = R"({"contexts": [512], "steps": 4, "costs": false,
  "policies": ["kivi-star:bits=2", "xquant:bits=2", "xquant-cl:bits=2"]})";
constexpr int kEstimateMs = 8000; ///< the engine opens the model's file and times a product of matrices

void settle(int milliseconds = kSettleMs) {
  QElapsedTimer clock;
  clock.start();
  while (!clock.hasExpired(milliseconds)) QApplication::processEvents(QEventLoop::AllEvents, 20);
}

} // namespace

Screenshots::Screenshots(MainWindow &window, const QString &file, First first, bool tools)
    : m_window(window), m_file(file), m_tools(tools) {
  if (m_file.endsWith(QLatin1String(".png"))) m_file.chop(4);
  m_window.resize(kWidth, kHeight);
  if (first != First::Nothing || m_tools)
    waitForEngine(first);
  else
    QTimer::singleShot(0, this, &Screenshots::takeAll);
}

void Screenshots::waitForEngine(First first) {
  EngineClient &engine = m_window.workspace().engine();
  // Queued: pictures wait for events, and the engine's are not read while one of them is being handled.
  connect(
      &engine, &EngineClient::modelReady, this,
      [this, first] {
        switch (first) {
        case First::Nothing: return takeAll();
        case First::Run: return m_window.startRun();
        case First::Generation: return m_window.startGeneration();
        case First::Profile:
          m_window.profileDialog().setSpec(QString::fromUtf8(kSmallProfile));
          return m_window.profileDialog().start();
        }
      },
      Qt::QueuedConnection);
  const auto ended = [this](qint64, const QString &status, const QString &message) {
    if (status == QLatin1String("finished")) return takeAll();
    std::fprintf(stderr, "xqscope: the run %s: %s\n", qPrintable(status), qPrintable(message));
    QCoreApplication::exit(1);
  };
  connect(&engine, &EngineClient::runEnded, this, ended, Qt::QueuedConnection);
  connect(&engine, &EngineClient::failed, this, [](const QString &, const QString &message) {
    std::fprintf(stderr, "xqscope: %s\n", qPrintable(message));
    QCoreApplication::exit(1);
  });
}

void Screenshots::takeAll() {
  const bool taken = take(QStringLiteral("light")) && take(QStringLiteral("dark"));
  QCoreApplication::exit(taken ? 0 : 1);
}

bool Screenshots::take(const QString &theme) {
  Theme::current().apply(Theme::modeFromName(theme));
  settle();
  return save(m_window, QStringLiteral("%1-%2.png").arg(m_file, theme)) && (!m_tools || takeTools(theme));
}

bool Screenshots::takeTools(const QString &theme) {
  PlanEditor &plan = m_window.planEditor();
  plan.setPlan(QStringLiteral("plan:0-2=xquant:bits=4,source=x;3-11=xquant-cl:bits=2,source=x,first_bits=4;"
                              "12-29.k=kivi-star:bits=2;12-29.v=kivi-star:bits=4"));
  plan.show();
  settle();
  bool taken = save(plan, QStringLiteral("%1-plan-%2.png").arg(m_file, theme));
  plan.findChild<QTabWidget *>()->setCurrentIndex(1);
  settle();
  taken = taken && save(plan, QStringLiteral("%1-sensitivity-%2.png").arg(m_file, theme));
  plan.hide();
  StudyBuilder &study = m_window.studyBuilder();
  study.chooseBuiltIn(QStringLiteral("group-size"));
  study.show();
  settle(kEstimateMs);
  taken = taken && save(study, QStringLiteral("%1-study-%2.png").arg(m_file, theme));
  study.hide();
  m_window.profileDialog().show();
  settle();
  taken = taken && save(m_window.profileDialog(), QStringLiteral("%1-profile-%2.png").arg(m_file, theme));
  m_window.profileDialog().hide();
  return taken;
}

bool Screenshots::save(QWidget &widget, const QString &file) {
  if (widget.grab().save(file)) return true;
  std::fprintf(stderr, "xqscope: %s cannot be written\n", qPrintable(file));
  return false;
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "screenshots.h"

#include "main_window.h"
#include "theme.h"

#include <QApplication>
#include <QElapsedTimer>
#include <QTimer>

#include <cstdio>

namespace xqs {

namespace {

constexpr int kWidth = 1280, kHeight = 800;
constexpr int kSettleMs = 700; ///< views repaint at most every 40 ms; charts and docks need a few rounds

void settle() {
  QElapsedTimer clock;
  clock.start();
  while (!clock.hasExpired(kSettleMs)) QApplication::processEvents(QEventLoop::AllEvents, 20);
}

} // namespace

Screenshots::Screenshots(MainWindow &window, const QString &file, First first) : m_window(window), m_file(file) {
  if (m_file.endsWith(QLatin1String(".png"))) m_file.chop(4);
  m_window.resize(kWidth, kHeight);
  if (first != First::Nothing)
    runFirst(first);
  else
    QTimer::singleShot(0, this, &Screenshots::takeAll);
}

void Screenshots::runFirst(First first) {
  EngineClient &engine = m_window.workspace().engine();
  connect(&engine, &EngineClient::modelReady, this,
          [this, first] { first == First::Run ? m_window.startRun() : m_window.startGeneration(); });
  connect(&engine, &EngineClient::runEnded, this, [this](qint64, const QString &status, const QString &message) {
    if (status == QLatin1String("finished")) return takeAll();
    std::fprintf(stderr, "xqscope: the run %s: %s\n", qPrintable(status), qPrintable(message));
    QCoreApplication::exit(1);
  });
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
  const QString file = QStringLiteral("%1-%2.png").arg(m_file, theme);
  if (m_window.grab().save(file)) return true;
  std::fprintf(stderr, "xqscope: %s cannot be written\n", qPrintable(file));
  return false;
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QObject>
#include <QString>

class QWidget;

namespace xqs {

class MainWindow;

/// `--screenshot`: runs the default experiment, generation or a small profile if asked for, writes the window in light and
/// dark, and its plan editor, study builder and profile dialog if asked for, ends the program. Exit code 1 where the run or
/// a picture fails.
class Screenshots : public QObject {
public:
  enum class First { Nothing, Run, Generation, Profile };
  Screenshots(MainWindow &window, const QString &file, First first, bool tools);

private:
  void waitForEngine(First first);
  void takeAll();
  bool take(const QString &theme);
  bool takeTools(const QString &theme);
  static bool save(QWidget &widget, const QString &file);

  MainWindow &m_window;
  QString m_file;
  bool m_afterRun, m_tools;
};

} // namespace xqs

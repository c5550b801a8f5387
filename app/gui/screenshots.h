// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QObject>
#include <QString>

namespace xqs {

class MainWindow;

/// `--screenshot`: runs the default experiment or the default generation if asked for, writes the window in light and dark,
/// ends the program. Exit code 1 where the run or a picture fails.
class Screenshots : public QObject {
public:
  enum class First { Nothing, Run, Generation };
  Screenshots(MainWindow &window, const QString &file, First first);

private:
  void runFirst(First first);
  void takeAll();
  bool take(const QString &theme);

  MainWindow &m_window;
  QString m_file;
};

} // namespace xqs

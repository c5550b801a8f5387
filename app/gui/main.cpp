// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme.h"

#include <QApplication>
#include <QMainWindow>

int main(int argc, char **argv) {
  QApplication app(argc, argv);
  QGuiApplication::setDesktopFileName(QStringLiteral("org.xqscope.XQScope"));
  xqs::Theme::current().apply(xqs::Theme::Mode::System);
  QMainWindow window;
  window.show();
  return QApplication::exec();
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/support/qt_messages.h"

#include <QApplication>
#include <QFontInfo>
#include <QStandardPaths>

#include <gmock/gmock.h>

#include <vector>

namespace xqs::test {

namespace {

std::vector<QString> &expected() {
  static std::vector<QString> patterns;
  return patterns;
}

/// Said by Qt about the machine, not by our code.
bool isNoise(const QString &text) {
  return text.contains(QLatin1String("propagateSizeHints")) || text.contains(QLatin1String("XDG_RUNTIME_DIR"));
}

void failOnWarning(QtMsgType type, const QMessageLogContext &context, const QString &text) {
  if (type == QtDebugMsg || type == QtInfoMsg || isNoise(text)) return;
  for (const QString &pattern : expected())
    if (text.contains(pattern)) return;
  ADD_FAILURE() << "Qt message [" << (context.category ? context.category : "") << "]: " << text.toStdString();
  if (type == QtFatalMsg) std::abort();
}

} // namespace

ExpectMessage::ExpectMessage(const QString &part) { expected().push_back(part); }
ExpectMessage::~ExpectMessage() { expected().pop_back(); }

} // namespace xqs::test

int main(int argc, char **argv) {
  ::testing::InitGoogleMock(&argc, argv);
  if (!qEnvironmentVariableIsSet("XQS_TEST_ON_SCREEN")) qputenv("QT_QPA_PLATFORM", "offscreen");
  // The engine computes on the CPU everywhere where a test does not say otherwise.
  if (!qEnvironmentVariableIsSet("CUDA_VISIBLE_DEVICES")) qputenv("CUDA_VISIBLE_DEVICES", "");
  QStandardPaths::setTestModeEnabled(true); // settings and data go to a test folder
  qInstallMessageHandler(xqs::test::failOnWarning);
  QApplication app(argc, argv);
  QApplication::setApplicationName(QStringLiteral("xqscope-tests"));
  QApplication::setStyle(QStringLiteral("Fusion"));
  if (QFontInfo(QApplication::font()).pixelSize() <= 0) {
    std::fputs("no usable font: install fonts-dejavu-core\n", stderr);
    return 1;
  }
  return RUN_ALL_TESTS();
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "main_window.h"
#include "screenshots.h"
#include "theme.h"

#include <QApplication>
#include <QCommandLineParser>
#include <QSettings>

#include <algorithm>
#include <string_view>

namespace {

struct Options {
  xqs::WindowOptions window;
  QString theme, screenshot;
  xqs::Screenshots::First first = xqs::Screenshots::First::Nothing;
  bool tools = false;
};

Options parse(const QCoreApplication &app) {
  using Option = QCommandLineOption;
  const auto tr = [](const char *text) { return QCoreApplication::translate("main", text); };
  const Option open(QStringLiteral("open"), tr("Open a finished run; may be given several times."), tr("file.xqs"));
  const Option model(QStringLiteral("model"), tr("Model for new runs: a GGUF file, default or synthetic:…"), tr("model"),
                     QStringLiteral("default"));
  const Option text(QStringLiteral("text"), tr("Text to score: a file or builtin:primer."), tr("text"),
                    QStringLiteral("builtin:primer"));
  const Option demo(QStringLiteral("demo"), tr("Only show the recorded demo run; no engine is started."));
  const Option run(QStringLiteral("run"), tr("Start the default experiment as soon as the model is loaded."));
  const Option theme(QStringLiteral("theme"), tr("system, light or dark."), tr("theme"));
  const Option shot(QStringLiteral("screenshot"),
                    tr("Write NAME-light.png and NAME-dark.png of the window at 1280x800, then end."), tr("NAME.png"));
  const Option afterRun(QStringLiteral("after-run"), tr("With --screenshot: run the default experiment first."));
  const Option tools(QStringLiteral("tools"),
                     tr("With --screenshot: the plan editor, the study builder and the profile dialog too."));
  const Option afterGeneration(QStringLiteral("after-generation"),
                               tr("With --screenshot: generate side by side first, and show that."));
  const Option afterProfile(QStringLiteral("after-profile"),
                            tr("With --screenshot: profile decoding on a short context first, and show that."));
  QCommandLineParser parser;
  parser.setApplicationDescription(tr("See what compressing a language model's KV cache does."));
  parser.addHelpOption();
  parser.addVersionOption();
  parser.addOptions({open, model, text, demo, run, theme, shot, afterRun, afterGeneration, afterProfile, tools});
  parser.addPositionalArgument(QStringLiteral("files"), tr("Finished runs (.xqs) to open."), QStringLiteral("[files...]"));
  parser.process(app);

  Options options;
  options.window.files = parser.values(open) + parser.positionalArguments();
  options.window.model = parser.value(model);
  options.window.text = parser.value(text);
  options.screenshot = parser.value(shot);
  if (parser.isSet(afterRun)) options.first = xqs::Screenshots::First::Run;
  if (parser.isSet(afterGeneration)) options.first = xqs::Screenshots::First::Generation;
  if (parser.isSet(afterProfile)) options.first = xqs::Screenshots::First::Profile;
  options.tools = parser.isSet(tools);
  const bool computes = options.screenshot.isEmpty() || options.tools || options.first != xqs::Screenshots::First::Nothing;
  options.window.startEngine = !parser.isSet(demo) && computes;
  options.window.startRun = parser.isSet(run);
  options.window.remember = options.screenshot.isEmpty();
  options.theme = parser.isSet(theme) ? parser.value(theme) : QSettings().value(QStringLiteral("window/theme")).toString();
  return options;
}

/// Answers what needs no display, which QApplication does: help and version.
void answer(char *program, char *argument) {
  constexpr std::string_view kQuestions[] = {"-h", "-?", "--help", "--help-all", "-v", "--version"};
  if (std::ranges::find(kQuestions, std::string_view(argument)) == std::end(kQuestions)) return;
  int count = 2;
  char *words[] = {program, argument, nullptr};
  parse(QCoreApplication(count, words)); // ends the program
}

} // namespace

int main(int argc, char **argv) {
  QCoreApplication::setApplicationName(QStringLiteral("xqscope"));
  QCoreApplication::setApplicationVersion(QStringLiteral(XQS_VERSION));
  QCoreApplication::setOrganizationName(QStringLiteral("xqscope"));
  for (int i = 1; i < argc; ++i) answer(argv[0], argv[i]);
  QApplication app(argc, argv);
  QApplication::setApplicationDisplayName(QStringLiteral("XQScope"));
  QGuiApplication::setDesktopFileName(QStringLiteral("org.xqscope.XQScope"));
  const Options options = parse(app);
  xqs::Theme::current().apply(xqs::Theme::modeFromName(options.theme));
  xqs::MainWindow window(options.window);
  window.show();
  if (options.screenshot.isEmpty()) return QApplication::exec();
  xqs::Screenshots screenshots(window, options.screenshot, options.first, options.tools);
  return QApplication::exec();
}

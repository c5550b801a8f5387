// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "main_window.h"

#include "widgets/experiment_editor.h"
#include "widgets/message_bar.h"
#include "widgets/settings_panel.h"

#include <QAction>
#include <QSpinBox>
#include <QTest>

#include <gmock/gmock.h>

#include <memory>

namespace xqs::test {

constexpr int kPatienceMs = 60000;

/// The window, the real engine process and a synthetic model: nothing but the model is small.
class WindowWithEngine : public ::testing::Test {
protected:
  void SetUp() override {
    qputenv("XQSCOPE_CLI", XQS_CLI_FILE);
    WindowOptions options;
    options.remember = false;
    options.model = QStringLiteral("synthetic:layers=4,d=64,heads=4,kv_heads=2");
    window = std::make_unique<MainWindow>(options);
    window->show();
  }
  void TearDown() override { qunsetenv("XQSCOPE_CLI"); }
  EngineClient &engine() { return window->workspace().engine(); }
  bool reaches(EngineClient::State state) {
    return QTest::qWaitFor([&] { return engine().state() == state; }, kPatienceMs);
  }
  QAction *action(const char *name) { return window->findChild<QAction *>(QLatin1String(name)); }
  void choose(const QStringList &policies) {
    ExperimentEditor &experiment = window->settings().experiment();
    experiment.findChild<QSpinBox *>(QStringLiteral("window"))->setValue(64);
    experiment.findChild<QSpinBox *>(QStringLiteral("windows"))->setValue(2);
    experiment.setPolicies(policies);
  }

  std::unique_ptr<MainWindow> window;
};

} // namespace xqs::test

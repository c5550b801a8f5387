// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/settings_panel.h"

#include "cache/layout.h"
#include "run/experiment.h"
#include "widgets/experiment_editor.h"
#include "widgets/ledger_panel.h"
#include "widgets/policy_editor.h"

#include <QLabel>
#include <QPushButton>
#include <QSignalSpy>
#include <QSpinBox>
#include <QTest>

#include <gmock/gmock.h>

namespace xqs {
namespace {

const ModelShape kSmolLm2{30, 576, 9, 3, 64};

/// "1,234 B" -> 1234
Index bytesOf(const LedgerPanel &panel, const char *name) {
  QString text = panel.findChild<QLabel *>(QLatin1String(name))->text();
  EXPECT_TRUE(text.endsWith(QLatin1String(" B"))) << text.toStdString();
  return text.remove(QLatin1Char(',')).section(QLatin1Char(' '), 0, 0).toLongLong();
}

TEST(LedgerPanel, ShowsWhatFootprintSays) {
  LedgerPanel panel;
  for (const char *text : {"fp16", "kivi:bits=2", "kivi-star:bits=4", "xquant:bits=3,outlier_channels=1", "xquant-cl:bits=2",
                           "xquant-cl:bits=2,source=x,domain=residual", "low-rank:rank=64"})
    for (const State state : {State::All, State::Stream})
      for (const Index tokens : {1, 127, 512}) {
        const PolicySpec policy = PolicySpec::parse(text);
        EXPECT_EQ(panel.showPolicy(policy, kSmolLm2, QStringLiteral("SmolLM2"), tokens, state), QString());
        const CacheBytes bytes = footprint(policy, kSmolLm2, tokens, state);
        EXPECT_EQ(bytesOf(panel, "format"), bytes.formatBytes()) << text;
        EXPECT_EQ(bytesOf(panel, "allocated"), bytes.allocated) << text;
        EXPECT_EQ(bytesOf(panel, "codes"), (bytes.codes + 7) / 8) << text;
        EXPECT_EQ(bytesOf(panel, "scales"), (bytes.scales + 7) / 8) << text;
        EXPECT_EQ(bytesOf(panel, "outliers"), (bytes.outliers + 7) / 8) << text;
        EXPECT_EQ(bytesOf(panel, "residual"), (bytes.residual + 7) / 8) << text;
        EXPECT_EQ(bytesOf(panel, "accumulator"), bytes.accumulator) << text;
        EXPECT_EQ(bytesOf(panel, "scratch"), bytes.scratch) << text;
        const double relative = relativeSize(policy, kSmolLm2, tokens, state);
        EXPECT_NEAR(panel.findChild<QLabel *>(QStringLiteral("relative"))->text().toDouble(), relative, 5e-5) << text;
        EXPECT_NEAR(panel.findChild<QLabel *>(QStringLiteral("bits"))->text().toDouble(), 16 * relative, 5e-4) << text;
        EXPECT_NEAR(panel.findChild<QLabel *>(QStringLiteral("relativeMha"))->text().toDouble(),
                    relativeSizeMha(policy, kSmolLm2, tokens, state), 5e-5)
            << text;
      }
  EXPECT_TRUE(panel.findChild<QLabel *>(QStringLiteral("ledgerHeading"))->text().contains(QLatin1String("computed")));
}

TEST(LedgerPanel, SaysWhyASettingDoesNotFit) {
  LedgerPanel panel;
  const QString why = panel.showPolicy(PolicySpec::parse("low-rank:rank=1000"), kSmolLm2, {}, 512, State::All);
  EXPECT_TRUE(why.contains(QLatin1String("rank"))) << why.toStdString();
  EXPECT_EQ(panel.findChild<QLabel *>(QStringLiteral("format"))->text(), QStringLiteral("–"));
}

TEST(SettingsPanel, AsksForOnePreviewOfSeveralFastChanges) {
  SettingsPanel panel;
  QSignalSpy wanted(&panel, &SettingsPanel::previewWanted);
  for (const char *policy : {"xquant:bits=8", "xquant:bits=4", "xquant:bits=3", "xquant:bits=2"})
    panel.policy().setPolicy(QLatin1String(policy));
  ASSERT_TRUE(QTest::qWaitFor([&] { return wanted.count() == 1; }, 1000));
  QTest::qWait(100);
  ASSERT_EQ(wanted.count(), 1);
  EXPECT_EQ(wanted[0][0].toString(), QStringLiteral("xquant:bits=2"));
}

TEST(SettingsPanel, AddsItsSettingToTheExperimentOnce) {
  SettingsPanel panel;
  const qsizetype before = panel.experiment().policies().size();
  panel.policy().setPolicy(QStringLiteral("xquant:bits=2,group=32"));
  auto *add = panel.findChild<QPushButton *>(QStringLiteral("addToExperiment"));
  QTest::mouseClick(add, Qt::LeftButton);
  QTest::mouseClick(add, Qt::LeftButton);
  ASSERT_EQ(panel.experiment().policies().size(), before + 1);
  EXPECT_EQ(panel.experiment().policies().back(), QStringLiteral("xquant:bits=2,group=32"));
}

TEST(ExperimentEditor, StartsWithTheDefaultExperiment) {
  const ExperimentEditor editor;
  const Experiment shown = editor.experiment(), standard = defaultExperiment();
  ASSERT_EQ(shown.policies.size(), standard.policies.size());
  for (std::size_t i = 0; i < shown.policies.size(); ++i)
    EXPECT_EQ(shown.policies[i].canonical(), standard.policies[i].canonical());
  EXPECT_EQ(shown.window, standard.window);
  EXPECT_EQ(shown.windows, standard.windows);
  EXPECT_EQ(shown.state, standard.state);
  EXPECT_EQ(shown.model, standard.model);
  EXPECT_EQ(shown.text, standard.text);
}

TEST(ExperimentEditor, HoldsWhatIsChosen) {
  ExperimentEditor editor;
  QSignalSpy source(&editor, &ExperimentEditor::sourceChanged), window(&editor, &ExperimentEditor::windowChanged);
  editor.setPolicies({QStringLiteral("fp16"), QStringLiteral("xquant:group=128,bits=2")});
  editor.setModel(QStringLiteral("/m/other.gguf"));
  editor.setText(QString()); // a file dialog that was cancelled
  editor.setLimits(5000, 256);
  editor.findChild<QSpinBox *>(QStringLiteral("window"))->setValue(512);
  const Experiment e = editor.experiment();
  ASSERT_EQ(e.policies.size(), 2u);
  EXPECT_EQ(editor.policies().back(), QStringLiteral("xquant:bits=2"));
  EXPECT_EQ(e.model, "/m/other.gguf");
  EXPECT_EQ(e.text, "builtin:primer");
  EXPECT_EQ(e.window, 256) << "the model's longest window";
  EXPECT_EQ(source.count(), 1);
  EXPECT_GE(window.count(), 1);
}

} // namespace
} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme.h"

#include <QApplication>
#include <QSignalSpy>

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

namespace xqs {
namespace {

/// Relative luminance and contrast ratio as WCAG 2 defines them.
double luminance(const QColor &c) {
  const auto linear = [](double v) { return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4); };
  return 0.2126 * linear(c.redF()) + 0.7152 * linear(c.greenF()) + 0.0722 * linear(c.blueF());
}
double contrast(const QColor &a, const QColor &b) {
  const double x = luminance(a), y = luminance(b);
  return (std::max(x, y) + 0.05) / (std::min(x, y) + 0.05);
}

class ThemeTest : public ::testing::TestWithParam<Theme::Mode> {
protected:
  void SetUp() override { Theme::current().apply(GetParam()); }
  void TearDown() override { Theme::current().apply(Theme::Mode::Light); }
};

TEST_P(ThemeTest, TextIsReadable) {
  const Theme::Colors &c = Theme::current().colors();
  for (const QColor &ground : {c.background, c.surface}) {
    EXPECT_GE(contrast(c.text, ground), 7.0);
    for (const QColor &color : {c.mutedText, c.accent, c.good, c.warning, c.error})
      EXPECT_GE(contrast(color, ground), 4.5) << color.name().toStdString() << " on " << ground.name().toStdString();
  }
  const QPalette p = Theme::current().palette();
  EXPECT_GE(contrast(p.color(QPalette::HighlightedText), p.color(QPalette::Highlight)), 4.5);
  EXPECT_NE(p.color(QPalette::Disabled, QPalette::Text), p.color(QPalette::Active, QPalette::Text));
}

TEST_P(ThemeTest, MethodsStandOutAndDiffer) {
  const QStringList methods{QStringLiteral("fp16"),   QStringLiteral("kivi"),      QStringLiteral("kivi-star"),
                            QStringLiteral("xquant"), QStringLiteral("xquant-cl"), QStringLiteral("low-rank")};
  for (const QString &a : methods) {
    EXPECT_GE(contrast(methodColor(a), Theme::current().colors().background), 3.0) << a.toStdString();
    for (const QString &b : methods) EXPECT_TRUE(a == b || methodColor(a) != methodColor(b));
  }
  EXPECT_TRUE(methodColor(QStringLiteral("a-method-of-tomorrow")).isValid());
}

TEST_P(ThemeTest, EveryIconOfTheToolbarExists) {
  for (const char *name : {"start", "pause", "cancel", "open", "save", "export", "settings", "theme", "curve", "heatmap",
                           "histogram", "log", "xqscope"})
    EXPECT_FALSE(Theme::current().icon(QLatin1String(name)).isNull()) << name;
}

INSTANTIATE_TEST_SUITE_P(Modes, ThemeTest, ::testing::Values(Theme::Mode::Light, Theme::Mode::Dark));

TEST(Theme, ChangesAreAnnounced) {
  QSignalSpy spy(&Theme::current(), &Theme::changed);
  Theme::current().apply(Theme::Mode::Dark);
  EXPECT_TRUE(Theme::current().isDark());
  Theme::current().apply(Theme::Mode::Light);
  EXPECT_FALSE(Theme::current().isDark());
  EXPECT_EQ(spy.count(), 2);
  for (const auto mode : {Theme::Mode::System, Theme::Mode::Light, Theme::Mode::Dark})
    EXPECT_EQ(Theme::modeFromName(Theme::modeName(mode)), mode);
}

} // namespace
} // namespace xqs

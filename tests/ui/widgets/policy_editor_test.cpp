// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/policy_editor.h"

#include "cache/plan.h"
#include "cache/policy.h"

#include <QComboBox>
#include <QLineEdit>
#include <QSignalSpy>
#include <QSpinBox>
#include <QTest>

#include <gmock/gmock.h>

#include <algorithm>

namespace xqs {
namespace {

/// A valid value of a parameter that is not its default.
QString otherValue(const ParameterInfo &p) {
  const auto differs = [&p](const std::string &v) { return !p.defaultValue || v != *p.defaultValue; };
  for (const std::string &choice : p.choices)
    if (differs(choice)) return QString::fromStdString(choice);
  for (const std::int64_t value : p.allowed)
    if (differs(std::to_string(value))) return QString::number(value);
  return QString::number(differs(std::to_string(p.min)) ? p.min : p.min + 1);
}

void setField(const PolicyEditor &editor, const ParameterInfo &p, const QString &value) {
  auto *field = editor.findChild<QWidget *>(QString::fromStdString(p.name));
  ASSERT_NE(field, nullptr) << p.name;
  EXPECT_FALSE(field->accessibleName().isEmpty()) << p.name;
  EXPECT_TRUE(field->toolTip().contains(QString::fromStdString(p.range()))) << p.name;
  if (auto *combo = qobject_cast<QComboBox *>(field))
    combo->setCurrentIndex(combo->findData(value));
  else
    qobject_cast<QSpinBox *>(field)->setValue(value.toInt());
}

class EveryMethod : public ::testing::TestWithParam<const MethodInfo *> {};

TEST_P(EveryMethod, EveryParameterOfTheFormReachesTheString) {
  const MethodInfo &method = *GetParam();
  PolicyEditor editor;
  auto *combo = editor.findChild<QComboBox *>(QStringLiteral("method"));
  combo->setCurrentIndex(combo->findData(QString::fromStdString(method.name)));
  ASSERT_EQ(&editor.policy().method(), &method);

  if (method.name == kPlanMethod) { // no parameters: it starts with an example to edit
    EXPECT_TRUE(editor.problem().isEmpty());
    EXPECT_FALSE(editor.policy().entries().empty());
    return;
  }
  QStringList given;
  for (const ParameterInfo &p : method.parameters) {
    const QString value = otherValue(p);
    setField(editor, p, value);
    EXPECT_EQ(editor.policy().values().find(p.name)->second, value.toStdString()) << p.name;
    given << QStringLiteral("%1=%2").arg(QString::fromStdString(p.name), value);
  }
  QString text = QString::fromStdString(method.name);
  if (!given.isEmpty()) text += QLatin1Char(':') + given.join(QLatin1Char(','));
  const std::string canonical = PolicySpec::parse(text.toStdString()).canonical();
  EXPECT_EQ(editor.text().toStdString(), canonical);
  auto *line = editor.findChild<QLineEdit *>(QStringLiteral("policyText"));
  EXPECT_EQ(line->text().toStdString(), canonical);

  // and the other way: the string sets the fields of a fresh form
  PolicyEditor other;
  other.setPolicy(QString::fromStdString(canonical));
  EXPECT_EQ(other.text().toStdString(), canonical);
  for (const ParameterInfo &p : method.parameters) {
    const auto *field = other.findChild<QWidget *>(QString::fromStdString(p.name));
    const auto *choice = qobject_cast<const QComboBox *>(field);
    EXPECT_EQ(choice ? choice->currentData().toString() : QString::number(qobject_cast<const QSpinBox *>(field)->value()),
              otherValue(p))
        << p.name;
  }
}

std::vector<const MethodInfo *> methods() {
  std::vector<const MethodInfo *> all;
  for (const MethodInfo &info : methodRegistry()) all.push_back(&info);
  return all;
}
std::string suffix(const ::testing::TestParamInfo<const MethodInfo *> &info) {
  std::string name = info.param->name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Registry, EveryMethod, ::testing::ValuesIn(methods()), suffix);

TEST(PolicyEditor, WhatIsTypedIsCheckedInWords) {
  PolicyEditor editor;
  editor.setPolicy(QStringLiteral("kivi-star:bits=3"));
  auto *line = editor.findChild<QLineEdit *>(QStringLiteral("policyText"));
  QSignalSpy changed(&editor, &PolicyEditor::policyChanged);
  line->selectAll();
  QTest::keyClicks(line, QStringLiteral("xquant:bits=2,bits=3"));
  EXPECT_THAT(editor.problem().toStdString(), ::testing::HasSubstr("twice"));
  EXPECT_EQ(editor.text(), QStringLiteral("xquant:bits=2")) << "the last valid policy on the way";
  EXPECT_EQ(line->text(), QStringLiteral("xquant:bits=2,bits=3")) << "what is typed stays";
  line->selectAll();
  QTest::keyClicks(line, QStringLiteral("xquant:group=128,bits=2"));
  EXPECT_TRUE(editor.problem().isEmpty());
  QTest::keyClick(line, Qt::Key_Return);
  EXPECT_EQ(line->text(), QStringLiteral("xquant:bits=2")) << "the canonical form, once done";
  EXPECT_GT(changed.count(), 0);
}

TEST(PolicyEditor, DefaultsAreMarked) {
  PolicyEditor editor;
  editor.setPolicy(QStringLiteral("xquant:bits=2"));
  auto *group = editor.findChild<QSpinBox *>(QStringLiteral("group"));
  EXPECT_THAT(group->text().toStdString(), ::testing::HasSubstr("default"));
  group->setValue(64);
  EXPECT_EQ(group->text(), QStringLiteral("64"));
  EXPECT_EQ(editor.text(), QStringLiteral("xquant:bits=2,group=64"));
}

} // namespace
} // namespace xqs

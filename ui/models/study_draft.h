// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QString>
#include <QStringList>

#include <nlohmann/json.hpp>

namespace xqs {

/// A study (core/run/study.h) as its JSON text while it is edited: the usual fields are read and set in place, whatever else
/// is in the text stays. Says nothing about whether the study is a valid one: that is `Study::parse`'s.
class StudyDraft {
public:
  StudyDraft();
  /// Throws Usage where the text is no JSON object. An experiment becomes a study of one run.
  explicit StudyDraft(const QString &source);

  /// Two spaces a level, lists of plain values on one line.
  QString source() const;
  QString name() const { return text("name"); }
  QString about() const { return text("about"); }

  /// The values of a key: of `policies`, of the grid (`policy` and parameters of policies), and of experiments (`window`),
  /// which stand in `base` or, where there are several, in the grid. Empty: the default.
  QStringList values(const QString &key) const;
  void setValues(const QString &key, const QStringList &values);
  /// The grid's parameters of policies but those of `except`, "rank = 64, 96".
  QStringList otherLists(const QStringList &except) const;
  void setOtherLists(const QStringList &except, const QStringList &lines);
  /// How many groups of layers are isolated (edited as text only).
  int isolatedGroups() const;

private:
  QString text(const char *key) const;
  QStringList parameterKeys() const;

  nlohmann::ordered_json m_json;
};

/// Parts between commas, outside of which spaces mean nothing: "4, 3,2" -> 4 | 3 | 2.
QStringList splitList(const QString &text);

} // namespace xqs

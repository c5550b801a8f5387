// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QTabWidget>
#include <QTimer>

#include <functional>
#include <memory>
#include <vector>

class QComboBox;
class QFormLayout;
class QLabel;
class QLineEdit;
class QPlainTextEdit;

namespace xqs {

class StudyDraft;

/// A study as a form of the usual fields and as its JSON text, each kept in step with the other. What is wrong is said in
/// one sentence; what is typed stays.
class StudyForm : public QTabWidget {
  Q_OBJECT
public:
  explicit StudyForm(QWidget *parent = nullptr);
  ~StudyForm() override;

  QString source() const;
  void setSource(const QString &source);
  /// The study's own name, else `fileName`.
  QString studyName() const;
  void setFileName(const QString &name) { m_fileName = name; }
  QString about() const;
  /// Model and text, unless the study varies them: what the window has open.
  void setSources(const QString &model, const QString &text);
  /// Why the study cannot run; empty: it can.
  const QString &problem() const { return m_problem; }

Q_SIGNALS:
  void changed(); ///< source or problem; at most one in 250 ms while typing

private:
  void setUpForm();
  void setUpText();
  QLineEdit *addList(const char *key, const QString &label, const QString &toolTip, const QString &hint);
  QPlainTextEdit *addLines(const char *key, const QString &label, const QString &toolTip, int lines);
  QComboBox *addChoice(const char *key, const QString &label, const QString &toolTip,
                       const std::vector<std::pair<QString, QString>> &choices);
  void bind(QWidget *field, const QString &label, const QString &toolTip);
  void fieldEdited(const std::function<void(StudyDraft &)> &change);
  void fillForm();
  void check();

  QFormLayout *m_form = nullptr;
  QPlainTextEdit *m_text = nullptr;
  QLabel *m_isolated = nullptr;
  std::vector<std::function<void(const StudyDraft &)>> m_fill; ///< one a field
  std::unique_ptr<StudyDraft> m_draft;
  QString m_fileName = QStringLiteral("study"), m_problem;
  QTimer m_typed;
  bool m_filling = false;
};

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QWidget>

#include <memory>

class QComboBox;
class QFormLayout;
class QLabel;
class QLineEdit;
class QToolButton;

namespace xqs {

class PolicySpec;
struct ParameterInfo;

/// A policy as a form and as its canonical string, each kept in step with the other. The form is made from the registry: a
/// new method or parameter needs nothing here. What cannot be understood is said below the string; the form keeps the last
/// valid policy.
class PolicyEditor : public QWidget {
  Q_OBJECT
public:
  explicit PolicyEditor(QWidget *parent = nullptr);
  ~PolicyEditor() override;

  const PolicySpec &policy() const { return *m_policy; }
  QString text() const; ///< canonical
  void setPolicy(const QString &text);
  /// A sentence from outside (the setting does not fit the model); empty clears it.
  void setProblem(const QString &sentence);
  QString problem() const;

Q_SIGNALS:
  void policyChanged();

private:
  void setUpMethods();
  void setUpText();
  void buildForm();
  QWidget *makeField(const ParameterInfo &parameter, QWidget *parent);
  QString fieldValue(const ParameterInfo &parameter) const;
  void setFieldValue(const ParameterInfo &parameter, const QString &value);
  void markDefaults();
  void addParameter(QFormLayout &form, const ParameterInfo &parameter);
  void addConditioning(QFormLayout &form);
  void showConditioning(bool shown);
  void methodChosen();
  void formEdited();
  void textEdited(const QString &text);
  void accept(const PolicySpec &policy);

  QComboBox *m_method = nullptr;
  QLabel *m_meaning = nullptr;
  QWidget *m_fields = nullptr; ///< replaced when the method changes
  QFormLayout *m_form = nullptr;
  QToolButton *m_conditioning = nullptr; ///< heading of its group, which it folds; null: the method takes none
  bool m_conditioningShown = false;
  QLineEdit *m_text = nullptr;
  QLabel *m_problem = nullptr;
  std::unique_ptr<const PolicySpec> m_policy;
  bool m_filling = false; ///< fields are being set by us
};

} // namespace xqs

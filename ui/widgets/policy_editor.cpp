// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/policy_editor.h"

#include "cache/conditioning.h"
#include "error.h"
#include "theme.h"

#include <QComboBox>
#include <QFormLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPixmap>
#include <QScopedValueRollback>
#include <QSpinBox>
#include <QToolButton>

#include <algorithm>
#include <limits>

namespace xqs {

namespace {

QString fromStd(const std::string &text) { return QString::fromStdString(text); }

/// What a parameter that must be given starts with: 4 bits where they are offered, else the middle of a short range.
QString startValue(const ParameterInfo &p) {
  if (p.defaultValue) return fromStd(*p.defaultValue);
  if (p.type == ParameterInfo::Type::Choice) return fromStd(p.choices.front());
  if (!p.allowed.empty()) {
    const bool four = std::find(p.allowed.begin(), p.allowed.end(), 4) != p.allowed.end();
    return QString::number(four ? 4 : p.allowed.front());
  }
  return QString::number(std::clamp<std::int64_t>(128, p.min, p.max));
}

/// "xquant:bits=4": the method with what must be given.
QString startPolicy(const MethodInfo &method) {
  if (!method.example.empty()) return fromStd(method.example); // to be edited as text
  QStringList given;
  for (const ParameterInfo &p : method.parameters)
    if (!p.defaultValue) given << QStringLiteral("%1=%2").arg(fromStd(p.name), startValue(p));
  return given.isEmpty() ? fromStd(method.name) : fromStd(method.name) + QLatin1Char(':') + given.join(QLatin1Char(','));
}

QString explain(const ParameterInfo &p) {
  QString text = QStringLiteral("<p>%1</p><p>%2</p>")
                     .arg(fromStd(p.meaning).toHtmlEscaped(), PolicyEditor::tr("Valid: %1.").arg(fromStd(p.range())));
  text += p.defaultValue ? QStringLiteral("<p>%1</p>").arg(PolicyEditor::tr("Default: %1.").arg(fromStd(*p.defaultValue)))
                         : QStringLiteral("<p>%1</p>").arg(PolicyEditor::tr("Must be given."));
  return text;
}

bool isConditioning(const ParameterInfo &p) {
  static const std::vector<ParameterInfo> all = conditioningParameters();
  return std::any_of(all.begin(), all.end(), [&p](const ParameterInfo &one) { return one.name == p.name; });
}

QIcon swatch(const QString &method) {
  QPixmap pixmap(12, 12);
  pixmap.fill(methodColor(method));
  return pixmap;
}

} // namespace

PolicyEditor::PolicyEditor(QWidget *parent) : QWidget(parent) {
  m_form = new QFormLayout(this);
  m_form->setContentsMargins(0, 0, 0, 0);
  m_form->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
  setUpMethods();
  m_fields = new QWidget(this);
  m_form->addRow(m_fields);
  setUpText();
  methodChosen();
}

PolicyEditor::~PolicyEditor() = default;

void PolicyEditor::setUpMethods() {
  m_method = new QComboBox(this);
  m_method->setObjectName(QStringLiteral("method"));
  m_method->setAccessibleName(tr("Cache method"));
  for (const MethodInfo &info : methodRegistry()) {
    m_method->addItem(swatch(fromStd(info.name)), fromStd(info.title), fromStd(info.name));
    m_method->setItemData(m_method->count() - 1, QStringLiteral("<p>%1</p>").arg(fromStd(info.meaning).toHtmlEscaped()),
                          Qt::ToolTipRole);
  }
  const int start = m_method->findData(QStringLiteral("xquant"));
  m_method->setCurrentIndex(std::max(start, 0));
  m_form->addRow(tr("&Method"), m_method);
  m_meaning = new QLabel(this);
  m_meaning->setWordWrap(true);
  m_meaning->setForegroundRole(QPalette::PlaceholderText);
  m_form->addRow(m_meaning);
  connect(m_method, &QComboBox::currentIndexChanged, this, &PolicyEditor::methodChosen);
  connect(&Theme::current(), &Theme::changed, this, [this] {
    for (int i = 0; i < m_method->count(); ++i) m_method->setItemIcon(i, swatch(m_method->itemData(i).toString()));
  });
}

void PolicyEditor::setUpText() {
  m_text = new QLineEdit(this);
  m_text->setObjectName(QStringLiteral("policyText"));
  m_text->setAccessibleName(tr("Policy as text"));
  m_text->setToolTip(
      tr("The policy as one string, as on the command line. Parameters in any order; defaults may be left out."));
  m_form->addRow(tr("&Policy"), m_text);
  m_problem = new QLabel(this);
  m_problem->setObjectName(QStringLiteral("policyProblem"));
  m_problem->setAccessibleName(tr("What is wrong with the policy"));
  m_problem->setWordWrap(true);
  m_problem->hide();
  m_form->addRow(m_problem);
  connect(m_text, &QLineEdit::textEdited, this, &PolicyEditor::textEdited);
  connect(m_text, &QLineEdit::editingFinished, this, [this] {
    if (m_problem->isHidden()) m_text->setText(text());
  });
}

void PolicyEditor::buildForm() {
  const MethodInfo &method = m_policy->method();
  auto *fields = new QWidget(this);
  auto *form = new QFormLayout(fields);
  form->setContentsMargins(0, 0, 0, 0);
  form->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
  for (const ParameterInfo &p : method.parameters)
    if (!isConditioning(p)) addParameter(*form, p);
  m_conditioning = nullptr;
  if (std::any_of(method.parameters.begin(), method.parameters.end(), isConditioning)) addConditioning(*form);
  m_form->replaceWidget(m_fields, fields);
  delete m_fields; // none of its signals leads here: a field never changes the method
  m_fields = fields;
  m_meaning->setText(fromStd(method.meaning));
  // Qt orders the tab key by creation; the string comes after the fields that were made later.
  QWidget *previous = m_method;
  for (const bool conditioning : {false, true}) {
    if (conditioning && m_conditioning) {
      setTabOrder(previous, m_conditioning);
      previous = m_conditioning;
    }
    for (const ParameterInfo &p : method.parameters) {
      if (isConditioning(p) != conditioning) continue;
      auto *field = m_fields->findChild<QWidget *>(fromStd(p.name));
      setTabOrder(previous, field);
      previous = field;
    }
  }
  setTabOrder(previous, m_text);
}

void PolicyEditor::addParameter(QFormLayout &form, const ParameterInfo &p) {
  QWidget *fields = form.parentWidget();
  auto *label = new QLabel(fromStd(p.name), fields);
  label->setObjectName(QStringLiteral("label-") + fromStd(p.name));
  label->setToolTip(explain(p));
  QWidget *field = makeField(p, fields);
  label->setBuddy(field);
  form.addRow(label, field);
}

/// Last and folded: most settings go without it.
void PolicyEditor::addConditioning(QFormLayout &form) {
  m_conditioning = new QToolButton(form.parentWidget());
  m_conditioning->setObjectName(QStringLiteral("conditioning"));
  m_conditioning->setCheckable(true);
  m_conditioning->setAutoRaise(true);
  m_conditioning->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
  m_conditioning->setToolTip(tr(
      "<p>What is done to rows before they are quantized, so that fewer bits hold them; undone in the weights, and counted "
      "in the sizes below.</p><p>Channels are measured on the calibration text of the experiment.</p>"));
  form.addRow(m_conditioning);
  for (const ParameterInfo &p : m_policy->method().parameters)
    if (isConditioning(p)) addParameter(form, p);
  connect(m_conditioning, &QToolButton::toggled, this, &PolicyEditor::showConditioning);
  m_conditioning->setChecked(m_conditioningShown);
  showConditioning(m_conditioningShown);
}

void PolicyEditor::showConditioning(bool shown) {
  m_conditioningShown = shown;
  m_conditioning->setArrowType(shown ? Qt::DownArrow : Qt::RightArrow);
  auto *form = qobject_cast<QFormLayout *>(m_conditioning->parentWidget()->layout());
  for (const ParameterInfo &p : m_policy->method().parameters)
    if (isConditioning(p)) form->setRowVisible(m_conditioning->parentWidget()->findChild<QWidget *>(fromStd(p.name)), shown);
}

QWidget *PolicyEditor::makeField(const ParameterInfo &p, QWidget *parent) {
  QWidget *field = nullptr;
  if (p.type == ParameterInfo::Type::Choice || !p.allowed.empty()) {
    auto *combo = new QComboBox(parent);
    for (const std::string &choice : p.choices) combo->addItem(fromStd(choice), fromStd(choice));
    for (const std::int64_t value : p.allowed) combo->addItem(QString::number(value), QString::number(value));
    if (const int i = p.defaultValue ? combo->findData(fromStd(*p.defaultValue)) : -1; i >= 0)
      combo->setItemText(i, tr("%1 (default)").arg(combo->itemText(i)));
    connect(combo, &QComboBox::currentIndexChanged, this, &PolicyEditor::formEdited);
    field = combo;
  } else {
    auto *spin = new QSpinBox(parent);
    constexpr std::int64_t kMax = std::numeric_limits<int>::max();
    spin->setRange(static_cast<int>(std::max(p.min, -kMax)), static_cast<int>(std::min(p.max, kMax)));
    spin->setAccelerated(true);
    connect(spin, &QSpinBox::valueChanged, this, &PolicyEditor::formEdited);
    field = spin;
  }
  field->setObjectName(fromStd(p.name));
  field->setAccessibleName(fromStd(p.name));
  field->setAccessibleDescription(fromStd(p.meaning));
  field->setToolTip(explain(p));
  return field;
}

QString PolicyEditor::fieldValue(const ParameterInfo &p) const {
  const auto *field = m_fields->findChild<QWidget *>(fromStd(p.name));
  if (const auto *combo = qobject_cast<const QComboBox *>(field)) return combo->currentData().toString();
  return QString::number(qobject_cast<const QSpinBox *>(field)->value());
}

void PolicyEditor::setFieldValue(const ParameterInfo &p, const QString &value) {
  auto *field = m_fields->findChild<QWidget *>(fromStd(p.name));
  if (auto *combo = qobject_cast<QComboBox *>(field))
    combo->setCurrentIndex(combo->findData(value));
  else
    qobject_cast<QSpinBox *>(field)->setValue(value.toInt());
}

/// What differs from its default is bold: that is what the string lists.
void PolicyEditor::markDefaults() {
  int conditioned = 0;
  for (const ParameterInfo &p : m_policy->method().parameters) {
    const bool isDefault = p.defaultValue && fieldValue(p) == fromStd(*p.defaultValue);
    auto *label = m_fields->findChild<QLabel *>(QStringLiteral("label-") + fromStd(p.name));
    QFont font = label->font();
    font.setBold(!isDefault);
    label->setFont(font);
    if (auto *spin = m_fields->findChild<QSpinBox *>(fromStd(p.name)))
      spin->setSuffix(isDefault ? tr(" (default)") : QString());
    conditioned += !isDefault && isConditioning(p);
  }
  if (!m_conditioning) return;
  m_conditioning->setText(conditioned == 0 ? tr("Conditioning") : tr("Conditioning (%1 set)").arg(conditioned));
  QFont font = m_conditioning->font();
  font.setBold(conditioned > 0);
  m_conditioning->setFont(font);
  if (conditioned > 0) m_conditioning->setChecked(true); // what the string lists is seen
}

void PolicyEditor::methodChosen() {
  if (m_filling) return;
  const QString name = m_method->currentData().toString();
  for (const MethodInfo &info : methodRegistry())
    if (name == fromStd(info.name)) setPolicy(startPolicy(info));
}

void PolicyEditor::formEdited() {
  if (m_filling) return;
  QStringList values;
  for (const ParameterInfo &p : m_policy->method().parameters) values << fromStd(p.name) + QLatin1Char('=') + fieldValue(p);
  QString text = fromStd(m_policy->method().name);
  if (!values.isEmpty()) text += QLatin1Char(':') + values.join(QLatin1Char(','));
  try {
    accept(PolicySpec::parse(text.toStdString()));
    m_text->setText(this->text());
  } catch (const Error &error) {
    setProblem(fromStd(error.what()));
  }
}

void PolicyEditor::textEdited(const QString &text) {
  try {
    accept(PolicySpec::parse(text.trimmed().toStdString()));
  } catch (const Error &error) {
    setProblem(fromStd(error.what()));
  }
}

QString PolicyEditor::text() const { return fromStd(m_policy->canonical()); }

void PolicyEditor::setPolicy(const QString &text) {
  textEdited(text);
  m_text->setText(m_problem->isHidden() ? this->text() : text);
}

void PolicyEditor::accept(const PolicySpec &policy) {
  const QScopedValueRollback filling(m_filling, true);
  const bool sameMethod = m_policy && &m_policy->method() == &policy.method();
  m_policy = std::make_unique<const PolicySpec>(policy);
  if (!sameMethod) {
    m_method->setCurrentIndex(m_method->findData(fromStd(m_policy->method().name)));
    buildForm();
  }
  for (const ParameterInfo &p : m_policy->method().parameters)
    setFieldValue(p, fromStd(m_policy->values().find(p.name)->second));
  markDefaults();
  setProblem({});
  Q_EMIT policyChanged();
}

void PolicyEditor::setProblem(const QString &sentence) {
  QPalette palette = m_problem->palette();
  palette.setColor(QPalette::WindowText, Theme::current().colors().error);
  m_problem->setPalette(palette);
  m_problem->setText(sentence);
  m_problem->setVisible(!sentence.isEmpty());
}

QString PolicyEditor::problem() const { return m_problem->isHidden() ? QString() : m_problem->text(); }

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/experiment_editor.h"

#include "run/experiment.h"
#include "theme.h"

#include <QAction>
#include <QComboBox>
#include <QFileDialog>
#include <QFileInfo>
#include <QFormLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QSpinBox>
#include <QToolButton>
#include <QVBoxLayout>

namespace xqs {

namespace {

const QString kDefaultModel = QStringLiteral("default");
const QString kDefaultText = QStringLiteral("builtin:primer");
const QString kDefaultCalibration = QStringLiteral("builtin:calibration");

QIcon swatch(const QString &policy) {
  QPixmap pixmap(12, 12);
  pixmap.fill(methodColor(policy.section(QLatin1Char(':'), 0, 0)));
  return pixmap;
}

} // namespace

ExperimentEditor::ExperimentEditor(QWidget *parent)
    : QWidget(parent), m_model(kDefaultModel), m_text(kDefaultText), m_calibration(kDefaultCalibration) {
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  setUpPolicies();
  m_form = new QFormLayout;
  m_form->setContentsMargins(0, 0, 0, 0);
  m_form->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
  column->addLayout(m_form);
  setUpProtocol();
  setUpSources();
  resetPolicies();
  showSources();
}

void ExperimentEditor::setUpPolicies() {
  m_policies = new QListWidget(this);
  m_policies->setObjectName(QStringLiteral("experimentPolicies"));
  m_policies->setAccessibleName(tr("Policies of the experiment"));
  m_policies->setToolTip(
      tr("Policies that the next run compares. Enter or a double click takes one into the form; Delete removes it."));
  m_policies->setSelectionMode(QAbstractItemView::ExtendedSelection);
  m_policies->setTextElideMode(Qt::ElideMiddle);
  m_policies->setUniformItemSizes(true);
  m_policies->setMinimumHeight(330);
  connect(m_policies, &QListWidget::itemActivated, this,
          [this](const QListWidgetItem *item) { Q_EMIT policyActivated(item->text()); });
  connect(&Theme::current(), &Theme::changed, this, [this] {
    for (int i = 0; i < m_policies->count(); ++i) m_policies->item(i)->setIcon(swatch(m_policies->item(i)->text()));
  });

  auto *removeAction = new QAction(tr("Remove"), m_policies);
  removeAction->setShortcut(QKeySequence::Delete);
  removeAction->setShortcutContext(Qt::WidgetShortcut);
  m_policies->addAction(removeAction);
  connect(removeAction, &QAction::triggered, this, &ExperimentEditor::removeSelected);
  m_remove = new QToolButton(this);
  m_remove->setText(tr("&Remove"));
  m_remove->setToolTip(tr("Removes the selected policies from the experiment (Delete)"));
  m_remove->setAccessibleName(tr("Remove the selected policies"));
  m_remove->setEnabled(false);
  auto *reset = new QToolButton(this);
  reset->setText(tr("De&fault set"));
  reset->setToolTip(tr("Every method family at several widths"));
  reset->setAccessibleName(tr("Reset the experiment to the default set"));
  connect(m_remove, &QToolButton::clicked, this, &ExperimentEditor::removeSelected);
  connect(reset, &QToolButton::clicked, this, &ExperimentEditor::resetPolicies);
  connect(m_policies, &QListWidget::itemSelectionChanged, this,
          [this] { m_remove->setEnabled(!m_policies->selectedItems().isEmpty()); });

  auto *buttons = new QHBoxLayout;
  buttons->addWidget(m_remove);
  buttons->addWidget(reset);
  buttons->addStretch();
  auto *column = qobject_cast<QVBoxLayout *>(layout());
  column->addWidget(m_policies, 1);
  column->addLayout(buttons);
}

void ExperimentEditor::setUpProtocol() {
  const Experiment defaults = defaultExperiment();
  m_window = new QSpinBox(this);
  m_window->setObjectName(QStringLiteral("window"));
  m_window->setAccessibleName(tr("Tokens a window"));
  m_window->setToolTip(tr("Tokens a window: how much context the cache holds when the last token is scored"));
  m_window->setRange(16, 1 << 20);
  m_window->setSingleStep(128);
  m_window->setValue(static_cast<int>(defaults.window));
  m_form->addRow(tr("&Window"), m_window);

  m_windows = new QSpinBox(this);
  m_windows->setObjectName(QStringLiteral("windows"));
  m_windows->setAccessibleName(tr("Number of windows"));
  m_windows->setToolTip(tr("Windows to score; more windows make narrower intervals"));
  m_windows->setRange(0, 1'000'000);
  m_windows->setSpecialValueText(tr("all that fit"));
  m_windows->setValue(static_cast<int>(defaults.windows));
  m_available = new QLabel(this);
  m_available->setForegroundRole(QPalette::PlaceholderText);
  auto *row = new QHBoxLayout;
  row->addWidget(m_windows, 1);
  row->addWidget(m_available);
  m_form->addRow(tr("Wi&ndows"), row);
  qobject_cast<QLabel *>(m_form->labelForField(row))->setBuddy(m_windows);

  m_state = new QComboBox(this);
  m_state->setObjectName(QStringLiteral("state"));
  m_state->setAccessibleName(tr("State of the cache while scoring"));
  m_state->addItem(tr("all — every token quantized"), QVariant::fromValue(int(State::All)));
  m_state->addItem(tr("stream — as while decoding"), QVariant::fromValue(int(State::Stream)));
  m_state->setToolTip(tr("all: a query sees every key and value quantized, its own too. stream: it sees what decoding sees; "
                         "the newest tokens are still FP16."));
  m_form->addRow(tr("&State"), m_state);

  connect(m_window, &QSpinBox::valueChanged, this, [this] {
    showWindows();
    Q_EMIT windowChanged();
  });
  connect(m_state, &QComboBox::currentIndexChanged, this, &ExperimentEditor::windowChanged);
}

QLineEdit *ExperimentEditor::addSource(const QString &label, const QString &toolTip, void (ExperimentEditor::*choose)(),
                                       void (ExperimentEditor::*reset)()) {
  auto *field = new QLineEdit(this);
  field->setReadOnly(true);
  field->setToolTip(toolTip);
  auto *browse = new QToolButton(this);
  browse->setText(tr("…"));
  browse->setToolTip(toolTip);
  browse->setAccessibleName(toolTip);
  auto *standard = new QToolButton(this);
  standard->setText(tr("Default"));
  standard->setAccessibleName(tr("Back to the default"));
  connect(browse, &QToolButton::clicked, this, choose);
  connect(standard, &QToolButton::clicked, this, reset);
  m_sourceButtons.insert(m_sourceButtons.end(), {browse, standard});
  auto *row = new QHBoxLayout;
  row->setSpacing(2);
  row->addWidget(field, 1);
  row->addWidget(browse);
  row->addWidget(standard);
  m_form->addRow(label, row);
  qobject_cast<QLabel *>(m_form->labelForField(row))->setBuddy(field);
  return field;
}

void ExperimentEditor::setUpSources() {
  m_modelField = addSource(tr("Mo&del"), tr("Choose a GGUF model file"), &ExperimentEditor::chooseModel,
                           &ExperimentEditor::defaultModel);
  m_modelField->setAccessibleName(tr("Model"));
  m_textField = addSource(tr("Te&xt"), tr("Choose a text file to score"), &ExperimentEditor::chooseText,
                          &ExperimentEditor::defaultText);
  m_textField->setAccessibleName(tr("Text"));
  m_calibrationField =
      addSource(tr("Cali&bration"),
                tr("Choose a text that conditioning is measured on: its outlier channels and their means. It must "
                   "share no tokens with what is scored."),
                &ExperimentEditor::chooseCalibration, &ExperimentEditor::defaultCalibration);
  m_calibrationField->setObjectName(QStringLiteral("calibration"));
  m_calibrationField->setAccessibleName(tr("Calibration text"));
}

Experiment ExperimentEditor::experiment() const {
  Experiment e = defaultExperiment();
  e.model = m_model.toStdString();
  e.text = m_text.toStdString();
  e.calibration.text = m_calibration.toStdString();
  e.window = window();
  e.windows = m_windows->value();
  e.state = state();
  e.policies.clear();
  for (const QString &policy : policies()) e.policies.push_back(PolicySpec::parse(policy.toStdString()));
  return e;
}

QStringList ExperimentEditor::policies() const {
  QStringList list;
  for (int i = 0; i < m_policies->count(); ++i) list << m_policies->item(i)->text();
  return list;
}

void ExperimentEditor::setPolicies(const QStringList &policies) {
  m_policies->clear();
  for (const QString &policy : policies) addPolicy(policy);
  m_policies->setCurrentItem(nullptr);
  m_policies->clearSelection();
  m_policies->scrollToTop();
}

void ExperimentEditor::addPolicy(const QString &policy) {
  const QString text = QString::fromStdString(PolicySpec::parse(policy.toStdString()).canonical());
  const auto there = m_policies->findItems(text, Qt::MatchExactly);
  if (there.isEmpty()) {
    m_policies->addItem(new QListWidgetItem(swatch(text), text));
    m_policies->item(m_policies->count() - 1)->setToolTip(text);
  }
  QListWidgetItem *item = there.isEmpty() ? m_policies->item(m_policies->count() - 1) : there.front();
  m_policies->setCurrentItem(item, QItemSelectionModel::ClearAndSelect);
  m_policies->scrollToItem(item);
  Q_EMIT policiesChanged();
}

void ExperimentEditor::removeSelected() {
  qDeleteAll(m_policies->selectedItems());
  Q_EMIT policiesChanged();
}

void ExperimentEditor::resetPolicies() {
  QStringList policies;
  for (const PolicySpec &policy : defaultExperiment().policies) policies << QString::fromStdString(policy.canonical());
  setPolicies(policies);
}

Index ExperimentEditor::window() const { return m_window->value(); }
State ExperimentEditor::state() const { return static_cast<State>(m_state->currentData().toInt()); }

void ExperimentEditor::setModel(const QString &location) {
  if (location.isEmpty() || location == m_model) return;
  m_model = location;
  showSources();
  Q_EMIT sourceChanged();
}

void ExperimentEditor::setText(const QString &location) {
  if (location.isEmpty() || location == m_text) return;
  m_text = location;
  showSources();
  Q_EMIT sourceChanged();
}

void ExperimentEditor::setCalibration(const QString &location) {
  if (location.isEmpty() || location == m_calibration) return;
  m_calibration = location;
  showSources();
  Q_EMIT sourceChanged();
}

void ExperimentEditor::defaultCalibration() { setCalibration(kDefaultCalibration); }
void ExperimentEditor::defaultModel() { setModel(kDefaultModel); }
void ExperimentEditor::defaultText() { setText(kDefaultText); }

void ExperimentEditor::chooseModel() {
  setModel(QFileDialog::getOpenFileName(this, tr("Open a model"), {}, tr("GGUF models (*.gguf);;All files (*)")));
}

void ExperimentEditor::chooseText() {
  setText(QFileDialog::getOpenFileName(this, tr("Choose a text"), {}, tr("Texts (*.txt *.md);;All files (*)")));
}

void ExperimentEditor::chooseCalibration() {
  setCalibration(
      QFileDialog::getOpenFileName(this, tr("Choose a calibration text"), {}, tr("Texts (*.txt *.md);;All files (*)")));
}

void ExperimentEditor::showSources() {
  m_modelField->setText(m_model == kDefaultModel ? tr("SmolLM2-135M") : QFileInfo(m_model).fileName());
  m_textField->setText(m_text == kDefaultText ? tr("built-in primer") : QFileInfo(m_text).fileName());
  m_modelField->setCursorPosition(0); // a long name shows its begin
  m_textField->setCursorPosition(0);
  m_calibrationField->setText(m_calibration == kDefaultCalibration ? tr("built-in text")
                                                                   : QFileInfo(m_calibration).fileName());
  m_calibrationField->setCursorPosition(0);
  setLimits(0, 0);
}

void ExperimentEditor::setLimits(qint64 textTokens, qint64 context) {
  m_textTokens = textTokens;
  if (context > 0) m_window->setMaximum(static_cast<int>(context));
  showWindows();
}

void ExperimentEditor::setSourcesEnabled(bool enabled) {
  for (QWidget *button : m_sourceButtons) button->setEnabled(enabled);
}

void ExperimentEditor::showWindows() {
  m_available->setText(m_textTokens > 0 ? tr("of %1").arg(m_textTokens / window()) : QString());
}

} // namespace xqs

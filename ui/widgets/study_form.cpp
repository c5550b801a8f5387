// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/study_form.h"

#include "error.h"
#include "models/study_draft.h"
#include "run/study.h"

#include <QComboBox>
#include <QFontDatabase>
#include <QFormLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QScopedValueRollback>
#include <QScrollArea>

namespace xqs {

namespace {

constexpr int kTypingMs = 250;
/// Lists that have a field of their own; the others share one.
const QStringList kOwnLists = {QStringLiteral("bits"), QStringLiteral("group")};

QStringList linesOf(const QPlainTextEdit &edit) {
  QStringList lines;
  for (const QString &line : edit.toPlainText().split(QLatin1Char('\n')))
    if (!line.trimmed().isEmpty()) lines << line.trimmed();
  return lines;
}

} // namespace

StudyForm::StudyForm(QWidget *parent) : QTabWidget(parent), m_draft(std::make_unique<StudyDraft>()) {
  setDocumentMode(true);
  setUpForm();
  setUpText();
  m_typed.setSingleShot(true);
  m_typed.setInterval(kTypingMs);
  connect(&m_typed, &QTimer::timeout, this, &StudyForm::check);
}

StudyForm::~StudyForm() = default;

void StudyForm::setUpForm() {
  auto *content = new QWidget(this);
  m_form = new QFormLayout(content);
  m_form->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
  addLines("policies", tr("Policies"), tr("Measured as they are, one a line: fp16, kivi-star:bits=4, plan:…"), 3);
  addLines("policy", tr("Varied policies"),
           tr("One a line; each is measured with every combination of the lists below. A setting that a policy names "
              "itself stays, one that its method lacks is left out."),
           4);
  addList("bits", tr("Bits"), tr("Widths that the varied policies take"), tr("4, 3, 2"));
  addList("group", tr("Groups"), tr("Group sizes that the varied policies take"), tr("64, 128"));
  QPlainTextEdit *others =
      addLines("others", tr("Other lists"),
               tr("More settings of policies, a list a line: rank = 64, 96, or rotate = none, hadamard"), 2);
  others->disconnect(this);
  connect(others, &QPlainTextEdit::textChanged, this, [this, others] {
    fieldEdited([others](StudyDraft &draft) { draft.setOtherLists(kOwnLists, linesOf(*others)); });
  });
  m_fill.back() = [others](const StudyDraft &draft) {
    others->setPlainText(draft.otherLists(kOwnLists).join(QLatin1Char('\n')));
  };
  m_isolated = new QLabel(content);
  m_isolated->setWordWrap(true);
  m_isolated->setForegroundRole(QPalette::PlaceholderText);
  m_form->addRow(m_isolated);
  addList("window", tr("Window"), tr("Tokens a window; several lengths make several runs"), tr("512"));
  addList("windows", tr("Windows"), tr("Windows to score; nothing or 0: all that fit"), tr("all that fit"));
  addChoice("state", tr("State"), tr("all: every token quantized. stream: as while decoding, the newest are FP16"),
            {{tr("all"), {}}, {tr("stream"), QStringLiteral("stream")}, {tr("both"), QStringLiteral("all,stream")}});
  addLines("model", tr("Models"), tr("GGUF files, default or synthetic:…, one a line; several make several runs"), 2);
  addLines("text", tr("Texts"), tr("Text files or builtin:primer, one a line; several make several runs"), 2);
  addChoice("captures", tr("Captures"), tr("Distributions, similarity and layer errors of the first window"),
            {{tr("yes"), {}}, {tr("no"), QStringLiteral("false")}});
  addChoice("noise_floor", tr("Noise floor"),
            tr("The first window once more with a perturbation: what differences mean nothing"),
            {{tr("no"), {}}, {tr("yes"), QStringLiteral("true")}});
  auto *scroll = new QScrollArea(this);
  scroll->setWidget(content);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setFocusPolicy(Qt::NoFocus);
  addTab(scroll, tr("F&orm"));
}

void StudyForm::setUpText() {
  m_text = new QPlainTextEdit(this);
  m_text->setObjectName(QStringLiteral("studyText"));
  m_text->setAccessibleName(tr("Study as JSON text"));
  m_text->setFont(QFontDatabase::systemFont(QFontDatabase::FixedFont));
  m_text->setLineWrapMode(QPlainTextEdit::NoWrap);
  m_text->setTabChangesFocus(true);
  addTab(m_text, tr("&Text"));
  setTabToolTip(1, tr("The study as a file has it, for everything that the form does not offer"));
  connect(m_text, &QPlainTextEdit::textChanged, this, [this] {
    if (!m_filling) m_typed.start();
  });
}

void StudyForm::bind(QWidget *field, const QString &label, const QString &toolTip) {
  field->setToolTip(toolTip);
  field->setAccessibleName(label);
  auto *name = new QLabel(label, field->parentWidget());
  name->setToolTip(toolTip);
  name->setBuddy(field);
  m_form->addRow(name, field);
}

QLineEdit *StudyForm::addList(const char *key, const QString &label, const QString &toolTip, const QString &hint) {
  auto *field = new QLineEdit(m_form->parentWidget());
  const QString name = QLatin1String(key);
  field->setObjectName(QStringLiteral("study-") + name);
  field->setPlaceholderText(hint);
  bind(field, label, toolTip);
  connect(field, &QLineEdit::textEdited, this, [this, name](const QString &text) {
    fieldEdited([&](StudyDraft &draft) { draft.setValues(name, splitList(text)); });
  });
  m_fill.push_back(
      [field, name](const StudyDraft &draft) { field->setText(draft.values(name).join(QStringLiteral(", "))); });
  return field;
}

QPlainTextEdit *StudyForm::addLines(const char *key, const QString &label, const QString &toolTip, int lines) {
  auto *field = new QPlainTextEdit(m_form->parentWidget());
  const QString name = QLatin1String(key);
  field->setObjectName(QStringLiteral("study-") + name);
  field->setLineWrapMode(QPlainTextEdit::NoWrap);
  field->setTabChangesFocus(true);
  field->setFixedHeight(field->fontMetrics().lineSpacing() * lines + 12);
  field->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  bind(field, label, toolTip);
  connect(field, &QPlainTextEdit::textChanged, this,
          [this, field, name] { fieldEdited([&](StudyDraft &draft) { draft.setValues(name, linesOf(*field)); }); });
  m_fill.push_back(
      [field, name](const StudyDraft &draft) { field->setPlainText(draft.values(name).join(QLatin1Char('\n'))); });
  return field;
}

QComboBox *StudyForm::addChoice(const char *key, const QString &label, const QString &toolTip,
                                const std::vector<std::pair<QString, QString>> &choices) {
  auto *field = new QComboBox(m_form->parentWidget());
  const QString name = QLatin1String(key);
  field->setObjectName(QStringLiteral("study-") + name);
  for (const auto &[title, value] : choices) field->addItem(title, value);
  bind(field, label, toolTip);
  connect(field, &QComboBox::activated, this, [this, field, name] {
    fieldEdited([&](StudyDraft &draft) { draft.setValues(name, splitList(field->currentData().toString())); });
  });
  m_fill.push_back([field, name](const StudyDraft &draft) {
    const int found = field->findData(draft.values(name).join(QLatin1Char(',')));
    field->setCurrentIndex(std::max(found, 0)); // a default that is written out: the first
  });
  return field;
}

QString StudyForm::source() const { return m_text->toPlainText(); }
QString StudyForm::studyName() const { return m_draft->name().isEmpty() ? m_fileName : m_draft->name(); }
QString StudyForm::about() const { return m_draft->about(); }

void StudyForm::setSource(const QString &source) {
  const QScopedValueRollback filling(m_filling, true);
  m_text->setPlainText(source);
  check();
}

void StudyForm::setSources(const QString &model, const QString &text) {
  if (!m_problem.isEmpty()) return;
  const auto fixed = [this](const char *key) { return m_draft->values(QLatin1String(key)).size() < 2; };
  StudyDraft draft = *m_draft;
  if (fixed("model")) draft.setValues(QStringLiteral("model"), {model});
  if (fixed("text")) draft.setValues(QStringLiteral("text"), {text});
  setSource(draft.source());
}

/// A field of the form: the text follows; the other fields stay as they are typed.
void StudyForm::fieldEdited(const std::function<void(StudyDraft &)> &change) {
  if (m_filling) return;
  change(*m_draft);
  const QScopedValueRollback filling(m_filling, true);
  m_text->setPlainText(m_draft->source());
  m_typed.start();
}

void StudyForm::fillForm() {
  const QScopedValueRollback filling(m_filling, true);
  for (const auto &fill : m_fill) fill(*m_draft);
}

/// The text is what counts. A field that has the focus is being typed in and is not written over.
void StudyForm::check() {
  m_typed.stop();
  m_problem.clear();
  bool readable = false;
  try {
    *m_draft = StudyDraft(source());
    readable = true;
    if (currentIndex() != 0 || m_filling) fillForm();
    Study::parse(source().toStdString(), m_fileName.toStdString());
  } catch (const Error &error) {
    m_problem = QString::fromStdString(error.what());
  }
  m_form->parentWidget()->setEnabled(readable); // else an edit there would replace a text that is being written
  const int groups = m_draft->isolatedGroups();
  m_isolated->setVisible(groups > 0);
  m_isolated->setText(tr("One layer at a time: %1 groups of settings; the text has them.").arg(groups));
  Q_EMIT changed();
}

} // namespace xqs

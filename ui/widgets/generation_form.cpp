// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/generation_form.h"

#include "error.h"
#include "models/workspace.h"
#include "run/generation.h"
#include "theme.h"

#include <nlohmann/json.hpp>

#include <QCheckBox>
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QShortcut>
#include <QSignalBlocker>
#include <QVBoxLayout>

#include <algorithm>
#include <limits>

namespace xqs {

namespace {

constexpr int kPromptLines = 3;
constexpr std::int64_t kSamplingMicroseconds = 1000; ///< 8 KB a second in the store
constexpr double kFirstTemperature = 0.8;            ///< offered when sampling is chosen

QDoubleSpinBox *decimalBox(QWidget *parent, const QString &prefix, const QString &name, const QString &tip, double min,
                           double max) {
  auto *box = new QDoubleSpinBox(parent);
  box->setPrefix(prefix);
  box->setAccessibleName(name);
  box->setToolTip(tip);
  box->setRange(min, max);
  box->setDecimals(2);
  box->setSingleStep(0.05);
  return box;
}

} // namespace

GenerationForm::GenerationForm(QWidget *parent) : QWidget(parent), m_samplingMicroseconds(kSamplingMicroseconds) {
  setUpPrompt();
  setUpPolicies();
  setUpSampling();
  setUpLayout();
  setRequest(defaultGeneration());
  connect(&Theme::current(), &Theme::changed, this, &GenerationForm::showProblem);
}

void GenerationForm::setUpPrompt() {
  m_prompt = new QPlainTextEdit(this);
  m_prompt->setObjectName(QStringLiteral("prompt"));
  m_prompt->setAccessibleName(tr("Prompt"));
  m_prompt->setPlaceholderText(tr("What to say to the model"));
  m_prompt->setToolTip(tr("What to say to the model (Ctrl+Enter generates)"));
  m_prompt->setTabChangesFocus(true);
  const QFontMetrics metrics(m_prompt->font());
  m_prompt->setFixedHeight(kPromptLines * metrics.lineSpacing() +
                           2 * static_cast<int>(m_prompt->document()->documentMargin()) + 2 * m_prompt->frameWidth());
  m_generate = new QPushButton(tr("&Generate"), this);
  m_generate->setObjectName(QStringLiteral("generate"));
  m_stop = new QPushButton(tr("S&top"), this);
  m_stop->setObjectName(QStringLiteral("stopGenerating"));
  m_stop->setToolTip(tr("Ends the generation; the tokens drawn so far are kept (Shift+F5)"));
  m_mode = new QComboBox(this);
  m_mode->setObjectName(QStringLiteral("promptMode"));
  m_mode->setAccessibleName(tr("How the prompt is put to the model"));
  m_mode->addItems({tr("Chat"), tr("Plain text")});
  m_mode->setToolTip(
      tr("Chat: the prompt as a user's message in the model's chat template. Plain text: the model goes on from it."));
  m_system = new QLineEdit(this);
  m_system->setObjectName(QStringLiteral("system"));
  m_system->setAccessibleName(tr("System message"));
  m_system->setPlaceholderText(tr("System message; empty: the template's own"));
  m_system->setToolTip(m_system->placeholderText());
  connect(m_prompt, &QPlainTextEdit::textChanged, this, &GenerationForm::showProblem);
  connect(m_mode, &QComboBox::currentIndexChanged, this, &GenerationForm::showModes);
  connect(m_generate, &QPushButton::clicked, this, &GenerationForm::start);
  connect(m_stop, &QPushButton::clicked, this, &GenerationForm::stopWanted);
  for (const int key : {Qt::Key_Return, Qt::Key_Enter}) {
    auto *shortcut = new QShortcut(QKeySequence(Qt::CTRL | static_cast<Qt::Key>(key)), this);
    shortcut->setContext(Qt::WidgetWithChildrenShortcut);
    connect(shortcut, &QShortcut::activated, this, &GenerationForm::start);
  }
}

QSpinBox *GenerationForm::spinBox(const QString &prefix, const QString &name, const QString &tip, int min, int max) {
  auto *box = new QSpinBox(this);
  box->setPrefix(prefix);
  box->setAccessibleName(name);
  box->setToolTip(tip);
  box->setRange(min, max);
  return box;
}

void GenerationForm::setUpSampling() {
  m_sampling = new QComboBox(this);
  m_sampling->setObjectName(QStringLiteral("sampling"));
  m_sampling->setAccessibleName(tr("How the next token is chosen"));
  m_sampling->addItems({tr("Greedy"), tr("Sampling")});
  m_sampling->setToolTip(
      tr("Greedy: always the likeliest token. Sampling: drawn, by the same random numbers in every column."));
  m_temperature =
      decimalBox(this, tr("temp. "), tr("Temperature"), tr("Logits are divided by it; higher is more random"), 0.01, 10);
  m_topK = spinBox(tr("top-k "), tr("Top-k"), tr("Only the k most probable tokens; 0: off"), 0, 1'000'000);
  m_topP = decimalBox(this, tr("top-p "), tr("Top-p"), tr("Only the fewest tokens with this probability together; 1: off"),
                      0.01, 1);
  m_seed = spinBox(tr("seed "), tr("Seed"), tr("Of the random numbers; the same seed draws the same text"), 0,
                   std::numeric_limits<int>::max());
  m_tokens = spinBox(tr("tokens "), tr("Tokens at most"), tr("At most so many tokens; a text may end before"), 1, 1 << 20);
  m_tokens->setObjectName(QStringLiteral("tokens"));
  m_noise = new QCheckBox(tr("Noise floor"), this);
  m_noise->setObjectName(QStringLiteral("noiseFloor"));
  m_noise->setToolTip(tr("Every column once more, unseen, its embedded tokens perturbed by 1e-6: where its own text parts "
                         "from itself. Up to twice the work."));
  m_traffic = new QCheckBox(tr("Sample memory traffic"), this);
  m_traffic->setObjectName(QStringLiteral("sampleTraffic"));
  m_traffic->setToolTip(tr("What the whole device reads and writes while tokens are drawn, other processes' traffic too; "
                           "Throughput shows it live. Costs little; needs counters that this user may read, and says so "
                           "where they are not."));
  connect(m_sampling, &QComboBox::currentIndexChanged, this, &GenerationForm::showModes);
}

void GenerationForm::setUpPolicies() {
  for (int i = 0; i < kPolicies; ++i) {
    auto *box = new QComboBox(this);
    box->setObjectName(QStringLiteral("policy%1").arg(i + 1));
    box->setAccessibleName(tr("Policy %1 beside the exact model").arg(i + 1));
    box->setEditable(true);
    box->setInsertPolicy(QComboBox::NoInsert);
    box->lineEdit()->setPlaceholderText(tr("no policy"));
    box->setMinimumContentsLength(12);
    box->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    const QString tip = tr("A policy as text, as on the command line; empty: one column less");
    box->setToolTip(tip);
    connect(box, &QComboBox::editTextChanged, this, [this, box, tip](const QString &text) {
      box->setToolTip(text.isEmpty() ? tip : text);
      showProblem();
    });
    m_policies.push_back(box);
  }
  m_problem = new QLabel(this);
  m_problem->setObjectName(QStringLiteral("generationProblem"));
  m_problem->setAccessibleName(tr("What is missing"));
  m_problem->setWordWrap(true);
}

void GenerationForm::setUpLayout() {
  auto *buttons = new QVBoxLayout;
  buttons->addWidget(m_generate);
  buttons->addWidget(m_stop);
  buttons->addStretch();
  auto *first = new QHBoxLayout;
  first->addWidget(m_prompt, 1);
  first->addLayout(buttons);
  auto *second = new QHBoxLayout;
  second->addWidget(m_mode);
  second->addWidget(m_system, 1);
  second->addWidget(m_tokens);
  second->addWidget(m_noise);
  auto *third = new QHBoxLayout;
  for (QWidget *part : std::initializer_list<QWidget *>{m_sampling, m_temperature, m_topK, m_topP, m_seed})
    third->addWidget(part);
  third->addStretch();
  third->addWidget(m_traffic);
  auto *fourth = new QHBoxLayout;
  for (QComboBox *box : m_policies) fourth->addWidget(box, 1);
  auto *column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(5);
  for (QHBoxLayout *row : {first, second, third, fourth}) {
    row->setSpacing(5);
    column->addLayout(row);
  }
  column->addWidget(m_problem);
  QWidget *previous = m_prompt;
  for (QWidget *next : std::initializer_list<QWidget *>{m_generate, m_stop, m_mode, m_system, m_tokens, m_noise, m_sampling,
                                                        m_temperature, m_topK, m_topP, m_seed, m_traffic}) {
    setTabOrder(previous, next);
    previous = next;
  }
  for (QComboBox *box : m_policies) {
    setTabOrder(previous, box);
    previous = box;
  }
}

QStringList GenerationForm::policies() const {
  QStringList list;
  for (const QComboBox *box : m_policies)
    if (const QString text = box->currentText().trimmed(); !text.isEmpty()) list << text;
  return list;
}

GenerationRequest GenerationForm::request() const {
  GenerationRequest request;
  request.prompt = m_prompt->toPlainText().toStdString();
  request.raw = m_mode->currentIndex() == 1;
  if (!request.raw) request.system = m_system->text().toStdString();
  for (const QString &policy : policies()) request.policies.push_back(PolicySpec::parse(policy.toStdString()));
  request.tokens = m_tokens->value();
  request.noiseFloor = m_noise->isChecked();
  if (samplesTraffic()) request.samplingMicroseconds = m_samplingMicroseconds;
  if (m_sampling->currentIndex() == 0) return request;
  request.sampling.temperature = m_temperature->value();
  request.sampling.topK = m_topK->value();
  request.sampling.topP = m_topP->value();
  request.sampling.seed = static_cast<std::uint64_t>(m_seed->value());
  return request;
}

void GenerationForm::setRequest(const GenerationRequest &request) {
  m_prompt->setPlainText(QString::fromStdString(request.prompt));
  m_mode->setCurrentIndex(request.raw ? 1 : 0);
  m_system->setText(QString::fromStdString(request.system));
  for (std::size_t i = 0; i < m_policies.size(); ++i)
    m_policies[i]->setEditText(i < request.policies.size() ? QString::fromStdString(request.policies[i].canonical())
                                                           : QString());
  m_tokens->setValue(static_cast<int>(request.tokens));
  m_noise->setChecked(request.noiseFloor);
  m_traffic->setChecked(request.samplingMicroseconds > 0);
  m_samplingMicroseconds = request.samplingMicroseconds > 0 ? request.samplingMicroseconds : kSamplingMicroseconds;
  const bool greedy = request.sampling.temperature == 0;
  m_sampling->setCurrentIndex(greedy ? 0 : 1);
  m_temperature->setValue(greedy ? kFirstTemperature : request.sampling.temperature);
  m_topK->setValue(static_cast<int>(std::min<Index>(request.sampling.topK, m_topK->maximum())));
  m_topP->setValue(request.sampling.topP);
  m_seed->setValue(
      static_cast<int>(std::min<std::uint64_t>(request.sampling.seed, static_cast<std::uint64_t>(m_seed->maximum()))));
  showModes();
}

QString GenerationForm::spec() const { return QString::fromStdString(toJson(request()).dump()); }

bool GenerationForm::setSpec(const QString &spec) {
  try {
    setRequest(generationFromJson(nlohmann::json::parse(spec.toStdString())));
    return true;
  } catch (const nlohmann::json::exception &) {
    return false;
  } catch (const Error &) {
    return false;
  }
}

bool GenerationForm::samplesTraffic() const { return m_traffic->isChecked(); }

void GenerationForm::generateOn(Workspace &workspace) const { workspace.generate(request()); }

void GenerationForm::setSuggestions(const QStringList &policies) {
  for (QComboBox *box : m_policies) {
    const QSignalBlocker quiet(box);
    const QString text = box->currentText();
    box->clear();
    box->addItem(QString());
    box->addItems(policies);
    box->setEditText(text);
  }
}

void GenerationForm::setEngine(const QString &obstacle, bool generating) {
  m_obstacle = obstacle;
  m_generating = generating;
  showProblem();
}

QString GenerationForm::requestProblem() const {
  if (m_prompt->toPlainText().trimmed().isEmpty()) return tr("The prompt is empty: say something to the model.");
  QStringList names;
  for (const QString &policy : policies()) {
    try {
      names << QString::fromStdString(PolicySpec::parse(policy.toStdString()).canonical());
    } catch (const Error &error) {
      return QString::fromStdString(error.what());
    }
  }
  if (names.isEmpty()) return tr("Choose at least one policy to put beside the exact model.");
  if (names.removeDuplicates() > 0) return tr("A policy is there twice: give every policy once.");
  return {};
}

QString GenerationForm::problem() const {
  const QString own = requestProblem();
  return own.isEmpty() ? m_obstacle : own;
}

void GenerationForm::start() {
  if (m_generate->isEnabled()) Q_EMIT generateWanted();
}

void GenerationForm::showProblem() {
  if (!m_problem) return; // while the parts are made
  const QString own = requestProblem(), sentence = problem();
  QPalette colors = palette();
  const Theme::Colors &theme = Theme::current().colors();
  colors.setColor(QPalette::WindowText, own.isEmpty() ? theme.mutedText : theme.error);
  m_problem->setPalette(colors);
  m_problem->setText(m_generating ? QString() : sentence);
  m_problem->setVisible(!m_problem->text().isEmpty());
  m_generate->setEnabled(sentence.isEmpty() && !m_generating);
  m_generate->setToolTip(sentence.isEmpty() ? tr("Draws text under every policy, beside the exact model (Ctrl+Enter)")
                                            : sentence);
  m_stop->setEnabled(m_generating);
}

void GenerationForm::showModes() {
  m_system->setEnabled(m_mode->currentIndex() == 0);
  for (QWidget *part : std::initializer_list<QWidget *>{m_temperature, m_topK, m_topP, m_seed})
    part->setEnabled(m_sampling->currentIndex() == 1);
  showProblem();
}

} // namespace xqs

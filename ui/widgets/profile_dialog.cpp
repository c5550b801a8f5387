// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/profile_dialog.h"

#include "error.h"
#include "models/workspace.h"
#include "run/profile_request.h"
#include "theme.h"

#include <nlohmann/json.hpp>

#include <QCheckBox>
#include <QComboBox>
#include <QFormLayout>
#include <QGroupBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QRegularExpression>
#include <QSpinBox>
#include <QVBoxLayout>

#include <algorithm>

namespace xqs {

namespace {

constexpr int kMostLayers = 1024, kMostSteps = 100'000, kMostMicroseconds = 1'000'000;

/// "2048, 8192" as JSON; what is no number stays text, so that the request's reader names it.
nlohmann::json listOf(const QString &text) {
  nlohmann::json list = nlohmann::json::array();
  for (const QString &part : text.split(QRegularExpression(QStringLiteral("[,;\\s]+")), Qt::SkipEmptyParts)) {
    bool number = false;
    const qlonglong value = part.toLongLong(&number);
    if (number)
      list.push_back(value);
    else
      list.push_back(part.toStdString());
  }
  return list;
}

QString textOf(const std::vector<Index> &values) {
  QStringList parts;
  for (const Index value : values) parts << QString::number(value);
  return parts.join(QStringLiteral(", "));
}

QSpinBox *spinBox(const QString &name, const QString &tip, int most, const QString &atZero) {
  auto *box = new QSpinBox;
  box->setAccessibleName(name);
  box->setToolTip(tip);
  box->setRange(0, most);
  box->setSpecialValueText(atZero);
  return box;
}

} // namespace

ProfileDialog::ProfileDialog(Workspace &workspace, QWidget *parent) : QDialog(parent), m_workspace(workspace) {
  setWindowTitle(tr("Profile decoding"));
  setObjectName(QStringLiteral("profileDialog"));
  auto *left = new QWidget(this);
  auto *form = new QFormLayout(left);
  form->setContentsMargins(0, 0, 0, 0);
  form->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
  setUpWhat(*form);
  setUpHow(*form);
  form->addRow(setUpRecords());
  auto *row = new QHBoxLayout;
  row->addWidget(left, 1);
  row->addWidget(setUpPolicies(), 1);
  auto *about = new QLabel(tr("Fills caches as prefill would, then times, traces and counts steps of decoding at every "
                              "context, batch and policy; the texts do not matter, so none is read."));
  about->setWordWrap(true);
  about->setForegroundRole(QPalette::PlaceholderText);
  auto *column = new QVBoxLayout(this);
  column->addWidget(about);
  column->addLayout(row, 1);
  column->addWidget(setUpFoot());
  resize(820, 560);
  showRequest({});
  EngineClient *engine = &workspace.engine();
  connect(engine, &EngineClient::backendsChanged, this, &ProfileDialog::showProblem);
  connect(engine, &EngineClient::stateChanged, this, &ProfileDialog::showProblem);
  connect(&Theme::current(), &Theme::changed, this, &ProfileDialog::showProblem);
  showProblem();
}

void ProfileDialog::setUpWhat(QFormLayout &form) {
  m_shape = new QComboBox;
  m_shape->setObjectName(QStringLiteral("shape"));
  m_shape->setAccessibleName(tr("Model or built-in shape"));
  m_shape->setToolTip(
      tr("The open model, or the shape of a published one with made-up weights: time and bytes do not depend "
         "on what weights say"));
  m_shape->addItem(tr("the open model"), QString());
  for (const BuiltInShape &shape : builtInShapes()) {
    m_shape->addItem(QLatin1String(shape.name), QLatin1String(shape.name));
    m_shape->setItemData(m_shape->count() - 1,
                         tr("%1 layers, d %2, %3 heads, %4 of them with K and V")
                             .arg(shape.shape.layers)
                             .arg(shape.shape.d)
                             .arg(shape.shape.heads)
                             .arg(shape.shape.kvHeads),
                         Qt::ToolTipRole);
  }
  form.addRow(tr("&Model"), m_shape);
  m_layers = spinBox(tr("Layers of the shape"), tr("A part of the depth, where memory is short"), kMostLayers, tr("all"));
  m_layers->setObjectName(QStringLiteral("layers"));
  form.addRow(tr("&Layers"), m_layers);
  m_contexts = new QLineEdit;
  m_contexts->setObjectName(QStringLiteral("contexts"));
  m_contexts->setAccessibleName(tr("Contexts"));
  m_contexts->setToolTip(
      tr("Tokens that each cache holds, several with commas; by itself: 2048, 8192, 32768, on a CPU 512, 1024, 2048"));
  m_contexts->setPlaceholderText(tr("by itself: up to 32768, on a CPU 2048"));
  form.addRow(tr("&Contexts"), m_contexts);
  m_batches = new QLineEdit;
  m_batches->setObjectName(QStringLiteral("batches"));
  m_batches->setAccessibleName(tr("Batches"));
  m_batches->setToolTip(tr("Sequences that are decoded together, several with commas"));
  form.addRow(tr("&Batches"), m_batches);
  connect(m_shape, &QComboBox::currentIndexChanged, this, &ProfileDialog::showShapes);
  for (const QLineEdit *edit : {m_contexts, m_batches})
    connect(edit, &QLineEdit::textChanged, this, &ProfileDialog::showProblem);
}

void ProfileDialog::setUpHow(QFormLayout &form) {
  m_rebuild = new QComboBox;
  m_rebuild->setObjectName(QStringLiteral("form"));
  m_rebuild->setAccessibleName(tr("How K and V are rebuilt"));
  for (const std::string &name : decodeFormNames()) m_rebuild->addItem(QString::fromStdString(name));
  m_rebuild->setToolTip(
      tr("separate: all rows in memory, before attention reads them. chunked: 512 tokens at a time. fused: "
         "inside attention. pipelined: a layer ahead, on a queue of its own"));
  form.addRow(tr("&Rebuild"), m_rebuild);
  m_placement = new QComboBox;
  m_placement->setObjectName(QStringLiteral("placement"));
  m_placement->setAccessibleName(tr("Where caches lie"));
  for (const Placement placement : {Placement::Device, Placement::Host})
    m_placement->addItem(QLatin1String(placementName(placement)));
  m_placement->setToolTip(tr("Caches in the device's memory, or in the host's, where a GPU reads them over PCIe"));
  form.addRow(tr("C&aches in"), m_placement);
  m_steps = spinBox(tr("Steps that are timed"), tr("Whole steps without any instrument; their median counts"), kMostSteps,
                    tr("by itself: 32, on a CPU 6"));
  m_steps->setObjectName(QStringLiteral("steps"));
  form.addRow(tr("S&teps"), m_steps);
}

QWidget *ProfileDialog::setUpRecords() {
  auto *box = new QGroupBox(tr("Recorded besides"));
  const auto check = [&](const char *name, const QString &title, const QString &tip) {
    auto *made = new QCheckBox(title, box);
    made->setObjectName(QLatin1String(name));
    made->setToolTip(tip);
    return made;
  };
  m_kernels = check("kernels", tr("every launch of a step"), tr("For the timeline: a row a launch"));
  m_counters =
      check("counters", tr("measured bytes"), tr("DRAM bytes by counters, where this machine has some and lets us read"));
  m_hitRate = check("hitRate", tr("true L2 hit rate"), tr("A counter of its own: the step runs twice more"));
  m_microscope = check("microscope", tr("Microscope: measure every kernel by itself (slow)"),
                       tr("Bytes, L2 hit rate and tensor instructions of each launch: the device runs the kernels of two "
                          "steps more one after the other, some of them again. Needs every launch and measured bytes"));
  m_costs = check("costs", tr("cost of the instruments"), tr("Steps with each instrument and without it, in turns"));
  m_sampling = spinBox(tr("Time between samples of the traffic"), tr("Of the whole device, other processes included"),
                       kMostMicroseconds, tr("no samples"));
  m_sampling->setObjectName(QStringLiteral("sampling"));
  m_sampling->setPrefix(tr("sample every "));
  m_sampling->setSuffix(tr(" µs"));
  m_sampling->setSingleStep(100);
  auto *column = new QVBoxLayout(box);
  for (QWidget *part : std::initializer_list<QWidget *>{m_kernels, m_counters, m_hitRate, m_microscope, m_costs, m_sampling})
    column->addWidget(part);
  const auto showMicroscope = [this] { m_microscope->setEnabled(m_kernels->isChecked() && m_counters->isChecked()); };
  for (const QCheckBox *needed : {m_kernels, m_counters}) connect(needed, &QCheckBox::toggled, this, showMicroscope);
  showMicroscope();
  return box;
}

QWidget *ProfileDialog::setUpPolicies() {
  auto *box = new QWidget(this);
  m_policies = new QPlainTextEdit(box);
  m_policies->setObjectName(QStringLiteral("policies"));
  m_policies->setAccessibleName(tr("Policies"));
  m_policies->setToolTip(tr("One a line, as on the command line: kivi-star:bits=2, plan:…; FP16 is always there"));
  m_policies->setPlaceholderText(
      tr("One a line. Empty: every method at 4 and at 2 bits, and low rank.\nFP16 is always there, to compare with."));
  m_policies->setTabChangesFocus(true);
  m_policies->setLineWrapMode(QPlainTextEdit::NoWrap);
  auto *caption = new QLabel(tr("&Policies, one a line"), box);
  caption->setBuddy(m_policies);
  auto *take = new QPushButton(tr("From the e&xperiment"), box);
  take->setObjectName(QStringLiteral("fromExperiment"));
  take->setToolTip(tr("The policies that the window's next run measures"));
  take->setAutoDefault(false);
  auto *column = new QVBoxLayout(box);
  column->setContentsMargins(0, 0, 0, 0);
  column->addWidget(caption);
  column->addWidget(m_policies, 1);
  column->addWidget(take, 0, Qt::AlignLeft);
  connect(m_policies, &QPlainTextEdit::textChanged, this, &ProfileDialog::showProblem);
  connect(take, &QPushButton::clicked, this, [this] { m_policies->setPlainText(m_experiment.join(u'\n')); });
  return box;
}

QWidget *ProfileDialog::setUpFoot() {
  auto *foot = new QWidget(this);
  m_backend = new QLabel(foot);
  m_backend->setObjectName(QStringLiteral("computesOn"));
  m_backend->setForegroundRole(QPalette::PlaceholderText);
  m_backend->setToolTip(tr("Run > Compute on changes it"));
  m_problem = new QLabel(foot);
  m_problem->setObjectName(QStringLiteral("profileProblem"));
  m_problem->setAccessibleName(tr("What is missing"));
  m_problem->setWordWrap(true);
  m_start = new QPushButton(tr("&Start"), foot);
  m_start->setObjectName(QStringLiteral("startProfile"));
  m_start->setDefault(true);
  auto *close = new QPushButton(tr("Close"), foot);
  close->setAutoDefault(false);
  auto *grid = new QHBoxLayout(foot);
  grid->setContentsMargins(0, 0, 0, 0);
  auto *texts = new QVBoxLayout;
  texts->addWidget(m_problem);
  texts->addWidget(m_backend);
  grid->addLayout(texts, 1);
  grid->addWidget(m_start);
  grid->addWidget(close);
  connect(m_start, &QPushButton::clicked, this, &ProfileDialog::start);
  connect(close, &QPushButton::clicked, this, &QWidget::close);
  return foot;
}

void ProfileDialog::setExperiment(const QStringList &policies) { m_experiment = policies; }

ProfileRequest ProfileDialog::request() const {
  nlohmann::json json{{"shape", m_shape->currentData().toString().toStdString()},
                      {"layers", m_layers->isEnabled() ? m_layers->value() : 0},
                      {"contexts", listOf(m_contexts->text())},
                      {"batches", listOf(m_batches->text())},
                      {"form", m_rebuild->currentText().toStdString()},
                      {"placement", m_placement->currentText().toStdString()},
                      {"steps", m_steps->value()},
                      {"kernels", m_kernels->isChecked()},
                      {"counters", m_counters->isChecked()},
                      {"hit_rate", m_hitRate->isChecked()},
                      {"microscope", m_microscope->isEnabled() && m_microscope->isChecked()},
                      {"costs", m_costs->isChecked()},
                      {"sampling_us", m_sampling->value()}};
  nlohmann::json policies = nlohmann::json::array();
  for (const QString &line : m_policies->toPlainText().split(u'\n'))
    if (!line.trimmed().isEmpty()) policies.push_back(line.trimmed().toStdString());
  json["policies"] = policies;
  return profileFromJson(json);
}

void ProfileDialog::showRequest(const ProfileRequest &shown) {
  m_shape->setCurrentIndex(std::max(0, m_shape->findData(QString::fromStdString(shown.shape))));
  m_layers->setValue(static_cast<int>(shown.layers));
  m_contexts->setText(textOf(shown.contexts));
  m_batches->setText(textOf(shown.batches));
  QStringList policies;
  for (const PolicySpec &policy : shown.policies) policies << QString::fromStdString(policy.canonical());
  m_policies->setPlainText(policies.join(u'\n'));
  m_rebuild->setCurrentText(QLatin1String(decodeFormName(shown.form)));
  m_placement->setCurrentText(QLatin1String(placementName(shown.placement)));
  m_steps->setValue(static_cast<int>(shown.steps));
  m_kernels->setChecked(shown.kernels);
  m_counters->setChecked(shown.counters);
  m_hitRate->setChecked(shown.hitRate);
  m_microscope->setChecked(shown.microscope);
  m_costs->setChecked(shown.costs);
  m_sampling->setValue(static_cast<int>(shown.samplingMicroseconds));
  showShapes();
}

QString ProfileDialog::spec() const { return QString::fromStdString(toJson(request()).dump()); }

bool ProfileDialog::setSpec(const QString &spec) {
  try {
    showRequest(profileFromJson(nlohmann::json::parse(spec.toStdString())));
    return true;
  } catch (const nlohmann::json::exception &) {
    return false;
  } catch (const Error &) {
    return false;
  }
}

void ProfileDialog::showShapes() {
  m_layers->setEnabled(m_shape->currentIndex() > 0);
  showProblem();
}

QString ProfileDialog::requestProblem() const {
  try {
    request();
    return {};
  } catch (const Error &error) {
    return QString::fromStdString(error.what());
  }
}

QString ProfileDialog::obstacle() const {
  using Phase = EngineClient::State;
  switch (m_workspace.engine().state()) {
  case Phase::Ready: return {};
  case Phase::Running:
  case Phase::Paused:
  case Phase::Cancelling: return tr("A run is in progress.");
  case Phase::Starting:
  case Phase::Loading: return tr("The model is being loaded.");
  case Phase::Waiting: return tr("No model is open: choose one with File > Open model.");
  case Phase::Stopped: return tr("No engine is running: File > Open model starts one. Recorded profiles can be viewed.");
  }
  return {};
}

QString ProfileDialog::problem() const {
  const QString own = requestProblem();
  return own.isEmpty() ? obstacle() : own;
}

void ProfileDialog::showProblem() {
  if (m_start == nullptr) return; // while the parts are made
  const QString own = requestProblem(), sentence = own.isEmpty() ? obstacle() : own;
  const Theme::Colors &theme = Theme::current().colors();
  QPalette colors = palette();
  colors.setColor(QPalette::WindowText, own.isEmpty() ? theme.mutedText : theme.error);
  m_problem->setPalette(colors);
  m_problem->setText(sentence);
  m_problem->setVisible(!sentence.isEmpty());
  m_start->setEnabled(sentence.isEmpty());
  m_start->setToolTip(sentence.isEmpty() ? tr("Measures every policy at every context and batch; the views grow with it")
                                         : sentence);
  const std::optional<EngineModel> &model = m_workspace.engine().model();
  m_backend->setText(model ? tr("Computes on %1 · %2").arg(model->backend.toUpper(), model->device) : QString());
}

void ProfileDialog::start() {
  if (!problem().isEmpty()) return;
  m_workspace.profile(request());
  hide();
  Q_EMIT started();
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/study_builder.h"

#include "error.h"
#include "model/input_file.h"
#include "models/study_points.h"
#include "models/workspace.h"
#include "plot/format.h"
#include "run/resources.h"
#include "run/study.h"
#include "theme.h"
#include "widgets/study_form.h"
#include "widgets/tables.h"

#include <QComboBox>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QProgressBar>
#include <QPushButton>
#include <QSaveFile>
#include <QSplitter>
#include <QTableView>
#include <QVBoxLayout>

#include <cmath>

namespace xqs {

namespace {

constexpr int kAskMs = 300;
constexpr int kBarSteps = 1000;
constexpr std::size_t kMaxStudyBytes = 1 << 20;

QPushButton *button(QWidget *parent, const QString &title, const QString &tip) {
  auto *made = new QPushButton(title, parent);
  made->setToolTip(tip);
  made->setAutoDefault(false);
  return made;
}

QLabel *label(QWidget *parent, const char *name, bool muted = false) {
  auto *made = new QLabel(parent);
  made->setObjectName(QLatin1String(name));
  made->setWordWrap(true);
  made->setTextInteractionFlags(Qt::TextSelectableByMouse);
  if (muted) made->setForegroundRole(QPalette::PlaceholderText);
  return made;
}

} // namespace

StudyBuilder::StudyBuilder(Workspace &workspace, QWidget *parent)
    : QDialog(parent), m_workspace(workspace), m_form(new StudyForm(this)), m_points(new StudyPoints(this)) {
  setWindowTitle(tr("Study: many settings, resumable"));
  setObjectName(QStringLiteral("studyBuilder"));
  auto *split = new QSplitter(this);
  split->addWidget(m_form);
  split->addWidget(setUpForecast());
  split->setChildrenCollapsible(false);
  split->setSizes({430, 570});
  m_problem = label(this, "studyProblem");
  m_problem->setAccessibleName(tr("What is wrong with the study"));
  auto *column = new QVBoxLayout(this);
  column->addWidget(setUpChoice());
  column->addWidget(split, 1);
  column->addWidget(m_problem);
  column->addWidget(setUpProgress());
  m_ask.setSingleShot(true);
  m_ask.setInterval(kAskMs);
  connect(&m_ask, &QTimer::timeout, this, &StudyBuilder::askEstimate);
  connect(m_form, &StudyForm::changed, this, &StudyBuilder::studyChanged);
  connectEngine();
  resize(1040, 720);
  showState();
}

QWidget *StudyBuilder::setUpChoice() {
  auto *bar = new QWidget(this);
  m_choice = new QComboBox(bar);
  m_choice->setObjectName(QStringLiteral("builtIn"));
  m_choice->setAccessibleName(tr("Built-in study"));
  for (const std::string &name : Study::builtInNames()) {
    m_choice->addItem(QString::fromStdString(name));
    m_choice->setItemData(m_choice->count() - 1, QString::fromStdString(Study::builtIn(name).about()), Qt::ToolTipRole);
  }
  m_choice->setCurrentIndex(-1);
  m_choice->setPlaceholderText(tr("own study"));
  auto *caption = new QLabel(tr("&Study"), bar);
  caption->setBuddy(m_choice);
  auto *open = button(bar, tr("&Open…"), tr("Reads a study file"));
  auto *save = button(bar, tr("Sa&ve…"), tr("Writes the study for the command line: xqscope-cli run, slurm"));
  m_about = label(bar, "about", true);
  auto *row = new QHBoxLayout(bar);
  row->setContentsMargins(0, 0, 0, 0);
  row->addWidget(caption);
  row->addWidget(m_choice);
  row->addWidget(open);
  row->addWidget(save);
  row->addWidget(m_about, 1);
  connect(m_choice, &QComboBox::activated, this, [this] { chooseBuiltIn(m_choice->currentText()); });
  connect(open, &QPushButton::clicked, this, [this] {
    const QString file = QFileDialog::getOpenFileName(this, tr("Open a study"), {}, tr("Studies (*.json);;All files (*)"));
    if (!file.isEmpty()) loadFrom(file);
  });
  connect(save, &QPushButton::clicked, this, [this] {
    const QString file = QFileDialog::getSaveFileName(this, tr("Save the study"),
                                                      m_form->studyName() + QStringLiteral(".json"), tr("Studies (*.json)"));
    if (!file.isEmpty()) saveTo(file);
  });
  return bar;
}

QWidget *StudyBuilder::setUpForecast() {
  auto *box = new QWidget(this);
  m_forecast = label(box, "forecast");
  m_source = label(box, "estimateSource", true);
  m_stores = new QComboBox(box);
  m_stores->setObjectName(QStringLiteral("stores"));
  m_stores->setAccessibleName(tr("File for the results"));
  m_stores->setToolTip(
      tr("Points that this file has already are not computed again: choose the file of an earlier session to "
         "go on with a study that was begun there"));
  auto *caption = new QLabel(tr("&Results go to"), box);
  caption->setBuddy(m_stores);
  auto *where = new QHBoxLayout;
  where->addWidget(caption);
  where->addWidget(m_stores, 1);
  auto *table = new QTableView(box);
  table->setModel(m_points);
  setUpTable(*table, tr("Points of the study"));
  setColumnWidths(*table, {40, 280, 80, 70});
  table->horizontalHeader()->setStretchLastSection(false);
  table->horizontalHeader()->setSectionResizeMode(1, QHeaderView::Stretch);
  auto *column = new QVBoxLayout(box);
  column->setContentsMargins(0, 0, 0, 0);
  column->addWidget(m_forecast);
  column->addWidget(m_source);
  column->addLayout(where);
  column->addWidget(table, 1);
  connect(m_stores, &QComboBox::activated, this, &StudyBuilder::studyChanged);
  return box;
}

QWidget *StudyBuilder::setUpProgress() {
  auto *bar = new QWidget(this);
  m_bar = new QProgressBar(bar);
  m_bar->setRange(0, kBarSteps);
  m_bar->setTextVisible(false);
  m_bar->setFixedWidth(180);
  m_bar->setAccessibleName(tr("Progress of the study"));
  m_progressText = new QLabel(bar);
  m_progressText->setObjectName(QStringLiteral("studyProgress"));
  m_progressText->setMinimumWidth(10);
  m_start = button(bar, tr("St&art"), tr("Computes what the file lacks; what is finished stays whatever happens"));
  m_start->setObjectName(QStringLiteral("startStudy"));
  m_pause = button(bar, tr("&Pause"), tr("Waits after the present step"));
  m_pause->setObjectName(QStringLiteral("pauseStudy"));
  m_cancel = button(bar, tr("&Cancel"), tr("Ends the study; finished points are kept, Start goes on from there"));
  m_cancel->setObjectName(QStringLiteral("cancelStudy"));
  auto *close = button(bar, tr("C&lose"), tr("The study goes on"));
  auto *row = new QHBoxLayout(bar);
  row->setContentsMargins(0, 0, 0, 0);
  row->addWidget(m_bar);
  row->addWidget(m_progressText, 1);
  for (QPushButton *one : {m_start, m_pause, m_cancel, close}) row->addWidget(one);
  EngineClient *engine = &m_workspace.engine();
  connect(m_start, &QPushButton::clicked, this, &StudyBuilder::start);
  connect(m_cancel, &QPushButton::clicked, engine, &EngineClient::cancel);
  connect(m_pause, &QPushButton::clicked, engine,
          [engine] { engine->state() == EngineClient::State::Paused ? engine->resume() : engine->pause(); });
  connect(close, &QPushButton::clicked, this, &QDialog::close);
  return bar;
}

void StudyBuilder::connectEngine() {
  EngineClient *engine = &m_workspace.engine();
  connect(engine, &EngineClient::estimateReady, this, &StudyBuilder::takeEstimate);
  connect(engine, &EngineClient::estimateFailed, this, [this](qint64 tag, const QString &message) {
    if (tag != m_tag) return;
    m_waiting = false;
    m_fault = message;
    m_points->clear();
    showForecast();
  });
  connect(engine, &EngineClient::stateChanged, this, &StudyBuilder::showState);
  connect(engine, &EngineClient::modelReady, this, [this] { m_ask.start(); }); // also after the engine was replaced
  connect(engine, &EngineClient::progress, this, [this](const EngineProgress &p) {
    if (!m_mine) return;
    m_bar->setValue(p.total > 0 ? static_cast<int>(std::lround(p.done / p.total * kBarSteps)) : 0);
    m_progressText->setText(p.secondsLeft > 0 ? tr("%1 left · %2").arg(formatSeconds(p.secondsLeft), p.text) : p.text);
    m_progressText->setToolTip(p.text);
  });
  connect(engine, &EngineClient::runEnded, this,
          [this](qint64, const QString &status, const QString &message) { ended(status, message); });
  connect(engine, &EngineClient::failed, this, [this](const QString &, const QString &message) {
    if (m_mine) ended(QStringLiteral("failed"), message);
  });
}

void StudyBuilder::showEvent(QShowEvent *event) {
  QDialog::showEvent(event);
  if (m_form->source().isEmpty()) chooseBuiltIn(m_choice->itemText(0));
  showStores();
  m_ask.start(); // the file may have more than when this was shown last
}

void StudyBuilder::setSources(const QString &model, const QString &text) { m_model = model, m_text = text; }

void StudyBuilder::chooseBuiltIn(const QString &name) {
  const std::string key = name.toStdString();
  const auto source = builtInStudy(key);
  m_fault.clear();
  m_form->setFileName(name);
  m_form->setSource(source.empty() ? QString::fromStdString(toJson(defaultExperiment()).dump(2))
                                   : QString::fromUtf8(source.data(), static_cast<qsizetype>(source.size())));
  if (!m_model.isEmpty()) m_form->setSources(m_model, m_text);
  m_choice->setCurrentText(name);
}

bool StudyBuilder::loadFrom(const QString &file) {
  try {
    const std::string source = readRegularFile(QFile::encodeName(file).toStdString(), "study", kMaxStudyBytes);
    m_fault.clear();
    m_form->setFileName(QFileInfo(file).completeBaseName());
    m_choice->setCurrentIndex(-1);
    m_form->setSource(QString::fromUtf8(source.data(), static_cast<qsizetype>(source.size())));
    return m_form->problem().isEmpty();
  } catch (const Error &error) {
    m_fault = QString::fromStdString(error.what());
    showProblem();
    return false;
  }
}

bool StudyBuilder::saveTo(const QString &file) {
  QSaveFile out(file);
  const QByteArray bytes = m_form->source().toUtf8();
  const bool written = out.open(QIODevice::WriteOnly) && out.write(bytes) == bytes.size() && out.commit();
  m_fault = written ? QString() : tr("%1 cannot be written; choose another folder or free disk space.").arg(file);
  showProblem();
  return written;
}

/// The session's own file first, then the open ones that can be written.
void StudyBuilder::showStores() {
  const QString chosen = store(), live = m_workspace.liveStore();
  m_stores->clear();
  m_stores->addItem(tr("%1 (this session)").arg(QFileInfo(live).fileName()), live);
  for (const QString &file : m_workspace.data().files())
    if (file != live && QFileInfo(file).isWritable() && !m_workspace.isDemo(file))
      m_stores->addItem(QFileInfo(file).fileName(), file);
  for (int i = 0; i < m_stores->count(); ++i) m_stores->setItemData(i, m_stores->itemData(i), Qt::ToolTipRole);
  m_stores->setCurrentIndex(std::max(0, m_stores->findData(chosen)));
}

QString StudyBuilder::store() const { return m_stores->currentData().toString(); }

void StudyBuilder::studyChanged() {
  m_fault.clear();
  m_about->setText(m_form->about());
  ++m_tag; // an answer that is under way is of another study
  m_waiting = false;
  showForecast();
  if (m_form->problem().isEmpty()) m_ask.start();
}

void StudyBuilder::askEstimate() {
  if (!isVisible() || !m_form->problem().isEmpty() || m_form->source().isEmpty()) return;
  if (m_workspace.engine().state() != EngineClient::State::Ready) return; // `modelReady` or the run's end asks again
  m_waiting = true;
  m_workspace.engine().estimate({{QStringLiteral("study"), m_form->source()},
                                 {QStringLiteral("name"), m_form->studyName() + QStringLiteral(".json")},
                                 {QStringLiteral("store"), store()}},
                                ++m_tag);
  showForecast();
}

void StudyBuilder::takeEstimate(qint64 tag, const QJsonObject &estimate) {
  if (tag != m_tag) return;
  m_waiting = false;
  m_fault.clear();
  m_points->setEstimate(estimate);
  showForecast();
}

void StudyBuilder::showForecast() {
  const bool known = m_points->runs() > 0;
  const bool current = m_form->problem().isEmpty() && m_fault.isEmpty();
  if (!current || !known)
    m_forecast->setText(!current || !m_waiting ? tr("No estimate yet.") : tr("Estimating…"));
  else if (m_points->missing() == 0 && m_points->points() > 0)
    m_forecast->setText(tr("<b>All %1 points</b> are in the file already.").arg(m_points->points()));
  else
    m_forecast->setText(tr("<b>%1 points</b> in %2 runs, %3 missing · about <b>%4</b> · %5 of FP16")
                            .arg(m_points->points())
                            .arg(m_points->runs())
                            .arg(m_points->missing())
                            .arg(formatSeconds(std::max(1.0, std::round(m_points->seconds()))),
                                 m_points->relativeSizes().isEmpty() ? QStringLiteral("–") : m_points->relativeSizes()));
  QString source;
  if (current && known && m_points->missing() > 0) source = tr("Time: %1.").arg(m_points->timeSource());
  if (current && m_points->problems() > 0)
    source += tr(" %1 settings cannot be measured: see the list.").arg(m_points->problems());
  if (m_points->leftOut() > 0) source += tr(" %1 more policies are not listed.").arg(m_points->leftOut());
  if (m_waiting && known) source = tr("Estimating…");
  m_source->setText(source.trimmed());
  showState();
}

void StudyBuilder::showProblem() {
  const QString sentence = m_form->problem().isEmpty() ? m_fault : m_form->problem();
  QPalette palette = m_problem->palette();
  palette.setColor(QPalette::WindowText, Theme::current().colors().error);
  m_problem->setPalette(palette);
  m_problem->setText(sentence);
  m_problem->setVisible(!sentence.isEmpty());
}

QString StudyBuilder::problem() const { return m_problem->isHidden() ? QString() : m_problem->text(); }

void StudyBuilder::showState() {
  using Status = EngineClient::State;
  const Status state = m_workspace.engine().state();
  const bool running = m_workspace.engine().isRunning();
  showProblem();
  m_start->setEnabled(state == Status::Ready && m_form->problem().isEmpty() && !m_form->source().isEmpty());
  m_start->setToolTip(running ? tr("A run is in progress")
                      : state != Status::Ready
                          ? tr("Waits for the engine to have a model")
                          : tr("Computes what the file lacks; what is finished stays whatever happens"));
  m_pause->setEnabled(state == Status::Running || state == Status::Paused);
  m_pause->setText(state == Status::Paused ? tr("&Resume") : tr("&Pause"));
  m_cancel->setEnabled(state == Status::Running || state == Status::Paused);
  m_stores->setEnabled(!running);
  m_bar->setVisible(m_mine);
  if (running && !m_mine) m_progressText->setText(tr("A run is in progress; the estimate comes when it has ended."));
}

void StudyBuilder::start() {
  m_mine = true;
  m_bar->setValue(0);
  m_progressText->setText(tr("Starting…"));
  m_workspace.runStudy(m_form->source(), m_form->studyName(), store());
  showState();
}

void StudyBuilder::ended(const QString &status, const QString &message) {
  const bool mine = std::exchange(m_mine, false);
  m_progressText->setText(!mine                                  ? QString()
                          : status == QLatin1String("finished")  ? tr("Finished.")
                          : status == QLatin1String("cancelled") ? tr("Ended; Start goes on from there.")
                                                                 : tr("Ended: %1").arg(message));
  showState();
  m_ask.start();
}

} // namespace xqs

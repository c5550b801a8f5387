// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/workspace.h"

#include "analysis/run_shape.h"
#include "error.h"
#include "run/experiment.h"
#include "run/generation.h"
#include "run/profile_request.h"

#include <nlohmann/json.hpp>

#include <QCoreApplication>
#include <QDateTime>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QJsonDocument>
#include <QPointer>
#include <QStandardPaths>
#include <QThreadPool>

#include <array>
#include <fstream>
#include <utility>

namespace xqs {

namespace {

std::filesystem::path toPath(const QString &file) { return std::filesystem::path(QFile::encodeName(file).toStdString()); }

/// sessions/<utc>-<process>.xqs in the user's data folder: the engine makes it later, so that its name alone has to keep two
/// windows of the same second apart.
QString newStoreFile() {
  const QString folder = QStandardPaths::writableLocation(QStandardPaths::AppDataLocation) + QStringLiteral("/sessions");
  QDir().mkpath(folder);
  const QString name = QStringLiteral("%1/%2Z-%3")
                           .arg(folder, QDateTime::currentDateTimeUtc().toString(QStringLiteral("yyyyMMdd-HHmmss")))
                           .arg(QCoreApplication::applicationPid());
  QString file = name + QStringLiteral(".xqs");
  for (int i = 2; QFile::exists(file); ++i) file = QStringLiteral("%1-%2.xqs").arg(name).arg(i);
  return file;
}

void writeFile(const QString &file, const std::string &bytes) {
  std::ofstream out(toPath(file), std::ios::binary);
  out << bytes;
  out.close();
  if (!out)
    throw Error(Code::StoreUnwritable, file.toStdString() + " cannot be written; choose another folder or free disk space");
}

/// Runs whose views do not show those of the other groups: choosing one hides only its own kind.
enum Group : std::size_t { Scores, Generations, Profiles, GroupCount };
Group groupOf(const RunData::Run &run) {
  return run.row.kind == "generate" ? Generations : run.row.kind == "profile" ? Profiles : Scores;
}

QJsonObject toQt(const nlohmann::json &json) {
  return QJsonDocument::fromJson(QByteArray::fromStdString(json.dump())).object();
}

} // namespace

Workspace::Workspace(QObject *parent)
    : QObject(parent), m_engine(std::make_unique<EngineClient>()), m_liveStore(newStoreFile()) {
  connect(&m_data, &RunData::failed, this, [this](const QString &sentence) {
    if (m_refused)
      m_refused->append(sentence);
    else
      Q_EMIT message(Severity::Error, sentence);
  });
  connectEngine();
}

Workspace::~Workspace() {
  m_engine->disconnect(this);
  m_engine.reset(); // closes the store
  bool measured = false;
  m_data.poll();
  for (const RunData::Run *run : m_data.runs())
    measured = measured || (run->row.kind != "preview" && m_data.files().value(run->key.file) == m_liveStore);
  m_data.closeAll();
  if (measured) return;
  for (const char *suffix : {"", "-wal", "-shm", "-journal", "-writer"}) QFile::remove(m_liveStore + QLatin1String(suffix));
}

void Workspace::connectEngine() {
  EngineClient *engine = m_engine.get();
  connect(engine, &EngineClient::modelReady, this, [this] {
    if (QFile::exists(m_liveStore)) m_data.open(m_liveStore);
    Q_EMIT shapeChanged();
  });
  connect(engine, &EngineClient::runStarted, this, &Workspace::showRun);
  connect(engine, &EngineClient::previewReady, this,
          [this](qint64 run, qint64, const QString &policy) { showPreview(run, policy); });
  connect(engine, &EngineClient::previewFailed, this,
          [this](const QString &sentence) { Q_EMIT message(Severity::Warning, sentence); });
  connect(engine, &EngineClient::failed, this,
          [this](const QString &, const QString &sentence) { Q_EMIT message(Severity::Error, sentence); });
  connect(engine, &EngineClient::restarted, this,
          [this](const QString &sentence) { Q_EMIT message(Severity::Warning, sentence); });
  connect(engine, &EngineClient::runEnded, this, [this](qint64, const QString &status, const QString &sentence) {
    if (status == QLatin1String("failed"))
      Q_EMIT message(Severity::Error, sentence);
    else if (status == QLatin1String("finished") && !sentence.isEmpty()) // of a study: what could not be measured
      Q_EMIT message(Severity::Warning, sentence);
  });
}

bool Workspace::openDemo() {
  const QString resource = QStringLiteral(":/demo.xqs");
  if (!QFile::exists(resource) || !m_demoFolder.isValid()) return false;
  const QString copy = m_demoFolder.filePath(QStringLiteral("demo.xqs"));
  if (!QFile::exists(copy) && !QFile::copy(resource, copy)) return false;
  QFile::setPermissions(copy, QFile::ReadOwner | QFile::WriteOwner);
  const bool opened = m_data.open(copy, true);
  if (opened) Q_EMIT shapeChanged();
  return opened;
}

void Workspace::openFiles(const QStringList &files) {
  std::vector<RunData::Key> shown;
  QStringList empty;
  m_refused.emplace();
  for (const QString &file : files) {
    if (!m_data.open(file)) continue;
    const int index = static_cast<int>(m_data.files().indexOf(QFileInfo(file).absoluteFilePath()));
    std::array<const RunData::Run *, GroupCount> newest{};
    for (const RunData::Run *run : m_data.runs())
      if (run->key.file == index && run->row.kind != "preview") newest[groupOf(*run)] = run;
    for (const RunData::Run *run : newest)
      if (run) shown.push_back(run->key);
    if (newest == std::array<const RunData::Run *, GroupCount>{}) empty << tr("%1 holds no run yet.").arg(file);
  }
  const QStringList refused = *std::exchange(m_refused, std::nullopt);
  if (const QStringList said = refused + empty; !said.isEmpty())
    Q_EMIT message(refused.isEmpty() ? Severity::Info : Severity::Error, said.join(u'\n'));
  if (!shown.empty()) m_selection.setRuns(std::move(shown));
  Q_EMIT shapeChanged();
}

void Workspace::startEngine(const QString &model, const QString &text) {
  openModel(model, text);
  m_engine->start();
}

void Workspace::openModel(const QString &model, const QString &text, const QString &calibration) {
  if (model == m_model && text == m_text && calibration == m_calibration && m_engine->model()) return;
  m_model = model;
  m_text = text;
  m_calibration = calibration;
  m_engine->open(model, text, m_liveStore, calibration);
}

void Workspace::run(const Experiment &wanted) {
  Experiment experiment = wanted;
  experiment.model = m_model.toStdString();
  experiment.text = m_text.toStdString();
  m_runStore = m_liveStore;
  m_engine->run(toQt(toJson(experiment)));
}

void Workspace::runStudy(const QString &source, const QString &name, const QString &store) {
  m_runStore = store;
  m_engine->study({{QStringLiteral("study"), source},
                   {QStringLiteral("name"), name + QStringLiteral(".json")},
                   {QStringLiteral("store"), store}});
}

void Workspace::generate(const GenerationRequest &request) {
  m_runStore = m_liveStore;
  m_engine->generate(toQt(toJson(request)));
}

void Workspace::profile(const ProfileRequest &request) {
  m_runStore = m_liveStore;
  m_engine->profile(toQt(toJson(request)));
}

void Workspace::showRun(qint64 run) {
  if (!m_data.open(m_runStore)) return;
  m_data.poll();
  std::vector<RunData::Key> keys{{static_cast<int>(m_data.files().indexOf(m_runStore)), run}};
  if (const RunData::Run *started = m_data.find(keys.front()))
    for (const RunData::Key &key : m_selection.runs()) // a generation hides no curve, a profile neither
      if (const RunData::Run *other = m_data.find(key); other && groupOf(*other) != groupOf(*started)) keys.push_back(key);
  m_selection.setRuns(std::move(keys));
}

void Workspace::showPreview(qint64, const QString &policy) {
  if (!m_data.open(m_liveStore)) return;
  m_data.poll();
  m_selection.setPolicy(policy);
}

std::optional<ModelShape> Workspace::shape() const {
  if (m_engine->model()) return m_engine->model()->shape();
  const auto runs = m_data.runs();
  if (runs.empty()) return std::nullopt;
  return shapeOf(runs.back()->row);
}

QString Workspace::shapeName() const {
  if (m_engine->model()) return m_engine->model()->name;
  const auto runs = m_data.runs();
  return runs.empty() ? QString() : QString::fromStdString(runs.back()->row.model);
}

QString Workspace::currentFile() const {
  const QStringList files = m_data.files();
  if (!m_selection.runs().empty()) return files.value(m_selection.runs().front().file);
  return files.contains(m_liveStore) ? m_liveStore : files.value(0);
}

void Workspace::saveAs(const QString &to) {
  inBackground(tr("Saved as %1.").arg(to), [from = currentFile(), to] { copyStore(toPath(from), toPath(to)); });
}

void Workspace::exportCsvTo(const QString &folder) {
  inBackground(tr("Tables written to %1.").arg(folder),
               [from = currentFile(), folder] { exportCsv(toPath(from), toPath(folder)); });
}

void Workspace::exportJsonTo(const QString &file) {
  inBackground(tr("Written to %1.").arg(file), [from = currentFile(), file] { writeFile(file, exportJson(toPath(from))); });
}

void Workspace::inBackground(const QString &done, std::function<void()> job) {
  QThreadPool::globalInstance()->start([self = QPointer<Workspace>(this), done, job = std::move(job)] {
    Severity severity = Severity::Info;
    QString sentence = done;
    try {
      job();
    } catch (const std::exception &error) { // a worker must not throw into Qt
      severity = Severity::Error;
      sentence = QString::fromStdString(error.what());
    }
    QMetaObject::invokeMethod(qApp, [self, severity, sentence] {
      if (self) Q_EMIT self->message(severity, sentence);
    });
  });
}

} // namespace xqs

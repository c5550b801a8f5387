// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/engine_client.h"

#include "model/model_reader.h"

#include <QCoreApplication>
#include <QFileInfo>
#include <QJsonArray>
#include <QJsonDocument>
#include <QLoggingCategory>
#include <QStandardPaths>

#include <algorithm>
#include <iterator>
#include <utility>

namespace xqs {

Q_LOGGING_CATEGORY(lcEngine, "xqscope.engine", QtWarningMsg)

namespace {

constexpr int kCancelSilenceMs = 2000; ///< after this much silence a cancelled engine is replaced
constexpr int kEarlyDeathMs = 5000;    ///< an engine that lives shorter has a problem that a restart does not cure
constexpr int kEarlyDeathsAllowed = 2;
constexpr int kPreviewPatienceMs = 5000; ///< a preview not answered by then no longer holds newer ones back
constexpr int kQuitMs = 1500;
constexpr int kGpuDeathsAllowed = 1; ///< in a row
const QString kCpu = QStringLiteral("cpu");

qint64 integer(const QJsonObject &object, const char *key) {
  return static_cast<qint64>(object[QLatin1String(key)].toDouble());
}
QString string(const QJsonObject &object, const char *key) { return object[QLatin1String(key)].toString(); }
double number(const QJsonObject &object, const char *key) { return object[QLatin1String(key)].toDouble(); }

QJsonObject command(const char *name) { return {{QStringLiteral("cmd"), QLatin1String(name)}}; }

} // namespace

ModelShape EngineModel::shape() const { return {layers, d, heads, kvHeads, dh}; }

EngineClient::EngineClient(QObject *parent) : QObject(parent) {
  qRegisterMetaType<EngineModel>();
  qRegisterMetaType<EngineProgress>();
  setProgram(findProgram());
  m_cancelTimer.setSingleShot(true);
  m_cancelTimer.setInterval(kCancelSilenceMs);
  connect(&m_cancelTimer, &QTimer::timeout, this, &EngineClient::cancelTimedOut);
  m_faultTimer.setSingleShot(true);
  m_faultTimer.setInterval(kQuitMs);
  connect(&m_faultTimer, &QTimer::timeout, this, [this] {
    if (m_process) m_process->kill(); // a broken driver may not let it end
  });
}

EngineClient::~EngineClient() {
  if (!m_process) return;
  m_process->disconnect(this);
  send(command("quit"));
  m_process->closeWriteChannel();
  if (m_process->state() == QProcess::NotRunning || m_process->waitForFinished(kQuitMs)) return;
  m_process->kill();
  m_process->waitForFinished(kQuitMs);
}

QString EngineClient::findProgram() {
  const QString name = QStringLiteral("xqscope-cli");
  const QString chosen = qEnvironmentVariable("XQSCOPE_CLI");
  if (!chosen.isEmpty()) return chosen;
  const QFileInfo beside(QCoreApplication::applicationDirPath() + QLatin1Char('/') + name);
  if (beside.isExecutable()) return beside.absoluteFilePath();
  return QStandardPaths::findExecutable(name);
}

void EngineClient::setProgram(const QString &program, const QStringList &arguments) {
  m_program = program;
  m_arguments = arguments;
}

void EngineClient::start() {
  if (m_state != State::Stopped) return;
  if (m_program.isEmpty()) {
    Q_EMIT failed(QStringLiteral("not-found"),
                  tr("The engine program xqscope-cli was not found beside this program or in PATH: "
                     "files can be viewed, runs cannot be started. Set XQSCOPE_CLI to its path."));
    return;
  }
  m_earlyDeaths = 0;
  launch();
}

void EngineClient::setState(State state) {
  if (state == m_state) return;
  m_state = state;
  Q_EMIT stateChanged(state);
}

void EngineClient::launch() {
  if (m_process) m_process.release()->deleteLater(); // we may be inside one of its signals
  m_process = std::make_unique<QProcess>();
  m_output.clear();
  m_lastError.clear();
  m_model.reset();
  m_run = 0;
  m_runAsked = m_previewing = false;
  m_used.clear();
  m_fault.clear();
  m_faultTimer.stop();
  connect(m_process.get(), &QProcess::readyReadStandardOutput, this, &EngineClient::readOutput);
  connect(m_process.get(), &QProcess::readyReadStandardError, this, &EngineClient::readErrors);
  connect(m_process.get(), &QProcess::finished, this,
          [this](int code, QProcess::ExitStatus status) { processEnded(exitSentence(code, status)); });
  connect(m_process.get(), &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
    if (error == QProcess::FailedToStart) processEnded(tr("could not be started (%1)").arg(m_program));
  });
  m_sinceStart.start();
  setState(State::Starting);
  m_process->start(m_program, m_arguments);
}

void EngineClient::send(const QJsonObject &object) {
  if (m_process && m_process->state() != QProcess::NotRunning)
    m_process->write(QJsonDocument(object).toJson(QJsonDocument::Compact) + '\n');
}

void EngineClient::open(const QString &model, const QString &text, const QString &store, const QString &calibration) {
  m_open = command("open");
  m_open[QStringLiteral("model")] = model;
  m_open[QStringLiteral("text")] = text;
  m_open[QStringLiteral("store")] = store;
  m_open[QStringLiteral("backend")] = m_backend;
  if (!calibration.isEmpty()) m_open[QStringLiteral("calibration")] = calibration;
  if (m_state == State::Waiting || m_state == State::Ready || m_state == State::Loading) sendOpen();
}

void EngineClient::setBackend(const QString &backend) {
  if (backend == m_backend) return;
  m_backend = backend;
  m_backendNote.clear();
  m_gpuDeaths = 0;
  if (!m_open.isEmpty()) m_open[QStringLiteral("backend")] = backend;
  Q_EMIT backendsChanged();
  if (m_state == State::Ready || m_state == State::Loading) sendOpen();
}

void EngineClient::sendOpen() {
  m_model.reset();
  send(m_open);
  setState(State::Loading);
}

void EngineClient::run(const QJsonObject &spec) { sendRun("run", spec); }
void EngineClient::generate(const QJsonObject &spec) { sendRun("generate", spec); }
void EngineClient::profile(const QJsonObject &spec) { sendRun("profile", spec); }

void EngineClient::study(const QJsonObject &arguments) {
  if (m_state != State::Ready) return;
  QJsonObject object = arguments;
  object[QStringLiteral("cmd")] = QStringLiteral("study");
  sendRun(std::move(object));
}

void EngineClient::sendRun(const char *name, const QJsonObject &spec) {
  if (m_state != State::Ready) return;
  QJsonObject object = command(name);
  object[QStringLiteral("spec")] = spec;
  sendRun(std::move(object));
}

void EngineClient::sendRun(QJsonObject object) {
  send(object);
  m_runAsked = true;
  setState(State::Running);
}

void EngineClient::estimate(const QJsonObject &arguments, qint64 tag) {
  QJsonObject object = arguments;
  object[QStringLiteral("cmd")] = QStringLiteral("estimate");
  object[QStringLiteral("tag")] = tag;
  send(object);
}

void EngineClient::pause() {
  if (m_state != State::Running) return;
  send(command("pause"));
  setState(State::Paused);
}

void EngineClient::resume() {
  if (m_state != State::Paused) return;
  send(command("resume"));
  setState(State::Running);
}

void EngineClient::cancel() {
  if (m_state != State::Running && m_state != State::Paused) return;
  send(command("cancel"));
  setState(State::Cancelling);
  m_cancelTimer.start();
}

void EngineClient::preview(const QString &policy) {
  if (!m_model) return;
  if (m_previewing && !m_sincePreview.hasExpired(kPreviewPatienceMs)) {
    m_nextPreview = policy;
    return;
  }
  QJsonObject object = command("preview");
  object[QStringLiteral("policy")] = policy;
  send(object);
  m_previewing = true;
  m_sincePreview.start();
}

void EngineClient::readOutput() {
  m_output += m_process->readAllStandardOutput();
  const qsizetype last = m_output.lastIndexOf('\n');
  if (last < 0) return;
  const QByteArray lines = m_output.left(last);
  m_output.remove(0, last + 1); // first: who is told of an event may run an event loop, which leads here again
  for (const QByteArray &line : lines.split('\n')) handleLine(line);
}

void EngineClient::readErrors() {
  const QList<QByteArray> lines = m_process->readAllStandardError().split('\n');
  for (const QByteArray &line : lines)
    if (!line.trimmed().isEmpty()) m_lastError = QString::fromUtf8(line.trimmed());
}

void EngineClient::handleLine(const QByteArray &line) {
  if (m_cancelTimer.isActive()) m_cancelTimer.start();
  const QJsonObject event = QJsonDocument::fromJson(line).object();
  const QString name = string(event, "event");
  using Handler = void (EngineClient::*)(const QJsonObject &);
  static constexpr struct {
    const char *name;
    Handler handle;
  } kHandlers[] = {
      {"hello", &EngineClient::handleHello},       {"loading", &EngineClient::handleLoading},
      {"model", &EngineClient::handleModel},       {"run-started", &EngineClient::handleRunStarted},
      {"progress", &EngineClient::handleProgress}, {"run-ended", &EngineClient::handleRunEnded},
      {"preview", &EngineClient::handlePreview},   {"preview-failed", &EngineClient::handlePreview},
      {"estimate", &EngineClient::handleEstimate}, {"estimate-failed", &EngineClient::handleEstimate},
      {"error", &EngineClient::handleError},       {"backend-failed", &EngineClient::handleBackendFailed},
  };
  const auto *found = std::find_if(std::begin(kHandlers), std::end(kHandlers),
                                   [&name](const auto &entry) { return name == QLatin1String(entry.name); });
  if (found == std::end(kHandlers)) {
    qCDebug(lcEngine) << "not an event:" << line;
    return;
  }
  (this->*found->handle)(event);
}

void EngineClient::handleHello(const QJsonObject &event) {
  m_backends.clear();
  const QJsonArray rows = event[QStringLiteral("backends")].toArray();
  for (const QJsonValue &row : rows)
    m_backends.push_back({string(row.toObject(), "name"), string(row.toObject(), "reason")});
  Q_EMIT backendsChanged();
  if (m_open.isEmpty())
    setState(State::Waiting);
  else
    sendOpen();
}

void EngineClient::handleLoading(const QJsonObject &event) {
  m_used = string(event, "backend");
  Q_EMIT loading(number(event, "fraction"), string(event, "text"));
}

void EngineClient::handleModel(const QJsonObject &event) {
  const QJsonObject shape = event[QStringLiteral("shape")].toObject();
  EngineModel model;
  model.name = string(event, "name");
  model.text = string(event, "text");
  model.layers = integer(shape, "layers");
  model.d = integer(shape, "d");
  model.heads = integer(shape, "heads");
  model.kvHeads = integer(shape, "kv_heads");
  model.dh = integer(shape, "dh");
  model.context = integer(event, "context");
  model.backend = string(event, "backend");
  model.device = string(event, "device");
  model.vocab = integer(event, "vocab");
  model.tokens = integer(event, "tokens");
  model.previewRun = integer(event, "preview_run");
  m_model = model;
  m_used = model.backend;
  if (const QString note = string(event, "backend_note"); !note.isEmpty()) m_backendNote = note;
  if (m_used != kCpu) m_backendNote.clear();
  m_previewing = false;
  setState(State::Ready);
  Q_EMIT modelReady(model);
}

void EngineClient::handleRunStarted(const QJsonObject &event) {
  m_runAsked = false;
  m_run = integer(event, "run");
  Q_EMIT runStarted(m_run);
}

void EngineClient::handleProgress(const QJsonObject &event) {
  EngineProgress p;
  p.run = integer(event, "run");
  p.done = number(event, "done");
  p.total = number(event, "total");
  p.tokensPerSecond = number(event, "tokens_per_second");
  p.secondsLeft = number(event, "seconds_left");
  p.text = string(event, "text");
  Q_EMIT progress(p);
}

void EngineClient::handleRunEnded(const QJsonObject &event) {
  m_cancelTimer.stop();
  m_run = 0;
  m_runAsked = false;
  if (string(event, "status") == QLatin1String("finished")) m_gpuDeaths = 0;
  setState(State::Ready);
  Q_EMIT runEnded(integer(event, "run"), string(event, "status"), string(event, "message"));
  sendNextPreview();
}

void EngineClient::handlePreview(const QJsonObject &event) {
  m_previewing = false;
  if (string(event, "event") == QLatin1String("preview"))
    Q_EMIT previewReady(integer(event, "run"), integer(event, "policy_index"), string(event, "policy"),
                        number(event, "milliseconds"));
  else
    Q_EMIT previewFailed(string(event, "message"));
  sendNextPreview();
}

void EngineClient::handleEstimate(const QJsonObject &event) {
  if (string(event, "event") == QLatin1String("estimate"))
    Q_EMIT estimateReady(integer(event, "tag"), event);
  else
    Q_EMIT estimateFailed(integer(event, "tag"), string(event, "message"));
}

void EngineClient::sendNextPreview() {
  if (m_nextPreview.isEmpty() || m_previewing) return;
  preview(std::exchange(m_nextPreview, {}));
}

void EngineClient::handleError(const QJsonObject &event) {
  if (m_runAsked) { // the experiment was refused
    m_runAsked = false;
    m_cancelTimer.stop();
    setState(State::Ready);
  } else if (m_state == State::Loading) {
    const bool tooLarge = string(event, "code") == QLatin1String("out-of-memory");
    if (tooLarge && !m_used.isEmpty() && m_used != kCpu) return openOnCpu(string(event, "message"));
    m_open = {};
    setState(State::Waiting);
  }
  Q_EMIT failed(string(event, "code"), string(event, "message"));
}

/// The engine ends by itself now: a process whose GPU has failed cannot use it again.
void EngineClient::handleBackendFailed(const QJsonObject &event) {
  m_cancelTimer.stop();
  m_fault = string(event, "message");
  m_faultTimer.start();
}

void EngineClient::goOnWithCpu(const QString &note) {
  m_backend = kCpu;
  m_backendNote = note;
  m_gpuDeaths = m_earlyDeaths = 0;
  if (!m_open.isEmpty()) m_open[QStringLiteral("backend")] = kCpu;
  Q_EMIT backendsChanged();
}

/// This model does not fit; the next one may, so that the choice stays.
void EngineClient::openOnCpu(const QString &note) {
  m_backendNote = note;
  m_open[QStringLiteral("backend")] = kCpu;
  Q_EMIT backendsChanged();
  sendOpen();
  Q_EMIT restarted(tr("Goes on with the CPU: %1.").arg(note));
}

void EngineClient::cancelTimedOut() {
  m_silent = true;
  m_process->kill(); // the next one starts when this one has let go of the store
}

QString EngineClient::exitSentence(int code, QProcess::ExitStatus status) const {
  if (status == QProcess::CrashExit && code == 9) return tr("was killed (signal 9, perhaps for lack of memory)");
  if (status == QProcess::CrashExit) return tr("crashed (signal %1)").arg(code);
  if (m_lastError.isEmpty()) return tr("ended by itself (exit code %1)").arg(code);
  return tr("ended by itself (exit code %1: %2)").arg(code).arg(m_lastError);
}

void EngineClient::processEnded(const QString &how) {
  if (std::exchange(m_silent, false)) {
    replace(tr("The engine did not react to the cancel for 2 s and was replaced"), QStringLiteral("cancelled"));
    return;
  }
  m_faultTimer.stop();
  if (const QString fault = std::exchange(m_fault, {}); !fault.isEmpty()) {
    goOnWithCpu(fault);
    replace(tr("Goes on with the CPU: %1").arg(fault), QStringLiteral("failed"));
    return;
  }
  if (!m_used.isEmpty() && m_used != kCpu && ++m_gpuDeaths > kGpuDeathsAllowed) {
    const QString note = tr("the engine %1, twice in a row on %2").arg(how, m_used);
    goOnWithCpu(note);
    replace(tr("Goes on with the CPU: %1").arg(note), QStringLiteral("failed"));
    return;
  }
  m_earlyDeaths = m_sinceStart.hasExpired(kEarlyDeathMs) ? 0 : m_earlyDeaths + 1;
  if (m_state == State::Starting || m_earlyDeaths > kEarlyDeathsAllowed) {
    giveUp(tr("The engine %1; files can be viewed, runs cannot be started.").arg(how));
    return;
  }
  const bool tryAgain = m_gpuDeaths > 0;                   // then on the CPU
  if (m_state == State::Loading && !tryAgain) m_open = {}; // the same model would end the next engine too
  replace(tr("The engine %1 and was replaced").arg(how), QStringLiteral("failed"));
}

void EngineClient::giveUp(const QString &sentence) {
  m_cancelTimer.stop();
  m_process.release()->deleteLater();
  m_model.reset();
  const RowId run = std::exchange(m_run, 0);
  setState(State::Stopped);
  if (run) Q_EMIT runEnded(run, QStringLiteral("failed"), sentence);
  Q_EMIT failed(QStringLiteral("internal"), sentence);
}

void EngineClient::replace(const QString &what, const QString &status) {
  m_cancelTimer.stop();
  const RowId run = m_run;
  const bool wasRunning = isRunning();
  launch();
  const QString sentence = wasRunning ? tr("%1; finished windows are kept.").arg(what)
                                      : (m_open.isEmpty() ? tr("%1; open another model.").arg(what) : tr("%1.").arg(what));
  if (wasRunning) Q_EMIT runEnded(run, status, sentence);
  Q_EMIT restarted(sentence);
}

} // namespace xqs

// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "store/records.h"

#include <QElapsedTimer>
#include <QJsonObject>
#include <QObject>
#include <QProcess>
#include <QString>
#include <QTimer>

#include <memory>
#include <optional>
#include <vector>

namespace xqs {

struct ModelShape;

/// The model and text that the engine holds.
struct EngineModel {
  QString name, text;
  qint64 layers = 0, d = 0, heads = 0, kvHeads = 0, dh = 0; ///< see ModelShape
  qint64 vocab = 0;
  qint64 context = 0;   ///< tokens the model was trained for: the longest window
  qint64 tokens = 0;    ///< of the text
  RowId previewRun = 0; ///< where previews are recorded in the store
  QString backend;      ///< "cpu", "cuda"
  QString device;
  ModelShape shape() const;
};

/// A backend as the engine lists it.
struct EngineBackend {
  QString name;
  QString reason; ///< why it cannot be used; empty where it can
};

struct EngineProgress {
  RowId run = 0;
  double done = 0, total = 0; ///< in tokens of all lanes
  double tokensPerSecond = 0;
  double secondsLeft = 0;
  QString text; ///< what is being computed
};

/// The engine process: `xqscope-cli serve`, one JSON object a line each way. Results never pass here, they go to the store.
/// An engine that dies, or that is silent for 2 s after a cancel, is replaced by a new one on the same model, text and
/// store; finished windows are kept. One whose GPU fails is replaced by one on the CPU, and so is one that died twice in a
/// row while it computed on a GPU. A model that does not fit a GPU is opened on the CPU. Never blocks, but for a moment in
/// the destructor.
class EngineClient : public QObject {
  Q_OBJECT
public:
  enum class State {
    Stopped,    ///< not started, or gave up
    Starting,   ///< process started, nothing heard yet
    Waiting,    ///< ready, no model open
    Loading,    ///< a model is being opened
    Ready,      ///< a model is open
    Running,    ///< an experiment runs
    Paused,     ///< an experiment waits
    Cancelling, ///< cancel sent, end not heard yet
  };
  Q_ENUM(State)

  explicit EngineClient(QObject *parent = nullptr);
  ~EngineClient() override;

  /// $XQSCOPE_CLI, else `xqscope-cli` beside this program, else in PATH.
  static QString findProgram();
  void setProgram(const QString &program, const QStringList &arguments = {QStringLiteral("serve")});
  void start();

  State state() const { return m_state; }
  bool isRunning() const { return m_state == State::Running || m_state == State::Paused || m_state == State::Cancelling; }
  const std::optional<EngineModel> &model() const { return m_model; }
  RowId currentRun() const { return m_run; } ///< 0: none
  qint64 processId() const { return m_process ? m_process->processId() : 0; }
  const std::vector<EngineBackend> &backends() const { return m_backends; } ///< empty until the engine is up
  /// What to compute on: "auto" (a GPU where one can be used), "cpu", "cuda". The open model is opened again there.
  void setBackend(const QString &backend);
  const QString &backend() const { return m_backend; }         ///< as chosen, "cpu" after a GPU has failed
  const QString &backendNote() const { return m_backendNote; } ///< why no GPU is used, one sentence; empty: nothing to say

  /// Opens a model and a text; everything measured goes to `store`. `calibration`: the text that conditioning is measured
  /// on; empty: the built-in one. Sent when the engine is ready for it.
  void open(const QString &model, const QString &text, const QString &store, const QString &calibration = {});
  /// Starts an experiment (core/run, Experiment as JSON). Only in state Ready.
  void run(const QJsonObject &spec);
  /// Starts a study (core/run/serve_study.h: study, name, store). Only in state Ready; told as a run is.
  void study(const QJsonObject &arguments);
  /// Asks what a study would take; answered with `tag` as soon as no run is in progress. Of several only the newest is.
  void estimate(const QJsonObject &arguments, qint64 tag);
  /// Starts a generation (core/run, GenerationRequest as JSON). Only in state Ready; told, paused and cancelled as a run is.
  void generate(const QJsonObject &spec);
  /// Starts a profile (core/run, ProfileRequest as JSON), likewise.
  void profile(const QJsonObject &spec);
  void pause();
  void resume();
  void cancel();
  /// Asks for an instant preview. At most one is under way; of those asked for meanwhile the newest is sent next.
  void preview(const QString &policy);

Q_SIGNALS:
  void backendsChanged(); ///< the list, the choice or the note
  void stateChanged(xqs::EngineClient::State state);
  void loading(double fraction, const QString &text);
  void modelReady(const xqs::EngineModel &model);
  void runStarted(qint64 run);
  void progress(const xqs::EngineProgress &progress);
  void runEnded(qint64 run, const QString &status, const QString &message);
  void previewReady(qint64 run, qint64 policyIndex, const QString &policy, double milliseconds);
  void previewFailed(const QString &message);
  void estimateReady(qint64 tag, const QJsonObject &estimate);
  void estimateFailed(qint64 tag, const QString &message);
  void failed(const QString &code, const QString &message); ///< one sentence
  void restarted(const QString &sentence);                  ///< or opened elsewhere: what happened, in one sentence

private:
  void setState(State state);
  void launch();
  void send(const QJsonObject &command);
  void sendOpen();
  void sendRun(const char *name, const QJsonObject &spec);
  void sendRun(QJsonObject object);
  void readOutput();
  void readErrors();
  void handleLine(const QByteArray &line);
  void handleHello(const QJsonObject &event);
  void handleLoading(const QJsonObject &event);
  void handleModel(const QJsonObject &event);
  void handleRunStarted(const QJsonObject &event);
  void handleProgress(const QJsonObject &event);
  void handleRunEnded(const QJsonObject &event);
  void handlePreview(const QJsonObject &event);
  void handleEstimate(const QJsonObject &event);
  void handleError(const QJsonObject &event);
  void handleBackendFailed(const QJsonObject &event);
  void goOnWithCpu(const QString &note);
  void openOnCpu(const QString &note);
  void sendNextPreview();
  void cancelTimedOut();
  QString exitSentence(int code, QProcess::ExitStatus status) const;
  void processEnded(const QString &how);
  void giveUp(const QString &sentence);
  void replace(const QString &what, const QString &status);

  std::unique_ptr<QProcess> m_process;
  QString m_program;
  QStringList m_arguments;
  State m_state = State::Stopped;
  QByteArray m_output; ///< an incomplete line
  QString m_lastError; ///< the last line on stderr
  QJsonObject m_open;  ///< the open command, to repeat after a restart
  std::vector<EngineBackend> m_backends;
  QString m_backend = QStringLiteral("auto"), m_backendNote;
  QString m_used;      ///< the backend that the open model is or was being loaded on; empty: none yet
  QString m_fault;     ///< what is wrong with the GPU, while the engine that said so ends
  int m_gpuDeaths = 0; ///< in a row
  std::optional<EngineModel> m_model;
  RowId m_run = 0;
  bool m_runAsked = false;   ///< run sent, run-started not heard
  bool m_silent = false;     ///< killed by us after a cancel
  bool m_previewing = false; ///< preview sent, answer not heard
  QElapsedTimer m_sincePreview;
  QString m_nextPreview;
  QTimer m_cancelTimer, m_faultTimer;
  QElapsedTimer m_sinceStart;
  int m_earlyDeaths = 0;
};

} // namespace xqs

Q_DECLARE_METATYPE(xqs::EngineModel)
Q_DECLARE_METATYPE(xqs::EngineProgress)

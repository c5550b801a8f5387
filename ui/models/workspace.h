// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "models/engine_client.h"
#include "models/run_data.h"

#include <QTemporaryDir>

#include <functional>
#include <optional>

namespace xqs {

struct Experiment;
struct GenerationRequest;
struct ModelShape;
struct ProfileRequest;

/// What the window shows and drives, without a widget: open files, the selection, the engine and the store it writes.
class Workspace : public QObject {
  Q_OBJECT
public:
  enum class Severity { Info, Warning, Error };
  Q_ENUM(Severity)

  explicit Workspace(QObject *parent = nullptr);
  /// Removes the live store where nothing was measured into it.
  ~Workspace() override;

  RunData &data() { return m_data; }
  Selection &selection() { return m_selection; }
  EngineClient &engine() { return *m_engine; }
  const EngineClient &engine() const { return *m_engine; }
  const QString &liveStore() const { return m_liveStore; }

  /// Copies the recorded run of the resources to a temporary file and opens it; false where none is built in.
  bool openDemo();
  /// A copy of the recorded run: gone when the program ends.
  bool isDemo(const QString &file) const { return m_demoFolder.isValid() && file.startsWith(m_demoFolder.path()); }
  /// Adds files and shows their newest runs: of scores, of generations and of profiles. What cannot be opened is one
  /// message.
  void openFiles(const QStringList &files);
  /// Starts the engine and opens model and text in the background.
  void startEngine(const QString &model, const QString &text);
  /// `calibration`: the text that conditioning is measured on; empty: the built-in one.
  void openModel(const QString &model, const QString &text, const QString &calibration = {});
  void run(const Experiment &experiment);
  /// Computes what `store` lacks of a study, given as its JSON text; `name` is its name in messages.
  void runStudy(const QString &source, const QString &name, const QString &store);
  void generate(const GenerationRequest &request);
  void profile(const ProfileRequest &request);

  /// The shape that sizes are computed for: the engine's model, else that of the newest run.
  std::optional<ModelShape> shape() const;
  QString shapeName() const; ///< the model that `shape` belongs to

  /// The file that "Save as" and exports take: that of the shown runs, else the live one, else the first.
  QString currentFile() const;
  /// Run by a worker; `done` is told in a message. Never blocks the window.
  void saveAs(const QString &to);
  void exportCsvTo(const QString &folder);
  void exportJsonTo(const QString &file);

Q_SIGNALS:
  void message(xqs::Workspace::Severity severity, const QString &sentence);
  void shapeChanged();

private:
  void connectEngine();
  void showRun(qint64 run);
  void showPreview(qint64 run, const QString &policy);
  void inBackground(const QString &done, std::function<void()> job);

  RunData m_data;
  Selection m_selection;
  std::unique_ptr<EngineClient> m_engine;
  QTemporaryDir m_demoFolder;
  QString m_liveStore;
  std::optional<QStringList> m_refused;   ///< while files are opened: told together
  QString m_runStore;                     ///< what the run in progress writes to
  QString m_model, m_text, m_calibration; ///< as asked for
};

} // namespace xqs

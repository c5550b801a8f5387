// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include "store/run_store.h"

#include <QObject>
#include <QString>

#include <map>
#include <memory>
#include <vector>

class QTimer;

namespace xqs {

/// All rows of one or more `.xqs` files as the views read them: a live run, a finished run and a colleague's file are the
/// same thing. Polls `RunReader::dataVersion` at most 25 times a second and fetches rows after the last id it knows.
class RunData : public QObject {
  Q_OBJECT
public:
  /// A run's key: which file, which row.
  struct Key {
    int file = 0;
    RowId run = 0;
    friend auto operator<=>(const Key &, const Key &) = default;
  };
  /// One run with everything recorded of it so far, in id order.
  struct Run {
    Key key;
    RunRow row;
    bool recorded = false;       ///< of a file that came with the program: nobody measured it here
    std::vector<RunEndRow> ends; ///< empty: running or crashed
    std::vector<PolicyRow> policies;
    std::vector<WindowRow> windows;
    std::vector<LayerErrorRow> layerErrors;
    std::vector<SummaryRow> summaries;
    std::vector<SimilarityRow> similarities;
    std::vector<OperationRow> operations;
    std::vector<GeneratedRow> generated;
    std::vector<StepRow> steps;
    std::vector<KernelRow> kernels;
    std::vector<TrafficRow> traffic;
    std::vector<ThroughputRow> throughput;
    std::vector<InstrumentRow> instruments;
    std::vector<PeakRow> peaks;
    std::vector<ProblemRow> problems;
    std::vector<LogRow> logs;
  };

  explicit RunData(QObject *parent = nullptr);
  ~RunData() override;

  /// Adds a file; false (and `failed` with one sentence) where it cannot be read. A file that is open already stays as it
  /// is. `recorded`: it came with the program.
  bool open(const QString &file, bool recorded = false);
  void closeAll();
  QStringList files() const;

  /// Runs in the order of their start.
  std::vector<const Run *> runs() const;
  const Run *find(Key key) const;
  /// A run without an end row that nobody writes any more.
  bool crashed(Key key) const;
  /// Looks for new rows now instead of at the next tick.
  void poll();

Q_SIGNALS:
  void changed();                       ///< new rows arrived; at most 25 times a second
  void failed(const QString &sentence); ///< a file became unreadable

private:
  struct File;
  bool readFile(File &file);
  bool readRuns(File &file);
  template <class T> bool readRows(File &file);

  std::vector<std::unique_ptr<File>> m_files;
  std::map<Key, std::unique_ptr<Run>> m_runs;
  QTimer *m_timer = nullptr;
};

/// Where a step of a profile was timed: `batch` sequences of `context` tokens. 0: no point.
struct ProfilePoint {
  std::int64_t context = 0, batch = 0;
  friend auto operator<=>(const ProfilePoint &, const ProfilePoint &) = default;
};

/// What all views show: one object, shared (as hotspot's filter stack). Views set it on a click and follow its signal.
class Selection : public QObject {
  Q_OBJECT
public:
  using QObject::QObject;
  const std::vector<RunData::Key> &runs() const { return m_runs; } ///< shown, in order; empty = the latest of kind "eval"
  int layer() const { return m_layer; }
  QString site() const { return m_site; }        ///< siteName()
  QString policy() const { return m_policy; }    ///< canonical string; empty = the exact model
  ProfilePoint point() const { return m_point; } ///< none: the run's first
  /// Of verdicts; empty: those that fit the runs (JudgeLookup).
  QString machine() const { return m_machine; }
  QString model() const { return m_model; }
  void setRuns(std::vector<RunData::Key> runs);
  void setLayer(int layer);
  void setSite(const QString &site);
  void setPolicy(const QString &policy);
  void setPoint(ProfilePoint point);
  void setMachine(const QString &id);
  void setModel(const QString &name);

Q_SIGNALS:
  void changed();

private:
  template <class T> void set(T &member, T value);
  std::vector<RunData::Key> m_runs;
  int m_layer = 0;
  QString m_site = QStringLiteral("x");
  QString m_policy;
  ProfilePoint m_point;
  QString m_machine, m_model;
};

} // namespace xqs

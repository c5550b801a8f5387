// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/run_data.h"

#include "error.h"

#include <QFileInfo>
#include <QTimer>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace xqs {

namespace {

constexpr int kPollMilliseconds = 40; ///< 25 Hz
constexpr std::int64_t kRowsAtOnce =
    20000; ///< of one table; a large file arrives over several polls, the window stays alive

std::vector<RunEndRow> &rowsOf(RunData::Run &run, const RunEndRow &) { return run.ends; }
std::vector<PolicyRow> &rowsOf(RunData::Run &run, const PolicyRow &) { return run.policies; }
std::vector<WindowRow> &rowsOf(RunData::Run &run, const WindowRow &) { return run.windows; }
std::vector<LayerErrorRow> &rowsOf(RunData::Run &run, const LayerErrorRow &) { return run.layerErrors; }
std::vector<SummaryRow> &rowsOf(RunData::Run &run, const SummaryRow &) { return run.summaries; }
std::vector<SimilarityRow> &rowsOf(RunData::Run &run, const SimilarityRow &) { return run.similarities; }
std::vector<OperationRow> &rowsOf(RunData::Run &run, const OperationRow &) { return run.operations; }
std::vector<GeneratedRow> &rowsOf(RunData::Run &run, const GeneratedRow &) { return run.generated; }
std::vector<StepRow> &rowsOf(RunData::Run &run, const StepRow &) { return run.steps; }
std::vector<KernelRow> &rowsOf(RunData::Run &run, const KernelRow &) { return run.kernels; }
std::vector<TrafficRow> &rowsOf(RunData::Run &run, const TrafficRow &) { return run.traffic; }
std::vector<ThroughputRow> &rowsOf(RunData::Run &run, const ThroughputRow &) { return run.throughput; }
std::vector<InstrumentRow> &rowsOf(RunData::Run &run, const InstrumentRow &) { return run.instruments; }
std::vector<PeakRow> &rowsOf(RunData::Run &run, const PeakRow &) { return run.peaks; }
std::vector<ProblemRow> &rowsOf(RunData::Run &run, const ProblemRow &) { return run.problems; }
std::vector<LogRow> &rowsOf(RunData::Run &run, const LogRow &) { return run.logs; }

} // namespace

/// One open file and how far it has been read.
struct RunData::File {
  int index = 0;
  QString path;
  bool recorded = false;
  std::optional<RunReader> reader; ///< empty after a failure: what was read stays
  std::optional<std::int64_t> version;
  bool more = false;                     ///< the last poll stopped at kRowsAtOnce
  std::map<const char *, RowId> lastIds; ///< by table

  template <class T> std::vector<T> fetch() {
    RowId &last = lastIds[T::kTable];
    std::vector<T> rows = reader->rowsAfter<T>(last, kRowsAtOnce);
    if (!rows.empty()) last = rows.back().id;
    more = more || static_cast<std::int64_t>(rows.size()) == kRowsAtOnce;
    return rows;
  }
};

RunData::RunData(QObject *parent) : QObject(parent), m_timer(new QTimer(this)) {
  m_timer->setInterval(kPollMilliseconds);
  connect(m_timer, &QTimer::timeout, this, &RunData::poll);
}

RunData::~RunData() = default;

bool RunData::open(const QString &file, bool recorded) {
  if (files().contains(QFileInfo(file).absoluteFilePath())) return true;
  auto opened = std::make_unique<File>();
  opened->index = static_cast<int>(m_files.size());
  opened->path = QFileInfo(file).absoluteFilePath();
  opened->recorded = recorded;
  try {
    opened->reader.emplace(std::filesystem::path(opened->path.toStdString()));
  } catch (const Error &error) {
    Q_EMIT failed(QString::fromStdString(error.what()));
    return false;
  }
  m_files.push_back(std::move(opened));
  m_timer->start();
  poll();
  return true;
}

void RunData::closeAll() {
  m_timer->stop();
  m_runs.clear();
  m_files.clear();
  Q_EMIT changed();
}

QStringList RunData::files() const {
  QStringList paths;
  for (const auto &file : m_files) paths << file->path;
  return paths;
}

std::vector<const RunData::Run *> RunData::runs() const {
  std::vector<const Run *> runs;
  for (const auto &[key, run] : m_runs) runs.push_back(run.get());
  std::stable_sort(runs.begin(), runs.end(),
                   [](const Run *a, const Run *b) { return a->row.startedUtc < b->row.startedUtc; });
  return runs;
}

const RunData::Run *RunData::find(Key key) const {
  const auto found = m_runs.find(key);
  return found == m_runs.end() ? nullptr : found->second.get();
}

bool RunData::crashed(Key key) const {
  const Run *run = find(key);
  if (!run || !run->ends.empty()) return false;
  // Runs of a file follow each other; only previews go on beside them.
  const bool followed = std::any_of(m_runs.begin(), m_runs.end(), [key](const auto &other) {
    return other.first.file == key.file && other.first.run > key.run;
  });
  if (followed && run->row.kind != "preview") return true;
  auto &reader = m_files[static_cast<std::size_t>(key.file)]->reader;
  try {
    return !reader || reader->crashed(key.run);
  } catch (const Error &) {
    return true;
  }
}

void RunData::poll() {
  bool news = false;
  QStringList failures;
  for (const auto &file : m_files) {
    if (!file->reader) continue;
    try {
      news = readFile(*file) || news;
    } catch (const Error &error) {
      file->reader.reset();
      failures << QString::fromStdString(error.what());
    }
  }
  if (news) Q_EMIT changed();
  for (const QString &sentence : failures) Q_EMIT failed(sentence);
}

bool RunData::readFile(File &file) {
  // The version first: rows that are committed while we read belong to the next version and are asked for again.
  const std::int64_t version = file.reader->dataVersion();
  if (file.version == version && !file.more) return false;
  file.version = version;
  file.more = false;
  bool news = readRuns(file);
  news = readRows<RunEndRow>(file) || news;
  news = readRows<PolicyRow>(file) || news;
  news = readRows<WindowRow>(file) || news;
  news = readRows<LayerErrorRow>(file) || news;
  news = readRows<SummaryRow>(file) || news;
  news = readRows<SimilarityRow>(file) || news;
  news = readRows<OperationRow>(file) || news;
  news = readRows<GeneratedRow>(file) || news;
  news = readRows<StepRow>(file) || news;
  news = readRows<KernelRow>(file) || news;
  news = readRows<TrafficRow>(file) || news;
  news = readRows<ThroughputRow>(file) || news;
  news = readRows<InstrumentRow>(file) || news;
  news = readRows<PeakRow>(file) || news;
  news = readRows<ProblemRow>(file) || news;
  news = readRows<LogRow>(file) || news;
  return news;
}

bool RunData::readRuns(File &file) {
  std::vector<RunRow> rows = file.fetch<RunRow>();
  for (RunRow &row : rows) {
    auto run = std::make_unique<Run>();
    run->key = {file.index, row.id};
    run->row = std::move(row);
    run->recorded = file.recorded;
    m_runs[run->key] = std::move(run);
  }
  return !rows.empty();
}

template <class T> bool RunData::readRows(File &file) {
  std::vector<T> rows = file.fetch<T>();
  for (T &row : rows) {
    const Key key{file.index, row.run};
    auto run = m_runs.find(key);
    if (run == m_runs.end()) { // the run was committed after readRuns looked
      readRuns(file);
      run = m_runs.find(key);
    }
    if (run != m_runs.end()) rowsOf(*run->second, row).push_back(std::move(row));
  }
  return !rows.empty();
}

} // namespace xqs

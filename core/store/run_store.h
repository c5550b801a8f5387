// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "records.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <variant>

namespace xqs {

/// Any row of a run: what AllRecords has behind the run itself.
template <class> struct RecordOf;
template <class... T> struct RecordOf<RecordList<RunRow, T...>> { using type = std::variant<T...>; };
using Record = RecordOf<AllRecords>::type;

/// Appends records to a `.xqs` file. A writer thread owns the SQLite connection and drains one bounded queue, a transaction
/// every 50 ms; a full queue blocks the producer (counted), nothing is dropped. An I/O error (disk full) is kept and thrown,
/// as StoreUnwritable, by the next call of any member; rows committed before stay readable.
class RunStore {
public:
  /// Creates the file or opens one to append more runs (one of an older version gets the tables and columns it lacks);
  /// recovers a `-wal` that a crash left. Throws StoreUnwritable (folder
  /// missing, read-only, disk full), BadFile (not a store, or of a newer schema).
  explicit RunStore(const std::filesystem::path &file);
  /// `close()`, errors swallowed into stderr: call close() yourself to see them. Without that call work has failed: a file
  /// that was made for it and holds no run is removed.
  ~RunStore();
  RunStore(const RunStore &) = delete;
  RunStore &operator=(const RunStore &) = delete;

  /// Commits the run's row before returning; gives its id. Before the first one the schema is committed in
  /// journal_mode=DELETE, then WAL is switched on.
  RowId beginRun(RunRow row);
  /// Makes ready to append to a run that is in the file already.
  void continueRun();
  /// Queues a record (its `id` is set by the writer).
  void append(Record record);
  /// Queues records that are committed together: a crash leaves all of them or none.
  void append(std::vector<Record> records);
  /// Waits until everything appended so far is committed.
  void flush();
  /// Flushes, checkpoints (TRUNCATE) and returns to journal_mode=DELETE: one finished file that opens in a read-only folder.
  void close();
  const std::filesystem::path &file() const;
  std::int64_t blockedAppends() const; ///< how often a producer had to wait

private:
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

/// Rows of a `.xqs` file, live or finished; read-only. A file with a `-wal` is read through it; without one and unwritable
/// it is opened immutable. Not thread-safe: one reader a thread.
class RunReader {
public:
  /// Throws NotFound, Unreadable, BadFile.
  explicit RunReader(const std::filesystem::path &file);
  ~RunReader();
  RunReader(RunReader &&) noexcept;
  RunReader &operator=(RunReader &&) noexcept;

  const std::filesystem::path &file() const;
  /// Changes when another connection commits (PRAGMA data_version): cheap to poll.
  std::int64_t dataVersion();
  /// Rows with id > lastId in id order, at most `limit` (< 0: all). T: any of AllRecords.
  template <class T> std::vector<T> rowsAfter(RowId lastId, std::int64_t limit = -1);
  /// True where a run has no end row and no writer holds the file: it crashed, or its -wal was lost in copying.
  bool crashed(RowId run);

private:
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

/// A reader; none where there is no file (or no name), or one that a crash left empty.
std::optional<RunReader> openIfWritten(const std::filesystem::path &file);
/// True while a RunStore of any process has the file open.
bool isBeingWritten(const std::filesystem::path &file);

/// Checkpoints a live store into one file elsewhere ("Save as").
void copyStore(const std::filesystem::path &from, const std::filesystem::path &to);
/// All tables: CSV writes one file a table into `folder`; JSON is one object of arrays, blobs as arrays of numbers.
void exportCsv(const std::filesystem::path &store, const std::filesystem::path &folder);
std::string exportJson(const std::filesystem::path &store);

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "run_store.h"

#include "error.h"
#include "schema.h"
#include "store_files.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <iterator>
#include <mutex>
#include <thread>

namespace xqs {
namespace {

constexpr std::size_t kCapacity = 4096; ///< records that wait; a producer that finds the queue full waits
constexpr std::chrono::milliseconds kCommitEvery{50};
constexpr int kBusyTimeoutMs = 10'000; ///< how long another process may keep the file
constexpr int kCloseTimeoutMs = 200;

/// A file that exists only because of us is removed again where work fails before there is a run in it.
class RemoveOnFailure {
public:
  explicit RemoveOnFailure(const std::filesystem::path &file) : m_file(std::filesystem::exists(file) ? "" : file) {}
  ~RemoveOnFailure() {
    std::error_code ignored;
    if (!m_file.empty() && !store_files::writerAlive(m_file)) std::filesystem::remove(m_file, ignored);
  }
  void keep() { m_file.clear(); }

private:
  std::filesystem::path m_file;
};

/// One prepared INSERT.
template <class T> class Inserter {
public:
  explicit Inserter(sqlite::Database &db) : m_statement(db, schema::insertSql<T>()) {}
  void insert(const T &record) {
    schema::bindRecord(m_statement, record);
    m_statement.step();
    m_statement.reset();
  }

private:
  sqlite::Statement m_statement;
};

template <class List> struct Inserters;
template <class... T> struct Inserters<RecordList<T...>> : Inserter<T>... {
  explicit Inserters(sqlite::Database &db) : Inserter<T>(db)... {}
  using Inserter<T>::insert...;
};

} // namespace

struct RunStore::Impl {
  explicit Impl(const std::filesystem::path &path);

  RowId beginRun(const RunRow &row);
  void continueRun();
  void append(std::vector<Record> records);
  void flush();
  void close();
  void keep() { m_guard.keep(); }

  std::filesystem::path file;
  std::atomic<std::int64_t> blocked = 0;
  bool reported = false; ///< the kept error has been thrown to somebody

private:
  void startWal();
  void drain();
  void commit(const std::vector<Record> &batch);
  void rethrow(std::unique_lock<std::mutex> &lock);
  void finishFile();
  bool holdsRuns() noexcept;

  // The order matters: the lock is taken before SQLite opens the file and given back after it has closed it, and a file
  // without a run is removed after that.
  RemoveOnFailure m_guard;
  std::unique_ptr<store_files::WriterLock> m_lock;
  std::mutex m_databaseMutex; ///< the writer thread and beginRun take turns
  std::unique_ptr<sqlite::Database> m_db;
  std::unique_ptr<Inserters<AllRecords>> m_inserters;
  bool m_wal = false;

  std::mutex m_mutex; ///< everything below
  std::condition_variable m_wake, m_space, m_done;
  std::vector<Record> m_queue;
  std::uint64_t m_appended = 0, m_committed = 0;
  bool m_urgent = false, m_stop = false;
  std::exception_ptr m_error;
  std::thread m_writer;
};

RunStore::Impl::Impl(const std::filesystem::path &path) : file(path), m_guard(path) {
  store_files::requireWritable(file);
  m_lock = std::make_unique<store_files::WriterLock>(file);
  m_db = std::make_unique<sqlite::Database>(file, sqlite::Database::Access::Create, kBusyTimeoutMs);
  schema::createOrUpgrade(*m_db);
  m_inserters = std::make_unique<Inserters<AllRecords>>(*m_db);
  m_writer = std::thread([this] { drain(); });
}

RowId RunStore::Impl::beginRun(const RunRow &row) {
  flush();
  const std::lock_guard turn(m_databaseMutex);
  XQS_ASSERT(m_db);
  // A file that a crash, or a reader that was still there, left in WAL mode. Busy: another process writes; stay in its mode.
  if (!m_wal) m_db->tryExec("PRAGMA journal_mode = DELETE");
  m_db->exec("PRAGMA synchronous = FULL");
  sqlite::Transaction transaction(*m_db);
  m_inserters->insert(row);
  const RowId id = m_db->integer("SELECT last_insert_rowid()");
  transaction.commit();
  m_guard.keep();
  // The run's row must be in the file itself, so that a copy without its -wal can still say which run crashed.
  if (m_wal) m_db->exec("PRAGMA wal_checkpoint(PASSIVE)");
  startWal();
  return id;
}

void RunStore::Impl::continueRun() {
  flush();
  const std::lock_guard turn(m_databaseMutex);
  XQS_ASSERT(m_db);
  if (!m_wal) startWal();
}

void RunStore::Impl::startWal() {
  // Where WAL is impossible (a network folder, another writer at this moment) DELETE does the same work, with more waiting.
  m_wal = m_db->tryExec("PRAGMA journal_mode = WAL") == 0 && m_db->text("PRAGMA journal_mode") == "wal";
  if (m_wal) m_db->exec("PRAGMA synchronous = NORMAL"); // a commit survives this process, not a power cut
}

void RunStore::Impl::append(std::vector<Record> records) {
  if (records.empty()) return;
  std::unique_lock lock(m_mutex);
  rethrow(lock);
  XQS_ASSERT(!m_stop);
  if (m_queue.size() >= kCapacity) {
    ++blocked;
    m_wake.notify_one();
    m_space.wait(lock, [this] { return m_queue.size() < kCapacity || m_error; });
    rethrow(lock);
  }
  const bool wasEmpty = m_queue.empty();
  m_appended += records.size();
  m_queue.insert(m_queue.end(), std::make_move_iterator(records.begin()), std::make_move_iterator(records.end()));
  if (wasEmpty || m_queue.size() >= kCapacity) m_wake.notify_one();
}

void RunStore::Impl::flush() {
  std::unique_lock lock(m_mutex);
  m_urgent = true;
  m_wake.notify_one();
  m_done.wait(lock, [this, target = m_appended] { return m_committed >= target || m_error; });
  rethrow(lock);
}

void RunStore::Impl::drain() {
  auto next = std::chrono::steady_clock::now();
  std::unique_lock lock(m_mutex);
  while (true) {
    m_wake.wait(lock, [this] { return m_stop || !m_queue.empty(); });
    if (m_queue.empty()) return;
    m_wake.wait_until(lock, next, [this] { return m_stop || m_urgent || m_queue.size() >= kCapacity; });
    m_urgent = false;
    std::vector<Record> batch;
    batch.swap(m_queue);
    lock.unlock();
    m_space.notify_all();
    std::exception_ptr error;
    try {
      commit(batch);
    } catch (...) { // the thread's border: kept, and thrown to whoever calls next
      error = std::current_exception();
    }
    next = std::chrono::steady_clock::now() + kCommitEvery;
    lock.lock();
    m_committed += batch.size();
    m_error = error;
    m_done.notify_all();
    m_space.notify_all();
    if (m_error) return;
  }
}

void RunStore::Impl::commit(const std::vector<Record> &batch) {
  const std::lock_guard turn(m_databaseMutex);
  sqlite::Transaction transaction(*m_db);
  for (const Record &record : batch) std::visit([this](const auto &r) { m_inserters->insert(r); }, record);
  transaction.commit();
}

void RunStore::Impl::rethrow(std::unique_lock<std::mutex> &lock) {
  if (!m_error) return;
  reported = true;
  const std::exception_ptr error = m_error;
  lock.unlock();
  std::rethrow_exception(error);
}

void RunStore::Impl::close() {
  if (!m_writer.joinable()) return;
  {
    const std::lock_guard lock(m_mutex);
    m_stop = true;
    m_wake.notify_one();
  }
  m_writer.join();
  finishFile();
  std::unique_lock lock(m_mutex);
  rethrow(lock);
}

void RunStore::Impl::finishFile() {
  m_inserters.reset();
  if (holdsRuns()) m_guard.keep();
  m_db->setBusyTimeout(kCloseTimeoutMs);
  // Busy while another process has the file open: then the last to close it does this (store_files::settle). Any other
  // failure is the disk's: the rows are in the -wal, but the one finished file that is promised is not there.
  for (const char *sql : {"PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode = DELETE"}) {
    const int rc = m_db->tryExec(sql), kind = rc & 0xff;
    if (kind == SQLITE_OK || kind == SQLITE_BUSY || kind == SQLITE_LOCKED || m_error) continue;
    try {
      m_db->fail(rc);
    } catch (const Error &) {
      m_error = std::current_exception();
    }
  }
  m_db.reset();
  m_lock->release();
}

/// Another process may have begun some. What cannot be read is nothing to remove.
bool RunStore::Impl::holdsRuns() noexcept try {
  return m_db->integer("SELECT count(*) FROM run") > 0;
} catch (const Error &) {
  return true;
}

RunStore::RunStore(const std::filesystem::path &file) : m_impl(std::make_unique<Impl>(file)) {}

RunStore::~RunStore() {
  try {
    m_impl->close();
  } catch (const std::exception &error) {
    if (!m_impl->reported) std::fprintf(stderr, "xqscope: %s\n", error.what());
  }
}

RowId RunStore::beginRun(RunRow row) { return m_impl->beginRun(row); }
void RunStore::continueRun() { m_impl->continueRun(); }
void RunStore::append(Record record) {
  std::vector<Record> one;
  one.push_back(std::move(record));
  m_impl->append(std::move(one));
}
void RunStore::append(std::vector<Record> records) { m_impl->append(std::move(records)); }
void RunStore::flush() { m_impl->flush(); }
void RunStore::close() {
  m_impl->keep();
  m_impl->close();
}
const std::filesystem::path &RunStore::file() const { return m_impl->file; }
std::int64_t RunStore::blockedAppends() const { return m_impl->blocked; }

} // namespace xqs

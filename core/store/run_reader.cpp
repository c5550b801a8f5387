// SPDX-License-Identifier: Apache-2.0
#include "run_store.h"

#include "error.h"
#include "schema.h"
#include "store_files.h"

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <tuple>

namespace xqs {
namespace fs = std::filesystem;
namespace {

constexpr auto kSettleEvery = std::chrono::seconds(1); ///< while somebody else reads too

} // namespace

struct RunReader::Impl {
  explicit Impl(const fs::path &path) : file(path) { connect(); }
  ~Impl() { closeAndSettle(); }

  void connect();
  void disconnect();
  void closeAndSettle();
  std::int64_t version();
  sqlite::Database &database(); ///< the connection; made again where an earlier attempt failed

  /// The query of one table, and which of its columns this file has.
  struct Table {
    schema::Columns columns;
    sqlite::Statement statement;
  };
  template <class T> Table *table(); ///< null where the file is older than this table

  fs::path file;
  std::unique_ptr<sqlite::Database> db;
  std::map<std::string, Table, std::less<>> tables;
  std::int64_t generation = 0;    ///< connections so far: data_version starts anew with each
  std::int64_t schemaVersion = 0; ///< SQLite's: another one where a writer has upgraded the file
  std::chrono::steady_clock::time_point nextSettle{};
};

void RunReader::Impl::connect() {
  db = store_files::openForReading(file);
  schemaVersion = db->integer("PRAGMA schema_version");
  ++generation;
}

void RunReader::Impl::disconnect() {
  tables.clear();
  db.reset();
}

void RunReader::Impl::closeAndSettle() {
  disconnect();
  if (fs::exists(store_files::walOf(file)) && !store_files::writerAlive(file)) store_files::settle(file);
}

std::int64_t RunReader::Impl::version() {
  // The writer has gone, but could not finish the file while we read it: let go, finish it, come back.
  const auto now = std::chrono::steady_clock::now();
  if (now >= nextSettle && fs::exists(store_files::walOf(file)) && !store_files::writerAlive(file)) {
    nextSettle = now + kSettleEvery;
    disconnect();
    connect();
  }
  if (const std::int64_t found = database().integer("PRAGMA schema_version"); found != schemaVersion) {
    tables.clear();
    schemaVersion = found;
  }
  return (generation << 40) + database().integer("PRAGMA data_version");
}

sqlite::Database &RunReader::Impl::database() {
  if (!db) connect();
  return *db;
}

template <class T> RunReader::Impl::Table *RunReader::Impl::table() {
  if (const auto found = tables.find(T::kTable); found != tables.end()) return &found->second;
  schema::Columns columns = schema::columnsOf(database(), T::kTable);
  if (columns.empty()) return nullptr;
  sqlite::Statement statement(database(), schema::selectSql<T>(columns));
  return &tables.emplace(T::kTable, Table{std::move(columns), std::move(statement)}).first->second;
}

RunReader::RunReader(const fs::path &file) : m_impl(std::make_unique<Impl>(file)) {}
RunReader::~RunReader() = default;
RunReader::RunReader(RunReader &&) noexcept = default;
RunReader &RunReader::operator=(RunReader &&) noexcept = default;

const fs::path &RunReader::file() const { return m_impl->file; }
std::int64_t RunReader::dataVersion() { return m_impl->version(); }

template <class T> std::vector<T> RunReader::rowsAfter(RowId lastId, std::int64_t limit) {
  Impl::Table *table = m_impl->table<T>();
  if (table == nullptr) return {};
  table->statement.bind(1, lastId);
  table->statement.bind(2, limit);
  std::vector<T> rows;
  while (table->statement.step()) rows.push_back(schema::readRecord<T>(table->statement, table->columns));
  table->statement.reset();
  return rows;
}

bool RunReader::crashed(RowId run) {
  if (store_files::writerAlive(m_impl->file)) return false; // asked first: its last act is to write the end
  sqlite::Statement ends(m_impl->database(), "SELECT count(*) FROM run_end WHERE run = ?");
  ends.bind(1, run);
  std::int64_t count = 0;
  if (ends.step()) ends.get(0, count);
  return count == 0;
}

std::optional<RunReader> openIfWritten(const fs::path &file) {
  if (file.empty() || !fs::exists(file)) return std::nullopt;
  try {
    return RunReader(file);
  } catch (const Error &error) {
    std::error_code ignored;
    if (error.code() == Code::BadFile && fs::file_size(file, ignored) == 0) return std::nullopt;
    throw;
  }
}

bool isBeingWritten(const fs::path &file) { return store_files::writerAlive(file); }

namespace {
/// Makes `rowsAfter` of every record.
[[gnu::used]] constexpr auto kRowsAfter = []<class... T>(RecordList<T...>) {
  return std::tuple{&RunReader::rowsAfter<T>...};
}(AllRecords{});
} // namespace

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "schema.h"

#include "error.h"

#include <fmt/format.h>

namespace xqs::schema {
namespace {

/// The table and two triggers that keep it append-only whatever program opens the file.
template <class T> std::string createSql() {
  const std::string columns =
      joinFields<T>([](const std::string &name, std::string_view type) { return fmt::format("\"{}\" {}", name, type); });
  std::string sql = fmt::format("CREATE TABLE \"{}\" (id INTEGER PRIMARY KEY, {});\n", T::kTable, columns);
  for (const char *change : {"UPDATE", "DELETE"})
    sql += fmt::format("CREATE TRIGGER \"{0}_no_{1}\" BEFORE {1} ON \"{0}\" BEGIN SELECT RAISE(ABORT, 'rows of a store are "
                       "appended, never changed'); END;\n",
                       T::kTable, change);
  return sql;
}

bool isEmpty(sqlite::Database &db) {
  return db.integer("SELECT count(*) FROM sqlite_master") == 0 && db.integer("PRAGMA application_id") == 0;
}

/// What later versions added: tables (no column) and columns. Everything else is of version 1.
struct Added {
  std::string_view table, column;
  std::int64_t version;
};
constexpr Added kAdded[] = {
    {"position", "", 2},
    {"noise", "", 2},
    {"run", "study", 2},
    {"run", "study_key", 2},
    {"run", "calibration_text", 2},
    {"run", "calibration_text_hash", 2},
    {"run", "calibration_tokens_hash", 2},
    {"run", "calibration_windows", 2},
    {"generated", "", 3},
    {"step", "", 4},
    {"kernel", "", 4},
    {"traffic", "", 4},
    {"throughput", "", 4},
    {"instrument", "", 4},
    {"peak", "", 4},
    {"step", "tracer_seconds", 5},
    {"kernel", "measured_seconds", 5},
    {"kernel", "measured_read", 5},
    {"kernel", "measured_write", 5},
    {"kernel", "cache_accesses", 5},
    {"kernel", "cache_misses", 5},
    {"kernel", "cache_hit_rate", 5},
    {"kernel", "cycles", 5},
    {"kernel", "tensor_instructions", 5},
};

/// True where a file of `version` need not have it.
bool cameLater(std::string_view table, std::string_view column, std::int64_t version) {
  return std::any_of(std::begin(kAdded), std::end(kAdded), [&](const Added &added) {
    return added.table == table && added.column == column && added.version > version;
  });
}

bool isTable(sqlite::Database &db, const char *name) {
  // A view or a virtual table under our name could compute for ever: only plain tables are read.
  sqlite::Statement kind(db, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name = ?");
  kind.bind(1, std::string(name));
  std::int64_t tables = 0;
  if (kind.step()) kind.get(0, tables);
  return tables == 1;
}

template <class T> void checkTable(sqlite::Database &db, std::int64_t version) {
  if (!isTable(db, T::kTable)) {
    sqlite::Statement any(db, "SELECT count(*) FROM sqlite_master WHERE name = ?");
    any.bind(1, std::string(T::kTable));
    std::int64_t others = 0;
    if (any.step()) any.get(0, others);
    if (others == 0 && cameLater(T::kTable, "", version)) return;
    throw Error(Code::BadFile, fmt::format("{} lacks the table \"{}\" of a store: copy it again from where it was made",
                                           db.file().string(), T::kTable));
  }
  const Columns columns = columnsOf(db, T::kTable);
  const T record{};
  T::visit(record, [&](const char *name, const auto &) {
    if (!columns.contains(name) && !cameLater(T::kTable, name, version))
      throw Error(Code::BadFile,
                  fmt::format("{} lacks the column \"{}\" of the table \"{}\": it was not written by XQScope {}",
                              db.file().string(), name, T::kTable, XQS_VERSION));
  });
}

template <class T> void upgradeTable(sqlite::Database &db) {
  const Columns columns = columnsOf(db, T::kTable);
  if (columns.empty()) return db.exec(createSql<T>().c_str());
  const T record{};
  T::visit(record, [&]<class Field>(const char *name, const Field &) {
    if (!columns.contains(name))
      db.exec(fmt::format("ALTER TABLE \"{}\" ADD COLUMN \"{}\" {}", T::kTable, name, sqlType<Field>()).c_str());
  });
}

std::string stamp() { return fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kVersion); }

} // namespace

void check(sqlite::Database &db) {
  if (db.integer("PRAGMA application_id") != kApplicationId)
    throw Error(Code::BadFile, fmt::format("{} is a database of another program, not an XQScope store: choose a .xqs file",
                                           db.file().string()));
  const std::int64_t version = db.integer("PRAGMA user_version");
  if (version > kVersion)
    throw Error(Code::BadFile,
                fmt::format("{} was written by a newer XQScope (schema {}, this program knows {}): update XQScope",
                            db.file().string(), version, kVersion));
  forEachRecord([&]<class T>() { checkTable<T>(db, version); });
}

Columns columnsOf(sqlite::Database &db, const char *table) {
  sqlite::Statement statement(db, "SELECT name FROM pragma_table_info(?)");
  statement.bind(1, std::string(table));
  Columns columns;
  for (std::string name; statement.step(); columns.insert(name)) statement.get(0, name);
  return columns;
}

void createOrUpgrade(sqlite::Database &db) {
  sqlite::Transaction transaction(db); // two programs may create the same file at once
  if (isEmpty(db)) {
    forEachRecord([&]<class T>() { db.exec(createSql<T>().c_str()); });
    db.exec(stamp().c_str());
  } else {
    check(db);
    if (db.integer("PRAGMA user_version") < kVersion) {
      forEachRecord([&]<class T>() { upgradeTable<T>(db); });
      db.exec(stamp().c_str());
    }
  }
  transaction.commit();
}

} // namespace xqs::schema

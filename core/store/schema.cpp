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

template <class T> void checkTable(sqlite::Database &db) {
  // A view or a virtual table under our name could compute for ever: only plain tables are read.
  sqlite::Statement kind(db, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name = ?");
  kind.bind(1, std::string(T::kTable));
  std::int64_t tables = 0;
  if (kind.step()) kind.get(0, tables);
  if (tables != 1)
    throw Error(Code::BadFile, fmt::format("{} lacks the table \"{}\" of a store: copy it again from where it was made",
                                           db.file().string(), T::kTable));
  sqlite::Statement column(db, "SELECT count(*) FROM pragma_table_info(?) WHERE name = ?");
  column.bind(1, std::string(T::kTable));
  const T record{};
  T::visit(record, [&](const char *name, const auto &) {
    column.bind(2, std::string(name));
    std::int64_t found = 0;
    if (column.step()) column.get(0, found);
    column.reset();
    if (found != 1)
      throw Error(Code::BadFile,
                  fmt::format("{} lacks the column \"{}\" of the table \"{}\": it was not written by XQScope {}",
                              db.file().string(), name, T::kTable, XQS_VERSION));
  });
}

} // namespace

void check(sqlite::Database &db) {
  if (db.integer("PRAGMA application_id") != kApplicationId)
    throw Error(Code::BadFile, fmt::format("{} is a database of another program, not an XQScope store: choose a .xqs file",
                                           db.file().string()));
  if (const std::int64_t version = db.integer("PRAGMA user_version"); version > kVersion)
    throw Error(Code::BadFile,
                fmt::format("{} was written by a newer XQScope (schema {}, this program knows {}): update XQScope",
                            db.file().string(), version, kVersion));
  forEachRecord([&]<class T>() { checkTable<T>(db); });
}

void createOrCheck(sqlite::Database &db) {
  sqlite::Transaction transaction(db); // two programs may create the same file at once
  if (isEmpty(db)) {
    forEachRecord([&]<class T>() { db.exec(createSql<T>().c_str()); });
    db.exec(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kVersion).c_str());
  } else {
    check(db);
  }
  transaction.commit();
}

} // namespace xqs::schema

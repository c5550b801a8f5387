// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "records.h"

#include <filesystem>
#include <memory>

struct sqlite3;
struct sqlite3_stmt;

/// The only wrapper around SQLite's C interface; included by core/store alone.
namespace xqs::sqlite {

/// One connection. A failure becomes an `Error` that names the file, SQLite's text and what to do: BadFile where the content
/// is wrong, else StoreUnwritable for a writer and Unreadable for a reader.
class Database {
public:
  enum class Access {
    Read,      ///< SQLITE_OPEN_READONLY
    Immutable, ///< as Read, without locks and without a -wal: for folders that cannot be written
    Write,     ///< an existing file
    Create,    ///< as Write, made where missing
  };
  /// Throws where the file cannot be opened; most problems show only when the first page is read.
  Database(const std::filesystem::path &file, Access access, int busyTimeoutMs);

  const std::filesystem::path &file() const { return m_file; }
  sqlite3 *handle() const { return m_db.get(); }
  void setBusyTimeout(int milliseconds);
  /// Runs statements and drops what they return.
  void exec(const char *sql);
  /// The same without throwing: SQLite's extended result code, 0 = done.
  int tryExec(const char *sql) noexcept;
  std::int64_t integer(const char *sql); ///< first column of the first row; 0 without one
  std::string text(const char *sql);     ///< the same as text
  std::string lastError() const;
  [[noreturn]] void fail(int resultCode) const;

private:
  struct Close {
    void operator()(sqlite3 *db) const;
  };
  std::filesystem::path m_file;
  Access m_access;
  std::unique_ptr<sqlite3, Close> m_db;
};

/// BEGIN IMMEDIATE ... COMMIT; rolled back where `commit` was not reached.
class Transaction {
public:
  explicit Transaction(Database &db) : m_db(db) { m_db.exec("BEGIN IMMEDIATE"); }
  ~Transaction() {
    if (m_open) m_db.tryExec("ROLLBACK");
  }
  Transaction(const Transaction &) = delete;
  Transaction &operator=(const Transaction &) = delete;
  void commit() {
    m_db.exec("COMMIT");
    m_open = false;
  }

private:
  Database &m_db;
  bool m_open = true;
};

/// A prepared statement; `db` must outlive it. Parameters and columns are visited in the order of a record's `visit`.
class Statement {
public:
  Statement(Database &db, const std::string &sql);
  ~Statement();
  Statement(Statement &&other) noexcept : m_db(other.m_db), m_statement(other.m_statement) { other.m_statement = nullptr; }
  Statement &operator=(Statement &&) = delete;

  void bind(int parameter, std::int64_t value); ///< parameters count from 1
  void bind(int parameter, double value);       ///< NaN becomes NULL
  void bind(int parameter, const std::string &value);
  void bind(int parameter, const Blob &value);
  /// True while there is a row.
  bool step();
  /// Ends the read transaction and makes the statement usable again; bound values stay.
  void reset();
  void get(int column, std::int64_t &value) const; ///< columns count from 0; NULL is 0
  void get(int column, double &value) const;       ///< NULL is NaN
  void get(int column, std::string &value) const;
  void get(int column, Blob &value) const;

private:
  void check(int resultCode) const;

  Database *m_db;
  sqlite3_stmt *m_statement = nullptr;
};

} // namespace xqs::sqlite

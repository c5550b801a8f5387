// SPDX-License-Identifier: Apache-2.0
#include "sqlite.h"

#include "error.h"

#include <sqlite3.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace xqs::sqlite {
namespace {

/// A file name as SQLite's URI: everything but unreserved characters and slashes is escaped.
std::string immutableUri(const std::string &file) {
  std::string uri = "file:";
  for (const char c : file) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '.' ||
                       c == '-' || c == '_';
    uri += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return uri + "?immutable=1";
}

const char *writeRemedy(int primaryCode) {
  switch (primaryCode) {
  case SQLITE_FULL:
  case SQLITE_IOERR: return "free space on that disk, or check it, and run again; rows committed before stay readable";
  case SQLITE_BUSY:
  case SQLITE_LOCKED: return "another program keeps the file locked: close it there, or write to a new file";
  case SQLITE_READONLY:
  case SQLITE_PERM:
  case SQLITE_CANTOPEN: return "choose a file in a folder that you can write";
  default: return "write to a new file";
  }
}

} // namespace

void Database::Close::operator()(sqlite3 *db) const { sqlite3_close_v2(db); }

Database::Database(const std::filesystem::path &file, Access access, int busyTimeoutMs) : m_file(file), m_access(access) {
  // An absolute path: SQLite gives names such as ":memory:" a meaning of their own.
  const std::string absolute = std::filesystem::absolute(file).string();
  int flags = SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_EXRESCODE;
  switch (access) {
  case Access::Read: flags |= SQLITE_OPEN_READONLY; break;
  case Access::Immutable: flags |= SQLITE_OPEN_READONLY | SQLITE_OPEN_URI; break;
  case Access::Write: flags |= SQLITE_OPEN_READWRITE; break;
  case Access::Create: flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE; break;
  }
  sqlite3 *raw = nullptr;
  const std::string name = access == Access::Immutable ? immutableUri(absolute) : absolute;
  const int rc = sqlite3_open_v2(name.c_str(), &raw, flags, nullptr);
  m_db.reset(raw);
  if (rc != SQLITE_OK) fail(rc);
  sqlite3_busy_timeout(raw, busyTimeoutMs);
  // A file may come from anyone: its schema must not run functions or corrupt itself.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
}

void Database::setBusyTimeout(int milliseconds) { sqlite3_busy_timeout(handle(), milliseconds); }

void Database::exec(const char *sql) {
  if (const int rc = tryExec(sql); rc != SQLITE_OK) fail(rc);
}

int Database::tryExec(const char *sql) noexcept { return sqlite3_exec(handle(), sql, nullptr, nullptr, nullptr); }

std::int64_t Database::integer(const char *sql) {
  Statement statement(*this, sql);
  std::int64_t value = 0;
  if (statement.step()) statement.get(0, value);
  return value;
}

std::string Database::text(const char *sql) {
  Statement statement(*this, sql);
  std::string value;
  if (statement.step()) statement.get(0, value);
  return value;
}

std::string Database::lastError() const { return sqlite3_errmsg(handle()); }

void Database::fail(int resultCode) const {
  const int primary = resultCode & 0xff;
  const bool current = m_db && sqlite3_extended_errcode(handle()) == resultCode; // else another call came between
  const std::string text = current ? sqlite3_errmsg(handle()) : sqlite3_errstr(resultCode);
  if (primary == SQLITE_NOTADB)
    throw Error(Code::BadFile, fmt::format("{} is not an XQScope store: choose a .xqs file", m_file.string()));
  if (primary == SQLITE_CORRUPT)
    throw Error(Code::BadFile,
                fmt::format("{} is damaged or cut short ({}): copy it again from where it was made", m_file.string(), text));
  if (m_access == Access::Write || m_access == Access::Create)
    throw Error(Code::StoreUnwritable, fmt::format("cannot write {}: {}; {}", m_file.string(), text, writeRemedy(primary)));
  throw Error(Code::Unreadable,
              fmt::format("cannot read {}: {}; copy it, with its -wal where there is one, into a folder that "
                          "you can write, and open it there",
                          m_file.string(), text));
}

Statement::Statement(Database &db, const std::string &sql) : m_db(&db) {
  check(sqlite3_prepare_v3(db.handle(), sql.c_str(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &m_statement,
                           nullptr));
}

Statement::~Statement() { sqlite3_finalize(m_statement); }

void Statement::check(int resultCode) const {
  if (resultCode != SQLITE_OK) m_db->fail(resultCode);
}

void Statement::bind(int parameter, std::int64_t value) { check(sqlite3_bind_int64(m_statement, parameter, value)); }

void Statement::bind(int parameter, double value) {
  check(std::isnan(value) ? sqlite3_bind_null(m_statement, parameter) : sqlite3_bind_double(m_statement, parameter, value));
}

void Statement::bind(int parameter, const std::string &value) {
  check(sqlite3_bind_text64(m_statement, parameter, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void Statement::bind(int parameter, const Blob &value) {
  // A null pointer would bind NULL, not an empty blob.
  const void *data = value.empty() ? static_cast<const void *>("") : value.data();
  check(sqlite3_bind_blob64(m_statement, parameter, data, value.size(), SQLITE_TRANSIENT));
}

bool Statement::step() {
  const int rc = sqlite3_step(m_statement);
  if (rc == SQLITE_ROW) return true;
  if (rc != SQLITE_DONE) {
    sqlite3_reset(m_statement);
    m_db->fail(rc);
  }
  return false;
}

void Statement::reset() { sqlite3_reset(m_statement); }

void Statement::get(int column, std::int64_t &value) const { value = sqlite3_column_int64(m_statement, column); }

void Statement::get(int column, double &value) const {
  value = sqlite3_column_type(m_statement, column) == SQLITE_NULL ? std::numeric_limits<double>::quiet_NaN()
                                                                  : sqlite3_column_double(m_statement, column);
}

void Statement::get(int column, std::string &value) const {
  const auto *text = reinterpret_cast<const char *>(sqlite3_column_text(m_statement, column));
  value.assign(text ? text : "", text ? static_cast<std::size_t>(sqlite3_column_bytes(m_statement, column)) : 0);
}

void Statement::get(int column, Blob &value) const {
  const auto *data = static_cast<const std::uint8_t *>(sqlite3_column_blob(m_statement, column));
  value.assign(data, data + (data ? sqlite3_column_bytes(m_statement, column) : 0));
}

} // namespace xqs::sqlite

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sqlite.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <type_traits>

/// What a record's list of fields (`visit`) becomes in SQL: one table a record, `id` first, one column a field.
namespace xqs::schema {

inline constexpr std::int64_t kApplicationId = 0x58515363; ///< "XQSc": what `file` and we recognise a store by
inline constexpr std::int64_t kVersion = 5;                ///< user_version; a larger one is refused

/// Calls `f.template operator()<T>()` for every record type, in the order of AllRecords.
template <class F> void forEachRecord(F &&f) {
  [&]<class... T>(RecordList<T...>) { (f.template operator()<T>(), ...); }(AllRecords{});
}

template <class Field> constexpr std::string_view sqlType() {
  if constexpr (std::is_same_v<Field, double>)
    return "REAL";
  else if constexpr (std::is_same_v<Field, std::string>)
    return "TEXT";
  else if constexpr (std::is_same_v<Field, Blob>)
    return "BLOB";
  else
    return "INTEGER";
}

/// Joins `part(name, sqlType)` of every field with ", ".
template <class T, class Part> std::string joinFields(Part part) {
  std::string all;
  const T record{};
  T::visit(record, [&]<class Field>(const char *name, const Field &) {
    if (!all.empty()) all += ", ";
    all += part(std::string(name), sqlType<Field>());
  });
  return all;
}

template <class T> std::string insertSql() {
  const std::string columns = joinFields<T>([](const std::string &name, std::string_view) { return '"' + name + '"'; });
  const std::string values = joinFields<T>([](const std::string &, std::string_view) { return std::string("?"); });
  return std::string("INSERT INTO \"") + T::kTable + "\" (" + columns + ") VALUES (" + values + ")";
}

/// Columns of a table of one file; an older file lacks those that came later.
using Columns = std::set<std::string, std::less<>>;
Columns columnsOf(sqlite::Database &db, const char *table);

/// Parameter 1: the last id known; 2: how many rows, < 0 for all.
template <class T> std::string selectSql(const Columns &present) {
  const std::string columns = joinFields<T>([&](const std::string &name, std::string_view) {
    return present.contains(name) ? '"' + name + '"' : std::string("NULL");
  });
  return "SELECT id, " + columns + " FROM \"" + T::kTable + "\" WHERE id > ? ORDER BY id LIMIT ?";
}

template <class T> void bindRecord(sqlite::Statement &statement, const T &record) {
  int parameter = 0;
  T::visit(record, [&](const char *, const auto &field) { statement.bind(++parameter, field); });
}

/// Columns that the file lacks keep their defaults.
template <class T> T readRecord(const sqlite::Statement &statement, const Columns &present) {
  T record;
  statement.get(0, record.id);
  int column = 0;
  T::visit(record, [&](const char *name, auto &field) {
    if (++column; present.contains(name)) statement.get(column, field);
  });
  return record;
}

/// What tells this row from the others of its run: the values of T::kIdentity.
template <class T> std::string identityOf(const T &record) {
  std::string identity;
  T::visit(record, [&]<class Field>(const char *name, const Field &field) {
    if (std::find(T::kIdentity.begin(), T::kIdentity.end(), name) == T::kIdentity.end()) return;
    if constexpr (std::is_same_v<Field, std::string>)
      identity += field;
    else if constexpr (std::is_same_v<Field, std::int64_t>)
      identity += std::to_string(field);
    identity += '\0';
  });
  return identity;
}

/// Creates all tables in an empty database; else checks those that are there and adds what came after the file's version.
/// One transaction; throws BadFile, StoreUnwritable.
void createOrUpgrade(sqlite::Database &db);
/// Throws BadFile with one sentence where this is no store, one of a newer version, or one that lacks a table or a column
/// that its version has.
void check(sqlite::Database &db);

} // namespace xqs::schema

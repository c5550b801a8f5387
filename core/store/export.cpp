// SPDX-License-Identifier: Apache-2.0
#include "run_store.h"

#include "error.h"
#include "schema.h"
#include "store_files.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>

/// "Save as", CSV and JSON. Blobs leave as the numbers that they hold.
namespace xqs {
namespace fs = std::filesystem;
namespace {

/// What the 4-byte little-endian words of a blob column are; a column without a line here leaves as bytes.
struct BlobLayout {
  std::string_view column;
  bool integerEven, integerOdd; ///< of the words at even and odd places: integers, else float32
  bool isSigned;
};
constexpr BlobLayout kBlobLayouts[] = {
    {"histogram", true, true, false}, {"top_channels", true, false, true}, {"cosine", false, false, false},
    {"nll", false, false, false},     {"kl", false, false, false},         {"read", false, false, false},
    {"write", false, false, false},
};

/// The double with the shortest decimal form that is still this float: 0.1, not 0.10000000149011612.
double shortest(float value) {
  if (!std::isfinite(value)) return value;
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  double result = 0;
  std::from_chars(text, end, result);
  return result;
}

std::vector<nlohmann::ordered_json> blobNumbers(std::string_view column, const Blob &blob) {
  std::vector<nlohmann::ordered_json> numbers;
  for (const BlobLayout &layout : kBlobLayouts) {
    if (layout.column != column) continue;
    for (std::size_t i = 0; i + 4 <= blob.size(); i += 4) {
      const std::uint32_t word = blob[i] | blob[i + 1] << 8 | blob[i + 2] << 16 | std::uint32_t(blob[i + 3]) << 24;
      if (!((i / 4) % 2 ? layout.integerOdd : layout.integerEven))
        numbers.emplace_back(shortest(std::bit_cast<float>(word)));
      else if (layout.isSigned)
        numbers.emplace_back(static_cast<std::int32_t>(word));
      else
        numbers.emplace_back(word);
    }
    return numbers;
  }
  for (const std::uint8_t byte : blob) numbers.emplace_back(byte);
  return numbers;
}

std::string cell(const char *, std::int64_t value) { return std::to_string(value); }
std::string cell(const char *, double value) { return std::isnan(value) ? "" : fmt::format("{}", value); }
std::string cell(const char *, const std::string &value) {
  if (value.find_first_of(",\"\r\n") == std::string::npos) return value;
  std::string quoted = "\"";
  for (const char c : value) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}
std::string cell(const char *column, const Blob &value) {
  std::string text;
  for (const auto &number : blobNumbers(column, value)) text += (text.empty() ? "" : " ") + number.dump();
  return text;
}

/// RFC 4180 with one header line; NaN is an empty cell.
template <class T> void writeCsv(RunReader &reader, const fs::path &file) {
  std::ofstream out(file, std::ios::binary);
  std::string header = "id";
  const T names{};
  T::visit(names, [&](const char *name, const auto &) { header += std::string(",") + name; });
  out << header << '\n';
  for (RowId last = 0; out;) { // in pieces: a table may be larger than memory should hold
    const std::vector<T> rows = reader.rowsAfter<T>(last, 1000);
    if (rows.empty()) break;
    last = rows.back().id;
    for (const T &row : rows) {
      std::string line = std::to_string(row.id);
      T::visit(row, [&](const char *name, const auto &field) { line += ',' + cell(name, field); });
      out << line << '\n';
    }
  }
  out.close();
  if (!out)
    throw Error(Code::StoreUnwritable, fmt::format("cannot write {}: {}; free space there or choose another folder",
                                                   file.string(), std::strerror(errno)));
}

template <class T> nlohmann::ordered_json tableJson(RunReader &reader) {
  auto rows = nlohmann::ordered_json::array();
  for (const T &row : reader.rowsAfter<T>(0)) {
    nlohmann::ordered_json object{{"id", row.id}};
    T::visit(row, [&]<class Field>(const char *name, const Field &field) {
      if constexpr (std::is_same_v<Field, Blob>)
        object[name] = blobNumbers(name, field);
      else
        object[name] = field; // a NaN is printed as null
    });
    rows.push_back(std::move(object));
  }
  return rows;
}

std::string sqlQuoted(const std::string &text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("''") : std::string(1, c);
  return quoted + "'";
}

} // namespace

void copyStore(const fs::path &from, const fs::path &to) {
  store_files::requireReadable(from);
  store_files::requireWritable(to);
  std::error_code ignored;
  if (fs::equivalent(from, to, ignored))
    throw Error(Code::Usage, fmt::format("cannot copy {} onto itself: choose another name", from.string()));
  const fs::path part = fs::path(to) += ".part";
  fs::remove(part, ignored);
  const auto db = store_files::openForReading(from);
  // One transaction, the -wal included; the copy is in journal_mode=DELETE.
  const int rc = db->tryExec(fmt::format("VACUUM INTO {}", sqlQuoted(fs::absolute(part).string())).c_str());
  std::error_code failed;
  if (rc == 0) fs::rename(part, to, failed);
  if (rc == 0 && !failed) return;
  const std::string reason = rc == 0 ? failed.message() : db->lastError();
  fs::remove(part, ignored);
  throw Error(Code::StoreUnwritable,
              fmt::format("cannot write {}: {}; free space there or choose another file", to.string(), reason));
}

void exportCsv(const fs::path &store, const fs::path &folder) {
  RunReader reader(store);
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed)
    throw Error(Code::StoreUnwritable,
                fmt::format("cannot create {}: {}; choose another folder", folder.string(), failed.message()));
  schema::forEachRecord([&]<class T>() { writeCsv<T>(reader, folder / (std::string(T::kTable) + ".csv")); });
}

std::string exportJson(const fs::path &store) {
  RunReader reader(store);
  nlohmann::ordered_json all{{"format", "xqscope-store"}, {"schema", schema::kVersion}};
  schema::forEachRecord([&]<class T>() { all[T::kTable] = tableJson<T>(reader); });
  return all.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

} // namespace xqs

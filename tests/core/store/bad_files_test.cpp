// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include "store/sqlite.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sys/stat.h>

using namespace xqs;
using namespace xqs::test;
namespace fs = std::filesystem;

namespace {

/// What the reader says, after checks that hold for every message: one line that names the file.
std::pair<Code, std::string> refusal(const fs::path &file) {
  auto result = errorOf([&] { RunReader reader(file); });
  EXPECT_THAT(result.second, testing::HasSubstr(file.string()));
  EXPECT_THAT(result.second, testing::Not(testing::HasSubstr("\n")));
  return result;
}

void write(const fs::path &file, const std::string &content) { std::ofstream(file, std::ios::binary) << content; }

std::string finishedStore(const fs::path &file) {
  {
    RunStore store(file);
    const RowId run = store.beginRun(exampleRun());
    for (int i = 0; i < 2000; ++i) store.append(exampleLog(run, std::string(100, 'x')));
    store.append(exampleEnd(run));
  }
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

} // namespace

TEST(BadStore, WhatIsNoFileIsRefusedAtOnce) {
  const TempFolder folder;
  EXPECT_EQ(refusal(folder / "none.xqs").first, Code::NotFound);
  EXPECT_EQ(refusal(folder.path()).first, Code::Unreadable);
  ASSERT_EQ(::mkfifo((folder / "pipe.xqs").c_str(), 0600), 0);
  EXPECT_EQ(refusal(folder / "pipe.xqs").first, Code::Unreadable);
  EXPECT_EQ(refusal("/dev/zero").first, Code::Unreadable);
  for (const fs::path &file : {folder.path(), folder / "pipe.xqs", folder / "none/a.xqs", fs::path("/dev/zero")})
    EXPECT_EQ(errorOf([&] { RunStore store(file); }).first, Code::StoreUnwritable) << file;
}

TEST(BadStore, WhatIsNoStoreIsRefusedAndNotChanged) {
  const TempFolder folder;
  write(folder / "empty.xqs", "");
  write(folder / "text.xqs", std::string(5000, 'x'));
  write(folder / "short.xqs", "SQLite format 3");
  EXPECT_EQ(refusal(folder / "empty.xqs").first, Code::BadFile);
  for (const char *name : {"text.xqs", "short.xqs"}) {
    EXPECT_EQ(refusal(folder / name).first, Code::BadFile) << name;
    const auto size = fs::file_size(folder / name);
    EXPECT_EQ(errorOf([&] { RunStore store(folder / name); }).first, Code::BadFile) << name;
    EXPECT_EQ(fs::file_size(folder / name), size) << name;
  }
  sqlite::Database(folder / "other.db", sqlite::Database::Access::Create, 0)
      .exec("PRAGMA journal_mode=WAL; CREATE TABLE log(x)");
  EXPECT_THAT(refusal(folder / "other.db").second, testing::HasSubstr("another program"));
  EXPECT_EQ(errorOf([&] { RunStore store(folder / "other.db"); }).first, Code::BadFile);
  EXPECT_EQ(sqlite::Database(folder / "other.db", sqlite::Database::Access::Read, 0).text("PRAGMA journal_mode"), "wal");
}

TEST(BadStore, ACutStoreIsRefusedAtAnyLength) {
  const TempFolder folder;
  const std::string whole = finishedStore(folder / "whole.xqs");
  for (std::size_t length : {1ul, 50ul, 99ul, 100ul, 4095ul, 4096ul, 8192ul, whole.size() / 2, whole.size() - 4096}) {
    write(folder / "cut.xqs", whole.substr(0, length));
    EXPECT_EQ(refusal(folder / "cut.xqs").first, Code::BadFile) << length;
  }
}

TEST(BadStore, DamageInsideIsAnErrorNotACrash) {
  const TempFolder folder;
  const std::string whole = finishedStore(folder / "whole.xqs");
  for (std::size_t page = 1; page < whole.size() / 4096; ++page) {
    std::string damaged = whole;
    damaged.replace(page * 4096, 4096, std::string(4096, '\x5a'));
    write(folder / "damaged.xqs", damaged);
    try {
      RunReader reader(folder / "damaged.xqs");
      reader.rowsAfter<LogRow>(0), reader.rowsAfter<RunRow>(0), reader.rowsAfter<RunEndRow>(0);
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), Code::BadFile) << error.what();
    }
  }
}

TEST(BadStore, ANewerSchemaAViewAndAMissingTableAreRefused) {
  const TempFolder folder;
  using Access = sqlite::Database::Access;
  finishedStore(folder / "a.xqs");
  const auto changed = [&](const char *name, const char *sql) {
    fs::copy_file(folder / "a.xqs", folder / name);
    sqlite::Database(folder / name, Access::Write, 0).exec(sql);
    return refusal(folder / name);
  };
  EXPECT_THAT(changed("newer.xqs", "PRAGMA user_version = 99").second, testing::HasSubstr("newer XQScope"));
  EXPECT_EQ(errorOf([&] { RunStore store(folder / "newer.xqs"); }).first, Code::BadFile);
  EXPECT_THAT(changed("missing.xqs", "DROP TABLE log").second, testing::HasSubstr("\"log\""));
  EXPECT_THAT(changed("column.xqs", "ALTER TABLE log DROP COLUMN level").second, testing::HasSubstr("\"level\""));
  const auto [code, text] =
      changed("view.xqs", "DROP TABLE log; CREATE VIEW log AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
                          "SELECT i + 1 FROM n) SELECT i AS id, i AS run, '' AS utc, '' AS level, '' AS "
                          "text FROM n");
  EXPECT_EQ(code, Code::BadFile);
}

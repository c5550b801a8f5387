// SPDX-License-Identifier: Apache-2.0
// Stores of older versions: they open as they are, and are upgraded where they grow.
#include "support.h"

#include "store/schema.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <sstream>

using namespace xqs;
using namespace xqs::test;
namespace fs = std::filesystem;

namespace {

/// version1.sql as a file.
fs::path version1(const TempFolder &folder) {
  std::ifstream in(XQS_SOURCE_DIR "/tests/core/store/version1.sql");
  std::stringstream sql;
  sql << in.rdbuf();
  const fs::path file = folder / "old.xqs";
  sqlite::Database(file, sqlite::Database::Access::Create, 0).exec(sql.str().c_str());
  return file;
}

void expectOldRows(RunReader &reader) {
  const auto runs = reader.rowsAfter<RunRow>(0);
  ASSERT_GE(runs.size(), 1u);
  EXPECT_EQ(runs[0].uuid, "0d0c");
  EXPECT_EQ(runs[0].window, 32);
  EXPECT_EQ(runs[0].study, "");
  EXPECT_EQ(runs[0].studyKey, "");
  EXPECT_EQ(runs[0].calibrationWindows, 0);
  EXPECT_EQ(reader.rowsAfter<PolicyRow>(0).size(), 3u);
  const auto windows = reader.rowsAfter<WindowRow>(0);
  ASSERT_GE(windows.size(), 8u);
  EXPECT_NEAR(windows[0].meanNll, 7.24, 0.2);
  EXPECT_EQ(reader.rowsAfter<SummaryRow>(0).size(), 2u);
}

} // namespace

TEST(StoreUpgrade, AFileOfVersion1OpensUnchanged) {
  const TempFolder folder;
  const fs::path file = version1(folder);
  RunReader reader(file);
  expectOldRows(reader);
  EXPECT_TRUE(reader.rowsAfter<PositionRow>(0).empty());
  EXPECT_TRUE(reader.rowsAfter<NoiseRow>(0).empty());
  EXPECT_TRUE(reader.rowsAfter<GeneratedRow>(0).empty());
  EXPECT_NE(exportJson(file).find("\"noise\": []"), std::string::npos);
  EXPECT_EQ(sqlite::Database(file, sqlite::Database::Access::Read, 0).integer("PRAGMA user_version"), 1);
}

TEST(StoreUpgrade, AppendingAddsWhatIsMissingUnderAnOpenReader) {
  const TempFolder folder;
  const fs::path file = version1(folder);
  RunReader reader(file);
  expectOldRows(reader);
  RunStore store(file);
  RunRow run = exampleRun();
  run.studyKey = "key";
  const RowId id = store.beginRun(run);
  PositionRow position;
  position.run = id, position.sameTop = {1, 0, 1};
  store.append(position);
  GeneratedRow generated;
  generated.run = id, generated.text = "é", generated.formatBytes = 77;
  store.append(generated);
  store.flush();
  reader.dataVersion(); // a view polls
  expectOldRows(reader);
  EXPECT_EQ(reader.rowsAfter<RunRow>(1).at(0).studyKey, "key");
  EXPECT_EQ(reader.rowsAfter<PositionRow>(0).at(0).sameTop, position.sameTop);
  EXPECT_EQ(reader.rowsAfter<GeneratedRow>(0).at(0).text, "é");
  EXPECT_EQ(reader.rowsAfter<GeneratedRow>(0).at(0).formatBytes, 77);
  sqlite::Database other(file, sqlite::Database::Access::Write, 1000);
  EXPECT_NE(other.tryExec("DELETE FROM position"), 0) << "a new table is as append-only as the others";
}

TEST(StoreUpgrade, LaunchesOfVersion4HaveNoMeasuredFigures) {
  const TempFolder folder;
  const fs::path file = folder / "profile.xqs";
  fs::copy_file(XQS_SOURCE_DIR "/tests/data/profile-smollm2-cpu.xqs", file);
  {
    sqlite::Database old(file, sqlite::Database::Access::Write, 1000);
    const auto drop = [&](const std::string &table, const char *column) {
      old.exec(("ALTER TABLE " + table + " DROP COLUMN " + column).c_str());
    };
    KernelRow launch;
    KernelRow::visitMeasured(launch, [&](const char *name, double &) { drop("kernel", name); });
    drop("step", "tracer_seconds");
    old.exec("PRAGMA user_version = 4");
  }
  const auto expectOldLaunches = [](RunReader &reader) {
    const std::vector<KernelRow> rows = reader.rowsAfter<KernelRow>(0);
    ASSERT_GT(rows.size(), 100u);
    for (const KernelRow &row : rows)
      KernelRow::visitMeasured(row, [&](const char *name, double figure) { EXPECT_TRUE(std::isnan(figure)) << name; });
  };
  RunReader reader(file);
  expectOldLaunches(reader);
  for (const StepRow &step : reader.rowsAfter<StepRow>(0)) EXPECT_TRUE(std::isnan(step.tracerSeconds));
  RunStore store(file);
  KernelRow row;
  row.run = store.beginRun(exampleRun()), row.launch = "gemv", row.measuredRead = 5, row.cacheHitRate = 0.25;
  store.append(row);
  store.flush();
  reader.dataVersion();
  std::vector<KernelRow> rows = reader.rowsAfter<KernelRow>(0);
  EXPECT_EQ(rows.back().measuredRead, 5);
  EXPECT_EQ(rows.back().cacheHitRate, 0.25);
  EXPECT_TRUE(std::isnan(rows.back().measuredWrite));
  EXPECT_TRUE(std::isnan(rows.front().measuredRead));
}

TEST(StoreUpgrade, AFileOfVersion1ThatIsDamagedIsRefused) {
  const TempFolder folder;
  const fs::path file = version1(folder);
  sqlite::Database(file, sqlite::Database::Access::Write, 0).exec("DROP TABLE window_result");
  EXPECT_EQ(errorOf([&] { RunReader reader(file); }).first, Code::BadFile);
  EXPECT_EQ(errorOf([&] { RunStore store(file); }).first, Code::BadFile);
}

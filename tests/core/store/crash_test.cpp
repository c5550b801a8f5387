// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include "store/sqlite.h"

#include <gmock/gmock.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <set>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>

using namespace xqs;
using namespace xqs::test;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

/// Names in a folder, sorted: what a store leaves beside itself.
std::set<std::string> namesIn(const fs::path &folder) {
  std::set<std::string> names;
  for (const auto &entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

/// A writer that is killed after it has committed ten rows; its run has no end.
void killedWriter(const fs::path &file) {
  const int status = inChild([&] {
    RunStore store(file);
    const RowId run = store.beginRun(exampleRun());
    for (int i = 0; i < 10; ++i) store.append(exampleLog(run, std::to_string(i)));
    store.flush();
    for (int i = 10; i < 20; ++i) store.append(exampleLog(run, std::to_string(i)));
    return ::raise(SIGKILL);
  });
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/// Runs `body` as a user whom permissions bind (root is bound by none).
int unprivileged(const std::function<int()> &body) {
  return inChild([&] {
    if (::getuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return 98;
    return body();
  });
}

} // namespace

TEST(StoreFiles, AFinishedStoreIsOneFile) {
  const TempFolder folder;
  RunStore store(folder / "a.xqs");
  store.append(exampleEnd(store.beginRun(exampleRun())));
  store.flush();
  EXPECT_THAT(namesIn(folder.path()), testing::Contains("a.xqs-wal"));
  store.close();
  EXPECT_EQ(namesIn(folder.path()), std::set<std::string>{"a.xqs"});
  sqlite::Database db(folder / "a.xqs", sqlite::Database::Access::Read, 100);
  EXPECT_EQ(db.text("PRAGMA journal_mode"), "delete");
}

TEST(StoreFiles, AReaderThatStayedOpenFinishesTheFile) {
  const TempFolder folder;
  RunStore store(folder / "a.xqs");
  const RowId run = store.beginRun(exampleRun());
  RunReader reader(folder / "a.xqs");
  EXPECT_TRUE(reader.rowsAfter<RunEndRow>(0).empty());
  store.append(exampleEnd(run));
  store.close();
  const std::int64_t before = reader.dataVersion();
  EXPECT_EQ(reader.rowsAfter<RunEndRow>(0).size(), 1u);
  EXPECT_EQ(reader.dataVersion(), before);
  EXPECT_EQ(namesIn(folder.path()), std::set<std::string>{"a.xqs"});
}

// The writer neither flushes nor closes nor appends more: a row gets into the file by itself.
TEST(StoreFiles, ALiveReaderSeesEachRowAsItComes) {
  const TempFolder folder;
  RunStore store(folder / "a.xqs");
  const RowId run = store.beginRun(exampleRun());
  RunReader reader(folder / "a.xqs");
  EXPECT_FALSE(reader.crashed(run));
  std::int64_t version = reader.dataVersion();
  for (int i = 0; i < 7; ++i) {
    store.append(exampleLog(run, "row"));
    while (reader.dataVersion() == version) std::this_thread::sleep_for(1ms);
    version = reader.dataVersion();
    EXPECT_EQ(reader.rowsAfter<LogRow>(i).size(), 1u);
  }
}

TEST(StoreFiles, AFullQueueBlocksAndCountsAndLosesNothing) {
  const TempFolder folder;
  RunStore store(folder / "a.xqs");
  const RowId run = store.beginRun(exampleRun());
  SummaryRow row;
  row.run = run, row.histogram.assign(2048, 1);
  std::thread other([&] {
    for (int i = 0; i < 10'000; ++i) store.append(row);
  });
  for (int i = 0; i < 10'000; ++i) store.append(row);
  other.join();
  store.close();
  EXPECT_GT(store.blockedAppends(), 0);
  EXPECT_EQ(RunReader(folder / "a.xqs").rowsAfter<SummaryRow>(19'999).size(), 1u);
}

TEST(StoreFiles, AKilledWritersRowsAreReadableAndItsRunHasCrashed) {
  const TempFolder folder;
  killedWriter(folder / "a.xqs");
  EXPECT_THAT(namesIn(folder.path()), testing::Contains("a.xqs-wal"));
  {
    RunReader reader(folder / "a.xqs");
    EXPECT_GE(reader.rowsAfter<LogRow>(0).size(), 10u);
    EXPECT_TRUE(reader.crashed(1));
  }
  EXPECT_EQ(namesIn(folder.path()), std::set<std::string>{"a.xqs"}) << "recovered";
  RunStore again(folder / "a.xqs");
  EXPECT_EQ(again.beginRun(exampleRun()), 2);
}

TEST(StoreFiles, RecordsThatBelongTogetherAreCommittedTogether) {
  const TempFolder folder;
  killedWriter(folder / "a.xqs");
  const int status = inChild([&] {
    RunStore store(folder / "a.xqs");
    store.continueRun(); // a run of an earlier process
    for (int i = 0;; ++i) {
      std::vector<Record> point;
      for (int part = 0; part < 100; ++part) point.emplace_back(exampleLog(1, "point " + std::to_string(i)));
      store.append(std::move(point));
      if (i == 200) ::raise(SIGKILL);
    }
    return 0;
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  std::map<std::string, int> rows;
  for (const LogRow &row : RunReader(folder / "a.xqs").rowsAfter<LogRow>(0))
    if (row.text.starts_with("point")) ++rows[row.text];
  EXPECT_GT(rows.size(), 10u);
  for (const auto &[point, count] : rows) EXPECT_EQ(count, 100) << point;
}

TEST(StoreFiles, ACopyThatLostItsWalSaysWhichRunCrashed) {
  const TempFolder folder;
  killedWriter(folder / "a.xqs");
  fs::remove(folder / "a.xqs-wal"), fs::remove(folder / "a.xqs-shm"), fs::remove(folder / "a.xqs-writer");
  RunReader reader(folder / "a.xqs");
  ASSERT_EQ(reader.rowsAfter<RunRow>(0).size(), 1u);
  EXPECT_EQ(reader.rowsAfter<RunRow>(0)[0].uuid, exampleRun().uuid);
  EXPECT_TRUE(reader.crashed(1));
}

TEST(StoreFiles, OpensInAFolderThatCannotBeWritten) {
  const TempFolder folder;
  {
    RunStore store(folder / "done.xqs");
    store.append(exampleEnd(store.beginRun(exampleRun())));
  }
  killedWriter(folder / "lost wal.xqs"); // still marked as WAL: the immutable case
  fs::remove(folder / "lost wal.xqs-wal"), fs::remove(folder / "lost wal.xqs-shm");
  ::chmod(folder.path().c_str(), 0555);
  const int status = unprivileged([&] {
    RunReader done(folder / "done.xqs"), lost(folder / "lost wal.xqs");
    if (done.rowsAfter<RunEndRow>(0).size() != 1 || done.crashed(1)) return 1;
    if (lost.rowsAfter<RunRow>(0).size() != 1 || !lost.crashed(1)) return 2;
    const auto [code, text] = errorOf([&] { RunStore store(folder / "done.xqs"); });
    return code == Code::StoreUnwritable && text.find("done.xqs") != std::string::npos ? 0 : 3;
  });
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(StoreFiles, TwoProcessesAppendToOneFile) {
  const TempFolder folder;
  const auto writer = [&](const std::string &text) {
    return [&folder, text] {
      for (int round = 0; round < 5; ++round) {
        RunStore store(folder / "a.xqs");
        const RowId run = store.beginRun(exampleRun());
        for (int i = 0; i < 200; ++i) {
          store.append(exampleLog(run, text));
          if (i % 50 == 0) store.flush();
        }
        store.append(exampleEnd(run));
        store.close();
      }
      return 0;
    };
  };
  const pid_t first = startChild(writer("one")), second = startChild(writer("two"));
  EXPECT_EQ(statusOf(first), 0);
  EXPECT_EQ(statusOf(second), 0);
  RunReader reader(folder / "a.xqs");
  EXPECT_EQ(reader.rowsAfter<RunRow>(0).size(), 10u);
  EXPECT_EQ(reader.rowsAfter<LogRow>(0).size(), 2000u);
  EXPECT_EQ(reader.rowsAfter<RunEndRow>(0).size(), 10u);
  sqlite::Database db(folder / "a.xqs", sqlite::Database::Access::Read, 100);
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
  EXPECT_EQ(namesIn(folder.path()), std::set<std::string>{"a.xqs"});
}

TEST(StoreFiles, AWriteErrorIsKeptAndCommittedRowsStay) {
  const TempFolder folder;
  const int status = inChild([&] {
    RunStore store(folder / "a.xqs");
    const RowId run = store.beginRun(exampleRun());
    store.append(exampleLog(run, "committed"));
    store.flush();
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{512 * 1024, 512 * 1024};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    SummaryRow big;
    big.run = run, big.histogram.assign(1 << 20, 1);
    store.append(big);
    for (int call = 0; call < 3; ++call) {
      const auto [code, text] = errorOf([&] { call == 0 ? store.flush() : call == 1 ? store.append(big) : store.close(); });
      std::fprintf(stderr, "%s\n", text.c_str());
      if (code != Code::StoreUnwritable || text.find("a.xqs") == std::string::npos ||
          text.find("free space") == std::string::npos)
        return 1 + call;
    }
    return 0;
  });
  EXPECT_EQ(WEXITSTATUS(status), 0);
  RunReader reader(folder / "a.xqs");
  ASSERT_EQ(reader.rowsAfter<LogRow>(0).size(), 1u);
  EXPECT_TRUE(reader.crashed(1));
}

TEST(StoreFiles, AFullDiskIsAnErrorNotACrash) {
  const TempFolder folder;
  fs::create_directory(folder / "disk");
  if (::mount("none", (folder / "disk").c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "cannot mount a small tmpfs here";
  const int status = inChild([&] {
    RunStore store(folder / "disk/a.xqs");
    const RowId run = store.beginRun(exampleRun());
    store.append(exampleLog(run, "committed"));
    store.flush();
    SummaryRow big;
    big.run = run, big.histogram.assign(64 * 1024, 1);
    const auto [code, text] = errorOf([&] {
      for (int i = 0; i < 100; ++i) store.append(big), store.flush();
    });
    std::fprintf(stderr, "%s\n", text.c_str());
    errorOf([&] { store.close(); });
    if (code != Code::StoreUnwritable) return 1;
    return RunReader(folder / "disk/a.xqs").rowsAfter<LogRow>(0).size() == 1 ? 0 : 2;
  });
  EXPECT_EQ(WEXITSTATUS(status), 0);
  std::ofstream(folder / "disk/rest") << std::string(1 << 20, 'x');
  EXPECT_EQ(errorOf([&] { RunStore store(folder / "disk/new.xqs"); }).first, Code::StoreUnwritable);
  EXPECT_FALSE(fs::exists(folder / "disk/new.xqs"));
  ::umount((folder / "disk").c_str());
}

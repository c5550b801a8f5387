// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include "store/schema.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <type_traits>

using namespace xqs;
using namespace xqs::test;

namespace {

/// Fields filled with values that are easy to lose: extremes, NaN, infinity, empty and large blobs, quotes, NUL, other
/// scripts.
template <class T> T filled(int variant) {
  T record;
  int field = 0;
  T::visit(record, [&]<class F>(const char *, F &value) {
    const int pick = variant + field++;
    if constexpr (std::is_same_v<F, std::int64_t>) {
      value = pick % 3 == 0 ? std::numeric_limits<std::int64_t>::max() : pick % 3 == 1 ? -pick : pick;
    } else if constexpr (std::is_same_v<F, double>) {
      constexpr double kInfinity = std::numeric_limits<double>::infinity();
      const double values[] = {std::nan(""), kInfinity, -kInfinity, 0.1, -1e300, 5e-324};
      value = values[pick % 6];
    } else if constexpr (std::is_same_v<F, std::string>) {
      const std::string values[] = {"", "it's, \"quoted\"\nand 中文", std::string("a\0b", 3), std::string(100'000, 'x')};
      value = values[pick % 4];
    } else {
      value.assign(pick % 2 ? 0 : 1 << 20, std::uint8_t(0xa5));
    }
  });
  return record;
}

template <class T> void expectEqual(const T &a, const T &b) {
  std::vector<std::string> mine, theirs;
  const auto into = [](std::vector<std::string> &all) {
    return [&all]<class F>(const char *name, const F &value) {
      std::ostringstream text;
      text << name << ' ';
      if constexpr (std::is_same_v<F, Blob>)
        text << value.size() << ' ' << std::hash<std::string>{}({value.begin(), value.end()});
      else if constexpr (std::is_same_v<F, double>)
        text << std::hexfloat << (std::isnan(value) ? 0 : value) << std::isnan(value);
      else if constexpr (std::is_same_v<F, std::string>)
        text << value.size() << ' ' << std::hash<std::string>{}(value);
      else
        text << value;
      all.push_back(text.str());
    };
  };
  T::visit(a, into(mine)), T::visit(b, into(theirs));
  EXPECT_EQ(mine, theirs) << T::kTable;
}

template <class T> void roundTrip(RunStore &store, RunReader &reader) {
  SCOPED_TRACE(T::kTable);
  const RowId last = reader.rowsAfter<T>(0).empty() ? 0 : reader.rowsAfter<T>(0).back().id;
  for (int variant = 0; variant < 6; ++variant) {
    if constexpr (std::is_same_v<T, RunRow>)
      store.beginRun(filled<T>(variant));
    else
      store.append(filled<T>(variant));
  }
  store.flush();
  const std::vector<T> rows = reader.rowsAfter<T>(last);
  ASSERT_EQ(rows.size(), 6u);
  for (int variant = 0; variant < 6; ++variant) {
    expectEqual(filled<T>(variant), rows[variant]);
    EXPECT_GT(rows[variant].id, variant ? rows[variant - 1].id : last);
  }
  EXPECT_EQ(reader.rowsAfter<T>(rows[1].id, 2).size(), 2u);
  EXPECT_EQ(reader.rowsAfter<T>(rows[1].id, 2).front().id, rows[2].id);
  EXPECT_TRUE(reader.rowsAfter<T>(rows.back().id).empty());
}

std::string contentOf(const std::filesystem::path &file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

} // namespace

TEST(Store, KeepsEveryRecordKindExactly) {
  const TempFolder folder;
  RunStore store(folder / "a.xqs");
  store.beginRun(exampleRun());
  RunReader reader(folder / "a.xqs");
  schema::forEachRecord([&]<class T>() { roundTrip<T>(store, reader); });
  store.close();
  schema::forEachRecord([&]<class T>() { EXPECT_GE(reader.rowsAfter<T>(0).size(), 6u); });
}

TEST(Store, ColumnNamesAreUniqueAndNoneIsCalledId) {
  schema::forEachRecord([&]<class T>() {
    std::set<std::string> names{"id"};
    const T record{};
    T::visit(record,
             [&](const char *name, const auto &) { EXPECT_TRUE(names.insert(name).second) << T::kTable << '.' << name; });
  });
}

TEST(Store, RowsCannotBeChangedByAnyProgram) {
  const TempFolder folder;
  {
    RunStore store(folder / "a.xqs");
    store.append(exampleLog(store.beginRun(exampleRun()), "one"));
    store.close();
  }
  sqlite::Database other(folder / "a.xqs", sqlite::Database::Access::Write, 100);
  EXPECT_NE(other.tryExec("UPDATE log SET text = 'two'"), 0);
  EXPECT_THAT(other.lastError(), testing::HasSubstr("never changed"));
  EXPECT_NE(other.tryExec("DELETE FROM run"), 0);
}

TEST(Store, RunsAreAppendedToAFileThatExists) {
  const TempFolder folder;
  for (int i = 1; i <= 3; ++i) {
    RunStore store(folder / "a.xqs");
    const RowId run = store.beginRun(exampleRun());
    EXPECT_EQ(run, i);
    store.append(exampleLog(run, "in " + std::to_string(i)));
    store.append(exampleEnd(run));
  }
  RunReader reader(folder / "a.xqs");
  EXPECT_EQ(reader.rowsAfter<RunRow>(0).size(), 3u);
  EXPECT_EQ(reader.rowsAfter<LogRow>(2).front().text, "in 3");
  EXPECT_FALSE(reader.crashed(1));
}

TEST(Store, WorkThatFailsBeforeItsRunLeavesNoNewFile) {
  const TempFolder folder;
  EXPECT_ANY_THROW({
    RunStore store(folder / "new.xqs");
    throw Error(Code::Usage, "no such setting");
  });
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  { RunStore(folder / "asked.xqs").close(); } // a shard without points is a store too
  { RunStore store(folder / "asked.xqs"); }   // was there before
  EXPECT_TRUE(std::filesystem::exists(folder / "asked.xqs"));
  {
    RunStore first(folder / "shared.xqs"), second(folder / "shared.xqs");
    second.beginRun(exampleRun());
    second.close();
  }
  EXPECT_EQ(RunReader(folder / "shared.xqs").rowsAfter<RunRow>(0).size(), 1u) << "the run of another writer";
}

TEST(Store, SaveAsCopiesALiveStoreIntoOneFile) {
  const TempFolder folder;
  RunStore store(folder / "it's.xqs");
  const RowId run = store.beginRun(exampleRun());
  store.append(exampleLog(run, "kept"));
  store.flush();
  copyStore(folder / "it's.xqs", folder / "copy.xqs");
  EXPECT_FALSE(std::filesystem::exists(folder / "copy.xqs-wal"));
  RunReader copy(folder / "copy.xqs");
  ASSERT_EQ(copy.rowsAfter<LogRow>(0).size(), 1u);
  EXPECT_TRUE(copy.crashed(run)) << "the copy of a run in progress has no end";
  EXPECT_EQ(errorOf([&] { copyStore(folder / "it's.xqs", folder / "it's.xqs"); }).first, Code::Usage);
  EXPECT_EQ(errorOf([&] { copyStore(folder / "it's.xqs", folder / "no/copy.xqs"); }).first, Code::StoreUnwritable);
}

TEST(Store, ExportsCsvAndJson) {
  const TempFolder folder;
  {
    RunStore store(folder / "a.xqs");
    const RowId run = store.beginRun(exampleRun());
    WindowRow window;
    window.run = run, window.tokens = 7, window.meanNll = std::nan(""), window.meanKl = 0.25;
    store.append(window);
    SimilarityRow similarity;
    similarity.run = run, similarity.layers = 1, similarity.site = "x, post-norm",
    similarity.cosine = {0xcd, 0xcc, 0xcc, 0x3d};
    store.append(similarity);
    SummaryRow summary;
    summary.histogram = {1, 0, 0, 0x80}, summary.topChannels = {0xff, 0xff, 0xff, 0xff, 0, 0, 0x80, 0x3f};
    store.append(summary);
    GeneratedRow token;
    token.run = run, token.step = 4, token.token = 9, token.text = "\"a\",\nb", token.logProbability = -0.5;
    token.cacheTokens = 12, token.formatBytes = 345;
    store.append(token);
    ThroughputRow throughput;
    throughput.run = run, throughput.context = 512, throughput.intervalNs = 100'000;
    throughput.read = {0xcd, 0xcc, 0xcc, 0x3d}, throughput.write = {0, 0, 0x80, 0x3f};
    store.append(throughput);
    store.close();
  }
  exportCsv(folder / "a.xqs", folder / "out/csv");
  EXPECT_EQ(contentOf(folder / "out/csv/window_result.csv"),
            "id,run,policy_index,window,tokens,mean_nll,mean_kl,top1,seconds\n1,1,-1,0,7,,0.25,1,0\n");
  EXPECT_EQ(contentOf(folder / "out/csv/similarity.csv"),
            "id,run,window,site,layers,cosine\n1,1,0,\"x, post-norm\",1,0.1\n");
  EXPECT_EQ(contentOf(folder / "out/csv/generated.csv"),
            "id,run,policy_index,step,token,text,ends,log_probability,same_as_exact,same_as_perturbed,cache_tokens,"
            "format_bytes,allocated_bytes,accumulator_bytes,seconds\n"
            "1,1,-1,4,9,\"\"\"a\"\",\nb\",0,-0.5,1,-1,12,345,0,0,0\n");
  EXPECT_EQ(contentOf(folder / "out/csv/throughput.csv"),
            "id,run,policy_index,context,batch,start_ns,interval_ns,read,write\n1,1,0,512,1,0,100000,0.1,1.0\n");
  EXPECT_TRUE(std::filesystem::exists(folder / "out/csv/problem.csv"));
  const auto json = nlohmann::json::parse(exportJson(folder / "a.xqs"));
  EXPECT_TRUE(json["window_result"][0]["mean_nll"].is_null());
  EXPECT_EQ(json["run"][0]["model"], "synthetic \"ü\"");
  EXPECT_EQ(json["generated"][0]["text"], "\"a\",\nb");
  EXPECT_EQ(json["similarity"][0]["cosine"], nlohmann::json::parse("[0.1]"));
  EXPECT_EQ(json["summary"][0]["histogram"], nlohmann::json::parse("[2147483649]"));
  EXPECT_EQ(json["summary"][0]["top_channels"], nlohmann::json::parse("[-1, 1.0]"));
  EXPECT_EQ(errorOf([&] { exportCsv(folder / "a.xqs", folder / "a.xqs"); }).first, Code::StoreUnwritable);
}

// SPDX-License-Identifier: GPL-3.0-or-later
#include "models/policy_table_model.h"
#include "models/run_data.h"
#include "models/run_list_model.h"

#include <QAbstractItemModelTester>
#include <QFile>
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QTest>

#include <gmock/gmock.h>

#include <cmath>

namespace xqs {
namespace {

constexpr int kPatienceMs = 5000;
using FailureMode = QAbstractItemModelTester::FailureReportingMode;

class RunDataTest : public ::testing::Test {
protected:
  QString fileName(const char *name) const { return folder.filePath(QLatin1String(name)); }

  static RunRow runRow(const char *kind, const char *started) {
    RunRow row;
    row.kind = kind;
    row.title = "SmolLM2 · primer";
    row.startedUtc = started;
    row.layers = 30, row.d = 576, row.heads = 9, row.kvHeads = 3, row.dh = 64;
    return row;
  }
  static PolicyRow policyRow(RowId run, std::int64_t index, const char *policy, double relative) {
    PolicyRow row;
    row.run = run;
    row.index = index;
    row.policy = policy;
    row.method = std::string(policy).substr(0, std::string(policy).find(':'));
    row.formatBytes = 1000 + index;
    row.relativeSize = relative;
    row.bitsPerElement = 16 * relative;
    return row;
  }
  static WindowRow windowRow(RowId run, std::int64_t policy, std::int64_t window, double nll) {
    WindowRow row;
    row.run = run;
    row.policy = policy;
    row.window = window;
    row.tokens = 511;
    row.meanNll = nll;
    return row;
  }
  bool sees(const std::function<bool()> &condition) { return QTest::qWaitFor(condition, kPatienceMs); }

  QTemporaryDir folder;
  RunData data;
  Selection selection;
};

TEST_F(RunDataTest, FollowsAStoreThatIsBeingWritten) {
  const QString file = fileName("live.xqs");
  RunStore store(file.toStdString());
  const RowId run = store.beginRun(runRow("eval", "2026-01-01T00:00:00Z"));
  ASSERT_TRUE(data.open(file));
  QSignalSpy changed(&data, &RunData::changed);
  ASSERT_TRUE(sees([&] { return data.runs().size() == 1; }));
  const RunData::Key key{0, run};
  EXPECT_EQ(runStatus(data, *data.find(key)), QStringLiteral("running"));

  for (std::int64_t w = 0; w < 3; ++w) {
    store.append(windowRow(run, -1, w, 2.5));
    store.flush();
    ASSERT_TRUE(sees([&] { return data.find(key)->windows.size() == static_cast<std::size_t>(w) + 1; }))
        << "without polling by hand";
  }
  EXPECT_EQ(data.find(key)->windows[2].window, 2);
  EXPECT_GE(changed.count(), 3);

  RunEndRow end;
  end.run = run;
  end.status = "finished";
  store.append(end);
  store.close();
  ASSERT_TRUE(sees([&] { return !data.find(key)->ends.empty(); }));
  EXPECT_EQ(runStatus(data, *data.find(key)), QStringLiteral("finished"));
  EXPECT_EQ(data.find(key)->windows.size(), 3u) << "no row twice";
}

TEST_F(RunDataTest, TwoFilesAreTwoKeysAndAnOpenOneStays) {
  for (const char *name : {"a.xqs", "b.xqs"}) {
    RunStore store(fileName(name).toStdString());
    store.beginRun(runRow("eval", name[0] == 'a' ? "2026-01-02T00:00:00Z" : "2026-01-01T00:00:00Z"));
    store.close();
    ASSERT_TRUE(data.open(fileName(name)));
  }
  ASSERT_TRUE(data.open(fileName("a.xqs")));
  EXPECT_EQ(data.files().size(), 2);
  ASSERT_EQ(data.runs().size(), 2u);
  EXPECT_EQ(data.runs()[0]->key.file, 1) << "in the order of their start";
  EXPECT_EQ(runStatus(data, *data.runs()[0]), QStringLiteral("crashed")) << "no end and nobody writes";
  data.closeAll();
  EXPECT_TRUE(data.runs().empty());
}

TEST_F(RunDataTest, SaysWhyAFileCannotBeRead) {
  QSignalSpy failed(&data, &RunData::failed);
  EXPECT_FALSE(data.open(fileName("nowhere.xqs")));
  QFile text(fileName("text.xqs"));
  ASSERT_TRUE(text.open(QIODevice::WriteOnly));
  text.write("this is no store, but long enough to be taken for one by a careless reader");
  text.close();
  EXPECT_FALSE(data.open(fileName("text.xqs")));
  ASSERT_EQ(failed.count(), 2);
  EXPECT_TRUE(failed[0][0].toString().contains(QLatin1String("nowhere.xqs")));
  EXPECT_TRUE(failed[1][0].toString().contains(QLatin1String("text.xqs")));
  EXPECT_TRUE(data.files().isEmpty());
}

TEST_F(RunDataTest, ModelsFollowALiveRun) {
  RunListModel runs(data);
  PolicyTableModel policies(data, selection);
  QAbstractItemModelTester runsTester(&runs, FailureMode::Warning), policiesTester(&policies, FailureMode::Warning);
  const QString file = fileName("live.xqs");
  RunStore store(file.toStdString());
  const RowId first = store.beginRun(runRow("eval", "2026-01-01T00:00:00Z"));
  store.beginRun(runRow("preview", "2026-01-01T00:00:01Z"));
  ASSERT_TRUE(data.open(file));
  EXPECT_EQ(runs.rowCount(), 1) << "previews are no results";

  store.append(policyRow(first, 0, "fp16", 1));
  store.append(policyRow(first, 1, "xquant:bits=2", 0.2));
  for (std::int64_t w = 0; w < 2; ++w) {
    store.append(windowRow(first, -1, w, 2.0));
    store.append(windowRow(first, 0, w, 2.0));
    store.append(windowRow(first, 1, w, 2.5 + 0.1 * static_cast<double>(w)));
  }
  store.flush();
  ASSERT_TRUE(sees([&] { return policies.rowCount() == 2 && policies.row(1).measured.windows.size() == 2; }));
  EXPECT_NEAR(policies.row(1).measured.ratio.mean, std::exp(0.55), 1e-12);
  EXPECT_EQ(policies.rowOf(QStringLiteral("xquant:bits=2")), 1);
  EXPECT_EQ(policies.rowOf(QStringLiteral("kivi:bits=2")), -1);
  EXPECT_THAT(policies.index(1, 2).data().toString().toStdString(), ::testing::StartsWith("1.7333 ± "));
  EXPECT_EQ(policies.index(1, 1).data().toString(), QStringLiteral("0.2000"));
  EXPECT_EQ(policies.index(1, 1).data(PolicyTableModel::SortRole).toDouble(), 0.2);

  selection.setRuns({{0, 99}}); // a run that is not there
  EXPECT_EQ(policies.rowCount(), 0);
  selection.setRuns({{0, first}});
  EXPECT_EQ(policies.rowCount(), 2);
  data.closeAll();
  EXPECT_EQ(runs.rowCount(), 0);
}

} // namespace
} // namespace xqs

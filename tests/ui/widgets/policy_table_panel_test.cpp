// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/policy_table_panel.h"

#include "models/run_data.h"

#include <QAbstractItemModelTester>
#include <QItemSelectionModel>
#include <QTableView>
#include <QTemporaryDir>
#include <QTest>

#include <gmock/gmock.h>

namespace xqs {
namespace {

/// A store with a run of `policies` policies and, behind it, one of none.
class PolicyTablePanelTest : public ::testing::Test {
protected:
  void SetUp() override {
    RunStore store(folder.filePath(QStringLiteral("runs.xqs")).toStdString());
    RunRow row;
    row.kind = "eval";
    full = store.beginRun(row);
    for (std::int64_t i = 0; i < 5; ++i) {
      PolicyRow policy;
      policy.run = full;
      policy.index = i;
      policy.policy = "xquant:bits=4,group=" + std::to_string(8 * (5 - i));
      policy.method = "xquant";
      policy.relativeSize = 0.1 * static_cast<double>(5 - i);
      store.append(policy);
    }
    empty = store.beginRun(row);
    store.close();
    ASSERT_TRUE(data.open(folder.filePath(QStringLiteral("runs.xqs"))));
    selection.setRuns({{0, full}});
  }

  QTemporaryDir folder;
  RunData data;
  Selection selection;
  RowId full = 0, empty = 0;
};

TEST_F(PolicyTablePanelTest, ShowsAndChoosesPoliciesWhateverTheOrder) {
  PolicyTablePanel panel(data, selection);
  panel.resize(600, 300);
  auto *table = panel.findChild<QTableView *>();
  QAbstractItemModelTester tester(table->model(), QAbstractItemModelTester::FailureReportingMode::Warning);
  ASSERT_EQ(table->model()->rowCount(), 5);
  selection.setPolicy(QStringLiteral("xquant:bits=4,group=40"));
  EXPECT_EQ(table->currentIndex().row(), 0);
  table->sortByColumn(1, Qt::AscendingOrder);
  EXPECT_EQ(table->currentIndex().row(), 4);
  table->selectRow(0);
  EXPECT_EQ(selection.policy(), QStringLiteral("xquant:bits=4,group=8"));
}

TEST_F(PolicyTablePanelTest, ARunWithoutPoliciesLeavesTheChosenOne) {
  PolicyTablePanel panel(data, selection);
  auto *table = panel.findChild<QTableView *>();
  QAbstractItemModelTester tester(table->model(), QAbstractItemModelTester::FailureReportingMode::Warning);
  const QString chosen = QStringLiteral("xquant:bits=4,group=16");
  selection.setPolicy(chosen);
  for (int i = 0; i < 3; ++i) {
    selection.setRuns({{0, empty}});
    EXPECT_EQ(table->model()->rowCount(), 0);
    EXPECT_EQ(selection.policy(), chosen);
    selection.setRuns({{0, full}});
    EXPECT_EQ(table->model()->rowCount(), 5);
    EXPECT_EQ(selection.policy(), chosen);
    EXPECT_EQ(table->currentIndex().row(), 3) << "found again";
  }
}

} // namespace
} // namespace xqs

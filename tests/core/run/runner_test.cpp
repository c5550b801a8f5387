// SPDX-License-Identifier: Apache-2.0
#include "run/runner.h"

#include "cpu_backends.h"
#include "support/model_files.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

using namespace xqs;
using testing::HasSubstr;

namespace {

class RunnerTest : public testing::Test {
protected:
  RunnerTest() {
    static const XqsBackendModule *const kBuiltIn[] = {cpuBackendModule()};
    SessionOptions options;
    options.model = "synthetic:layers=3,d=64,heads=4,kv_heads=2,vocab=256";
    options.threads = 1;
    m_session = std::make_unique<Session>(options, listBackends(kBuiltIn));
    for (const char *policy : {"fp16", "xquant:bits=4", "xquant-cl:bits=3,source=x", "kivi-star:bits=2,group=32"})
      m_experiment.policies.push_back(PolicySpec::parse(policy));
    m_experiment.window = 64, m_experiment.windows = 3, m_experiment.lanes = 2;
  }
  RunResult run(RunStore *store, const RunHooks &hooks = {}) { return Runner(*m_session, m_experiment, store).run(hooks); }

  test::TempDir m_dir;
  std::unique_ptr<Session> m_session;
  Experiment m_experiment;
};

TEST_F(RunnerTest, TheFirstWindowOfAllPoliciesComesFirst) {
  std::vector<std::pair<std::int64_t, std::int64_t>> order; // window, policy
  for (const WindowRow &row : run(nullptr).windows) order.emplace_back(row.window, row.policy);
  ASSERT_EQ(order.size(), 3u * 5u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_F(RunnerTest, StoreHoldsWhatTheResultHoldsAndTheCaptures) {
  RunResult result;
  {
    RunStore store(m_dir / "run.xqs");
    result = run(&store);
    store.close();
  }
  RunReader reader(m_dir / "run.xqs");
  const auto runs = reader.rowsAfter<RunRow>(0);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].kind, "eval");
  EXPECT_EQ(runs[0].modelHash, m_session->model().hash());
  EXPECT_EQ(runs[0].tokensHash, m_session->tokensHash());
  EXPECT_THAT(runs[0].spec, HasSubstr("xquant-cl:bits=3,source=x"));
  for (const std::string &text :
       {runs[0].uuid, runs[0].protocol, runs[0].machine, runs[0].device, runs[0].version, runs[0].libraries})
    EXPECT_FALSE(text.empty());
  EXPECT_EQ(reader.rowsAfter<RunEndRow>(0).at(0).status, "finished");

  const auto windows = reader.rowsAfter<WindowRow>(0);
  ASSERT_EQ(windows.size(), result.windows.size());
  for (std::size_t i = 0; i < windows.size(); ++i) EXPECT_EQ(windows[i].meanNll, result.windows[i].meanNll);
  EXPECT_EQ(reader.rowsAfter<PolicyRow>(0).size(), 4u);
  EXPECT_EQ(reader.rowsAfter<SimilarityRow>(0).size(), 4u);
  EXPECT_EQ(reader.rowsAfter<LayerErrorRow>(0).size(), 4u * 3u * 2u); // policies, layers, loops
  EXPECT_TRUE(reader.rowsAfter<ProblemRow>(0).empty());

  std::int64_t matmulCalls = 0;
  for (const OperationRow &row : reader.rowsAfter<OperationRow>(0))
    matmulCalls += row.operation == "feed forward" ? row.calls : 0;
  EXPECT_GT(matmulCalls, 0);
}

TEST_F(RunnerTest, DistributionsOfExactAndRebuiltTensorsShareTheirBins) {
  {
    RunStore store(m_dir / "run.xqs");
    run(&store);
  }
  std::map<std::pair<std::int64_t, std::string>, SummaryRow> exact;
  int rebuilt = 0;
  for (const SummaryRow &row : RunReader(m_dir / "run.xqs").rowsAfter<SummaryRow>(0)) {
    ASSERT_EQ(row.histogram.size(), Summary::kBins * sizeof(std::uint32_t));
    const auto *bins = reinterpret_cast<const std::uint32_t *>(row.histogram.data());
    EXPECT_EQ(std::accumulate(bins, bins + Summary::kBins, std::int64_t{0}), row.count) << row.site;
    if (row.policy < 0) {
      exact[{row.layer, row.site}] = row;
      continue;
    }
    ++rebuilt;
    const SummaryRow &original = exact.at({row.layer, row.site});
    EXPECT_EQ(row.count, original.count);
    EXPECT_EQ(row.histogramMin, original.histogramMin);
    EXPECT_EQ(row.histogramMax, original.histogramMax);
    // The rebuilt mean is off by at most the relative error in the root-mean-square sense.
    const double rms = std::sqrt(original.variance + original.mean * original.mean);
    EXPECT_LE(std::abs(row.mean - original.mean), row.relativeError * rms * 1.001 + 1e-6) << row.site;
  }
  EXPECT_EQ(exact.size(), 3u * 7u - 1u); // no delta at layer 0
  EXPECT_GE(rebuilt, 4 * 3 * 2);         // K and V at least
}

TEST_F(RunnerTest, WithoutCapturesNoExtraOperationRuns) {
  m_experiment.windows = 1;
  const auto operations = [&](RunStore *store) {
    const std::uint64_t before = m_session->backend().operations();
    run(store);
    return m_session->backend().operations() - before;
  };
  operations(nullptr); // methods are prepared
  const std::uint64_t bare = operations(nullptr);
  RunStore store(m_dir / "run.xqs");
  m_experiment.captures = false;
  EXPECT_EQ(operations(&store), bare);
  m_experiment.captures = true;
  EXPECT_GT(operations(&store), bare);
}

TEST_F(RunnerTest, AStopKeepsFinishedWindowsAndIsRecorded) {
  std::stop_source stop;
  RunHooks hooks;
  hooks.stop = stop.get_token();
  hooks.progress = [&](const RunProgress &progress) {
    if (progress.done >= 2) stop.request_stop();
  };
  {
    RunStore store(m_dir / "run.xqs");
    EXPECT_THROW(run(&store, hooks), Error);
  }
  RunReader reader(m_dir / "run.xqs");
  EXPECT_EQ(reader.rowsAfter<RunEndRow>(0).at(0).status, "cancelled");
  EXPECT_GE(reader.rowsAfter<WindowRow>(0).size(), 2u);
}

TEST_F(RunnerTest, SettingsThatDoNotFitAreToldBeforeAnythingIsWritten) {
  m_experiment.policies.push_back(PolicySpec::parse("low-rank:rank=999"));
  RunStore store(m_dir / "run.xqs");
  bool started = false;
  RunHooks hooks;
  hooks.started = [&](RowId) { started = true; };
  EXPECT_THROW(run(&store, hooks), Error);
  EXPECT_FALSE(started);
}

TEST_F(RunnerTest, ProgressCountsEveryWindowOfEveryPolicy) {
  Index last = 0;
  RunHooks hooks;
  hooks.progress = [&](const RunProgress &progress) {
    EXPECT_EQ(progress.total, 3 * 5);
    EXPECT_GE(progress.done, last);
    last = progress.done;
  };
  run(nullptr, hooks);
  EXPECT_EQ(last, 15);
}

} // namespace

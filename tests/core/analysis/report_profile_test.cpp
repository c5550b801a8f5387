// SPDX-License-Identifier: Apache-2.0
#include "analysis/report.h"
#include "analysis/report_profile.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <regex>

using namespace xqs;
using testing::HasSubstr;
using testing::Not;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// FP16 and one method at two contexts; `measured` with counters.
ProfileRows example(bool measured) {
  ProfileRows rows;
  for (const char *policy : {"fp16", "xquant:bits=2"}) {
    PolicyRow &row = rows.policies.emplace_back();
    row.run = 1, row.index = std::ssize(rows.policies) - 1, row.policy = policy;
    row.method = row.policy.substr(0, row.policy.find(':'));
    for (const std::int64_t context : {1000, 4000}) {
      StepRow &step = rows.steps.emplace_back();
      step.run = 1, step.policy = row.index, step.context = context, step.seconds = 0.010 * (row.index + 1);
      step.cacheBytes = 1000 * context / (row.index == 0 ? 1 : 8);
      step.timelineCost = 0.015, step.countersCost = step.samplingCost = kNaN;
      step.countedBytes = 2e6, step.measuredRead = measured ? 1.5e6 : kNaN, step.measuredWrite = measured ? 0.51e6 : kNaN;
      for (const char *part : {"attend", "logits", ""}) {
        TrafficRow &traffic = rows.traffic.emplace_back();
        traffic.run = 1, traffic.policy = row.index, traffic.context = context, traffic.part = part;
        traffic.layer = 0, traffic.seconds = *part == 'a' ? 0.004 * (row.index + 1) : 0.001;
        traffic.countedBytes = *part == '\0' ? 2e6 : 1e6;
        traffic.measuredRead = measured ? 0.75 * traffic.countedBytes : kNaN;
        traffic.measuredWrite = measured ? 0.25 * traffic.countedBytes : kNaN;
      }
    }
  }
  for (const auto &[name, state, sentence] :
       {std::tuple("timeline", "ready", "every operation is timed by the steady clock"),
        std::tuple("counters", measured ? "ready" : "no-permission", "ask <root> for counters")}) {
    InstrumentRow &row = rows.instruments.emplace_back();
    row.run = 1, row.instrument = name, row.state = state, row.sentence = sentence;
    row.selfTestExpected = row.selfTestRead = kNaN;
  }
  PeakRow &peak = rows.peaks.emplace_back();
  peak.run = 1, peak.name = "copy", peak.value = 12.3e9, peak.text = "blocks of 256 MiB";
  return rows;
}

ReportRows storeOf(const ProfileRows &rows) {
  ReportRows all;
  all.file = "p.xqs";
  RunRow run;
  run.id = 1, run.kind = "profile", run.title = "tiny, decoding profiled", run.spec = "{\"contexts\":[1000]}";
  run.window = 4000;
  all.runs = {run}, all.policies = rows.policies, all.steps = rows.steps, all.traffic = rows.traffic;
  all.instruments = rows.instruments, all.peaks = rows.peaks;
  return all;
}

} // namespace

TEST(ProfileReport, APageOfAProfileAloneSaysEverything) {
  const std::string page = htmlReport(storeOf(example(true)), {});
  for (const char *text :
       {"Bandwidth saved against rebuild cost", "<svg viewBox", "1000 tokens, batch 1", "4000 tokens, batch 1",
        "Parts of a step, 4000 tokens", "Bytes by layer, 4000 tokens", "ask &lt;root&gt; for counters", "12.30 GB/s",
        "blocks of 256 MiB", "decoding, timed, traced and counted", "xqscope-cli profile --spec run.json",
        "differ from those of whole steps", "4 points as CSV"})
    EXPECT_THAT(page, HasSubstr(text));
  for (const char *text : {"nan", "inf<", "<script", "http", "windows</th>", "of 4000 tokens, from window"})
    EXPECT_THAT(page, Not(HasSubstr(text)));
}

TEST(ProfileReport, FiguresAreThoseOfTheRows) {
  const std::vector<TradePoint> points = tradePoints(example(true).policies, example(true).steps, example(true).traffic);
  const std::string table = tradeTable(points);
  EXPECT_THAT(table, HasSubstr("<td>0.5000</td><td>3.500</td>")) << "xquant at 4000: 4 MB / 8, 3.5 MB saved";
  EXPECT_THAT(table, HasSubstr("<td>8.000</td><td>4.000</td>")) << "its attention: 8 ms, 4 ms beyond FP16's";
  EXPECT_THAT(table, HasSubstr("<td>2.00</td>")) << "twice FP16's time";
}

TEST(ProfileReport, EveryFigureOfBytesSaysWhereItComesFrom) {
  const std::string page = htmlReport(storeOf(example(true)), {});
  const std::string section = page.substr(page.find("Bandwidth saved"));
  const std::regex bytes("<th[^>]*>([^<]*(<br>)?[^<]*)</th>");
  for (std::sregex_iterator it(section.begin(), section.end(), bytes), end; it != end; ++it) {
    const std::string head = (*it)[1];
    if (head.find("MB") == std::string::npos && head.find("GB") == std::string::npos) continue;
    EXPECT_TRUE(head.find("counted") != std::string::npos || head.find("measured") != std::string::npos) << head;
  }
}

TEST(ProfileReport, WithoutCountersNothingIsCalledMeasured) {
  const ProfileRows rows = example(false);
  const std::string section = profileSection(rows);
  EXPECT_THAT(section, Not(HasSubstr("differ from those of whole steps")));
  EXPECT_THAT(section, HasSubstr("no-permission"));
  EXPECT_THAT(section, HasSubstr("1.50 %")) << "the timeline's cost";
  const std::string table = tradeTable(tradePoints(rows.policies, rows.steps, rows.traffic));
  for (const char *head : {"MB<br>measured", "measured /<br>counted", "GB/s<br>measured"})
    EXPECT_THAT(table, Not(HasSubstr(head))) << "a column of dashes";
  EXPECT_THAT(tradeTable(tradePoints(rows.policies, rows.steps, example(true).traffic)), HasSubstr("MB<br>measured"));
}

TEST(ProfileReport, APointWithoutFp16IsInTheTableAndNotInTheChart) {
  ProfileRows rows = example(false);
  std::erase_if(rows.policies, [](const PolicyRow &row) { return row.policy == "fp16"; });
  std::erase_if(rows.steps, [](const StepRow &row) { return row.policy == 0; });
  const std::string section = profileSection(rows);
  EXPECT_THAT(section, Not(HasSubstr("<figure>")));
  EXPECT_THAT(section, HasSubstr("4000 tokens, batch 1"));
  rows.steps.clear();
  EXPECT_THAT(profileSection(rows), HasSubstr("No point was measured"));
  EXPECT_EQ(profileSection({}), "");
}

/// The file that views are tested on too: a real run of SmolLM2 on a CPU (tests/data/record_profile.py).
TEST(ProfileReport, TheRecordedProfileIsWholeAndSmall) {
  const std::string file = std::string(XQS_SOURCE_DIR) + "/tests/data/profile-smollm2-cpu.xqs";
  EXPECT_LE(std::filesystem::file_size(file), 320'000u);
  RunReader reader(file);
  const ReportRows rows = readReportRows(reader);
  ASSERT_EQ(rows.runs.size(), 1u);
  EXPECT_EQ(rows.runs[0].kind, "profile");
  EXPECT_EQ(rows.runs[0].layers, 30);
  ASSERT_EQ(rows.steps.size(), 4u * 3u);
  double kernels = 0;
  for (const KernelRow &row : reader.rowsAfter<KernelRow>(0)) kernels += row.policy == 0 ? row.bytes : 0;
  EXPECT_NEAR(kernels, rows.steps[0].countedBytes, 1e-6 * kernels) << "FP16 at 512 tokens has its whole timeline";
  for (const StepRow &step : rows.steps) {
    double layers = 0;
    for (const auto &[layer, sum] : trafficByLayer(rows.traffic, profileKey(step))) layers += sum.countedBytes;
    EXPECT_NEAR(layers, step.countedBytes, 1e-6 * layers);
  }
  const std::string page = htmlReport(rows, {});
  EXPECT_THAT(page, HasSubstr("Bandwidth saved against rebuild cost"));
  EXPECT_THAT(page, HasSubstr("<h4>Verdict at 2048 tokens, batch 1</h4>"));
  EXPECT_THAT(page, HasSubstr("FP16 KV is fastest"));
  EXPECT_LT(page.find("embedding<br>"), page.find("attend<br>")) << "parts in the order of a step";
  EXPECT_LT(page.find("attend<br>"), page.find("logits<br>"));
}

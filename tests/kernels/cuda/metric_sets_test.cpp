// SPDX-License-Identifier: Apache-2.0
// The metrics that are chosen for chips, and their passes: through the host part of the real CUPTI, which needs no GPU.
#include "cupti/metric_sets.h"

#include <gmock/gmock.h>

#include <iostream>
#include <set>

using namespace xqs;
using namespace xqs::cuda::cupti;
using testing::ElementsAre;
using testing::ElementsAreArray;

namespace {

class MetricSets : public testing::Test {
protected:
  void SetUp() override {
    try {
      m_cupti = std::make_unique<Library>();
    } catch (const Failure &failure) {
      GTEST_SKIP() << "metrics need the real CUPTI: " << failure.what();
    }
  }
  std::vector<std::string> supportedChips() {
    auto p = XQS_CUPTI_PARAMS(Profiler_Host_GetSupportedChips);
    m_cupti->call(m_cupti->cuptiProfilerHostGetSupportedChips, &p);
    return {p.ppChipNames, p.ppChipNames + p.numChips};
  }
  /// Passes of metrics by themselves; 0: the chip lacks one.
  std::size_t passes(const char *chip, CUpti_ProfilerType type, const std::vector<const char *> &names) {
    std::vector<Metric> metrics;
    for (const char *name : names) metrics.push_back({name, &CounterFigures::dramRead});
    const auto set = Host(*m_cupti, type, {chip, {}}).schedule(metrics);
    return set ? set->passes : 0;
  }
  std::unique_ptr<Library> m_cupti;
};

std::vector<std::string> names(const MetricSet &set) {
  std::vector<std::string> names;
  for (const Metric &metric : set.metrics) names.emplace_back(metric.name);
  return names;
}

const std::vector<std::string> kDram = {"dram__bytes_read.sum", "dram__bytes_write.sum"},
                               kDramOp = {"dram__bytes_op_read.sum", "dram__bytes_op_write.sum"};

struct Expected {
  const char *chip;
  std::vector<std::string> traffic;
  bool fills; ///< fits the pass beside the tensor pipe
};
const Expected kExpected[] = {
    {"TU102", kDram, false},  {"TU106", kDram, false},  {"GA100", kDram, false}, {"GA102", kDram, true},
    {"AD102", kDram, true},   {"AD106", kDram, true},   {"GH100", kDram, true},  {"GB100", kDram, true},
    {"GB202", kDramOp, true}, {"GB205", kDramOp, true},
};

} // namespace

TEST_F(MetricSets, TrafficTakesOnePassOnEveryChipAndAsMuchBesideItAsFits) {
  for (const Expected &expected : kExpected) {
    const MetricSet set = trafficSet(*m_cupti, {expected.chip, {}});
    std::vector<std::string> all = expected.traffic;
    for (const char *name : {"gpu__time_duration.sum", "lts__t_sectors.sum", "sm__cycles_active.avg"})
      all.emplace_back(name);
    if (expected.fills) all.emplace_back("lts__d_sectors_fill_device.sum");
    all.emplace_back("sm__inst_executed_pipe_tensor.sum");
    EXPECT_THAT(names(set), ElementsAreArray(all)) << expected.chip;
    EXPECT_EQ(set.passes, 1u) << expected.chip;
    EXPECT_FALSE(set.config.empty()) << expected.chip;
  }
}

TEST_F(MetricSets, TheTrueHitRateTakesTwoPassesEverywhere) {
  for (const Expected &expected : kExpected) {
    const MetricSet set = hitRateSet(*m_cupti, {expected.chip, {}});
    EXPECT_THAT(names(set), ElementsAre("lts__t_sector_hit_rate.pct")) << expected.chip;
    EXPECT_EQ(set.passes, 2u) << expected.chip;
  }
}

TEST_F(MetricSets, SamplesAreTrafficAloneInExactlyOnePass) {
  for (const Expected &expected : kExpected) {
    const MetricSet set = samplingSet(*m_cupti, {expected.chip, {}});
    EXPECT_THAT(names(set), ElementsAreArray(expected.traffic)) << expected.chip;
    EXPECT_EQ(set.passes, 1u) << expected.chip;
  }
}

/// What the choice rests on.
TEST_F(MetricSets, ChipsHaveWhatTheTableOfPassesSays) {
  constexpr auto kRange = CUPTI_PROFILER_TYPE_RANGE_PROFILER, kSampling = CUPTI_PROFILER_TYPE_PM_SAMPLING;
  const std::vector<const char *> dram = {"dram__bytes_read.sum", "dram__bytes_write.sum"};
  const std::vector<const char *> op = {"dram__bytes_op_read.sum", "dram__bytes_op_write.sum"};
  const std::vector<const char *> fbpa = {"fbpa__dram_read_bytes.sum", "fbpa__dram_write_bytes.sum"};
  const std::vector<const char *> all = {dram[0],
                                         dram[1],
                                         "gpu__time_duration.sum",
                                         "lts__t_sectors.sum",
                                         "lts__d_sectors_fill_device.sum",
                                         "sm__cycles_active.avg",
                                         "sm__inst_executed_pipe_tensor.sum"};
  for (const char *chip : {"TU102", "GA100", "GA102", "AD102", "GH100", "GB100", "GB202"}) {
    const bool gb202 = std::string_view(chip) == "GB202", old = sampledByCycles(chip);
    for (const auto type : {kRange, kSampling}) {
      EXPECT_EQ(passes(chip, type, dram), gb202 ? 0u : 1u) << chip;
      EXPECT_EQ(passes(chip, type, op), gb202 ? 1u : 0u) << chip;
      EXPECT_EQ(passes(chip, type, fbpa), 1u) << chip;
    }
    EXPECT_EQ(passes(chip, kRange, all), gb202 ? 0u : old ? 2u : 1u) << chip;
  }
}

TEST_F(MetricSets, EveryChipThatCuptiKnowsHasASetOrASentence) {
  std::set<std::string> without, noSampling;
  const std::vector<std::string> chips = supportedChips();
  EXPECT_GE(chips.size(), 30u);
  for (const std::string &chip : chips) {
    try {
      EXPECT_EQ(trafficSet(*m_cupti, {chip, {}}).passes, 1u) << chip;
    } catch (const Failure &failure) {
      EXPECT_EQ(failure.state(), InstrumentState::NotOnThisDevice) << chip;
      without.insert(chip);
    }
    try {
      EXPECT_EQ(samplingSet(*m_cupti, {chip, {}}).passes, 1u) << chip;
    } catch (const Failure &failure) {
      EXPECT_EQ(failure.state(), InstrumentState::NotOnThisDevice) << chip;
      noSampling.insert(chip);
    }
  }
  std::cout << chips.size() << " chips; without counters of traffic: " << testing::PrintToString(without)
            << "; without samples: " << testing::PrintToString(noSampling) << '\n';
  EXPECT_LE(without.size(), chips.size() / 4); // systems on a chip, whose memory is the host's
}

TEST_F(MetricSets, OldChipsAreSampledByCycles) {
  for (const char *chip : {"TU102", "TU117", "GA100"}) EXPECT_TRUE(sampledByCycles(chip)) << chip;
  for (const char *chip : {"GA102", "GA107", "AD102", "GH100", "GB100", "GB202"})
    EXPECT_FALSE(sampledByCycles(chip)) << chip;
}

TEST_F(MetricSets, AWrongChipAndAWrongMetricAreTold) {
  try {
    (void)trafficSet(*m_cupti, {"XX999", {}});
    FAIL() << "a chip that does not exist";
  } catch (const Failure &failure) {
    EXPECT_EQ(failure.state(), InstrumentState::NotOnThisDevice);
    EXPECT_THAT(failure.what(), testing::HasSubstr("does not know the GPU's chip"));
  }
  auto chip = XQS_CUPTI_PARAMS(Profiler_Host_Initialize);
  chip.pChipName = "XX999";
  EXPECT_EQ(m_cupti->cuptiProfilerHostInitialize.pointer(&chip), CUPTI_ERROR_INVALID_CHIP_NAME);

  EXPECT_EQ(passes("GH100", CUPTI_PROFILER_TYPE_RANGE_PROFILER, {"dram__bytes_eaten.sum"}), 0u);
  chip.pChipName = "GH100";
  m_cupti->call(m_cupti->cuptiProfilerHostInitialize, &chip);
  const char *metric = "dram__bytes_eaten.sum";
  auto add = XQS_CUPTI_PARAMS(Profiler_Host_ConfigAddMetrics);
  add.pHostObject = chip.pHostObject, add.ppMetricNames = &metric, add.numMetrics = 1;
  EXPECT_EQ(m_cupti->cuptiProfilerHostConfigAddMetrics.pointer(&add), CUPTI_ERROR_INVALID_PARAMETER) << "not 17";
  auto end = XQS_CUPTI_PARAMS(Profiler_Host_Deinitialize);
  end.pHostObject = chip.pHostObject;
  m_cupti->call(m_cupti->cuptiProfilerHostDeinitialize, &end);
}

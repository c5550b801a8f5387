// SPDX-License-Identifier: Apache-2.0
#include "run/profile.h"

#include "analysis/traffic.h"
#include "cache/layer_plan.h"
#include "cpu_backend.h"
#include "run/profile_peaks.h"
#include "run/profile_point.h"
#include "support/model_files.h"
#include "support/refusal.h"
#include "support/small_model.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <map>
#include <new>
#include <thread>

using namespace xqs;
using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;

namespace {

/// Instruments that count what the trace says: reads 3/4 of it, times `ratio`. What goes wrong is set by a test.
class FakeInstruments final : public Instruments {
public:
  using Instruments::Instruments;
  InstrumentState counters = InstrumentState::Ready;
  double ratio = 1.25;
  int passes = 1;
  std::int64_t droppedRanges = 0, droppedRecords = 0;
  int refuseAfter = -1; ///< counts that work before another profiler takes the counters; < 0: all
  int counts = 0, sampling = 0;
  std::vector<RangeBy> cuts;
  bool noKernels = false;    ///< nothing can be replayed
  int droppedKernels = 0;    ///< the last ones of a step
  bool passesDiffer = false; ///< in the bytes that they moved
  bool differs = false;      ///< passes are never the same, and refused
  bool noTimeline = false, emptyTimeline = false;
  bool ghost = false; ///< a launch that only timelines have
  bool tracing = false, switched = false; ///< switched: no step ran since tracing began or ended
  int asked = 0;
  std::string sentence = "bytes are what the trace says", sentenceOnceCounted = sentence;
  std::int64_t samplesDropped = 0; ///< over all runs

  std::vector<InstrumentStatus> status() override {
    ++asked;
    return {{Instrument::Timeline, InstrumentState::Ready, "launches are timed", "fake", {}},
            {Instrument::Counters, counters, counts > 0 ? sentenceOnceCounted : sentence, "fake counters", "read write", 100,
             101},
            {Instrument::Sampling,
             counters,
             "samples are made up",
             "fake counters",
             {},
             kNotMeasured,
             kNotMeasured,
             samplesDropped}};
  }
  void startTimeline() override {
    if (noTimeline) throw Error(Code::Unsupported, "another profiler has the timeline");
    Instruments::startTimeline();
    tracing = switched = true;
  }
  Timeline stopTimeline() override {
    Timeline timeline = Instruments::stopTimeline();
    timeline.dropped = droppedRecords;
    if (emptyTimeline) timeline.records.clear();
    if (ghost) timeline.records.push_back({{0, -1, "cache"}, "ghost", timeline.records.back().startNs});
    tracing = false, switched = true;
    return timeline;
  }
  Counted count(CounterSet set, RangeBy by, const std::function<void()> &work) override {
    if (by == RangeBy::Kernel && noKernels) throw Error(Code::Unsupported, "no memory to replay a kernel");
    if (refuseAfter >= 0 && counts >= refuseAfter) throw Error(Code::Unsupported, "another profiler has the counters");
    ++counts;
    cuts.push_back(by);
    Counted counted;
    std::vector<double> moved;
    for (int pass = 0; pass < passes; ++pass) {
      counted.ranges.clear();
      double bytes = 0;
      m_backend.setTrace([&](const KernelRecord &record) {
        add(counted.ranges, record, set, by);
        bytes += record.bytes;
      });
      work();
      m_backend.setTrace({});
      moved.push_back(bytes);
      passesDiffer |= bytes != moved.front();
    }
    if (differs) throw Error(Code::Internal, "other operations");
    counted.dropped = droppedRanges, counted.passes = passes;
    if (by != RangeBy::Kernel) return counted;
    counted.dropped = droppedKernels;
    for (int i = 0; i < droppedKernels; ++i) counted.ranges[counted.ranges.size() - 1 - i].figures = {};
    return counted;
  }
  void startSampling(std::int64_t intervalNs) override { m_interval = intervalNs, ++sampling; }
  std::vector<ThroughputSample> takeSamples() override {
    m_now += m_interval;
    return {{m_now - m_interval, m_now, 100, 50}};
  }
  void stopSampling() override { --sampling; }

private:
  void add(std::vector<RangeRecord> &ranges, const KernelRecord &record, CounterSet set, RangeBy by) const {
    Tag tag = record.tag;
    if (by == RangeBy::Layer) tag = {tag.layer, -1, ""};
    if (by == RangeBy::Kernel || ranges.empty() || ranges.back().tag.layer != tag.layer ||
        std::strcmp(ranges.back().tag.op, tag.op) != 0) {
      CounterFigures &figures =
          ranges.emplace_back(RangeRecord{tag, by == RangeBy::Kernel ? record.kernel : "", {}}).figures;
      if (set == CounterSet::HitRate)
        figures.cacheHitRate = 0.25;
      else
        figures.dramRead = figures.dramWrite = figures.cacheAccesses = 0;
    }
    CounterFigures &figures = ranges.back().figures;
    figures.dramRead += 0.75 * ratio * record.bytes, figures.dramWrite += 0.25 * ratio * record.bytes;
    figures.cacheAccesses += record.bytes / 32;
  }
  std::int64_t m_interval = 0, m_now = 1'000'000;
};

/// The CPU, with an amount of memory, so that limits are measured on small blocks and refusals are the test's.
class FakeBackend final : public CpuBackend {
public:
  FakeBackend() : CpuBackend(2) {}
  Index freeBytes() const override { return free; }
  FakeInstruments &instruments() override { return fake; }
  void embed(Queue queue, ConstView table, std::span<const std::int32_t> tokens, View out) override { // once a step
    if (tracingCosts)
      std::this_thread::sleep_for((fake.tracing ? 20ms : 0ms) + (std::exchange(fake.switched, false) ? 200ms : 0ms));
    CpuBackend::embed(queue, table, tokens, out);
  }
  bool tracingCosts = false;
  Index free = Index{64} << 20;
  FakeInstruments fake{*this};
};

/// Rows of a store with one profile.
struct Stored {
  RunRow run;
  std::vector<RunEndRow> ends;
  std::vector<PolicyRow> policies;
  std::vector<StepRow> steps;
  std::vector<KernelRow> kernels;
  std::vector<TrafficRow> traffic;
  std::vector<ThroughputRow> throughput;
  std::vector<InstrumentRow> instruments;
  std::vector<PeakRow> peaks;
  std::vector<ProblemRow> problems;
  std::vector<LogRow> log;
};

struct Loaded {
  explicit Loaded(Backend &backend)
      : model(Model::load(*openModel(test::kGqaModel), backend)), calibration(*model, std::filesystem::path()) {}
  std::unique_ptr<Model> model;
  Calibration calibration;
};

class ProfileTest : public testing::Test {
protected:
  ProfileTest() { request("fp16", "xquant:bits=2,group=32", "kivi:bits=2,group=16,residual=32"); }

  template <class... Policy> void request(const Policy &...policy) {
    m_request.policies = {PolicySpec::parse(policy)...};
    m_request.contexts = {96}, m_request.steps = 3, m_request.costs = false, m_request.samplingMicroseconds = 0;
  }
  Stored run(const ProfileHooks &hooks = {}, std::optional<Code> error = {}) {
    RunStore store(m_dir / "run.xqs");
    try {
      m_result = runProfile({*m_loaded.model, m_loaded.calibration, 2}, m_request, store, hooks);
      EXPECT_FALSE(error) << "nothing thrown";
    } catch (const Error &e) {
      EXPECT_EQ(e.code(), error.value_or(Code::Internal)) << e.what();
    }
    store.close();
    RunReader reader(m_dir / "run.xqs");
    return {reader.rowsAfter<RunRow>(0).at(0),  reader.rowsAfter<RunEndRow>(0),     reader.rowsAfter<PolicyRow>(0),
            reader.rowsAfter<StepRow>(0),       reader.rowsAfter<KernelRow>(0),     reader.rowsAfter<TrafficRow>(0),
            reader.rowsAfter<ThroughputRow>(0), reader.rowsAfter<InstrumentRow>(0), reader.rowsAfter<PeakRow>(0),
            reader.rowsAfter<ProblemRow>(0),    reader.rowsAfter<LogRow>(0)};
  }

  test::TempDir m_dir;
  FakeBackend m_backend;
  Loaded m_loaded{m_backend};
  ProfileRequest m_request;
  ProfileResult m_result;
};

TEST_F(ProfileTest, EveryPointHasItsRowsAndPartsMakeUpTheStep) {
  m_request.contexts = {96, 40}, m_request.batches = {2, 1};
  const Stored s = run();
  EXPECT_EQ(s.run.kind, "profile");
  EXPECT_EQ(s.ends.at(0).status, "finished");
  ASSERT_EQ(s.steps.size(), 2u * 2u * 3u);
  EXPECT_EQ(s.steps[0].context, 40) << "short contexts first: a whole comparison stands early";
  EXPECT_EQ(s.policies.size(), 3u);
  EXPECT_EQ(s.instruments.size(), 3u);
  EXPECT_EQ(s.problems.size(), 0u);
  EXPECT_NE(peakOf(s.peaks, "copy"), nullptr);
  EXPECT_GT(peakOf(s.peaks, "matmul")->value, 1e6);
  EXPECT_EQ(peakOf(s.peaks, "host-copy"), nullptr) << "the CPU has no memory of its own";
  for (const StepRow &step : s.steps) {
    SCOPED_TRACE(testing::Message() << step.policy << " " << step.context << " x " << step.batch);
    EXPECT_EQ(step.steps, 3);
    EXPECT_GT(step.seconds, 0);
    EXPECT_LE(step.lowSeconds, step.seconds);
    EXPECT_LE(step.seconds, step.highSeconds);
    const PolicySpec &policy = m_request.policies[static_cast<std::size_t>(step.policy)];
    DecodePoint point;
    point.context = step.context;
    EXPECT_EQ(step.cacheBytes, filledBytes(point, policy, m_loaded.model->shape()).formatBytes());
    double kernels = 0, flops = 0, layers = 0, parts = 0;
    for (const KernelRow &row : s.kernels)
      if (profileKey(row) == profileKey(step)) kernels += row.bytes, flops += row.flops;
    for (const auto &[layer, sum] : trafficByLayer(s.traffic, profileKey(step))) layers += sum.countedBytes;
    for (const auto &[part, sum] : trafficByPart(s.traffic, profileKey(step))) parts += sum.countedBytes;
    EXPECT_GT(step.countedBytes, static_cast<double>(step.batch * step.cacheBytes));
    for (const double sum : {kernels, layers, parts}) EXPECT_NEAR(sum, step.countedBytes, 1e-9 * step.countedBytes);
    EXPECT_NEAR(flops, step.countedFlops, 1e-9 * flops);
    EXPECT_EQ(trafficByLayer(s.traffic, profileKey(step)).size(), 1u + 5u);
  }
  EXPECT_EQ(m_result.steps.size(), s.steps.size());
  EXPECT_THAT(s.log.at(0).text, HasSubstr("timed at the end"));
}

/// What a launch of the traced step read of the cache, as it is stored. The CPU rebuilds FP32 rows in memory, which its
/// operations count too, as they should: those rows, and the map behind them, are taken off. `q`: stored bytes of an
/// element; `width`: channels of a stored row; `outputs`: of a row behind the map.
double cacheRead(const KernelRow &row, double q, double width, double outputs) {
  if (row.operation == "convert") return row.bytes * 2 / (2 + 4); // FP16 to FP32
  if (row.operation == "dequantize") return row.bytes * q / (q + 4);
  if (row.operation != "dequantMatmul") return 0;
  const double map = 4 * outputs * width, rows = (row.bytes - map) / (q * width + 4 * outputs);
  return rows * q * width;
}

/// On a backend that rebuilds, a step reads what the ledger says that the cache holds: once, and X twice, because K and V
/// are rebuilt from it one after the other.
TEST_F(ProfileTest, WhatAStepReadsOfTheCacheIsWhatTheLedgerSaysItHolds) {
  request("fp16", "kivi:bits=2,group=16,residual=32", "xquant:bits=4,group=32,source=x",
          "xquant:bits=2,group=32,source=latent", "xquant-cl:bits=2,group=32,source=x",
          "xquant-cl:bits=2,group=32,source=latent");
  m_request.contexts = {600}, m_request.counters = false;
  const Stored s = run();
  const ModelShape &shape = m_loaded.model->shape();
  const Index tokens = 600 + kWarmUp + m_request.steps + 1; // the traced step's own is the last
  for (const StepRow &step : s.steps) {
    const PolicySpec &policy = m_request.policies[static_cast<std::size_t>(step.policy)];
    SCOPED_TRACE(policy.canonical());
    const CacheLayout layout = cacheLayout(policy, shape);
    double read = 0, held = 0;
    for (std::size_t layer = 0; layer < layout.layers.size(); ++layer) {
      const LayerPlan plan = layerPlan(policy, shape, static_cast<Index>(layer));
      double bytes = 0, elements = 0, width = 0; // packed: of closed tokens alone
      for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
        const TensorSpec &spec = plan.tensors[i].spec;
        const Index closed = spec.closedAt(tokens, State::Stream);
        const int at = static_cast<int>(i), sides = (plan.k.tensor == at) + (plan.v.tensor == at);
        const auto stored = static_cast<double>(formatBits(spec, tokens, closed).formatBytes());
        held += plan.chain ? stored : sides * stored; // a chain's links are added up once
        bytes += static_cast<double>(formatBits(spec, closed, closed).formatBytes());
        elements += static_cast<double>(closed * spec.width), width = static_cast<double>(spec.width);
      }
      const double outputs = static_cast<double>(plan.chain ? shape.d : shape.dkv());
      for (const KernelRow &row : s.kernels)
        if (row.policy == step.policy && row.layer == static_cast<std::int64_t>(layer) && isCachePart(row.part))
          read += cacheRead(row, bytes / elements, width, outputs);
    }
    EXPECT_NEAR(read, held, 0.05 * held);
  }
}

TEST_F(ProfileTest, TheRunSaysWhatRepeatsIt) {
  m_request.form = DecodeForm::Chunked, m_request.kernels = false, m_request.seed = 7;
  const Stored s = run();
  EXPECT_EQ(s.kernels.size(), 0u) << "no rows of launches were asked for";
  EXPECT_FALSE(s.traffic.empty());
  const ProfileRequest again = profileFromJson(json::parse(s.run.spec));
  EXPECT_EQ(again.form, DecodeForm::Chunked);
  EXPECT_EQ(again.seed, 7u);
  EXPECT_EQ(again.contexts, m_request.contexts);
  EXPECT_EQ(again.backend, "cpu");
  EXPECT_EQ(again.threads, 2);
  EXPECT_EQ(s.run.window, 96);
  EXPECT_EQ(s.run.state, "stream");
  EXPECT_THAT(s.run.protocol, HasSubstr("chunked"));
  for (const std::string &text : {s.run.uuid, s.run.modelHash, s.run.machine, s.run.device, s.run.version, s.run.libraries})
    EXPECT_FALSE(text.empty());
}

TEST_F(ProfileTest, WhatTheDeviceMeasuresStandsBesideWhatIsCounted) {
  m_request.batches = {1, 2};
  const Stored s = run();
  for (const StepRow &step : s.steps) {
    SCOPED_TRACE(testing::Message() << step.policy << " x " << step.batch);
    // The step that is counted is up to four tokens further than the one that was traced.
    EXPECT_NEAR(step.measuredRead + step.measuredWrite, 1.25 * step.countedBytes, 0.04 * step.countedBytes);
    EXPECT_NEAR(step.measuredRead, 3 * step.measuredWrite, 1e-6 * step.measuredRead);
    EXPECT_NEAR(layersBesideStep(step, s.traffic), 0, 0.01);
    for (const auto &[layer, sum] : trafficByLayer(s.traffic, profileKey(step))) EXPECT_NEAR(sum.ratio(), 1.25, 0.05);
    const TrafficSum cache = cacheTraffic(s.traffic, profileKey(step));
    EXPECT_NEAR(cache.ratio(), 1.25, 0.05);
    for (const double cost : {step.timelineCost, step.countersCost, step.samplingCost}) EXPECT_TRUE(std::isnan(cost));
  }
  for (const TrafficRow &row : s.traffic) EXPECT_TRUE(std::isnan(row.cacheHitRate)) << "not asked for";
  EXPECT_THAT(m_backend.fake.cuts, testing::Contains(RangeBy::Layer)) << "the whole step is measured by itself";
  EXPECT_THAT(m_backend.fake.cuts, testing::Contains(RangeBy::Operation));
}

TEST_F(ProfileTest, HitRatesSamplesAndCostsComeWhereTheyAreAskedFor) {
  m_request.hitRate = m_request.costs = true, m_request.samplingMicroseconds = 250;
  m_backend.fake.passes = 2; // the step runs twice: on caches that are cut back, or a token further on
  const Stored s = run();
  EXPECT_EQ(s.problems.size(), 0u) << s.problems.at(0).text;
  for (const StepRow &step : s.steps)
    for (const double cost : {step.timelineCost, step.countersCost, step.samplingCost})
      EXPECT_TRUE(std::isfinite(cost) && cost > -1) << cost;
  for (const TrafficRow &row : s.traffic) EXPECT_NEAR(row.cacheHitRate, 0.25, 1e-12) << row.layer << row.part;
  ASSERT_EQ(s.throughput.size(), s.steps.size());
  EXPECT_EQ(s.throughput[0].startNs, 0);
  EXPECT_EQ(s.throughput[0].intervalNs, 250'000);
  EXPECT_EQ(s.throughput[0].read.size(), sizeof(float)) << "all that was sampled of the steps, once";
  EXPECT_EQ(m_backend.fake.sampling, 0) << "it is off again";
}

/// Tracing slows a step; switching it slows the next one, on or off: that is no part of what tracing costs.
TEST_F(ProfileTest, WhatSwitchingAnInstrumentCostsIsNoPartOfAStep) {
  m_request.costs = m_backend.tracingCosts = true, m_request.counters = false;
  m_request.contexts = {64}, m_request.batches = {1}, m_request.policies.resize(1);
  for (const StepRow &step : run().steps) EXPECT_GT(step.timelineCost, 0.3);
}

TEST_F(ProfileTest, ThePassesOfACostThatDifferEndNothing) {
  m_request.costs = true;
  m_backend.fake.passes = 2, m_backend.fake.differs = true;
  const Stored s = run();
  EXPECT_EQ(s.ends.at(0).status, "finished");
  EXPECT_THAT(s.problems.at(0).text, HasSubstr("ran different operations"));
}

TEST_F(ProfileTest, LimitsAndTheFirstTimesComeBeforeAnyInstrument) {
  ProfileHooks hooks;
  int asked = -1;
  hooks.progress = [&](const RunProgress &p) {
    if (p.text.ends_with("without instruments")) asked = m_backend.fake.asked;
  };
  run(hooks);
  EXPECT_EQ(asked, 0);
  EXPECT_GE(m_backend.fake.asked, 2) << "at the start and at the end";
}

TEST_F(ProfileTest, AnEmptyTimelineCountsNothing) {
  m_backend.fake.emptyTimeline = true;
  const Stored s = run();
  for (const StepRow &step : s.steps) EXPECT_TRUE(std::isnan(step.countedBytes) && std::isnan(step.countedFlops));
  EXPECT_EQ(s.problems.at(0).code, "timeline-empty");
}

TEST_F(ProfileTest, ASecondPassRunsTheStepAgainWhereCachesCanBeCutBack) {
  request("fp16", "low-rank:rank=16", "xquant:bits=2,group=32,source=x", "xquant-cl:bits=2,group=32,source=x");
  m_request.hitRate = true, m_backend.fake.passes = 2;
  const Stored s = run();
  EXPECT_EQ(s.problems.size(), 0u);
  EXPECT_FALSE(m_backend.fake.passesDiffer) << "a token more moves more bytes";
}

TEST_F(ProfileTest, AGroupThatClosesBetweenTwoPassesIsCountedAgain) {
  request("kivi:bits=2,group=16,residual=32");
  m_request.contexts = {119}, m_backend.fake.passes = 2; // counted at 127, where the step closes 32 tokens of K, and at 128
  const Stored s = run();
  EXPECT_EQ(s.problems.size(), 0u);
  EXPECT_EQ(m_backend.fake.counts, 2 * 2 + 1) << "FP16 twice, KIVI once more";
  EXPECT_NEAR(layersBesideStep(s.steps.at(1), s.traffic), 0, 0.01);
}

TEST_F(ProfileTest, PassesThatTheInstrumentRefusesAreCountedAgainAndThenLeftOut) {
  request("fp16");
  m_backend.fake.passes = 2, m_backend.fake.differs = true;
  const Stored s = run();
  EXPECT_EQ(s.ends.at(0).status, "finished");
  EXPECT_EQ(m_backend.fake.counts, 2 * 2) << "by operation and by layer, each once more";
  ASSERT_EQ(s.problems.size(), 2u);
  EXPECT_THAT(s.problems[0].text, HasSubstr("different operations"));
  EXPECT_TRUE(std::isnan(s.steps.at(0).measuredRead));
}

// The microscope ----------------------------------------------------------------------------------------------------------

TEST_F(ProfileTest, TheMicroscopeCountsTheTracedStepOnceMoreWhereCachesCanBeCutBack) {
  request("fp16", "low-rank:rank=16", "xquant:bits=2,group=32,source=x", "xquant-cl:bits=2,group=32,source=x");
  m_request.microscope = true, m_request.batches = {2}, m_request.form = DecodeForm::Pipelined;
  const Stored s = run();
  EXPECT_EQ(s.problems.size(), 0u) << s.problems.at(0).text;
  ASSERT_FALSE(s.kernels.empty());
  for (const KernelRow &row : s.kernels) {
    EXPECT_NEAR(row.measuredRead, 0.75 * 1.25 * row.bytes, 1e-6 * row.bytes) << row.operation; // a token more is 1 %
    EXPECT_NEAR(row.measuredWrite, 0.25 * 1.25 * row.bytes, 1e-6 * row.bytes);
    EXPECT_EQ(row.cacheHitRate, 0.25);
  }
  EXPECT_EQ(m_result.kernels.size(), s.kernels.size()) << "for the table and JSON";
  EXPECT_THAT(s.run.protocol, HasSubstr("one by one"));
  for (const StepRow &step : s.steps) EXPECT_NEAR(layersBesideStep(step, s.traffic), 0, 0.01) << "the rest goes on";
}

TEST_F(ProfileTest, WithoutAMicroscopeNoLaunchHasFigures) {
  const Stored s = run();
  EXPECT_THAT(m_backend.fake.cuts, testing::Not(testing::Contains(RangeBy::Kernel)));
  for (const KernelRow &row : s.kernels) EXPECT_TRUE(std::isnan(row.measuredRead) && std::isnan(row.cacheHitRate));
  EXPECT_TRUE(m_result.kernels.empty());
}

TEST_F(ProfileTest, AGroupThatClosesAfterTheTracedStepIsCountedAgain) {
  request("fp16", "kivi:bits=2,group=16,residual=32");     // V of one token is packed in each step: no way back
  m_request.microscope = true, m_request.contexts = {119}; // traced at 126 at last, counted at 127, where K closes, and at 128
  const Stored s = run();
  EXPECT_EQ(std::ranges::count(m_backend.fake.cuts, RangeBy::Kernel), 2 + 3);
  for (const KernelRow &row : s.kernels) EXPECT_FALSE(std::isnan(row.measuredRead) || std::isnan(row.cacheHitRate));
  ASSERT_EQ(s.problems.size(), 1u) << "of bytes; hits were counted after that";
  EXPECT_EQ(s.problems[0].code, "kernels-counted-later");
  EXPECT_THAT(s.problems[0].text, HasSubstr("tokens after the traced step"));
}

TEST_F(ProfileTest, WhatOnlyTheTracedStepLaunchedIsCountedByNobody) {
  request("fp16");
  m_request.microscope = m_backend.fake.ghost = true;
  const Stored s = run();
  for (const KernelRow &row : s.kernels) EXPECT_EQ(std::isnan(row.measuredRead), row.operation == "ghost") << row.operation;
  ASSERT_EQ(s.problems.size(), 2u) << "bytes and hits";
  EXPECT_EQ(s.problems[0].code, "kernels-not-measured");
  EXPECT_THAT(s.problems[0].text, testing::AllOf(HasSubstr("96 tokens x 1: 1 of "), HasSubstr("measured bytes"),
                                                 HasSubstr("a group of tokens closed")));
  EXPECT_THAT(s.problems[1].text, HasSubstr("L2 hit rate"));
}

TEST_F(ProfileTest, KernelsBeyondWhatCountersHoldAreSaid) {
  request("fp16");
  m_request.microscope = true, m_backend.fake.droppedKernels = 7;
  const Stored s = run();
  for (std::size_t i = 0; i < s.kernels.size(); ++i)
    EXPECT_EQ(std::isnan(s.kernels[i].measuredRead), i + 7 >= s.kernels.size()) << i;
  ASSERT_EQ(s.problems.size(), 2u);
  EXPECT_THAT(s.problems[0].text, testing::AllOf(HasSubstr(": 7 of "), HasSubstr("7 were dropped")));
  EXPECT_EQ(lastInstruments(s.instruments).at(1).dropped, 2 * 7);
  EXPECT_GT(s.steps.at(0).measuredRead, 0) << "ranges of operations were not";
}

TEST_F(ProfileTest, AMicroscopeThatBreaksLeavesTheOtherCounters) {
  m_request.microscope = true, m_backend.fake.noKernels = true;
  const Stored s = run();
  ASSERT_EQ(s.problems.size(), 2u) << "bytes and hits, each once and not at every point";
  EXPECT_EQ(s.problems[0].code, "microscope-lost");
  EXPECT_THAT(s.problems[0].text, HasSubstr("no memory to replay a kernel"));
  for (const StepRow &step : s.steps) EXPECT_GT(step.measuredRead, 0);
}

/// This machine's own counters, where the kernel lets them be read.
TEST_F(ProfileTest, TheCpusCountersCountOperations) {
  CpuBackend backend(2);
  Loaded loaded(backend);
  request("fp16", "xquant:bits=2,group=32");
  m_request.microscope = true;
  RunStore store(m_dir / "cpu.xqs");
  const ProfileResult result = runProfile({*loaded.model, loaded.calibration, 2}, m_request, store, {});
  const InstrumentRow &counters = result.instruments.at(1);
  ASSERT_FALSE(result.kernels.empty());
  for (const KernelRow &row : result.kernels) {
    EXPECT_EQ(!std::isnan(row.measuredSeconds), counters.state == "ready") << row.operation << ": " << counters.sentence;
    EXPECT_TRUE(std::isnan(row.cacheHitRate)) << "there is no such counter";
  }
  EXPECT_FALSE(counters.sentence.empty());
  for (const ProblemRow &row : result.problems) EXPECT_NE(row.code, "kernels-not-measured") << row.text;
}

TEST_F(ProfileTest, OfManyRangesLayersAreCountedAndTheStepByItself) {
  request("fp16");
  m_request.contexts = {16}, m_request.batches = {67}, m_request.steps = 1; // 5 layers of 4 + 3 x 67 ranges
  const Stored s = run();
  EXPECT_THAT(m_backend.fake.cuts, testing::ElementsAre(RangeBy::Layer, RangeBy::Layer));
  const double beside = layersBesideStep(s.steps.at(0), s.traffic);
  EXPECT_NEAR(beside, 0, 0.05);
  EXPECT_NE(beside, 0) << "compared with itself: the step that is counted is a token further";
}

TEST_F(ProfileTest, WithoutATimelineNothingIsCountedAndTheRestIsMeasured) {
  m_backend.fake.noTimeline = true;
  const Stored s = run();
  EXPECT_EQ(s.problems.at(0).code, "instrument-lost");
  for (const StepRow &step : s.steps) {
    EXPECT_TRUE(std::isnan(step.countedBytes) && std::isnan(step.countedFlops));
    EXPECT_GT(step.measuredRead, 0);
    EXPECT_NEAR(layersBesideStep(step, s.traffic), 0, 0.05);
  }
  for (const TradePoint &point : tradePoints(s.policies, s.steps, s.traffic)) {
    EXPECT_TRUE(std::isnan(point.countedRate()) && std::isnan(point.cacheShare) && std::isnan(point.cache.seconds));
    EXPECT_GT(point.cache.measuredBytes(), 0);
  }
}

TEST_F(ProfileTest, WhatAnInstrumentSaysAtTheEndIsARow) {
  m_backend.fake.samplesDropped = 7; // in an earlier run
  m_backend.fake.sentenceOnceCounted = "counted for only 40 % of their time and scaled";
  const Stored s = run();
  ASSERT_EQ(s.instruments.size(), 3u + 1u);
  const std::vector<InstrumentRow> last = lastInstruments(s.instruments);
  EXPECT_EQ(last[1].sentence, m_backend.fake.sentenceOnceCounted);
  EXPECT_EQ(last[2].dropped, 0) << "of this run";
}

TEST_F(ProfileTest, ATimeThatCannotBeTakenAgainIsAProblemOfAFinishedRun) {
  ProfileHooks hooks;
  hooks.progress = [](const RunProgress &p) {
    if (p.text.ends_with("timing it again")) throw std::bad_alloc();
  };
  const Stored s = run(hooks);
  EXPECT_EQ(s.ends.at(0).status, "finished");
  EXPECT_EQ(s.steps.size(), 3u);
  EXPECT_EQ(s.problems.at(0).code, "out-of-memory");
  EXPECT_THAT(s.problems[0].text, HasSubstr("timing it again: not enough memory"));
}

/// Products take 20 ms, whatever they are; only those of 128 x 128 fit.
class SlowProducts final : public CpuBackend {
public:
  explicit SlowProducts(DType weights) : CpuBackend(1), m_weights(weights) {}
  Index freeBytes() const override { return 4 * 3 * 128 * 128 * 4; }
  DType weightType() const override { return m_weights; }
  void matmul(Queue, ConstView, ConstView, View, bool) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }

private:
  DType m_weights;
};

TEST(ProfilePeaks, BothProductsOfSplitRowsCount) {
  for (const auto &[type, products] : {std::pair(DType::F32, 1), std::pair(DType::F16, 2)}) {
    SlowProducts backend(type);
    const std::vector<PeakRow> peaks = measurePeaks(backend, {});
    const PeakRow *const peak = peakOf(peaks, "matmul");
    ASSERT_NE(peak, nullptr);
    const double expected = products * 2.0 * 128 * 128 * 128 / 0.02;
    EXPECT_NEAR(peak->value, expected, 0.3 * expected);
    EXPECT_EQ(peak->text.find("both products") != std::string::npos, products == 2) << peak->text;
  }
}

TEST_F(ProfileTest, WithoutCountersThatIsSaidAndBytesAreCounted) {
  m_backend.fake.counters = InstrumentState::NoPermission;
  m_request.hitRate = m_request.costs = true, m_request.samplingMicroseconds = 250;
  const Stored s = run();
  EXPECT_EQ(m_backend.fake.counts, 0) << "what is not usable is not asked";
  EXPECT_EQ(s.instruments.at(1).state, "no-permission");
  EXPECT_EQ(s.instruments[1].sentence, "bytes are what the trace says");
  EXPECT_EQ(s.throughput.size(), 0u);
  for (const StepRow &step : s.steps) {
    EXPECT_TRUE(std::isnan(step.measuredRead) && std::isnan(step.countersCost) && std::isnan(step.samplingCost));
    EXPECT_TRUE(std::isfinite(step.timelineCost));
    EXPECT_GT(step.countedBytes, 0);
  }
}

TEST_F(ProfileTest, CountersThatAreTakenAwayAreAProblemAndTheProfileGoesOn) {
  m_backend.fake.refuseAfter = 1;
  const Stored s = run();
  EXPECT_EQ(s.ends.at(0).status, "finished");
  EXPECT_EQ(s.steps.size(), 3u);
  ASSERT_EQ(s.problems.size(), 1u) << "said once, not at every point";
  EXPECT_EQ(s.problems[0].code, "instrument-lost");
  EXPECT_THAT(s.problems[0].text, HasSubstr("another profiler"));
  EXPECT_TRUE(std::isnan(s.steps.back().measuredRead));
}

TEST_F(ProfileTest, WhatWasDroppedIsNeverHidden) {
  m_backend.fake.droppedRanges = 2, m_backend.fake.droppedRecords = 5;
  const Stored s = run();
  for (const StepRow &step : s.steps) EXPECT_TRUE(std::isnan(step.measuredRead)) << "a sum without its parts";
  for (const TrafficRow &row : s.traffic) EXPECT_TRUE(std::isnan(row.measuredRead));
  std::map<std::string, int> codes;
  for (const ProblemRow &row : s.problems) ++codes[row.code];
  EXPECT_EQ(codes["records-dropped"], 3);
  EXPECT_EQ(codes["ranges-dropped"], 6) << "by operation and by layer";
  const std::vector<InstrumentRow> last = lastInstruments(s.instruments);
  ASSERT_EQ(last.size(), 3u);
  EXPECT_EQ(last[0].dropped, 3 * 5);
  EXPECT_EQ(last[1].dropped, 6 * 2);
  EXPECT_EQ(last[2].dropped, 0);
}

TEST_F(ProfileTest, WhatDoesNotFitIsAProblemAndTheOthersGoOn) {
  request("fp16", "low-rank:rank=999", "kivi:bits=2,group=16,residual=32");
  m_request.contexts = {64, 200'000}; // FP16 of 200000 tokens: 128 MB
  const Stored s = run();
  EXPECT_EQ(s.ends.at(0).status, "finished");
  std::vector<std::pair<std::int64_t, std::int64_t>> points;
  for (const StepRow &step : s.steps) points.emplace_back(step.policy, step.context);
  EXPECT_THAT(points, testing::ElementsAre(std::pair(0, 64), std::pair(2, 64), std::pair(2, 200'000)));
  ASSERT_EQ(s.problems.size(), 2u);
  EXPECT_EQ(s.problems[0].code, "misfit");
  EXPECT_EQ(s.problems[0].policy, 1);
  EXPECT_THAT(s.problems[0].text, HasSubstr("rank=999"));
  EXPECT_EQ(s.problems[1].code, "out-of-memory");
  EXPECT_THAT(s.problems[1].text, testing::AllOf(HasSubstr("fp16, 200000 tokens x 1"), HasSubstr("GB are free")));
  EXPECT_EQ(s.policies.size(), 2u);
}

TEST_F(ProfileTest, WhereNothingFitsTheRunHasFailed) {
  m_request.contexts = {1 << 24};
  const Stored s = run({}, Code::OutOfMemory);
  EXPECT_EQ(s.ends.at(0).status, "failed");
  EXPECT_THAT(s.ends[0].message, HasSubstr("GB are needed"));
  EXPECT_EQ(s.problems.size(), 1u + 3u); // the first one is also timed before instruments are asked
}

TEST_F(ProfileTest, AStopKeepsFinishedPoints) {
  std::stop_source stop;
  ProfileHooks hooks;
  hooks.stop = stop.get_token();
  hooks.progress = [&](const RunProgress &p) {
    EXPECT_EQ(p.total, 3);
    if (p.done == 2 && p.text.ends_with("timing steps")) stop.request_stop();
  };
  const Stored s = run(hooks, Code::Cancelled);
  EXPECT_EQ(s.ends.at(0).status, "cancelled");
  EXPECT_EQ(s.steps.size(), 2u);
  for (const TrafficRow &row : s.traffic) EXPECT_LT(row.policy, 2) << "no half of a point";
  EXPECT_EQ(m_backend.allocated(Purpose::CacheCodes), 0);
}

/// A device that breaks is not a point that does not fit.
TEST_F(ProfileTest, ABrokenDeviceEndsTheRun) {
  ProfileHooks hooks;
  hooks.progress = [](const RunProgress &p) {
    if (p.done == 1 && p.text.ends_with("filling caches")) throw Error(Code::BackendUnusable, "the device is gone");
  };
  const Stored s = run(hooks, Code::BackendUnusable);
  EXPECT_EQ(s.ends.at(0).status, "failed");
  EXPECT_EQ(s.ends[0].message, "the device is gone");
  EXPECT_EQ(s.steps.size(), 1u);
}

TEST_F(ProfileTest, RowsAreGrownPointByPoint) {
  std::vector<std::size_t> steps;
  ProfileHooks hooks;
  hooks.grown = [&](const ProfileResult &result) { steps.push_back(result.steps.size()); };
  run(hooks);
  EXPECT_THAT(steps, testing::ElementsAre(0, 0, 1, 2, 3, 3)) << "policies, limits, points, the log";
}

TEST(ProfileJson, SurvivesAndRefuses) {
  ProfileRequest request;
  request.shape = "llama-2-7b", request.layers = 2, request.contexts = {512, 1024}, request.batches = {1, 8};
  request.policies = {PolicySpec::parse("xquant:bits=2")}, request.form = DecodeForm::Pipelined;
  request.placement = Placement::Host, request.steps = 9, request.backend = "cpu", request.threads = 3, request.seed = 11;
  request.kernels = request.counters = request.costs = false, request.hitRate = true, request.samplingMicroseconds = 50;
  const json written = toJson(request);
  EXPECT_EQ(toJson(profileFromJson(written)), written);
  ProfileRequest magnified;
  magnified.microscope = true;
  EXPECT_TRUE(profileFromJson(toJson(magnified)).microscope);
  const json defaults = toJson(profileFromJson(json::object()));
  for (const auto &[key, value] : written.items())
    EXPECT_TRUE(key == "model" || key == "microscope" || defaults.at(key) != value) << key << " was not tried";
  const auto refused = [](const char *text) { return test::usageMessageOf([&] { profileFromJson(json::parse(text)); }); };
  EXPECT_THAT(refused("[]"), HasSubstr("one object"));
  EXPECT_THAT(refused(R"({"context": [1]})"), HasSubstr("valid keys are model, shape, layers, contexts"));
  EXPECT_THAT(refused(R"({"contexts": 512})"), HasSubstr("'contexts' must be a list"));
  EXPECT_THAT(refused(R"({"contexts": [0]})"), HasSubstr("from 1 to 16777216"));
  EXPECT_THAT(refused(R"({"batches": [1.5]})"), HasSubstr("whole number"));
  EXPECT_THAT(refused(R"({"steps": 18446744073709551615})"), HasSubstr("from 0 to"));
  EXPECT_THAT(refused(R"({"form": "melted"})"), HasSubstr("separate, chunked, fused, pipelined"));
  EXPECT_THAT(refused(R"({"placement": "moon"})"), HasSubstr("neither device nor host"));
  EXPECT_THAT(refused(R"({"kernels": 1})"), HasSubstr("true or false"));
  for (const char *lacking : {"kernels", "counters"})
    EXPECT_THAT(refused((R"({"microscope": true, ")" + std::string(lacking) + R"(": false})").c_str()),
                HasSubstr("leave 'kernels' and 'counters' on"));
  magnified.kernels = false;
  EXPECT_THAT(test::usageMessageOf([&] { completeProfile(magnified, shapeConfig(builtInShape("smollm2-135m")), true); }),
              HasSubstr("microscope"));
  EXPECT_THAT(refused(R"({"policies": ["xquant:bits=7"]})"), HasSubstr("bits"));
}

TEST(ProfileJson, WhatIsNotSaidSuitsTheModel) {
  ModelConfig config = shapeConfig(builtInShape("smollm2-135m"));
  const ProfileRequest host = completeProfile({}, config, true), device = completeProfile({}, config, false);
  EXPECT_THAT(host.contexts, testing::ElementsAre(512, 1024, 2048));
  EXPECT_THAT(device.contexts, testing::ElementsAre(2048, 8192)) << "it was trained for 8192";
  EXPECT_LT(host.steps, device.steps);
  std::map<std::string, int> methods;
  for (const PolicySpec &policy : device.policies) ++methods[policy.method().name];
  const std::map<std::string, int> all = {{"fp16", 1},   {"kivi", 2},      {"kivi-star", 2},
                                          {"xquant", 2}, {"xquant-cl", 2}, {"low-rank", 1}};
  EXPECT_EQ(methods, all);
  EXPECT_EQ(device.policies.front().canonical(), "fp16");
  const std::vector<PolicySpec> wide = completeProfile({}, shapeConfig(builtInShape("llama-2-7b")), false).policies;
  EXPECT_EQ(wide.size(), 1u + 4u * 2u) << "a decomposition of 4096 x 4096 takes longer than all of it";
  config.contextLength = 100;
  EXPECT_THAT(completeProfile({}, config, true).contexts, testing::ElementsAre(100));

  ProfileRequest twice;
  twice.contexts = {8, 4, 8}, twice.batches = {2, 2},
  twice.policies = {PolicySpec::parse("kivi:bits=2"), PolicySpec::parse("fp16")};
  twice = completeProfile(twice, config, true);
  EXPECT_THAT(twice.contexts, testing::ElementsAre(4, 8));
  EXPECT_THAT(twice.batches, testing::ElementsAre(2));
  ASSERT_EQ(twice.policies.size(), 2u);
  EXPECT_EQ(twice.policies[0].canonical(), "fp16");
  twice.layers = 3;
  EXPECT_THAT(test::usageMessageOf([&] { completeProfile(twice, config, true); }), HasSubstr("built-in shape"));
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// Counters and samples of the CUDA backend.
#include "instruments_test.h"

#include <cmath>

namespace xqs::test {

// Ranges ------------------------------------------------------------------------------------------------------------------

TEST_F(CudaInstruments, RangesAreTheOperationsOfATag) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  const auto work = [&] {
    tag(0, -1, "qkv"), operate(2);
    tag(0, -1, "attend"); // nothing runs
    tag(0, 1, "cache"), operate();
    tag(0, 2, "cache"), operate(); // another lane is the same range
    tag(1, -1, "qkv"), operate();
    tag(0, -1, "qkv"), operate(3); // no longer the first one
  };
  const auto operations = instruments().count(CounterSet::Traffic, RangeBy::Operation, work);
  EXPECT_THAT(tagsOf(operations), testing::ElementsAre("0 -1 qkv", "0 1 cache", "1 -1 qkv", "0 -1 qkv"));
  EXPECT_EQ(operations.passes, 1);
  EXPECT_EQ(operations.dropped, 0);
  const auto layers = instruments().count(CounterSet::Traffic, RangeBy::Layer, work);
  EXPECT_THAT(tagsOf(layers), testing::ElementsAre("0 -1 ", "1 -1 ", "0 -1 "));
  for (const auto *counted : {&operations, &layers})
    for (const RangeRecord &range : counted->ranges) {
      EXPECT_GT(range.figures.seconds, 0);
      EXPECT_GE(range.figures.dramRead, 0);
      EXPECT_GT(range.figures.cacheAccesses, 0);
      EXPECT_GT(range.figures.cycles, 0);
      EXPECT_EQ(range.kernel, "");
    }
  if (!kEmulated) return; // there a launch takes 1 us and moves the same each time
  const auto launches = [](const Instruments::Counted &counted) {
    std::vector<int> all;
    for (const RangeRecord &range : counted.ranges)
      all.push_back(static_cast<int>(std::lround(range.figures.seconds * 1e6)));
    return all;
  };
  EXPECT_THAT(launches(operations), testing::ElementsAre(2, 2, 1, 3));
  EXPECT_THAT(launches(layers), testing::ElementsAre(4, 1, 3));
  const double once = operations.ranges[2].figures.dramRead;
  EXPECT_EQ(once, 64 * 64 * 4);
  EXPECT_EQ(operations.ranges[3].figures.dramRead, 3 * once);
  EXPECT_EQ(layers.ranges[0].figures.dramWrite, 4 * once);
  EXPECT_EQ(sum(operations, &CounterFigures::dramRead), sum(layers, &CounterFigures::dramRead));
}

TEST_F(CudaInstruments, CountedStepsAreNotGathered) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  const auto counted = instruments().count(CounterSet::Traffic, RangeBy::Layer, [&] {
    Gathered step(*m_backend, true);
    for (std::int16_t layer = 0; layer < 3; ++layer) tag(layer, -1, "qkv"), operate();
    step.submit();
  });
  EXPECT_THAT(tagsOf(counted), testing::ElementsAre("0 -1 ", "1 -1 ", "2 -1 "));
  for (const RangeRecord &range : counted.ranges) EXPECT_GT(range.figures.cacheAccesses, 0);
}

TEST_F(CudaInstruments, AllQueuesCountToTheRangeThatStartedTheirWork) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  const auto counted = instruments().count(CounterSet::Traffic, RangeBy::Layer, [&] {
    tag(0, -1, "qkv"), m_backend->scale(Queue::Rebuild, m_x.f32(64, 64), 1.0f);
    tag(1, -1, "qkv"), operate();
  });
  ASSERT_EQ(counted.ranges.size(), 2u);
  for (const RangeRecord &range : counted.ranges) EXPECT_GT(range.figures.cacheAccesses, 0);
}

TEST_F(CudaInstruments, TheHitRateTakesTwoPassesOfTheWork) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  int runs = 0;
  const auto counted = instruments().count(CounterSet::HitRate, RangeBy::Operation, [&] {
    ++runs;
    tag(0, -1, "qkv"), operate();
    tag(0, -1, "attend"), operate();
  });
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(counted.passes, 2);
  ASSERT_THAT(tagsOf(counted), testing::ElementsAre("0 -1 qkv", "0 -1 attend"));
  for (const RangeRecord &range : counted.ranges) {
    EXPECT_GE(range.figures.cacheHitRate, 0);
    EXPECT_LE(range.figures.cacheHitRate, 1);
    if (kEmulated) {
      EXPECT_EQ(range.figures.cacheHitRate, 0.25);
    }
    EXPECT_TRUE(std::isnan(range.figures.dramRead));
  }
}

TEST_F(FakeCupti, WorkThatDiffersFromPassToPassIsRefused) {
  for (const bool more : {true, false}) {
    int runs = 0, ended = 0;
    const auto count = [&] {
      (void)instruments().count(CounterSet::HitRate, RangeBy::Operation, [&] {
        tag(0, -1, "qkv"), operate();
        if ((++runs == 2) == more) tag(1, -1, "qkv"), operate();
        tag(2, -1, "qkv"), operate();
        ++ended;
      });
    };
    EXPECT_THAT(sentenceOf(count, Code::Internal), HasSubstr("in a later pass than in its first"));
    EXPECT_EQ(ended, 2) << "no step is left halfway";
  }
  expectCounting();
}

TEST_F(CudaInstruments, EveryKernelCanBeARange) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  int runs = 0;
  const auto counted = instruments().count(CounterSet::HitRate, RangeBy::Kernel, [&] {
    ++runs;
    tag(0, 1, "qkv"), operate(2);
    tag(1, -1, "cache"), m_backend->convert(kQ, m_x.f32(64, 32), m_x.view(DType::F16, 64, 32));
  });
  EXPECT_EQ(runs, 1) << "CUPTI runs each kernel again";
  EXPECT_EQ(counted.passes, 1);
  EXPECT_THAT(tagsOf(counted), testing::ElementsAre("0 1 qkv", "0 1 qkv", "1 -1 cache"));
  ASSERT_EQ(counted.ranges.size(), 3u);
  EXPECT_FALSE(counted.ranges[0].kernel.empty());
  EXPECT_EQ(counted.ranges[0].kernel, counted.ranges[1].kernel);
  EXPECT_NE(counted.ranges[0].kernel, counted.ranges[2].kernel);
  for (const RangeRecord &range : counted.ranges) EXPECT_GE(range.figures.cacheHitRate, 0);
}

TEST_F(FakeCupti, DroppedRangesAreSaidAndHoldNothing) {
  (void)status(Instrument::Counters);
  set("XQS_FAKE_CUPTI_DROPPED", "2");
  const auto work = [&] {
    for (std::int16_t layer = 0; layer < 5; ++layer) tag(layer, -1, "qkv"), operate();
  };
  const auto counted = instruments().count(CounterSet::Traffic, RangeBy::Layer, work);
  EXPECT_EQ(counted.dropped, 2);
  ASSERT_EQ(counted.ranges.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(std::isnan(counted.ranges[i].figures.dramRead), i >= 3) << i;
  EXPECT_EQ(status(Instrument::Counters).dropped, 2);
  EXPECT_EQ(instruments().count(CounterSet::Traffic, RangeBy::Kernel, work).dropped, 2);
  EXPECT_EQ(status(Instrument::Counters).dropped, 4);
}

TEST_F(FakeCupti, MoreRangesThanCuptiTakesAreDroppedAndNotBegun) {
  const int ranges = 1024 + 50;
  const auto counted = instruments().count(CounterSet::Traffic, RangeBy::Layer, [&] {
    for (int i = 0; i < ranges; ++i) tag(static_cast<std::int16_t>(i % 2), -1, "qkv"), operate();
  });
  EXPECT_EQ(counted.ranges.size(), static_cast<std::size_t>(ranges));
  EXPECT_EQ(counted.dropped, 50);
  EXPECT_GT(counted.ranges[1023].figures.dramRead, 0);
  EXPECT_TRUE(std::isnan(counted.ranges[1024].figures.dramRead));
}

TEST_F(CudaInstruments, AnErrorInTheWorkEndsTheCount) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  for (const RangeBy by : {RangeBy::Layer, RangeBy::Kernel}) {
    const auto count = [&] {
      (void)instruments().count(CounterSet::Traffic, by, [&] {
        tag(0, -1, "qkv"), operate();
        throw Error(Code::Cancelled, "enough");
      });
    };
    EXPECT_EQ(sentenceOf(count, Code::Cancelled), "enough");
    expectCounting();
  }
}

// Samples -----------------------------------------------------------------------------------------------------------------

TEST_F(CudaInstruments, SamplesHoldWhatWasMovedAtTheirTime) {
  if (without(Instrument::Sampling)) GTEST_SKIP();
  for (const auto &[clock, first] : {std::pair("", ""), {"own", ""}, {"", "nan"}, {"own", "nan"}}) {
    set("XQS_FAKE_CUPTI_CLOCK", clock), set("XQS_FAKE_CUPTI_FIRST", first);
    const std::int64_t before = steadyNs();
    instruments().startSampling(1'000'000);
    operate(30);
    m_backend->sync(kQ);
    std::vector<ThroughputSample> samples = takeUntil([](const auto &all) { return !all.empty(); });
    EXPECT_FALSE(samples.empty()) << "while it goes on";
    operate(10);
    m_backend->sync(kQ);
    instruments().stopSampling();
    const std::int64_t after = steadyNs();
    const auto rest = instruments().takeSamples();
    samples.insert(samples.end(), rest.begin(), rest.end());
    EXPECT_TRUE(instruments().takeSamples().empty());

    double read = 0;
    constexpr std::int64_t kSlack = 20'000'000;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const ThroughputSample &s = samples[i];
      EXPECT_GE(s.startNs, before - kSlack);
      EXPECT_LE(s.endNs, after + kSlack);
      EXPECT_LE(s.startNs, s.endNs);
      EXPECT_GE(s.startNs, samples[i > 0 ? i - 1 : 0].startNs);
      read += s.dramRead;
    }
    EXPECT_EQ(status(Instrument::Sampling).dropped, 0);
    if (!kEmulated) continue; // matrices of this size stay in a cache
    EXPECT_EQ(samples.size(), 40u);
    EXPECT_EQ(read, 40 * 64 * 64 * 4) << "16 bytes a thread, which has four elements";
  }
}

TEST_F(FakeCupti, FullBuffersAreCounted) {
  (void)status(Instrument::Sampling);
  set("XQS_FAKE_CUPTI_OVERFLOWS", "1");
  for (int i = 1; i <= 2; ++i) {
    instruments().startSampling(1'000'000);
    operate();
    m_backend->sync(kQ);
    instruments().stopSampling();
    EXPECT_EQ(status(Instrument::Sampling).dropped, i);
  }
}

TEST_F(FakeCupti, AFullImageLosesSamplesAndSaysSo) {
  constexpr std::size_t kRun = 200;
  (void)status(Instrument::Sampling);
  set("XQS_FAKE_CUPTI_HOLDS", "2");
  instruments().startSampling(1'000'000);
  operate(kRun);
  m_backend->sync(kQ);
  instruments().stopSampling();
  const std::vector<ThroughputSample> samples = instruments().takeSamples();
  EXPECT_LT(samples.size(), kRun);
  EXPECT_GT(status(Instrument::Sampling).dropped, 0);
  for (const ThroughputSample &s : samples) {
    EXPECT_LT(s.startNs, s.endNs);
    EXPECT_EQ(s.dramRead, 64 * 64 * 4);
  }
}

/// What was sampled before is given, then the reason is said once.
TEST_F(FakeCupti, ABufferThatIsFullForGoodEndsTheSampling) {
  (void)status(Instrument::Sampling);
  for (const bool whileItGoesOn : {true, false}) {
    const std::int64_t before = status(Instrument::Sampling).dropped;
    set("XQS_FAKE_CUPTI_DECODINGS", "1000000");
    instruments().startSampling(1'000'000);
    operate(3);
    m_backend->sync(kQ);
    EXPECT_FALSE(takeUntil([](const auto &all) { return all.size() >= 3; }).empty());
    set("XQS_FAKE_CUPTI_DECODINGS", "0");
    const auto wait = [&] { takeUntil([](const auto &) { return false; }); };
    const auto stop = [&] { instruments().stopSampling(); };
    if (whileItGoesOn) {
      EXPECT_THAT(sentenceOf(wait, Code::Unsupported), HasSubstr("sample at longer intervals"));
      stop();
    } else {
      EXPECT_THAT(sentenceOf(stop, Code::Unsupported), HasSubstr("sample at longer intervals"));
    }
    EXPECT_TRUE(instruments().takeSamples().empty());
    EXPECT_EQ(status(Instrument::Sampling).dropped - before, 1) << "however often it is decoded";
  }
  set("XQS_FAKE_CUPTI_DECODINGS", "");
  instruments().startSampling(1'000'000); // anew
  operate(3);
  m_backend->sync(kQ);
  instruments().stopSampling();
  EXPECT_EQ(instruments().takeSamples().size(), 3u);
}

TEST_F(FakeCupti, AnImageIsAsLargeAsTheIntervalAsks) {
  for (const auto &[intervalNs, samples] :
       {std::pair(25'000, 4064), {100'000, 1064}, {1'000'000, 164}, {1'000'000'000, 64}}) {
    instruments().startSampling(intervalNs);
    EXPECT_EQ(told("xqsFakeCuptiSamplesAsked"), samples) << intervalNs;
    instruments().stopSampling();
  }
}

TEST_F(CudaInstruments, IntervalsThatWouldLoseSamplesAreRefused) {
  if (without(Instrument::Sampling)) GTEST_SKIP();
  for (const std::int64_t intervalNs : {std::int64_t{0}, std::int64_t{2'000}, std::int64_t{24'999}})
    EXPECT_THAT(sentenceOf([&] { instruments().startSampling(intervalNs); }, Code::Usage),
                HasSubstr("ask for 25 us or more"));
  instruments().startSampling(25'000);
  instruments().stopSampling();
}

TEST_F(CudaInstruments, ATimelineWaitsForTheEndOfSampling) {
  if (without(Instrument::Sampling)) GTEST_SKIP();
  instruments().startSampling(1'000'000);
  EXPECT_THAT(sentenceOf([&] { instruments().startTimeline(); }, Code::Unsupported), HasSubstr("stop sampling first"));
  instruments().stopSampling();
  instruments().startTimeline();
  operate();
  EXPECT_EQ(instruments().stopTimeline().records.size(), 1u);
}

TEST_F(FakeCupti, AnErrorOfTheDecodingThreadComesWithTheNextSamples) {
  instruments().startSampling(1'000'000);
  answer("cuptiPmSamplingDecodeData=26");
  std::string sentence;
  for (const std::int64_t end = steadyNs() + 10'000'000'000; sentence.empty() && steadyNs() < end;) {
    try {
      (void)instruments().takeSamples();
    } catch (const Error &error) {
      sentence = error.what();
    }
  }
  EXPECT_THAT(sentence, HasSubstr("dcgmi profile --pause"));
  answer("");
  instruments().stopSampling();
  expectCounting();
}

TEST_F(CudaInstruments, CountersAndSamplesAreNotTakenAtOnce) {
  if (without(Instrument::Sampling) || without(Instrument::Counters)) GTEST_SKIP();
  instruments().startSampling(1'000'000);
  EXPECT_THAT(sentenceOf([&] { expectCounting(); }, Code::Unsupported), HasSubstr("stop sampling first"));
  EXPECT_THAT(sentenceOf([&] { instruments().startSampling(1'000'000); }, Code::Unsupported),
              HasSubstr("stop sampling first"));
  instruments().stopSampling();
  expectCounting();
  instruments().startSampling(1'000'000); // a backend may go while it is sampled
}

} // namespace xqs::test

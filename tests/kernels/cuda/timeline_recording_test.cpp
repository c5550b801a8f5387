// SPDX-License-Identifier: Apache-2.0
// What a recording asks of CUPTI, and what it makes of the answers.
#include <gtest/gtest.h>

#include "cupti/activity_buffers.h"
#include "cupti/activity_records.h"
#include "cupti/timeline.h"
#include "scripted_cupti.h"

#include <algorithm>
#include <thread>

using namespace xqs;
using namespace xqs::cuda::cupti;
using namespace xqs::test;

namespace {

KernelRecord operation(std::uint64_t call, double bytes = 0) {
  KernelRecord r;
  r.call = call, r.kernel = "matmul", r.bytes = bytes;
  return r;
}

class TimelineRecording : public testing::Test {
protected:
  std::uint64_t now() const {
    std::uint64_t time = 0;
    library.cuptiGetTimestamp.pointer(&time);
    return time;
  }
  static std::vector<std::uint64_t> callsOf(const Instruments::Timeline &timeline) {
    std::vector<std::uint64_t> numbers;
    for (const KernelRecord &record : timeline.records) numbers.push_back(record.call);
    return numbers;
  }
  void expectEnded() {
    EXPECT_TRUE(cupti.enabled.empty());
    EXPECT_FALSE(cupti.subscribed());
    EXPECT_TRUE(cupti.pushed.empty());
  }

  ScriptedCupti cupti;
  const Library library = cupti.library();
};

TEST_F(TimelineRecording, OperationsArePushedAroundTheirLaunchesAndNest) {
  const auto recording = record(library);
  recording->begin(operation(5));
  recording->begin(operation(6));
  EXPECT_EQ(cupti.pushed, (std::vector<std::uint64_t>{5, 6}));
  recording->end();
  EXPECT_EQ(cupti.pushed, (std::vector<std::uint64_t>{5}));
  recording->end();
  EXPECT_TRUE(cupti.pushed.empty());
}

TEST_F(TimelineRecording, WhatComesInSeveralBuffersIsJoinedAtTheEnd) {
  auto recording = record(library);
  recording->begin(operation(5, 100));
  recording->end();
  recording->begin(operation(6, 30));
  recording->end();
  const std::uint64_t t = now();
  ActivityBuffer first, second, third; // kernels before what says whose they are
  first << kernelRecord("late", t + 300, t + 400, 2) << kernelRecord("other", t + 200, t + 250, 3);
  second << externalRecord(5, 2) << callRecord(t, t + 5, 2) << externalRecord(5, 1) << externalRecord(6, 3);
  third << kernelRecord("early", t + 100, t + 150, 1) << overheadRecord(CUPTI_ACTIVITY_OVERHEAD_CUPTI_RESOURCE, t, t + 12);
  cupti.deliver(first);
  cupti.dropped = 3;
  cupti.ready = {second, third};
  const auto timeline = recording->finish();
  EXPECT_EQ(callsOf(timeline), (std::vector<std::uint64_t>{5, 6, 5}));
  EXPECT_EQ(timeline.records[0].launch, "early");
  EXPECT_EQ(timeline.records[0].bytes, 100);
  EXPECT_EQ(timeline.records[2].bytes, 0);
  EXPECT_EQ(timeline.dropped, 3);
  EXPECT_EQ(timeline.overheadNs, 12);
  recording.reset();
  expectEnded();
}

TEST_F(TimelineRecording, TimesAreOfTheSteadyClock) {
  cupti.offsetNs = 1'234'567'890'123;
  const auto recording = record(library);
  const auto ns = [] {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  const std::int64_t before = ns();
  const std::uint64_t t = now();
  const std::int64_t after = ns();
  ActivityBuffer buffer;
  buffer << kernelRecord("k", t, t + 77, 1);
  cupti.ready = {buffer};
  const auto timeline = recording->finish();
  constexpr std::int64_t kReading = 1'000'000; // between two clocks, on a busy machine
  EXPECT_GE(timeline.records.at(0).startNs, before - kReading);
  EXPECT_LE(timeline.records.at(0).startNs, after + kReading);
  EXPECT_EQ(timeline.records.at(0).durationNs, 77);
}

TEST_F(TimelineRecording, StepsOfOneExecutableHaveTheirOwnOperations) {
  const auto recording = record(library);
  const auto gather = [&](std::uint64_t call, double bytes, std::uint64_t node) {
    recording->gather();
    recording->begin(operation(call, bytes));
    cupti.created(node), cupti.created(node + 1);
    recording->end();
    recording->begin(operation(call + 1, 2 * bytes));
    cupti.created(node + 2);
    recording->end();
    return recording->gathered();
  };
  const auto launch = [&] {
    recording->launch();
    const std::uint64_t id = cupti.pushed.back();
    recording->launched();
    return id;
  };
  EXPECT_FALSE(gather(1, 100, 11)); // what executable there was before is none of this recording
  for (std::uint64_t i = 0; i < 3; ++i) cupti.created(21 + i), cupti.cloned(21 + i, 11 + i);
  const std::uint64_t first = launch();
  gather(3, 5, 31);
  recording->drop();
  EXPECT_TRUE(gather(5, 7, 41));
  const std::uint64_t second = launch();
  EXPECT_NE(first, second);

  const std::uint64_t t = now();
  ActivityBuffer buffer;
  buffer << externalRecord(first, 50) << externalRecord(second, 51);
  for (std::uint64_t i = 0; i < 4; ++i) // the last node is nobody's
    buffer << kernelRecord("k", t + i, t + i, 50, 21 + i) << kernelRecord("k", t + 10 + i, t + 10 + i, 51, 21 + i);
  cupti.ready = {buffer};
  const auto timeline = recording->finish();
  EXPECT_EQ(callsOf(timeline), (std::vector<std::uint64_t>{1, 1, 2, 0, 5, 5, 6, 0}));
  EXPECT_EQ(timeline.dropped, 0) << "the step that did not run has lost nothing";
  std::vector<double> bytes;
  for (const KernelRecord &record : timeline.records) bytes.push_back(record.bytes);
  EXPECT_EQ(bytes, (std::vector<double>{100, 0, 200, 0, 7, 0, 14, 0}));
}

TEST_F(TimelineRecording, WhereNoOperationHasALaunchThereIsNoTimeline) {
  for (const bool launches : {true, false}) {
    const auto recording = record(library);
    recording->begin(operation(5, 100));
    recording->end();
    ActivityBuffer buffer;
    const std::uint64_t t = now();
    buffer << kernelRecord("another's", t, t, 9);
    if (launches) cupti.ready = {buffer};
    try {
      recording->finish();
      ADD_FAILURE() << "operations that took no time";
    } catch (const Failure &failure) {
      EXPECT_NE(std::string(failure.what()).find("gave no launch of any operation"), std::string::npos);
    }
  }
  expectEnded();
}

TEST_F(TimelineRecording, BuffersAreFlushedWhileItRecords) {
  const auto recording = record(library);
  for (int i = 0; i < 200 && cupti.flushes() == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_GT(cupti.flushes(), 0);
}

TEST_F(TimelineRecording, NeverAsksForWhatWouldChangeTheRun) {
  const auto recording = record(library);
  EXPECT_EQ(cupti.enabled, (std::set<CUpti_ActivityKind>{
                               CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET,
                               CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION, CUPTI_ACTIVITY_KIND_RUNTIME,
                               CUPTI_ACTIVITY_KIND_DRIVER, CUPTI_ACTIVITY_KIND_OVERHEAD}));
}

TEST_F(TimelineRecording, EndsInTheOrderThatLosesNothing) {
  record(library)->finish();
  const std::vector<std::string> calls = cupti.calls();
  const auto first = [&](const char *name) { return std::ranges::find(calls, name) - calls.begin(); };
  const auto last = [&](const char *name) {
    return std::ssize(calls) - 1 - (std::find(calls.rbegin(), calls.rend(), name) - calls.rbegin());
  };
  EXPECT_LT(first("cuptiActivityRegisterCallbacks"), first("cuptiActivityEnable"));
  EXPECT_LT(first("cuptiSubscribe"), first("cuptiActivityEnable"));
  EXPECT_LT(last("cuptiActivityDisable"), first("cuptiActivityFlushAll")); // the forced one
  EXPECT_EQ(last("cuptiUnsubscribe"), std::ssize(calls) - 1);
}

TEST_F(TimelineRecording, AFailureAtItsBeginningLeavesNothingBehind) {
  for (const char *call : {"cuptiSubscribe", "cuptiEnableCallback", "cuptiActivityRegisterCallbacks", "cuptiActivityEnable",
                           "cuptiGetTimestamp"})
    for (const auto &[result, state] : {std::pair(CUPTI_ERROR_INSUFFICIENT_PRIVILEGES, InstrumentState::NoPermission),
                                        std::pair(CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED, InstrumentState::InUse),
                                        std::pair(CUPTI_ERROR_UNKNOWN, InstrumentState::Broken)}) {
      cupti.fail(call, result);
      try {
        record(library);
        ADD_FAILURE() << call;
      } catch (const Failure &failure) {
        EXPECT_EQ(failure.state(), state) << call;
        EXPECT_STRNE(failure.what(), "");
      }
      expectEnded();
      cupti.fail("", CUPTI_SUCCESS);
      EXPECT_TRUE(record(library)->finish().records.empty()) << call;
    }
}

TEST_F(TimelineRecording, AFailureMeanwhileIsNotHidden) {
  for (const char *call : {"cuptiActivityPopExternalCorrelationId", "cuptiGetGraphNodeId", "cuptiActivityDisable",
                           "cuptiActivityFlushAll", "cuptiGetTimestamp"}) {
    const auto recording = record(library);
    cupti.fail(call, CUPTI_ERROR_UNKNOWN);
    recording->gather();
    recording->begin(operation(1));
    cupti.created(1);
    recording->end();
    EXPECT_THROW(recording->finish(), Failure) << call;
    cupti.fail("", CUPTI_SUCCESS);
  }
  expectEnded();
  const auto recording = record(library);
  cupti.fail("cuptiActivityPushExternalCorrelationId", CUPTI_ERROR_UNKNOWN);
  EXPECT_THROW(recording->begin(operation(1)), Failure);
}

TEST_F(TimelineRecording, WhereItDiesUnfinishedNothingGoesOn) {
  ActivityBuffer buffer;
  buffer << kernelRecord("k", 1, 2, 1);
  {
    const auto recording = record(library);
    cupti.ready = {buffer};
  }
  expectEnded();
  EXPECT_TRUE(cupti.ready.empty()); // taken from CUPTI: not the next recording's
  EXPECT_TRUE(record(library)->finish().records.empty());
  cupti.deliver(buffer); // nobody's
  EXPECT_TRUE(record(library)->finish().records.empty());
}

TEST_F(TimelineRecording, ThereIsOneAtATime) {
  const auto recording = record(library);
  EXPECT_THROW(record(library), Failure);
  ActivityBuffer buffer;
  const std::uint64_t t = now();
  buffer << kernelRecord("k", t, t, 1);
  cupti.ready = {buffer};
  EXPECT_EQ(recording->finish().records.size(), 1u);
}

TEST_F(TimelineRecording, MoreIsRecordedThanThereAreBuffers) {
  const auto recording = record(library);
  const std::uint64_t t = now();
  constexpr std::size_t kRounds = 4;
  for (std::size_t round = 1; round <= kRounds; ++round) {
    for (std::size_t i = 0; i < ActivityBuffers::kMost; ++i) {
      ActivityBuffer buffer;
      buffer << kernelRecord("k", t, t, 1);
      cupti.deliver(buffer);
    }
    const int before = cupti.flushes(); // two later, all of them have been read
    for (int i = 0; i < 500 && cupti.flushes() < before + 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(recording->finish().records.size(), kRounds * ActivityBuffers::kMost);
}

TEST_F(TimelineRecording, BuffersAreRecycledAndNotWithoutEnd) {
  const auto recording = record(library);
  std::uint8_t *const one = cupti.lend();
  cupti.giveBack(one, 0);
  std::set<std::uint8_t *> lent;
  for (std::size_t i = 0; i < ActivityBuffers::kMost; ++i) lent.insert(cupti.lend());
  EXPECT_TRUE(lent.contains(one));
  EXPECT_EQ(lent.size(), ActivityBuffers::kMost);
  EXPECT_EQ(cupti.lend(), nullptr); // CUPTI drops, and says how many
  for (std::uint8_t *buffer : lent) cupti.giveBack(buffer, 0);
  std::uint8_t *const another = cupti.lend();
  EXPECT_TRUE(lent.contains(another));
  cupti.giveBack(another, 0);
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// Launches and the operations that they belong to, without CUPTI.
#include <gtest/gtest.h>

#include "cupti/join.h"
#include "cupti/launch_name.h"
#include "cupti/states.h"

using namespace xqs;
using namespace xqs::cuda::cupti;

namespace {

KernelRecord operation(std::uint64_t call, const char *kernel, double bytes, std::int16_t layer = 0,
                       Queue queue = Queue::Compute) {
  KernelRecord r;
  r.call = call, r.kernel = kernel, r.bytes = bytes, r.flops = 10 * bytes, r.tag = {layer, 1, "attend"}, r.queue = queue;
  return r;
}

class TimelineJoin : public testing::Test {
protected:
  void launch(const char *name, std::uint64_t start, std::uint64_t end, std::uint32_t correlation, std::uint64_t node = 0) {
    activities.launches.push_back({activities.intern(name), start, end, correlation, node});
  }
  Instruments::Timeline joined() const {
    ClockPairs clock;
    clock.add(0, kBegin);
    return join(activities, calls, nodes, clock);
  }
  /// Calls, in order of time.
  std::vector<std::uint64_t> joinedCalls() const {
    std::vector<std::uint64_t> numbers;
    for (const KernelRecord &record : joined().records) numbers.push_back(record.call);
    return numbers;
  }
  /// A step of two operations: `a` launches twice, `b` on the rebuild queue once. Nodes first, first + 1, first + 2.
  void step(std::uint64_t call, double bytes, std::uint64_t first) {
    calls.push_back(operation(call, "a", bytes));
    calls.push_back(operation(call + 1, "b", 2 * bytes, 3, Queue::Rebuild));
    nodes.gather();
    nodes.created(first, &calls[calls.size() - 2]);
    nodes.created(first + 1, &calls[calls.size() - 2]);
    nodes.created(first + 2, &calls.back());
  }
  /// Clones of the step's nodes, as instantiation makes them.
  void instantiate(std::uint64_t first, std::uint64_t clone) {
    for (std::uint64_t i = 0; i < 3; ++i) {
      nodes.created(clone + i, nullptr);
      nodes.cloned(clone + i, first + i);
    }
  }

  static constexpr std::int64_t kBegin = 5000;
  Activities activities;
  std::vector<KernelRecord> calls;
  GraphNodes nodes;
};

TEST_F(TimelineJoin, ALaunchHasAllOfItsOperation) {
  calls = {operation(7, "matmul", 100, 4, Queue::Copy)};
  activities.externalIds[3] = 7;
  activities.dropped = 2, activities.overheadNs = 9;
  launch("gemm", 1000, 1250, 3);
  const auto timeline = joined();
  ASSERT_EQ(timeline.records.size(), 1u);
  const KernelRecord &r = timeline.records[0];
  EXPECT_EQ(r.tag.layer, 4);
  EXPECT_EQ(r.tag.lane, 1);
  EXPECT_STREQ(r.tag.op, "attend");
  EXPECT_STREQ(r.kernel, "matmul");
  EXPECT_EQ(r.call, 7u);
  EXPECT_EQ(r.queue, Queue::Copy);
  EXPECT_EQ(r.launch, "gemm");
  EXPECT_EQ(r.startNs, kBegin + 1000);
  EXPECT_EQ(r.durationNs, 250);
  EXPECT_EQ(r.bytes, 100);
  EXPECT_EQ(r.flops, 1000);
  EXPECT_EQ(timeline.dropped, 2);
  EXPECT_EQ(timeline.overheadNs, 9);
}

TEST_F(TimelineJoin, CountsStandOnTheFirstLaunchWhateverTheOrderOfRecords) {
  calls = {operation(7, "matmul", 100), operation(8, "add", 30)};
  activities.externalIds = {{3, 7}, {4, 7}, {5, 8}, {6, 7}};
  launch("last", 3000, 3100, 6), launch("add", 1500, 1600, 5), launch("first", 1000, 1100, 3), launch("then", 2000, 2100, 4);
  const auto records = joined().records;
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[0].launch, "first");
  const double bytes[] = {100, 30, 0, 0};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(records[i].bytes, bytes[i]) << i;
    EXPECT_EQ(records[i].flops, 10 * bytes[i]) << i;
  }
  EXPECT_EQ(joinedCalls(), (std::vector<std::uint64_t>{7, 8, 7, 7}));
}

TEST_F(TimelineJoin, WhatBelongsToNoOperationHasNone) {
  calls = {operation(7, "matmul", 0), operation(9, "add", 0)};
  activities.externalIds = {{1, 8}, {2, 10}};
  launch("unknown call", 1, 2, 1), launch("later call", 2, 3, 2), launch("no external id", 3, 4, 3);
  for (const KernelRecord &r : joined().records) {
    EXPECT_EQ(r.call, 0u) << r.launch;
    EXPECT_STREQ(r.kernel, "") << r.launch;
    EXPECT_EQ(r.tag.layer, -1) << r.launch;
    EXPECT_EQ(r.bytes, 0) << r.launch;
  }
  EXPECT_EQ(joined().records.size(), 3u);
}

TEST_F(TimelineJoin, AnOperationWithoutALaunchIsDropped) {
  calls = {operation(7, "matmul", 100), operation(8, "add", 30), operation(9, "nothing to do", 0), operation(10, "add", 5)};
  activities.externalIds = {{1, 7}};
  launch("gemm", 1, 2, 1);
  EXPECT_EQ(joined().dropped, 2);
  activities.dropped = 1; // one of them, or neither
  EXPECT_EQ(joined().dropped, 2);
  activities.dropped = 9;
  EXPECT_EQ(joined().dropped, 9);
}

TEST_F(TimelineJoin, AStepWhoseNodesNobodyKnowsIsDropped) {
  step(1, 100, 11);
  nodes.gathered();
  activities.externalIds = {{8, 3}, {9, kStepId | nodes.step()}};
  calls.push_back(operation(3, "add", 30));
  launch("a1", 10, 11, 9, 91), launch("b", 12, 13, 9, 93), launch("add", 20, 21, 8); // an executable of elsewhere
  EXPECT_EQ(joinedCalls(), (std::vector<std::uint64_t>{0, 0, 3}));
  EXPECT_EQ(joined().dropped, 2);
}

TEST_F(TimelineJoin, WhereEveryOperationIsMissingItFails) {
  EXPECT_TRUE(joined().records.empty()) << "nothing ran";
  calls = {operation(7, "matmul", 100), operation(8, "add", 30)};
  EXPECT_THROW(joined(), Failure);
  launch("another's", 1, 2, 1);
  EXPECT_THROW(joined(), Failure);
  activities.externalIds = {{1, 8}};
  EXPECT_EQ(joined().dropped, 1);
}

TEST_F(TimelineJoin, AGraphsLaunchesDifferByTheirNodes) {
  step(1, 100, 11);
  EXPECT_FALSE(nodes.gathered());
  instantiate(11, 21);
  activities.externalIds = {{1, 1}, {2, 2}, {9, kStepId | nodes.step()}}; // the first two: calls while capturing
  launch("a1", 10, 11, 9, 21), launch("b", 12, 13, 9, 23), launch("a2", 14, 15, 9, 22);
  const auto records = joined().records;
  EXPECT_EQ(joinedCalls(), (std::vector<std::uint64_t>{1, 2, 1}));
  EXPECT_EQ(records[0].bytes, 100);
  EXPECT_EQ(records[1].bytes, 200);
  EXPECT_EQ(records[1].tag.layer, 3);
  EXPECT_EQ(records[1].queue, Queue::Rebuild);
  EXPECT_EQ(records[2].bytes, 0);
}

TEST_F(TimelineJoin, AnUpdatedExecutableHasTheOperationsOfItsStep) {
  step(1, 100, 11);
  nodes.gathered();
  instantiate(11, 21);
  const std::uint64_t first = nodes.step();
  step(3, 7, 31); // its own nodes never run: the executable's do
  EXPECT_TRUE(nodes.gathered());
  activities.externalIds = {{8, kStepId | first}, {9, kStepId | nodes.step()}};
  for (const std::uint32_t correlation : {9u, 8u}) // the second step's records come first
    for (std::uint64_t i = 0; i < 3; ++i) launch("k", 100 * correlation + i, 100 * correlation + i, correlation, 21 + i);
  const auto records = joined().records;
  EXPECT_EQ(joinedCalls(), (std::vector<std::uint64_t>{1, 1, 2, 3, 3, 4}));
  const double bytes[] = {100, 0, 200, 7, 0, 14};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(records[i].bytes, bytes[i]) << i;
}

TEST_F(TimelineJoin, ANodeThatNobodyKnowsHasNoOperation) {
  nodes.created(5, nullptr); // an executable of before
  calls = {operation(1, "a", 100)};
  nodes.gather();
  nodes.created(11, &calls[0]);
  nodes.created(12, nullptr); // between operations
  nodes.gathered();
  nodes.cloned(21, 11), nodes.cloned(22, 12), nodes.cloned(23, 99);
  activities.externalIds = {{9, kStepId | nodes.step()}, {8, kStepId | 77}};
  launch("known", 1, 2, 9, 21), launch("between", 2, 3, 9, 22), launch("clone of nobody", 3, 4, 9, 23);
  launch("of before", 4, 5, 9, 5), launch("no node", 5, 6, 9), launch("another step", 6, 7, 8, 21);
  EXPECT_EQ(joinedCalls(), (std::vector<std::uint64_t>{1, 0, 0, 0, 0, 0}));
}

TEST_F(TimelineJoin, ClonesOfClonesKeepTheirPlace) {
  step(1, 100, 11);
  nodes.gathered();
  instantiate(11, 21);
  for (std::uint64_t i = 0; i < 3; ++i) nodes.cloned(41 + i, 21 + i);
  EXPECT_EQ(nodes.callOf(nodes.step(), 41), 1u);
  EXPECT_EQ(nodes.callOf(nodes.step(), 43), 2u);
}

TEST_F(TimelineJoin, AnExecutableFitsAStepOfTheSameOperationsInTheSameOrder) {
  const auto gathered = [&](std::initializer_list<KernelRecord> operations) {
    nodes.gather();
    std::uint64_t node = 100;
    for (const KernelRecord &o : operations) nodes.created(++node, &o);
    return nodes.gathered();
  };
  const auto a = operation(1, "a", 1), b = operation(2, "b", 1, 0, Queue::Rebuild);
  EXPECT_FALSE(gathered({a, b, a}));
  EXPECT_TRUE(gathered({operation(4, "a", 9), operation(5, "b", 9, 5, Queue::Rebuild), operation(6, "a", 9)}));
  EXPECT_FALSE(gathered({a, a, b})); // the driver would pair b with b, whatever its place
  EXPECT_FALSE(gathered({a, a, operation(3, "b", 1)}));
  EXPECT_FALSE(gathered({a, a}));
  nodes.gather();
  nodes.created(1, &b);
  nodes.drop();
  EXPECT_TRUE(gathered({a, a}));
}

TEST(ClockPairs, ADriftingClockIsFollowedBetweenReadings) {
  constexpr double kDrift = 1 + 200e-6; // a bad quartz
  constexpr std::int64_t kFrom = 1'700'000'000'000'000'000, kTo = 5'000'000'000'000, kSecond = 1'000'000'000;
  ClockPairs steady;
  steady.add(kFrom, kTo);
  steady.add(kFrom + 100 * kSecond, kTo + static_cast<std::int64_t>(100e9 * kDrift));
  for (const std::int64_t at : {std::int64_t{0}, std::int64_t{1}, 17 * kSecond + 3, 50 * kSecond, 100 * kSecond})
    EXPECT_NEAR(static_cast<double>(steady(kFrom + at) - kTo), static_cast<double>(at) * kDrift, 1.0) << at;
}

TEST(ClockPairs, BetweenReadingsOnlyTheNearestTwoCount) {
  ClockPairs steady; // set forward by 1000 between the second and the third
  steady.add(0, 100), steady.add(1000, 1100), steady.add(3000, 2100), steady.add(4000, 3100);
  EXPECT_EQ(steady(500), 600);
  EXPECT_EQ(steady(1000), 1100);
  EXPECT_EQ(steady(2000), 1600);
  EXPECT_EQ(steady(3500), 2600);
}

TEST(ClockPairs, OutsideOfReadingsTheNearestDifferenceHolds) {
  ClockPairs steady;
  steady.add(1000, 50);
  EXPECT_EQ(steady(900), -50);
  EXPECT_EQ(steady(1100), 150);
  steady.add(1010, 90); // two readings close to each other: their slope says nothing
  EXPECT_EQ(steady(900), -50);
  EXPECT_EQ(steady(1110), 190);
}

TEST(ClockPairs, AReadingThatGoesBackIsLeftOut) {
  ClockPairs steady;
  steady.add(1000, 50), steady.add(900, 60), steady.add(1000, 70), steady.add(2000, 1050);
  EXPECT_EQ(steady(1500), 550);
}

TEST(LaunchName, IsShortForPeople) {
  const std::pair<const char *, const char *> cases[] = {
      {"_ZN3xqs4cuda39_GLOBAL__N__c77b7fcf_7_gemv_cu_a094431514gemvHalfKernelILi4ELb0EEEvNS0_10MatmulArgsItEE",
       "gemvHalfKernel<4, false>"},
      {"_ZN3xqs4cuda39_GLOBAL__N__c77b7fcf_7_gemv_cu_a094431515gemvFloatKernelENS0_10MatmulArgsIfEE", "gemvFloatKernel"},
      {"_ZN3xqs4cuda39_GLOBAL__N__4e8890d1_7_rows_cu_28ac5cd017elementwiseKernelINS1_7SiluMulEEEvNS0_15ElementwiseArgsEbT_",
       "elementwiseKernel<SiluMul>"},
      {"_ZN3xqs4cuda47_GLOBAL__N__a5d45aa5_14_matmul_half_cu_13bed50616matmulHalfKernelINS1_4TileILi128ELi128ELi2ELi4ELi32E"
       "Li3EEEEEvNS1_8OperandsEPflb",
       "matmulHalfKernel<Tile<128, 128, 2, 4, 32, 3>>"},
      {"_ZN3xqs4cuda39_GLOBAL__N__4e8890d1_7_rows_cu_28ac5cd011embedKernelItEEvPKT_lNS0_10HostValuesIiEElPfllbb",
       "embedKernel<unsigned short>"},
      {"_Z6kernelIN1a1EELS1_2EEvv", "kernel<E, 2>"}, // an enumerator
      {"_ZN1aIiE1bIcE1cIN1dIxE1eEEEvv", "c<e>"},     // scopes with arguments
      {"_ZN7cutlass7Kernel2I66cutlass_80_wmma_tensorop_f16_s161616gemm_f16_16x16_128x2_tn_align8EEvNT_6ParamsE",
       "Kernel2<...>"},
      {"sm90_xmma_gemm_f16f32_tn_n", "sm90_xmma_gemm_f16f32_tn_n"},
      {"memcpy HtoD", "memcpy HtoD"},
      {"c", "c"}, // not "char"
  };
  for (const auto &[mangled, name] : cases) EXPECT_EQ(launchName(mangled), name) << mangled;
}

} // namespace

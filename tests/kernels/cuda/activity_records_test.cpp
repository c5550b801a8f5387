// SPDX-License-Identifier: Apache-2.0
// What CUPTI leaves in its buffers, and what is made of it.
#include <gtest/gtest.h>

#include "cupti/activity_records.h"
#include "scripted_cupti.h"

#include <cstdlib>

using namespace xqs::cuda::cupti;
using namespace xqs::test;

namespace {

class ActivityRecords : public testing::Test {
protected:
  const Activities &read(ActivityBuffer &buffer) {
    readRecords(m_library, buffer.data(), buffer.size(), m_activities);
    return m_activities;
  }

private:
  ScriptedCupti m_cupti;
  Library m_library = m_cupti.library();
  Activities m_activities;
};

TEST_F(ActivityRecords, LaunchesHaveNameTimesCorrelationAndNode) {
  ActivityBuffer buffer;
  buffer << callRecord(90, 95, 4) << kernelRecord("gemv", 100, 130, 4) << kernelRecord("gemv", 200, 201, 5, 77)
         << copyRecord(CUPTI_ACTIVITY_MEMCPY_KIND_HTOD, 300, 310, 6, 78) << fillRecord(400, 440, 7, 79);
  const auto &launches = read(buffer).launches;
  ASSERT_EQ(launches.size(), 4u);
  const auto is = [](const Activities::Launch &l, const char *name, std::uint64_t start, std::uint64_t end,
                     std::uint32_t correlation, std::uint64_t node) {
    return *l.name == name && l.start == start && l.end == end && l.correlation == correlation && l.graphNode == node;
  };
  EXPECT_TRUE(is(launches[0], "gemv", 100, 130, 4, 0));
  EXPECT_TRUE(is(launches[1], "gemv", 200, 201, 5, 77));
  EXPECT_TRUE(is(launches[2], "memcpy HtoD", 300, 310, 6, 78));
  EXPECT_TRUE(is(launches[3], "memset", 400, 440, 7, 79));
  EXPECT_EQ(launches[0].name, launches[1].name); // kept once
}

TEST_F(ActivityRecords, EveryKindOfCopyHasItsName) {
  ActivityBuffer buffer;
  buffer << copyRecord(CUPTI_ACTIVITY_MEMCPY_KIND_DTOH, 1, 2, 1) << copyRecord(CUPTI_ACTIVITY_MEMCPY_KIND_DTOD, 1, 2, 1)
         << copyRecord(CUPTI_ACTIVITY_MEMCPY_KIND_HTOH, 1, 2, 1) << copyRecord(CUPTI_ACTIVITY_MEMCPY_KIND_PTOP, 1, 2, 1)
         << copyRecord(static_cast<CUpti_ActivityMemcpyKind>(42), 1, 2, 1);
  std::vector<std::string> names;
  for (const auto &launch : read(buffer).launches) names.push_back(*launch.name);
  EXPECT_EQ(names, (std::vector<std::string>{"memcpy DtoH", "memcpy DtoD", "memcpy HtoH", "memcpy PtoP", "memcpy"}));
}

TEST_F(ActivityRecords, ANameIsCopiedSinceItMayGo) {
  std::string name = "gone";
  ActivityBuffer buffer;
  buffer << kernelRecord(name.c_str(), 1, 2, 1);
  const auto &launches = read(buffer).launches;
  name = "else";
  EXPECT_EQ(*launches.at(0).name, "gone");
}

TEST_F(ActivityRecords, ExternalIdsAreThoseOfThisProgram) {
  ActivityBuffer buffer;
  buffer << externalRecord(11, 4) << externalRecord(12, 4, CUPTI_EXTERNAL_CORRELATION_KIND_OPENACC)
         << externalRecord(std::uint64_t{1} << 40, 5);
  const auto &ids = read(buffer).externalIds;
  EXPECT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids.at(4), 11u);
  EXPECT_EQ(ids.at(5), std::uint64_t{1} << 40);
}

/// Of one launch: the runtime's call, and the driver's inside of it, which ends first.
TEST_F(ActivityRecords, TwoCallsOfOneLaunchAreOneLaunchWithOneId) {
  ActivityBuffer buffer;
  buffer << externalRecord(11, 4) << callRecord(92, 94, 4, CUPTI_ACTIVITY_KIND_DRIVER) << externalRecord(11, 4)
         << callRecord(90, 95, 4) << kernelRecord("gemv", 100, 130, 4) << externalRecord(12, 5)
         << callRecord(96, 97, 5, CUPTI_ACTIVITY_KIND_DRIVER) << kernelRecord("gemm", 140, 150, 5);
  const Activities &activities = read(buffer);
  EXPECT_EQ(activities.launches.size(), 2u);
  EXPECT_EQ(activities.externalIds, (std::unordered_map<std::uint32_t, std::uint64_t>{{4, 11}, {5, 12}}));
  EXPECT_EQ(activities.dropped, 0);
}

TEST_F(ActivityRecords, ALaunchWithoutTimesIsADroppedOne) {
  ActivityBuffer buffer;
  buffer << kernelRecord("a", 0, 0, 1) << kernelRecord("b", 20, 10, 2) << kernelRecord("c", 20, 20, 3);
  const Activities &activities = read(buffer);
  EXPECT_EQ(activities.launches.size(), 1u);
  EXPECT_EQ(activities.dropped, 2);
}

TEST_F(ActivityRecords, ABrokenRecordEndsTheBufferAndCounts) {
  ActivityBuffer cut, whole;
  cut << kernelRecord("a", 1, 2, 1) << kernelRecord("b", 3, 4, 2);
  cut.cut(8);
  whole << kernelRecord("c", 5, 6, 3);
  EXPECT_EQ(read(cut).dropped, 1);
  const Activities &activities = read(whole);
  EXPECT_EQ(activities.dropped, 1);
  EXPECT_EQ(activities.launches.size(), 2u);
}

TEST_F(ActivityRecords, OverheadIsWhatCuptiTookItself) {
  ActivityBuffer buffer;
  auto full = overheadRecord(CUPTI_ACTIVITY_OVERHEAD_COMMAND_BUFFER_FULL, 10, 1000000);
  full.overheadData = std::malloc(12); // the reader frees it
  buffer << overheadRecord(CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH, 100, 130)
         << overheadRecord(CUPTI_ACTIVITY_OVERHEAD_CUPTI_INSTRUMENTATION, 200, 207)
         << overheadRecord(CUPTI_ACTIVITY_OVERHEAD_CUPTI_RESOURCE, 300, 301)
         << overheadRecord(CUPTI_ACTIVITY_OVERHEAD_ACTIVITY_BUFFER_REQUEST, 400, 402)
         << overheadRecord(CUPTI_ACTIVITY_OVERHEAD_DRIVER_COMPILER, 10, 1000000)
         << overheadRecord(CUPTI_ACTIVITY_OVERHEAD_LAZY_FUNCTION_LOADING, 10, 1000000)
         << overheadRecord(CUPTI_ACTIVITY_OVERHEAD_CUPTI_BUFFER_FLUSH, 0, 0) << full;
  const Activities &activities = read(buffer);
  EXPECT_EQ(activities.overheadNs, 40);
  EXPECT_TRUE(activities.launches.empty());
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
#include "run/traffic_sampler.h"

#include "support/sampled_backend.h"

#include <gtest/gtest.h>

#include <stdexcept>

using namespace xqs;

namespace {

constexpr PointKey kKey{3, -1, 0, 5};

class TrafficSamplerTest : public testing::Test {
protected:
  test::SampledBackend m_backend;
  test::MadeUpSamples &m_samples = m_backend.samples;
  std::optional<std::int64_t> m_firstNs;
};

TEST_F(TrafficSamplerTest, RowsAreTheKeysAndCountFromTheRunsFirstSample) {
  std::vector<ThroughputRow> rows;
  for (int i = 0; i < 2; ++i) {
    TrafficSampler sampler(m_samples, kKey, 250, m_firstNs);
    EXPECT_TRUE(m_samples.running);
    for (const ThroughputRow &row : sampler.take()) rows.push_back(row);
    sampler.stop();
    EXPECT_FALSE(m_samples.running);
    for (const ThroughputRow &row : sampler.take()) rows.push_back(row);
    EXPECT_TRUE(sampler.take().empty());
  }
  ASSERT_EQ(rows.size(), 4u);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].run, 3);
    EXPECT_EQ(rows[i].policy, -1);
    EXPECT_EQ(rows[i].context, 0);
    EXPECT_EQ(rows[i].batch, 5);
    EXPECT_EQ(rows[i].intervalNs, 250'000);
    EXPECT_EQ(rows[i].startNs, static_cast<std::int64_t>(i) * 250'000) << "the second sampler goes on where the run was";
  }
}

TEST_F(TrafficSamplerTest, AnExceptionStopsItAndLeavesNothingForTheNextOne) {
  for (const bool stopFails : {false, true}) {
    m_samples.stopFails = stopFails;
    try {
      const TrafficSampler sampler(m_samples, kKey, 100, m_firstNs);
      throw std::runtime_error("a step failed");
    } catch (const std::runtime_error &error) {
      EXPECT_STREQ(error.what(), "a step failed");
    }
    EXPECT_FALSE(m_samples.running);
    EXPECT_TRUE(m_samples.takeSamples().empty());
  }
  TrafficSampler sampler(m_samples, kKey, 100, m_firstNs);
  EXPECT_THROW(sampler.stop(), Error) << "whoever asks is told";
}

TEST_F(TrafficSamplerTest, LostSamplesAreCountedOfItsOwnTime) {
  m_samples.dropped = 7, m_samples.droppedAtStop = 2;
  for (int i = 0; i < 2; ++i) {
    TrafficSampler sampler(m_samples, kKey, 100, m_firstNs);
    EXPECT_EQ(sampler.lost(), 0);
    sampler.stop();
    EXPECT_EQ(sampler.lost(), 2);
  }
}

TEST_F(TrafficSamplerTest, AnInstrumentThatCannotBeUsedSaysItsSentence) {
  m_samples.state = InstrumentState::NoPermission;
  try {
    const TrafficSampler sampler(m_samples, kKey, 100, m_firstNs);
    ADD_FAILURE() << "it samples";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::Unsupported);
    EXPECT_STREQ(error.what(), test::MadeUpSamples::kSentence);
  }
  EXPECT_EQ(m_samples.starts, 0);
}

} // namespace

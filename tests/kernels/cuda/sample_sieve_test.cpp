// SPDX-License-Identifier: Apache-2.0
// Which samples of CUPTI's are some, and how often some are lost.
#include <gtest/gtest.h>

#include "cupti/sample_sieve.h"

using namespace xqs;
using namespace xqs::cuda::cupti;

namespace {

class Sieve : public testing::Test {
protected:
  bool keep(std::uint64_t start, std::uint64_t end, double read = 1, double written = 1) {
    CounterFigures figures;
    figures.dramRead = read, figures.dramWrite = written;
    return m_sieve.keep(start, end, figures);
  }
  void begin() { keep(700, 1000); }
  SampleSieve m_sieve;
};

TEST_F(Sieve, TheFirstSampleIsNone) {
  EXPECT_FALSE(keep(1000, 1100));
  EXPECT_TRUE(keep(1100, 1200));
  EXPECT_TRUE(keep(1200, 1300));
  EXPECT_EQ(m_sieve.losses(), 0);
}

TEST_F(Sieve, AFirstSampleOfAnotherTimeIsNoMeasureForTheNext) {
  EXPECT_FALSE(keep(17, 4711, kNotMeasured));
  EXPECT_TRUE(keep(1000, 1100));
  EXPECT_EQ(m_sieve.losses(), 0);
}

TEST_F(Sieve, WhatHasNoLengthNoTimeOrNoFiguresIsNone) {
  begin();
  EXPECT_TRUE(keep(1000, 1100));
  EXPECT_FALSE(keep(0, 0));
  EXPECT_FALSE(keep(0, 1200));
  EXPECT_FALSE(keep(1200, 1200));
  EXPECT_FALSE(keep(1300, 1200));
  EXPECT_FALSE(keep(1100, 1200, kNotMeasured));
  EXPECT_FALSE(keep(1100, 1200, 1, std::numeric_limits<double>::infinity()));
  EXPECT_TRUE(keep(1100, 1200));
  EXPECT_EQ(m_sieve.losses(), 0) << "none of them stood for a sample that is missing";
}

TEST_F(Sieve, WhatComesLateIsNone) {
  begin();
  EXPECT_TRUE(keep(1000, 1100));
  EXPECT_TRUE(keep(1100, 1200));
  EXPECT_FALSE(keep(1000, 1100));
  EXPECT_FALSE(keep(1100, 1200));
  EXPECT_TRUE(keep(1200, 1300));
}

TEST_F(Sieve, AGapIsALossHoweverLongItIs) {
  begin();
  EXPECT_TRUE(keep(1000, 1100));
  EXPECT_TRUE(keep(1110, 1210)); // a trigger is not that exact
  EXPECT_EQ(m_sieve.losses(), 0);
  EXPECT_TRUE(keep(1310, 1410));
  EXPECT_EQ(m_sieve.losses(), 1);
  EXPECT_FALSE(keep(1410, 1510, kNotMeasured));
  EXPECT_TRUE(keep(9000, 9100));
  EXPECT_EQ(m_sieve.losses(), 2);
}

TEST_F(Sieve, AFullImageIsOneLossWithItsGap) {
  begin();
  EXPECT_TRUE(keep(1000, 1100));
  m_sieve.full();
  EXPECT_EQ(m_sieve.losses(), 1) << "where nothing comes any more";
  EXPECT_FALSE(keep(0, 0));
  EXPECT_TRUE(keep(1500, 1600));
  EXPECT_EQ(m_sieve.losses(), 1);
  EXPECT_TRUE(keep(1800, 1900));
  EXPECT_EQ(m_sieve.losses(), 2);
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
// The process grows by what the ledger says, and by nothing else: over 4,000 tokens of decoding, within 2 %.
#include "engine/engine.h"
#include "support/small_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <sys/wait.h>
#include <unistd.h>

namespace xqs {
namespace {

/// Memory that this process holds by itself: pages of programs and libraries come and go with the code that runs.
double residentBytes() {
  std::ifstream in("/proc/self/status");
  double kilobytes = 0;
  for (std::string word; in >> word;)
    if (word == "RssAnon:" && in >> kilobytes) break;
  return 1024 * kilobytes;
}

void measure(const char *policy) {
  // Many bytes a token, few multiply-adds: 24 layers, 256 wide, MHA.
  test::SmallModel m("synthetic:layers=24,d=256,heads=4,kv_heads=4,head_dim=64,ffn=64,vocab=256,context=8192,seed=3",
                     cpuBackendModule(), 0);
  const PolicySpec spec = PolicySpec::parse(policy);
  const auto method = prepareMethod(spec, *m.model, m.calibration);
  constexpr Index kWarm = 1024, kLast = kWarm + 4096, kStep = 64, kEvery = 512, kSingle = 4;
  const auto cache = method->makeCache({0, kStep, State::Stream});
  Engine engine(*m.model);
  Lane lane;
  lane.cache = cache.get();
  const std::vector<TokenId> tokens = test::randomTokens(kLast, 256, 71);
  const auto held = [&] {
    const CacheBytes bytes = cache->bytes();
    EXPECT_EQ(bytes, footprint(cacheLayout(spec, m.model->shape()), cache->tokens(), {0, kStep, State::Stream}));
    return static_cast<double>(bytes.allocated + bytes.accumulator);
  };
  double firstResident = 0, firstHeld = 0;
  for (Index at = 0; at < kLast;) {
    // The last tokens before a measurement one by one, the others in steps.
    const Index left = kEvery - at % kEvery;
    const Index count = left <= kSingle ? 1 : std::min(kStep, left - kSingle);
    engine.step({&lane, 1}, std::span(tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)));
    at += count;
    if (at % kEvery != 0 || at < kWarm) continue;
    const double resident = residentBytes(), ledger = held();
    if (at == kWarm) {
      firstResident = resident, firstHeld = ledger;
      continue;
    }
    const double grown = resident - firstResident, said = ledger - firstHeld;
    std::cout << at << " tokens: grown by " << grown / static_cast<double>(at - kWarm) << " bytes a token, the ledger says "
              << said / static_cast<double>(at - kWarm) << " (" << 100 * (grown / said - 1) << " %)\n";
    if (at == kLast) {
      EXPECT_NEAR(grown / said, 1, 0.02);
    }
  }
}

class Growth : public testing::TestWithParam<const char *> {};

/// In a process of its own: a heap that another test has used is filled again before it grows.
TEST_P(Growth, IsTheLedgersBytesAToken) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      measure(GetParam());
    } catch (const std::exception &error) {
      ADD_FAILURE() << error.what();
    }
    std::cout.flush();
    _exit(HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "see above";
}

INSTANTIATE_TEST_SUITE_P(Policies, Growth,
                         testing::Values("fp16", "kivi:bits=4", "kivi-star:bits=8", "xquant:bits=8,source=x",
                                         "xquant:bits=4,source=x,outlier_channels=8,sink_tokens=1",
                                         "xquant-cl:bits=4,source=x"));

} // namespace
} // namespace xqs

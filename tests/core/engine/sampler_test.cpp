// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include "error.h"

#include <gmock/gmock.h>

#include <cmath>
#include <iostream>
#include <limits>
#include <set>

namespace xqs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kSigmas = 5; // a fair draw leaves them once in 1.7 million

/// Draws and holds each token's count against p: within kSigmas deviations of the binomial, one draw of rounding.
void expectFrequencies(const SamplerSettings &settings, const std::vector<float> &logits, const std::vector<double> &p) {
  constexpr int kDraws = 200'000;
  Sampler sampler(settings);
  std::vector<int> counts(p.size());
  for (int i = 0; i < kDraws; ++i) ++counts.at(static_cast<std::size_t>(sampler.next(logits)));
  double worst = 0;
  for (std::size_t id = 0; id < p.size(); ++id) {
    const double bound = p[id] == 0 ? 0 : kSigmas * std::sqrt(kDraws * p[id] * (1 - p[id])) + 1;
    const double off = std::abs(counts[id] - kDraws * p[id]);
    EXPECT_LE(off, bound) << "token " << id << ": " << counts[id] << " of " << kDraws << " for p = " << p[id];
    if (bound > 0) worst = std::max(worst, off / bound);
  }
  std::cout << "worst: " << worst << " of the bound\n";
}

std::vector<double> softmax(const std::vector<float> &logits, double temperature, const std::set<std::size_t> &kept) {
  std::vector<double> p(logits.size());
  double sum = 0;
  for (const std::size_t i : kept) sum += p[i] = std::exp(static_cast<double>(logits[i]) / temperature);
  for (double &value : p) value /= sum;
  return p;
}

TEST(Sampler, greedyTakesTheLowestOfEquals) {
  Sampler sampler({});
  EXPECT_EQ(sampler.next(std::vector<float>{1, 3, 2, 3}), 1);
  EXPECT_EQ(sampler.next(std::vector<float>{-1, -1}), 0);
  EXPECT_EQ(sampler.next(std::vector<float>{-7}), 0);
  // The filters are for drawing.
  EXPECT_EQ(Sampler({.topK = 1, .topP = 0.1}).next(std::vector<float>{1, 3, 2, 3}), 1);
}

TEST(Sampler, frequenciesAreTheSoftmax) {
  const std::vector<float> logits{0.5f, -1, 2, 2, -30, 1};
  for (const double temperature : {0.5, 1.0, 3.0})
    expectFrequencies({.temperature = temperature}, logits, softmax(logits, temperature, {0, 1, 2, 3, 4, 5}));
}

TEST(Sampler, temperatureThenTopKThenTopP) {
  // At temperature 0.5: 8, 4, 2, 1, 1 over 16.
  const float half = static_cast<float>(std::log(2.0) / 2);
  const std::vector<float> logits{0, 3 * half, half, 2 * half, 0};
  const auto p = [&](const std::set<std::size_t> &kept) { return softmax(logits, 0.5, kept); };
  expectFrequencies({.temperature = 0.5, .topK = 4}, logits, p({0, 1, 2, 3})); // of the equal ones the lower id
  expectFrequencies({.temperature = 0.5, .topK = 5}, logits, p({0, 1, 2, 3, 4}));
  expectFrequencies({.temperature = 0.5, .topK = 99}, logits, p({0, 1, 2, 3, 4}));
  expectFrequencies({.temperature = 0.5, .topP = 0.76}, logits, p({1, 2, 3})); // 8 + 4 are 0.75
  expectFrequencies({.temperature = 0.5, .topP = 0.74}, logits, p({1, 3}));
  expectFrequencies({.temperature = 0.5, .topP = 0.9}, logits, p({0, 1, 2, 3})); // of the equal ones the lower id
  // After top-k 8, 4 and 2 are 14: 12 of them are 0.857, which they are not of 16.
  expectFrequencies({.temperature = 0.5, .topK = 3, .topP = 0.85}, logits, p({1, 3}));
  expectFrequencies({.temperature = 0.5, .topK = 1}, logits, p({1}));
  expectFrequencies({.temperature = 0.5, .topP = 1e-9}, logits, p({1}));
}

// Where top-p cuts tells the probabilities to the last digits: of two tokens the second is drawn exactly where top-p is
// above the probability of the first. The own exponential against the library's; both are within a few units of 1.1e-16.
TEST(Sampler, probabilitiesAreExactToRounding) {
  for (float d = 0.01f; d < 3; d *= 1.3f) {
    const double first = 1 / (1 + std::exp(-static_cast<double>(d)));
    const auto tokens = [&](double topP) {
      Sampler sampler({.temperature = 1, .topP = topP});
      std::set<TokenId> seen;
      for (int i = 0; i < 500; ++i) seen.insert(sampler.next(std::vector<float>{0, -d})); // missed at most with 1e-10
      return seen.size();
    };
    EXPECT_EQ(tokens(first * (1 - 2e-15)), 1u) << d;
    EXPECT_EQ(tokens(first * (1 + 2e-15)), 2u) << d;
  }
}

TEST(Sampler, aSeedMeansTheSameEverywhere) {
  std::vector<float> logits;
  for (int i = 0; i < 1000; ++i) logits.push_back(static_cast<float>((i * 37) % 101) / 16);
  const auto draw = [&](SamplerSettings settings) {
    Sampler sampler(settings);
    std::vector<TokenId> ids;
    for (int i = 0; i < 8; ++i) ids.push_back(sampler.next(logits));
    return ids;
  };
  EXPECT_EQ(draw({.temperature = 1, .seed = 7}), draw({.temperature = 1, .seed = 7}));
  EXPECT_NE(draw({.temperature = 1, .seed = 7}), draw({.temperature = 1, .seed = 8}));
  // As a few lines of Python with the same generator and math.exp draw.
  EXPECT_THAT(draw({.temperature = 1, .seed = 7}), ElementsAre(652, 551, 605, 349, 182, 919, 903, 865));
  EXPECT_THAT(draw({.temperature = 1, .topP = 0.9, .seed = 7}), ElementsAre(925, 835, 592, 988, 898, 537, 507, 821));
  EXPECT_THAT(draw({.temperature = 1, .topK = 400, .seed = 7}), ElementsAre(551, 259, 996, 109, 999, 496, 264, 275));
}

TEST(Sampler, wideAndNarrowLogits) {
  // Differences that no exponential can hold: the largest is certain.
  const std::vector<float> wide{-3e38f, 3e38f, 0};
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Sampler({.temperature = 5, .seed = static_cast<std::uint64_t>(i)}).next(wide), 1);
  EXPECT_EQ(Sampler({.temperature = 1e-300}).next(std::vector<float>{1, 1.5f}), 1);
  // More candidates than are sorted at first.
  std::vector<float> flat(600, 0.25f);
  std::set<TokenId> seen;
  Sampler sampler({.temperature = 1, .topP = 0.5});
  for (int i = 0; i < 6000; ++i) seen.insert(sampler.next(flat));
  EXPECT_EQ(seen.size(), 300u); // each is missed with probability exp(-20)
  EXPECT_EQ(*seen.rbegin(), 299);
}

TEST(Sampler, refusesWhatCannotBeDrawnFrom) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()})
    for (const double temperature : {0.0, 1.0}) {
      try {
        Sampler({.temperature = temperature}).next(std::vector<float>{0, 1, bad});
        ADD_FAILURE() << bad << " was accepted";
      } catch (const Error &error) {
        EXPECT_EQ(error.code(), Code::Unsupported);
        EXPECT_THAT(error.what(), HasSubstr("token 2"));
      }
    }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::pair<SamplerSettings, const char *> wrong[] = {
      {{.temperature = -0.1}, "temperature"},
      {{.temperature = nan}, "temperature"},
      {{.temperature = INFINITY}, "temperature"},
      {{.topK = -1}, "top-k"},
      {{.topP = 0}, "top-p"},
      {{.topP = 1.01}, "top-p"},
      {{.topP = nan}, "top-p"},
  };
  for (const auto &[settings, name] : wrong) {
    try {
      const Sampler sampler(settings);
      ADD_FAILURE() << name << " was accepted";
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), Code::Usage);
      EXPECT_THAT(error.what(), HasSubstr(name));
    }
  }
}

} // namespace
} // namespace xqs

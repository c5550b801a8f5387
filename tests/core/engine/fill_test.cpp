// SPDX-License-Identifier: Apache-2.0
// A cache that is filled without a forward pass is one that has seen so many tokens.
#include "engine/fill.h"

#include "engine/engine.h"
#include "support/contract_cases.h"

#include <gmock/gmock.h>

#include <cmath>

namespace xqs {
namespace {

using test::Case;

class Fill : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Policies, Fill, testing::ValuesIn(test::cases()));

std::vector<std::byte> stateOf(const Cache &cache) {
  std::vector<std::byte> all;
  cache.visitState([&](const Buffer &b, Index used) { all.insert(all.end(), b.data(), b.data() + used); });
  return all;
}

TEST_P(Fill, HoldsTheTokensAndTakesWhatFootprintSays) {
  test::SmallModel &small = test::modelOf(GetParam().mha);
  const Model &model = *small.model;
  const PolicySpec spec = PolicySpec::parse(GetParam().policy);
  const auto method = prepareMethod(spec, model, small.calibration);
  constexpr Index kTokens = kFillTokens + 101; // a whole step and a part of one
  const CacheSize size{kTokens + 3, kFillTokens, State::Stream};
  std::vector<std::unique_ptr<Cache>> caches;
  std::vector<Cache *> all;
  for (int i = 0; i < 2; ++i) caches.push_back(method->makeCache(size)), all.push_back(caches.back().get());
  fillCaches(model, all, kTokens, 5);

  for (const auto &cache : caches) {
    EXPECT_EQ(cache->tokens(), kTokens);
    EXPECT_EQ(cache->bytes(), footprint(cacheLayout(spec, model.shape()), kTokens, size));
  }
  const std::vector<std::byte> state = stateOf(*caches[0]);
  EXPECT_EQ(std::ssize(state), stateBytes(cacheLayout(spec, model.shape()), kTokens, State::Stream));
  EXPECT_EQ(state, stateOf(*caches[1]));

  // Decoding goes on from it, in every lane alike.
  Engine engine(model);
  const std::vector<Lane> lanes{{all[0], nullptr, {}, {}}, {all[1], nullptr, {}, {}}};
  for (const TokenId token : {3, 4}) engine.step(lanes, {&token, 1});
  EXPECT_EQ(caches[0]->tokens(), kTokens + 2);
  const std::vector<float> hidden = test::values(engine.hidden(0));
  EXPECT_EQ(hidden, test::values(engine.hidden(1)));
  for (const float x : hidden) ASSERT_TRUE(std::isfinite(x));
}

TEST(FillCaches, SeedsAndRowsAreWhatIsStored) {
  test::SmallModel &small = test::modelOf(true);
  const auto method = prepareMethod(PolicySpec::parse("fp16"), *small.model, small.calibration);
  const auto filled = [&](std::uint64_t seed) {
    const auto cache = method->makeCache({40, 40, State::Stream});
    Cache *const one = cache.get();
    fillCaches(*small.model, {&one, 1}, 40, seed);
    const Buffer out = small.backend->allocate(40 * 64 * sizeOf(DType::F32), Purpose::Scratch);
    cache->rebuild(2, Side::V, Version::Stored, {0, 40}, out.f32(40, 64));
    return test::values(out.f32(40, 64));
  };
  const std::vector<float> v = filled(1);
  double sum = 0, squares = 0;
  for (const float x : v) sum += x, squares += static_cast<double>(x) * x;
  const double n = static_cast<double>(v.size());
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n));           // four standard errors
  EXPECT_NEAR(squares / n, 1, 4 * std::sqrt(2.0 / n)); // deviation 1
  EXPECT_EQ(v, filled(1));
  EXPECT_NE(v, filled(2));
}

TEST(FillCaches, StopsWhereItIsAsked) {
  test::SmallModel &small = test::modelOf(true);
  const auto method = prepareMethod(PolicySpec::parse("fp16"), *small.model, small.calibration);
  const auto cache = method->makeCache({40, 40, State::Stream});
  Cache *const one = cache.get();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(fillCaches(*small.model, {&one, 1}, 40, 1, stop.get_token()), Error);
}

} // namespace
} // namespace xqs

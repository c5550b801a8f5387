// SPDX-License-Identifier: Apache-2.0
// Plans whose first layers are FP16 take those layers from one pass a window: nothing may differ from computing them.
#include "support/small_model.h"

#include "cpu_backends.h"

#include <gmock/gmock.h>

#include <cstring>

namespace xqs {
namespace {

using test::SmallModel;

class SharedLayers : public testing::TestWithParam<std::tuple<const char *, State>> {};
INSTANTIATE_TEST_SUITE_P(Backends, SharedLayers,
                         testing::Combine(testing::Values("reference", "cpu"), testing::Values(State::All, State::Stream)),
                         [](const auto &p) {
                           return std::string(std::get<0>(p.param)) + "_" + stateName(std::get<1>(p.param));
                         });

TEST_P(SharedLayers, ScoresAreThoseOfAWholePassBitForBit) {
  const auto [backend, state] = GetParam();
  SmallModel small(test::kGqaModel, std::string(backend) == "cpu" ? cpuBackendModule() : referenceBackendModule());
  const auto prepared = [&](const char *policy) {
    return prepareMethod(PolicySpec::parse(policy), *small.model, small.calibration);
  };
  const auto late = prepared("plan:4.v=kivi-star:bits=2,group=32"), middle = prepared("plan:3=xquant:bits=2"),
             chain = prepared("plan:2-3=xquant-cl:bits=2,source=x,first_bits=16"),
             early = prepared("plan:1.k=kivi-star:bits=2,group=32"), none = prepared("plan:0=xquant:bits=2"),
             whole = prepared("xquant:bits=4");
  struct Case {
    std::vector<const Method *> group;
    Index first;
  };
  const Case cases[] = {{{middle.get(), late.get()}, 3},
                        {{late.get()}, 4},
                        {{early.get(), late.get()}, 1}, // in any order
                        {{chain.get()}, 2},
                        {{none.get()}, 0},
                        {{late.get(), whole.get()}, 0}};
  WindowEvaluator evaluator(*small.model, state);
  for (const std::uint64_t window : {1, 2}) { // the second must not use the first one's layers
    const auto tokens = test::randomTokens(70, small.model->config().vocab, window);
    evaluator.exact(tokens);
    for (const Case &c : cases) {
      const auto shared = evaluator.run(c.group);
      const auto visit = [](std::size_t, Index, const Cache &) {};
      const auto full = evaluator.run(c.group, visit); // a visitor wants every layer
      for (std::size_t i = 0; i < c.group.size(); ++i) {
        SCOPED_TRACE(c.group[i]->spec().canonical());
        EXPECT_EQ(shared[i].firstLayer, c.first);
        EXPECT_EQ(full[i].firstLayer, 0);
        EXPECT_EQ(shared[i].positions.nll, full[i].positions.nll);
        EXPECT_EQ(shared[i].positions.kl, full[i].positions.kl);
        EXPECT_GT(shared[i].score.meanKl, 0);
        EXPECT_EQ(shared[i].saturated, full[i].saturated);
      }
    }
  }
}

} // namespace
} // namespace xqs

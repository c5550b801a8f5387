// SPDX-License-Identifier: Apache-2.0
// State `stream` on a real model: one pass over 64 tokens, uneven chunks and token-by-token decoding give the same bits on
// the reference backend, for every method side by side.
#include "engine/engine.h"
#include "support/default_model.h"
#include "support/small_model.h"

#include <gtest/gtest.h>

namespace xqs {
namespace {

TEST(SmolLM2, StreamEqualsTokenByTokenDecodingBitForBitOnTheReferenceBackend) {
  XQS_NEED_MODEL(file);
  const auto backend = test::makeBackend(referenceBackendModule(), 0);
  const auto model = Model::load(*openModel(file), *backend);
  Calibration calibration(*model, {});
  std::vector<std::unique_ptr<Method>> methods;
  for (const char *policy :
       {"fp16", "kivi:bits=2,group=16,residual=16", "kivi-star:bits=3,group=16", "xquant:bits=2,group=16",
        "xquant:bits=4,source=x,residual=5", "xquant-cl:bits=2,source=x,domain=residual,residual=9",
        "xquant-cl:bits=3,group=16,delta_axis=channel", "low-rank:rank=96"})
    methods.push_back(prepareMethod(PolicySpec::parse(policy), *model, calibration));
  const std::vector<TokenId> tokens = model->tokenizer().encode(
      "Attention looks back at every token that came before. A cache of keys and values spares the work of computing them "
      "again, and it is this cache that grows with the context until it is larger than the model itself. Compressing it is "
      "therefore worth the trouble, as long as what comes back is close to what went in.");
  ASSERT_GE(tokens.size(), 64u);

  // [lane][token * d]
  const auto hiddenStates = [&](const std::vector<Index> &steps) {
    std::vector<std::unique_ptr<Cache>> caches;
    std::vector<Lane> lanes;
    for (const auto &method : methods) {
      caches.push_back(method->makeCache({64, 64, State::Stream}));
      lanes.emplace_back().cache = caches.back().get();
    }
    Engine engine(*model);
    std::vector<std::vector<float>> all(methods.size());
    std::size_t first = 0;
    for (const Index count : steps) {
      engine.step(lanes, std::span(tokens).subspan(first, static_cast<std::size_t>(count)));
      for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
        const std::vector<float> part = test::values(engine.hidden(static_cast<Index>(lane)));
        all[lane].insert(all[lane].end(), part.begin(), part.end());
      }
      first += static_cast<std::size_t>(count);
    }
    EXPECT_EQ(first, 64u);
    return all;
  };
  const auto onePass = hiddenStates({64});
  const auto chunks = hiddenStates({1, 20, 7, 36});
  const auto decoded = hiddenStates(std::vector<Index>(64, 1));
  for (std::size_t lane = 0; lane < methods.size(); ++lane) {
    EXPECT_EQ(onePass[lane], chunks[lane]) << methods[lane]->spec().canonical();
    EXPECT_EQ(onePass[lane], decoded[lane]) << methods[lane]->spec().canonical();
  }
}

} // namespace
} // namespace xqs

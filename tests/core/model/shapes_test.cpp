// SPDX-License-Identifier: Apache-2.0
#include "model/shapes.h"

#include "model/model.h"
#include "model/weights.h"
#include "support/refusal.h"
#include "support/small_model.h"
#include "support/weights.h"

#include <gmock/gmock.h>

#include <cmath>

namespace xqs {
namespace {

using test::readWeight;

Index parameters(const ModelConfig &c) {
  Index sum = 0;
  for (std::size_t i = 0; i < kWeightKinds; ++i) {
    const auto weight = static_cast<Weight>(i);
    if (weight == Weight::Output && c.tiedOutput) continue;
    sum += weightShape(c, weight).elements() * (isPerLayer(weight) ? c.shape.layers : 1);
  }
  return sum;
}

// The counts that the models' files have.
TEST(Shapes, HaveTheParametersOfTheModels) {
  const std::pair<const char *, Index> kCounts[] = {{"llama-2-7b", 6'738'415'616},
                                                    {"llama-3.1-8b", 8'030'261'248},
                                                    {"mistral-7b", 7'241'732'096},
                                                    {"smollm2-135m", 134'515'008}};
  ASSERT_EQ(builtInShapes().size(), std::size(kCounts));
  for (const auto &[name, count] : kCounts) {
    const auto reader = openModel(std::string("shape:") + name);
    const ModelConfig &c = reader->config();
    EXPECT_EQ(parameters(c), count) << name;
    EXPECT_EQ(c.shape.heads * c.shape.dh, c.shape.d) << name;
    EXPECT_EQ(c.rmsEps, 1e-5f);
    EXPECT_EQ(std::ssize(c.ropeFrequency), c.shape.dh / 2);
    EXPECT_NEAR(c.ropeFrequency[1], std::pow(c.ropeBase, -2.0 / static_cast<double>(c.shape.dh)), 1e-15);
    EXPECT_EQ(reader->tokenizer()->vocabSize(), c.vocab);
  }
}

TEST(Shapes, LayersAreAlikeAndNearNormal) {
  const ShapeReader reader("shape:smollm2-135m,layers=2");
  EXPECT_EQ(reader.config().shape.layers, 2);
  const std::vector<float> up = readWeight(reader, Weight::WUp, 0);
  EXPECT_EQ(up, readWeight(reader, Weight::WUp, 1));
  EXPECT_NE(up, readWeight(reader, Weight::WGate, 0));
  EXPECT_NE(up, readWeight(ShapeReader("shape:smollm2-135m,layers=2,seed=2"), Weight::WUp, 0));
  double sum = 0, squares = 0;
  for (const float x : up) sum += x, squares += static_cast<double>(x) * x;
  const double n = static_cast<double>(up.size());
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n * 576));
  EXPECT_NEAR(squares / n * 576, 1, 4 * std::sqrt(2.0 / n));
  // No two rows are the same, though the table that they are cut from is shorter than the matrix.
  const std::vector<float> table = readWeight(reader, Weight::TokenEmbedding, -1);
  ASSERT_GT(table.size(), std::size_t{2'000'000});
  EXPECT_NE(std::vector<float>(table.begin(), table.begin() + 576), std::vector<float>(table.end() - 576, table.end()));
}

TEST(Shapes, HashesTellThemApart) {
  std::vector<std::string> hashes;
  for (const char *location :
       {"shape:smollm2-135m", "shape:smollm2-135m,layers=2", "shape:smollm2-135m,seed=2", "shape:mistral-7b", "synthetic:"})
    hashes.push_back(openModel(location)->hash());
  for (std::size_t i = 0; i < hashes.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(hashes[i], hashes[j]);
  EXPECT_EQ(openModel("shape:smollm2-135m,layers=30,seed=1")->hash(), hashes[0]);
}

TEST(Shapes, RefusesWhatItDoesNotKnowAndSaysWhatIsValid) {
  const std::pair<const char *, const char *> kCases[] = {
      {"shape:", "there are llama-2-7b, llama-3.1-8b, mistral-7b, smollm2-135m"},
      {"shape:gpt-2", "no shape is called 'gpt-2'"},
      {"shape:smollm2-135m,layers=0", "layers=N, N from 1 to 30"},
      {"shape:smollm2-135m,layers=31", "layers=N, N from 1 to 30"},
      {"shape:smollm2-135m,layers", "layers=N"},
      {"shape:smollm2-135m,d=64", "layers=N"},
      {"shape:smollm2-135m,seed=-1", "seed=N"},
      {"shape:smollm2-135m,seeds=3", "'seeds=3' is not seed=N"},
      {"shape:smollm2-135m,seedX3", "'seedX3' is not seed=N"},
      {"shape:smollm2-135m,tokens=3", "'tokens=3' is not layers=N"}};
  for (const auto &[location, said] : kCases)
    EXPECT_THAT(test::usageMessageOf([&] { openModel(location); }), testing::HasSubstr(said)) << location;
}

TEST(Shapes, AModelComputesFiniteNumbers) {
  test::SmallModel m("shape:smollm2-135m,layers=2", cpuBackendModule());
  EXPECT_EQ(m.model->parameters(), parameters(m.model->config()));
  EXPECT_EQ(m.model->output().data, m.model->tokenEmbedding().data);
  Engine engine(*m.model);
  const auto cache = makeExactCache(*m.model, {8, 8, State::All});
  Lane lane;
  lane.cache = cache.get();
  engine.step({&lane, 1}, test::randomTokens(8, m.model->config().vocab));
  for (const float x : test::values(engine.hidden(0))) ASSERT_LT(std::abs(x), 100);
}

} // namespace
} // namespace xqs

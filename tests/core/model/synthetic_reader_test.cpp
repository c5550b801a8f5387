// SPDX-License-Identifier: Apache-2.0
#include "model/synthetic_reader.h"

#include "model/weights.h"
#include "support/weights.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace xqs {
namespace {

using test::readWeight;

TEST(SyntheticReader, settingsAndDefaults) {
  const SyntheticReader plain("synthetic:");
  EXPECT_EQ(plain.config().shape.layers, 4);
  EXPECT_EQ(plain.config().shape.d, 64);
  EXPECT_EQ(plain.config().shape.dh, 16);
  EXPECT_EQ(plain.config().shape.kvHeads, 2);
  EXPECT_EQ(plain.config().ffn, 128);
  EXPECT_EQ(plain.config().vocab, 256);
  EXPECT_EQ(plain.config().contextLength, 4096);
  EXPECT_EQ(plain.config().residualStrength, 1);
  const SyntheticReader spelled(
      "synthetic:layers=4,d=64,heads=4,kv_heads=2,ffn=128,vocab=256,seed=1,residual=1,context=4096,head_dim=16");
  EXPECT_EQ(plain.hash(), spelled.hash());
  EXPECT_EQ(SyntheticReader("synthetic").hash(), plain.hash());
  const SyntheticReader other("synthetic:layers=1,d=6,heads=3,kv_heads=1,head_dim=10,residual=2.5,vocab=10");
  EXPECT_EQ(other.config().shape.dkv(), 10);
  EXPECT_EQ(other.config().residualStrength, 2.5f);
  EXPECT_THAT(other.tokenizer()->encode("\x01\xff"), testing::ElementsAre(1, 5)); // 255 % 10
  EXPECT_EQ(SyntheticReader("synthetic:heads=3,d=66").config().shape.kvHeads, 3);
}

TEST(SyntheticReader, refusesNonsenseAndSaysWhatIsValid) {
  for (const char *settings : {"layer=4", "layers", "layers=", "layers=0", "layers=1.5", "layers=1x", "layers=-1",
                               "layers=1e9", "d=nan", "layers=2,layers=2", "heads=3", "kv_heads=3", "head_dim=3",
                               "residual=-1", "seed=1,,d=8", "d=65536,ffn=262144,layers=512", "=", " layers=4"}) {
    try {
      SyntheticReader(std::string("synthetic:") + settings);
      ADD_FAILURE() << settings << " was accepted";
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), Code::Usage) << settings;
      EXPECT_THAT(error.what(), testing::HasSubstr("valid settings: layers (1 to 512), d ")) << settings;
    }
  }
}

// The numbers themselves: equal on every platform, so that a synthetic model's results can be compared.
TEST(SyntheticReader, numbersArePinned) {
  const SyntheticReader reader("synthetic:");
  const std::vector<float> wk = readWeight(reader, Weight::Wk, 1);
  double sum = 0, squares = 0;
  for (const float x : wk) sum += x, squares += static_cast<double>(x) * x;
  const double n = static_cast<double>(wk.size());
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n * 64));           // four standard errors
  EXPECT_NEAR(squares / n * 64, 1, 4 * std::sqrt(2.0 / n)); // deviation 1 / sqrt(d)
  EXPECT_EQ(wk, readWeight(SyntheticReader("synthetic:seed=1"), Weight::Wk, 1));
  EXPECT_NE(wk, readWeight(SyntheticReader("synthetic:seed=2"), Weight::Wk, 1));
  EXPECT_NE(wk, readWeight(reader, Weight::Wk, 2));
  EXPECT_NE(wk, readWeight(reader, Weight::Wv, 1));
  constexpr float kUnit = 2.6428998e-05f; // sums of four 16-bit uniforms, computed apart from splitmix64's definition
  const std::vector<float> first = readWeight(reader, Weight::TokenEmbedding, -1);
  EXPECT_THAT(std::vector<float>(first.begin(), first.begin() + 3),
              testing::ElementsAre(-22320.0f * kUnit, -13400.0f * kUnit, 26988.0f * kUnit));
}

TEST(SyntheticReader, normsHaveOutlierChannels) {
  const SyntheticReader reader("synthetic:d=192");
  std::vector<std::size_t> previous;
  for (Index layer = 0; layer < 4; ++layer) {
    const std::vector<float> norm = readWeight(reader, Weight::AttentionNorm, layer);
    std::vector<std::size_t> outliers;
    for (std::size_t i = 0; i < norm.size(); ++i)
      if (norm[i] >= 6) outliers.push_back(i);
    EXPECT_GE(outliers.size(), 1u);
    EXPECT_LE(outliers.size(), 4u);
    if (layer > 0) {
      EXPECT_EQ(outliers, previous);
    }
    previous = outliers;
  }
}

TEST(Formats, selection) {
  EXPECT_EQ(openModel("synthetic:layers=1")->config().shape.layers, 1);
  EXPECT_THROW(openModel("/no/such/file.gguf"), Error);
  EXPECT_STREQ(modelFormats().back().name, "gguf");
}

} // namespace
} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "cache/layout.h"
#include "cache/policy.h"

#include <gmock/gmock.h>

namespace xqs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string messageOf(std::string_view text) {
  try {
    (void)PolicySpec::parse(text);
  } catch (const Error &e) {
    EXPECT_EQ(e.code(), Code::Usage) << text;
    return e.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return {};
}

TEST(Policy, CanonicalStringNamesWhatDiffersFromTheDefaultInRegistryOrder) {
  const std::pair<const char *, const char *> cases[] = {
      {"fp16", "fp16"},
      {"kivi:residual=128,bits=2,group=32,first_layers=0,first_bits=4", "kivi:bits=2"},
      {"kivi:bits=2,residual=0", "kivi:bits=2,residual=0"},
      {"kivi-star:first_bits=4,first_layers=3,group=128,bits=4", "kivi-star:bits=4"},
      {"xquant:source=x,group=64,bits=04", "xquant:bits=4,group=64,source=x"},
      {"xquant:outlier_channels=1,source=latent,bits=2", "xquant:bits=2,source=latent,outlier_channels=1"},
      {"xquant-cl:delta_axis=channel,domain=residual,accumulator=fp16,base=latent,bits=3",
       "xquant-cl:bits=3,domain=residual,base=latent,delta_axis=channel,accumulator=fp16"},
      {"low-rank:rank=96", "low-rank:rank=96"},
  };
  for (const auto &[given, canonical] : cases) {
    EXPECT_EQ(PolicySpec::parse(given).canonical(), canonical);
    EXPECT_EQ(PolicySpec::parse(canonical).canonical(), canonical);
  }
}

TEST(Policy, BadInputIsNamedTogetherWithWhatIsValid) {
  EXPECT_THAT(messageOf("xquamt:bits=4"), AllOf(HasSubstr("xquamt"), HasSubstr("xquant-cl"), HasSubstr("low-rank")));
  EXPECT_THAT(messageOf(""), HasSubstr("kivi-star"));
  EXPECT_THAT(messageOf("xquant:bits=4,bit=3"),
              AllOf(HasSubstr("'bit'"), HasSubstr("bits (2, 3, 4, 8 or 16)"), HasSubstr("source")));
  EXPECT_THAT(messageOf("xquant:bits=4,bits=3"), HasSubstr("given twice"));
  EXPECT_THAT(messageOf("xquant:bits="), HasSubstr("2, 3, 4, 8 or 16"));
  EXPECT_THAT(messageOf("xquant:bits"), HasSubstr("2, 3, 4, 8 or 16"));
  EXPECT_THAT(messageOf("xquant:bits=4,"), HasSubstr("''"));
  EXPECT_THAT(messageOf("xquant:"), HasSubstr("nothing after"));
  EXPECT_THAT(messageOf("xquant"), HasSubstr("bits must be given"));
  EXPECT_THAT(messageOf("xquant:bits=5"), HasSubstr("cannot be '5'"));
  EXPECT_THAT(messageOf("xquant:bits=-4"), HasSubstr("'-4'"));
  EXPECT_THAT(messageOf("xquant:bits=4x"), HasSubstr("'4x'"));
  EXPECT_THAT(messageOf("xquant:bits=99999999999999999999"), HasSubstr("cannot be"));
  EXPECT_THAT(messageOf("xquant:bits=4,group=0"), HasSubstr("8 to 4096"));
  EXPECT_THAT(messageOf("xquant:bits=4,source=y"), HasSubstr("auto, x or latent"));
  EXPECT_THAT(messageOf("fp16:bits=4"), HasSubstr("parameters of fp16: none"));
  EXPECT_THAT(messageOf("low-rank"), HasSubstr("rank must be given"));
}

const ModelShape kSmolLm2{30, 576, 9, 3, 64};

TEST(Footprint, EqualsTheFormulaOfTheGoldenFile) {
  // Per-token tensor of width w: w e + 32 ceil(w / group) bits a token; per-channel: e bits an element + 32 a group.
  const auto bytes = [](const char *policy, Index tokens) {
    return footprint(PolicySpec::parse(policy), kSmolLm2, tokens, State::All).formatBytes();
  };
  EXPECT_EQ(bytes("fp16", 512), 11796480);
  EXPECT_EQ(bytes("kivi-star:bits=4", 512), 3164160);
  EXPECT_EQ(bytes("kivi-star:bits=3", 512), 2500608);
  EXPECT_EQ(bytes("kivi:bits=2", 512), 2211840);
  EXPECT_EQ(bytes("xquant:bits=8,source=x", 512), 8712192);
  EXPECT_EQ(bytes("xquant:bits=2,outlier_channels=1", 512), 1863072);
  EXPECT_EQ(bytes("xquant-cl:bits=3,source=x", 512), 3735552);
  EXPECT_EQ(bytes("xquant-cl:bits=3,base=latent", 512), 2471936);
  EXPECT_EQ(bytes("xquant-cl:bits=3,delta_axis=channel", 512), 2525184);
  EXPECT_EQ(bytes("low-rank:rank=96", 512), 5898240);
  // 500 tokens: 116 beyond the last complete group of Xk are FP16. One layer: Xk 384 * 192 * 3 + 3 * 192 * 32 + 116 * 192 *
  // 16, Xv 500 * (192 * 3 + 64); the first three at 4 bits.
  const Index layer3 = 384 * 192 * 3 + 3 * 192 * 32 + 116 * 192 * 16 + 500 * (192 * 3 + 64);
  const Index layer4 = 384 * 192 * 4 + 3 * 192 * 32 + 116 * 192 * 16 + 500 * (192 * 4 + 64);
  EXPECT_EQ(bytes("xquant:bits=3", 500), (27 * layer3 + 3 * layer4) / 8);
}

TEST(Footprint, PublishedSizesComeOutForThePapersModels) {
  const ModelShape llama2{32, 4096, 32, 32, 128};
  const ModelShape llama31{32, 4096, 32, 8, 128};
  const auto size = [](const char *policy, const ModelShape &shape) {
    return relativeSize(PolicySpec::parse(policy), shape, 2048, State::All);
  };
  EXPECT_NEAR(size("kivi-star:bits=4", llama2), 0.2656, 5e-5); // table 4: .27 .21 .15
  EXPECT_NEAR(size("kivi-star:bits=3", llama2), 0.2090, 5e-5);
  EXPECT_NEAR(size("kivi-star:bits=2", llama2), 0.1523, 5e-5);
  EXPECT_NEAR(size("xquant:bits=4", llama2), 0.1328, 5e-5); // .13 .10 .08
  EXPECT_NEAR(size("xquant-cl:bits=2", llama2), 0.0762, 5e-5);
  EXPECT_NEAR(size("xquant:bits=2", llama31), 0.1523, 5e-5);
  EXPECT_NEAR(size("xquant-cl:bits=4", llama31), 0.274, 5e-4); // base=full: .274 .217 .161 (method.md 4)
  EXPECT_NEAR(size("xquant-cl:bits=2", llama31), 0.161, 5e-4);
  EXPECT_NEAR(size("xquant-cl:bits=2,base=latent", llama31), 0.1523, 5e-5);
}

TEST(Footprint, AsIfMhaLetsKvGrowAndXStay) {
  const auto mha = [](const char *policy) { return relativeSizeMha(PolicySpec::parse(policy), kSmolLm2, 512, State::All); };
  const auto own = [](const char *policy) { return relativeSize(PolicySpec::parse(policy), kSmolLm2, 512, State::All); };
  EXPECT_DOUBLE_EQ(mha("xquant:bits=4,source=x") * 3, own("xquant:bits=4,source=x")); // H / Hkv = 3
  EXPECT_NEAR(mha("kivi-star:bits=4"), own("kivi-star:bits=4"), 0.01);
  EXPECT_NEAR(mha("xquant:bits=4"), own("xquant:bits=4"), 0.01); // auto stays latent
}

TEST(Footprint, SettingsThatDoNotFitTheModelAreRefusedByName) {
  const auto check = [](const char *policy, const char *word) {
    try {
      (void)footprint(PolicySpec::parse(policy), kSmolLm2, 512, State::All);
      ADD_FAILURE() << "accepted: " << policy;
    } catch (const Error &e) {
      EXPECT_EQ(e.code(), Code::Usage);
      EXPECT_THAT(e.what(), HasSubstr(word));
    }
  };
  check("low-rank:rank=193", "full rank 192");
  check("xquant:bits=4,source=x,outlier_channels=576", "nothing to quantize");
  check("plan:30=fp16", "beyond the model's last");
  check("plan:3.k=xquant-cl:bits=4", "give it both sides");
  check("xquant:bits=4,outlier_channels=192", "nothing to quantize");
  check("xquant-cl:bits=4,source=x,base=latent", "base=full");
  check("xquant-cl:bits=4,delta_axis=channel,residual=4", "delta_axis=token");
  check("kivi:bits=4,residual=33", "multiple of group");
}

} // namespace
} // namespace xqs

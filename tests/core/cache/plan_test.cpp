// SPDX-License-Identifier: Apache-2.0
#include "cache/plan.h"

#include "cache/conditioning.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <unistd.h>

namespace xqs {
namespace {

std::string canonical(const std::string &text) { return PolicySpec::parse(text).canonical(); }

std::string failure(const std::string &text) {
  try {
    PolicySpec::parse(text);
  } catch (const Error &e) {
    return e.what();
  }
  return "no error";
}

TEST(Plan, CanonicalFormIsInOrderOfLayersAndSaysItAll) {
  EXPECT_EQ(canonical("plan:*=fp16;3-29=xquant:group=128,bits=2;0-2=xquant:bits=4"),
            "plan:0-2=xquant:bits=4;3-29=xquant:bits=2;*=fp16");
  EXPECT_EQ(canonical("plan:5.v=kivi-star:bits=4;5.k=kivi-star:bits=2"), "plan:5.k=kivi-star:bits=2;5.v=kivi-star:bits=4");
  EXPECT_EQ(canonical(canonical("plan:0=xquant-cl:bits=2,first_bits=8")), "plan:0=xquant-cl:bits=2,first_bits=8");
}

TEST(Plan, FilesGiveTheSameAsTheInlineForm) {
  const auto file = std::filesystem::temp_directory_path() / ("xqscope-plan-" + std::to_string(getpid()));
  const auto read = [&](const std::string &content) {
    std::ofstream(file) << content;
    return canonical("plan:@" + file.string());
  };
  EXPECT_EQ(read(R"({"layers": {"3-29": {"k": "kivi-star:bits=2", "v": "kivi-star:bits=4"}, "0-2": "xquant:bits=4"}})"),
            "plan:0-2=xquant:bits=4;3-29.k=kivi-star:bits=2;3-29.v=kivi-star:bits=4");
  EXPECT_EQ(read("# two lines\n0-2  xquant:bits=4,group=64\n\n*\tfp16 # the rest\n"),
            "plan:0-2=xquant:bits=4,group=64;*=fp16");
  std::ofstream(file) << "0 plan:@" << file.string();
  EXPECT_THAT(failure("plan:@" + file.string()), testing::HasSubstr("plan inside a plan")); // not read for ever
  const PolicySpec plan = PolicySpec::parse("plan:0-2=xquant:bits=4;3.k=kivi-star:bits=2;3.v=xquant:bits=3");
  EXPECT_EQ(read(planFile(plan)), plan.canonical());
  std::filesystem::remove(file);
}

TEST(Plan, MistakesAreToldInOneSentence) {
  using testing::HasSubstr;
  EXPECT_THAT(failure("plan"), HasSubstr("names no layers"));
  EXPECT_THAT(failure("plan:"), HasSubstr("names no layers"));
  EXPECT_THAT(failure("plan:3"), HasSubstr("not LAYERS=POLICY"));
  EXPECT_THAT(failure("plan:x=fp16"), HasSubstr("'x' is no layer"));
  EXPECT_THAT(failure("plan:5-3=fp16"), HasSubstr("ends before it begins"));
  EXPECT_THAT(failure("plan:0-5=fp16;4.k=kivi-star:bits=2"), HasSubstr("overlap"));
  EXPECT_THAT(failure("plan:*=fp16;*=fp16"), HasSubstr("overlap"));
  EXPECT_THAT(failure("plan:0=xquant:bits=5"), HasSubstr("bits cannot be '5'"));
  EXPECT_THAT(failure("plan:0=xquant:bits=4,first_layers=2"), HasSubstr("first_layers"));
  EXPECT_THAT(failure("plan:0=plan:1=fp16"), HasSubstr("plan inside a plan"));
  EXPECT_THAT(failure("plan:@/nowhere/plan.json"), HasSubstr("no such file"));
  EXPECT_THAT(failure("plan:@/dev/zero"), HasSubstr("is a device, not a file"));
}

TEST(Plan, OfLayersJoinsNeighbours) {
  const PolicySpec two = PolicySpec::parse("xquant:bits=2"), four = PolicySpec::parse("xquant:bits=4");
  EXPECT_EQ(planOfLayers(std::vector<LayerPolicies>{{four, four}, {four, four}, {two, two}, {four, four}}).canonical(),
            "plan:0-1=xquant:bits=4;2=xquant:bits=2;3=xquant:bits=4");
  const PolicySpec k = PolicySpec::parse("kivi-star:bits=2");
  const PolicySpec apart = planOfLayers(std::vector<LayerPolicies>{{four, four}, {k, four}, {k, two}});
  EXPECT_EQ(apart.canonical(), "plan:0=xquant:bits=4;1-2.k=kivi-star:bits=2;1.v=xquant:bits=4;2.v=xquant:bits=2");
  EXPECT_EQ(PolicySpec::parse(apart.canonical()).canonical(), apart.canonical());
}

TEST(Rotation, IsOrthogonalAtEveryWidth) {
  for (const auto kind : {Conditioning::Rotate::Hadamard, Conditioning::Rotate::Random})
    for (const Index n : {1, 2, 7, 64, 96, 192, 576}) {
      const std::vector<float> t = rotation(kind, n);
      double worst = 0;
      for (Index a = 0; a < n; ++a)
        for (Index b = 0; b < n; ++b) {
          double dot = 0;
          for (Index c = 0; c < n; ++c)
            dot += double(t[static_cast<std::size_t>(a * n + c)]) * double(t[static_cast<std::size_t>(b * n + c)]);
          worst = std::max(worst, std::abs(dot - (a == b)));
        }
      EXPECT_LT(worst, 1e-6) << n; // FP32 storage of unit rows
    }
}

TEST(Rotation, SpreadsOneChannelOverTheWholeRow) {
  for (const Index n : {64, 576, 192}) {
    const std::vector<float> t = rotation(Conditioning::Rotate::Hadamard, n);
    for (Index c = 0; c < n; ++c) {
      float largest = 0;
      for (Index r = 0; r < n; ++r) largest = std::max(largest, std::abs(t[static_cast<std::size_t>(r * n + c)]));
      EXPECT_LT(largest, 1.5 / std::sqrt(static_cast<double>(n))) << n;
    }
  }
}

} // namespace
} // namespace xqs

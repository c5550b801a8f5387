// SPDX-License-Identifier: Apache-2.0
#include "cache/work.h"

#include <gtest/gtest.h>

namespace xqs {
namespace {

// arXiv 2508.10395 sec. 3.4, a layer and token, multiply-add = 2 FLOPs.
TEST(CacheWork, RebuildingCostsWhatThePaperCounts) {
  const ModelShape mha{10, 512, 8, 8, 64}, gqa{10, 512, 8, 2, 64};
  const auto flops = [](const char *policy, const ModelShape &shape) {
    return 2 * cacheWork(PolicySpec::parse(policy), shape).rebuildMacs / shape.layers;
  };
  const Index d = 512, g = 4;
  EXPECT_EQ(flops("xquant:bits=2", mha), 4 * d * d);
  EXPECT_EQ(flops("xquant:bits=2", gqa), 4 * (d / g) * (d / g));
  EXPECT_EQ(flops("xquant-cl:bits=2,first_layers=0,base=latent", gqa), 8 * (d / g) * d);
  EXPECT_EQ(flops("kivi-star:bits=2", gqa), 0);
  EXPECT_EQ(flops("fp16", gqa), 0);
}

TEST(CacheWork, StoringATokenCostsProjectionsAndConditioning) {
  const ModelShape gqa{10, 512, 8, 2, 64};
  const auto macs = [&](const char *policy) { return cacheWork(PolicySpec::parse(policy), gqa).storeMacs / gqa.layers; };
  const Index d = 512, dkv = 128;
  EXPECT_EQ(macs("fp16"), 2 * d * dkv);
  EXPECT_EQ(macs("kivi-star:bits=2"), 2 * d * dkv);
  EXPECT_EQ(macs("kivi-star:bits=2,rotate=hadamard"), 2 * d * dkv + 2 * dkv * dkv);
  EXPECT_EQ(macs("xquant:bits=2,source=latent"), 2 * d * dkv);
  EXPECT_EQ(macs("xquant:bits=2,source=latent,rotate=hadamard"), 2 * d * dkv); // folded into U
  EXPECT_EQ(macs("xquant:bits=2,source=x"), 0);
  EXPECT_EQ(macs("xquant:bits=2,source=x,rotate=hadamard,outlier_channels=8"), (d + 8) * d);
  // A rotated X is rebuilt through maps that are 8 channels wider.
  EXPECT_EQ(cacheWork(PolicySpec::parse("xquant:bits=2,source=x,rotate=hadamard,outlier_channels=8"), gqa).rebuildMacs,
            10 * 2 * (d + 8) * dkv);
  // Half of a plan costs half.
  EXPECT_EQ(cacheWork(PolicySpec::parse("plan:0-4=xquant:bits=2,source=x"), gqa).storeMacs, 5 * 2 * d * dkv);
}

} // namespace
} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "run/decode_bench.h"

#include "support/contract_cases.h"
#include "support/refusal.h"

#include <gmock/gmock.h>

#include <cmath>

namespace xqs {
namespace {

DecodeSettings tiny(Index layers) {
  DecodeSettings s;
  s.shape = "smollm2-135m", s.layers = layers, s.context = 64, s.batch = 2, s.steps = 2, s.warmUp = 0, s.traced = 1;
  return s;
}

Index allocated(const Backend &backend) {
  Index sum = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(Purpose::Count); ++i)
    sum += backend.allocated(static_cast<Purpose>(i));
  return sum;
}

TEST(DecodeBench, EveryPolicyIsTimedAndTakesWhatWasPredicted) {
  const auto backend = test::makeBackend(cpuBackendModule(), 0);
  std::vector<PolicySpec> policies;
  for (const std::string &text : test::contractPolicies(false)) policies.push_back(PolicySpec::parse(text));
  const DecodeSettings settings = tiny(5);
  DecodeBench bench(settings, policies, *backend);
  EXPECT_EQ(backend->allocated(Purpose::Weights), weightBytes(bench.config(), DType::F32));
  for (const PolicySpec &policy : policies) {
    SCOPED_TRACE(policy.canonical());
    const DecodeResult r = bench.run(policy);
    EXPECT_EQ(r.policy, policy.canonical());
    EXPECT_EQ(r.measured.cache, r.predicted);
    ASSERT_EQ(r.stepSeconds.size(), 2u);
    EXPECT_NEAR(r.measured.stepSeconds, (r.stepSeconds[0] + r.stepSeconds[1]) / 2, 1e-12);
    EXPECT_LE(r.lowSeconds, r.measured.stepSeconds);
    EXPECT_LE(r.measured.stepSeconds, r.highSeconds);
    EXPECT_EQ(r.measured.tokensPerSecond, 2 / r.measured.stepSeconds);
    EXPECT_EQ(r.measured.countedBytes, r.measured.weightBytes + 2 * r.measured.cache.formatBytes()); // tied
    double sum = 0;
    for (const char *name : {"embedding", "qkv", "cache", "attend", "output projection", "feed forward", "logits"}) {
      EXPECT_GT(r.share(name), 0) << name;
      sum += r.share(name);
    }
    EXPECT_NEAR(sum, 1, 1e-9);
    EXPECT_THAT(r.attentionKernels, testing::Contains("attention"));
    EXPECT_GT(r.scaled.stepSeconds, r.measured.stepSeconds);
  }
  EXPECT_EQ(backend->allocated(Purpose::CacheCodes), 0); // one policy's caches at a time
}

TEST(DecodeBench, MapsAreCountedAsTheyAreAllocated) {
  for (const test::Case &c : test::cases()) {
    test::SmallModel &small = test::modelOf(c.mha);
    const PolicySpec spec = PolicySpec::parse(c.policy);
    const Index before = small.backend->allocated(Purpose::Weights);
    const auto method = prepareMethod(spec, *small.model, small.calibration);
    EXPECT_EQ(small.backend->allocated(Purpose::Weights) - before, mapBytes(spec, small.model->shape())) << c.policy;
  }
}

TEST(DecodeBench, TheWholeDepthIsScaledFromLayersAlone) {
  const auto backend = test::makeBackend(cpuBackendModule(), 0);
  const PolicySpec spec = PolicySpec::parse("xquant:bits=4,first_layers=0");
  const DecodeSettings settings = tiny(1);
  const DecodeResult r = DecodeBench(settings, {spec}, *backend).run(spec);
  const ModelConfig whole = shapeConfig(builtInShape("smollm2-135m"));
  EXPECT_EQ(r.scaled.cache.formatBytes(), 30 * r.measured.cache.formatBytes());
  EXPECT_EQ(r.scaled.weightBytes, weightBytes(whole, DType::F32) + mapBytes(spec, whole.shape));
  EXPECT_LT(r.scaled.stepSeconds, 30 * r.measured.stepSeconds); // logits are there once
  EXPECT_GT(r.scaled.stepSeconds, r.measured.stepSeconds);
}

TEST(DecodeBench, MemoryIsCheckedBeforeItIsTaken) {
  const auto backend = test::makeBackend(cpuBackendModule(), 0);
  const std::vector<PolicySpec> policies = {PolicySpec::parse("xquant:bits=2"), PolicySpec::parse("fp16")};
  DecodeSettings settings = tiny(0);
  settings.shape = "llama-2-7b", settings.context = 1 << 24, settings.batch = 64;
  const DecodeMemory need = decodeMemory(settings, policies, DType::F16);
  EXPECT_EQ(need.policy, "fp16");
  EXPECT_EQ(need.weights, weightBytes(shapeConfig(builtInShape("llama-2-7b")), DType::F16));
  EXPECT_GE(need.caches, 64 * 2 * 32 * 2 * (Index{1} << 24) * 4096);
  try {
    DecodeBench bench(settings, policies, *backend);
    ADD_FAILURE() << "this machine has a petabyte";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::OutOfMemory);
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("GB are needed"), testing::HasSubstr("GB are free on cpu"),
                                             testing::HasSubstr("lower --context, --batch or --layers")));
  }
  EXPECT_EQ(allocated(*backend), 0);
}

TEST(DecodeBench, RefusesWhatDoesNotFitTheShape) {
  const auto backend = test::makeBackend(cpuBackendModule(), 0);
  const auto open = [&](const DecodeSettings &settings, const char *policy) {
    return test::usageMessageOf([&] { DecodeBench(settings, {PolicySpec::parse(policy)}, *backend); });
  };
  DecodeSettings none = tiny(0);
  none.shape = "gpt-2";
  EXPECT_THAT(open(none, "fp16"), testing::HasSubstr("no shape is called 'gpt-2'"));
  EXPECT_THAT(open(tiny(31), "fp16"), testing::HasSubstr("from 1 to 30"));
  EXPECT_THAT(open(tiny(1), "low-rank:rank=4096"), testing::HasSubstr("rank=4096 is above"));
  EXPECT_EQ(allocated(*backend), 0);
}

} // namespace
} // namespace xqs

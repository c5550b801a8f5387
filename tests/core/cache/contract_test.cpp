// SPDX-License-Identifier: Apache-2.0
// What every policy must hold, whatever its method: a new line in the registry is covered by a line in contractPolicies().
#include "engine/evaluate.h"
#include "engine/generate.h"
#include "support/contract_cases.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

namespace xqs {
namespace {

using test::Case;
using test::cases;
using test::modelOf;
using test::SmallModel;

/// Those whose bits can be set lower and higher.
std::vector<Case> quantizedCases() {
  std::vector<Case> all = cases();
  std::erase_if(all, [](const Case &c) {
    const PolicySpec spec = PolicySpec::parse(c.policy);
    return !spec.has("bits") || spec.integer("bits") > 4;
  });
  return all;
}

class PolicyContract : public testing::TestWithParam<Case> {
protected:
  SmallModel &m = modelOf(GetParam().mha);
  PolicySpec spec = PolicySpec::parse(GetParam().policy);
  std::unique_ptr<Method> method = prepareMethod(spec, *m.model, m.calibration);

  Index allocatedCacheBytes() const {
    Index sum = 0;
    for (const Purpose p : {Purpose::CacheCodes, Purpose::CacheScales, Purpose::CacheOutliers, Purpose::CacheExact})
      sum += m.backend->allocated(p);
    return sum;
  }
  /// Final hidden states of `tokens` fed in steps of the given sizes.
  std::vector<float> hiddenStates(const std::vector<TokenId> &tokens, std::vector<Index> steps, State state,
                                  CacheBytes *bytes = nullptr) {
    Engine engine(*m.model);
    const auto n = static_cast<Index>(tokens.size());
    const auto cache = method->makeCache({n, *std::max_element(steps.begin(), steps.end()), state});
    std::vector<float> all;
    Index first = 0;
    for (const Index count : steps) {
      Lane lane;
      lane.cache = cache.get();
      engine.step({&lane, 1}, std::span(tokens).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
      const std::vector<float> part = test::values(engine.hidden(0));
      all.insert(all.end(), part.begin(), part.end());
      first += count;
    }
    EXPECT_EQ(first, n);
    if (bytes != nullptr) *bytes = cache->bytes();
    return all;
  }
};

TEST_P(PolicyContract, FootprintIsWhatTheCacheHoldsAndTheAllocatorCounted) {
  for (const State state : {State::All, State::Stream}) {
    for (const Index tokens : {1, 31, 32, 33, 127, 128, 150}) {
      SCOPED_TRACE(std::string(stateName(state)) + " " + std::to_string(tokens));
      const Index cacheBefore = allocatedCacheBytes();
      const Index sumBefore = m.backend->allocated(Purpose::Accumulator);
      const CacheBytes predicted = footprint(spec, m.model->shape(), tokens, state);
      Engine engine(*m.model);
      const auto cache = method->makeCache({tokens, tokens, state});
      Lane lane;
      lane.cache = cache.get();
      engine.step({&lane, 1}, test::randomTokens(tokens, 256));
      const CacheBytes held = cache->bytes();
      EXPECT_EQ(held.codes, predicted.codes);
      EXPECT_EQ(held.scales, predicted.scales);
      EXPECT_EQ(held.outliers, predicted.outliers);
      EXPECT_EQ(held.residual, predicted.residual);
      EXPECT_EQ(held.allocated, predicted.allocated);
      EXPECT_EQ(held.accumulator, predicted.accumulator);
      EXPECT_EQ(held.scratch, predicted.scratch);
      EXPECT_EQ(allocatedCacheBytes() - cacheBefore, predicted.allocated + predicted.scratch);
      EXPECT_EQ(m.backend->allocated(Purpose::Accumulator) - sumBefore, predicted.accumulator);
      EXPECT_TRUE(state == State::Stream || predicted.allocated * 8 >= predicted.formatBits());
    }
  }
}

TEST_P(PolicyContract, StreamInOnePassEqualsChunksAndTokenByTokenDecodingBitForBit) {
  const std::vector<TokenId> tokens = test::randomTokens(150, 256, 3);
  const std::vector<float> onePass = hiddenStates(tokens, {150}, State::Stream);
  EXPECT_EQ(onePass, hiddenStates(tokens, {1, 40, 7, 64, 38}, State::Stream));
  EXPECT_EQ(onePass, hiddenStates(tokens, std::vector<Index>(150, 1), State::Stream));
  EXPECT_EQ(onePass, hiddenStates(tokens, {37, 1, 1, 111}, State::Stream));
}

TEST_P(PolicyContract, RebuildsFromItsPackedBytesAlone) {
  const Index n = 70;
  const std::vector<TokenId> tokens = test::randomTokens(n, 256, 5);
  ExactTrace trace(*m.model, n);
  WindowEvaluator evaluator(*m.model, State::All);
  evaluator.exact(tokens, &trace);
  const auto cache = method->makeCache({n, n, State::All});
  const Index dkv = m.model->shape().dkv();
  const Buffer before = m.backend->allocate(n * dkv * 4, Purpose::Scratch),
               after = m.backend->allocate(n * dkv * 4, Purpose::Scratch);
  cache->beginStep(0, n);
  for (Index layer = 0; layer < m.model->shape().layers; ++layer) {
    cache->append(layer, trace.input(layer));
    cache->advance(layer);
    for (const Side side : {Side::K, Side::V}) {
      cache->rebuild(layer, side, Version::Stored, {0, n}, before.f32(n, dkv));
      for (const View original :
           {trace.residual(layer), trace.normed(layer), trace.k(layer), trace.kRope(layer), trace.v(layer)}) {
        if (side == Side::V) break; // poisoned already
        for (Index r = 0; r < n; ++r) std::fill_n(original.row(r), original.cols, std::numeric_limits<float>::quiet_NaN());
      }
      cache->rebuild(layer, side, Version::Stored, {0, n}, after.f32(n, dkv));
      const std::vector<float> rebuilt = test::values(after.f32(n, dkv));
      EXPECT_EQ(test::values(before.f32(n, dkv)), rebuilt);
      EXPECT_TRUE(std::all_of(rebuilt.begin(), rebuilt.end(), [](float x) { return std::isfinite(x); }));
      // Any range gives the same rows: rebuild is idempotent and needs no order.
      cache->rebuild(layer, side, Version::Stored, {33, 66}, before.f32(33, dkv));
      EXPECT_EQ(test::values(before.f32(33, dkv)), test::values(after.f32(n, dkv).rowRange(33, 33)));
    }
  }
  cache->endStep();
}

TEST_P(PolicyContract, GrowsByTheLedgersBytes) {
  const std::vector<TokenId> tokens = test::randomTokens(700, 256, 21);
  const CacheSize size{40, 300, State::Stream};
  const Index before = allocatedCacheBytes(), sumBefore = m.backend->allocated(Purpose::Accumulator);
  const auto cache = method->makeCache(size);
  Engine engine(*m.model);
  Lane lane;
  lane.cache = cache.get();
  std::size_t first = 0;
  for (const Index count : {40, 1, 300, 1, 300, 58}) {
    engine.step({&lane, 1}, std::span(tokens).subspan(first, static_cast<std::size_t>(count)));
    first += static_cast<std::size_t>(count);
    const CacheBytes predicted = footprint(cacheLayout(spec, m.model->shape()), cache->tokens(), size);
    EXPECT_EQ(cache->bytes(), predicted) << cache->tokens();
    EXPECT_EQ(allocatedCacheBytes() - before, predicted.allocated + predicted.scratch) << cache->tokens();
    EXPECT_EQ(m.backend->allocated(Purpose::Accumulator) - sumBefore, predicted.accumulator) << cache->tokens();
  }
}

TEST_P(PolicyContract, GreedyDecodingChoosesWhatStreamTeacherForcingChooses) {
  constexpr Index kPrompt = 300, kNew = 200;
  std::vector<TokenId> tokens = test::randomTokens(kPrompt, 256, 41);
  const Method *one = method.get();
  Generator generator(*m.model, {&one, 1}, tokens, {});
  while (std::ssize(generator.sequences().front().tokens) < kNew) ASSERT_TRUE(generator.step());
  const std::vector<TokenId> &generated = generator.sequences().front().tokens;
  tokens.insert(tokens.end(), generated.begin(), generated.end() - 1);

  const auto cache = method->makeCache({std::ssize(tokens), std::ssize(tokens), State::Stream});
  Engine engine(*m.model);
  Lane lane;
  lane.cache = cache.get();
  engine.step({&lane, 1}, tokens);
  const Buffer buffer = m.backend->allocate(kNew * 256 * 4, Purpose::Scratch);
  const View logits = buffer.f32(kNew, 256);
  engine.logits(engine.hidden(0).rowRange(kPrompt - 1, kNew), logits);
  for (Index i = 0; i < kNew; ++i)
    ASSERT_EQ(std::max_element(logits.row(i), logits.row(i) + 256) - logits.row(i), generated[static_cast<std::size_t>(i)])
        << i;
}

class QuantizedPolicy : public PolicyContract {};

TEST_P(QuantizedPolicy, ErrorsShrinkWithBits) {
  const std::vector<TokenId> tokens = test::randomTokens(96, 256, 9);
  ExactTrace trace(*m.model, 96);
  WindowEvaluator(*m.model, State::All).exact(tokens, &trace);
  const auto sumOfErrors = [&](const char *bits) {
    const auto wide = prepareMethod(spec.with("bits", bits), *m.model, m.calibration);
    double sum = 0;
    for (const LayerError &e : openLoop(*wide, trace, State::All)) sum += e.k + e.v;
    return sum;
  };
  const double at2 = sumOfErrors("2"), at4 = sumOfErrors("4"), at8 = sumOfErrors("8");
  if (spec.integer("first_layers") >= m.model->shape().layers) {
    EXPECT_EQ(at2, at8); // every layer is a first layer
  } else {
    EXPECT_LT(at4, at2);
    EXPECT_LT(at8, at4);
  }
}

INSTANTIATE_TEST_SUITE_P(All, PolicyContract, testing::ValuesIn(cases()));
INSTANTIATE_TEST_SUITE_P(All, QuantizedPolicy, testing::ValuesIn(quantizedCases()));

/// Largest relative Frobenius error of K or V over layers, open loop.
double worstError(SmallModel &m, const std::string &policy, State state) {
  const auto method = prepareMethod(PolicySpec::parse(policy), *m.model, m.calibration);
  ExactTrace trace(*m.model, 100);
  WindowEvaluator(*m.model, State::All).exact(test::randomTokens(100, 256, 11), &trace);
  double worst = 0;
  for (const LayerError &e : openLoop(*method, trace, state)) worst = std::max({worst, e.k, e.v});
  return worst;
}

TEST(Identity, WithoutQuantizationEveryMethodGivesKAndVBack) {
  // Q = identity up to FP16 storage: 2^-11 an element, times what the rebuild's sum can amplify on these weights.
  for (const bool mha : {false, true}) {
    SmallModel &m = modelOf(mha);
    for (const char *policy :
         {"fp16", "kivi:bits=16,first_bits=16", "kivi-star:bits=16,first_bits=16", "xquant:bits=16,first_bits=16,source=x",
          "xquant:bits=16,first_bits=16,source=latent", "xquant-cl:bits=16,first_bits=16,source=x",
          "xquant-cl:bits=16,first_bits=16,source=x,domain=residual", "xquant-cl:bits=16,first_bits=16,source=latent",
          "xquant-cl:bits=16,first_bits=16,source=latent,delta_axis=channel",
          "xquant-cl:bits=16,first_bits=16,source=x,first_layers=0",
          "xquant-cl:bits=16,first_bits=16,source=x,accumulator=fp16"}) {
      EXPECT_LT(worstError(m, policy, State::All), 3e-3) << policy << (mha ? " MHA" : " GQA");
    }
  }
}

TEST(Identity, ConditioningAloneLosesNothing) {
  // 8 bits in groups of 8 are close to no quantization; each step of conditioning must not add to that error.
  for (const bool mha : {false, true})
    for (const char *policy :
         {"kivi-star:bits=8,first_bits=8,group=8", "xquant:bits=8,first_bits=8,group=8,source=x",
          "xquant:bits=8,first_bits=8,group=8,source=latent", "xquant-cl:bits=8,first_bits=8,group=8,source=x",
          "xquant-cl:bits=8,first_bits=8,group=8,source=x,domain=residual",
          "xquant-cl:bits=8,first_bits=8,group=8,source=latent"}) {
      SmallModel &m = modelOf(mha);
      const double plain = worstError(m, policy, State::All);
      for (const char *settings : {",outlier_channels=3", ",outlier_channels=3,outlier_source=weights", ",rotate=hadamard",
                                   ",rotate=random,outlier_channels=2", ",center=on", ",sink_tokens=4",
                                   ",center=on,rotate=hadamard,outlier_channels=3,sink_tokens=2"})
        EXPECT_LT(worstError(m, std::string(policy) + settings, State::All), 1.5 * plain + 1e-3)
            << policy << settings << (mha ? " MHA" : " GQA");
    }
}

TEST(Captures, ShowTheRowsThatVComesFromUnderAnyConditioning) {
  // V = X^ Wv^T (or X^Uv times its small matrices): what is shown as X must give the V that attention reads, up to rounding.
  for (const char *policy :
       {"xquant:bits=3,first_bits=3,group=8,source=x", "xquant:bits=3,first_bits=3,group=8,source=latent"})
    for (const char *settings : {"", ",outlier_channels=3", ",rotate=hadamard", ",rotate=random,outlier_channels=2",
                                 ",center=on", ",center=on,rotate=hadamard,outlier_channels=3,sink_tokens=2"}) {
      SmallModel &m = modelOf(false);
      const bool latent = std::string(policy).ends_with("latent");
      const auto method = prepareMethod(PolicySpec::parse(std::string(policy) + settings), *m.model, m.calibration);
      constexpr Index kTokens = 70;
      ExactTrace trace(*m.model, kTokens);
      WindowEvaluator(*m.model, State::All).exact(test::randomTokens(kTokens, 256, 11), &trace);
      const ModelShape &shape = m.model->shape();
      const Index width = latent ? shape.dkv() : shape.d;
      Buffer rows = m.backend->allocate(kTokens * width * 4, Purpose::Scratch);
      Buffer sides = m.backend->allocate(2 * kTokens * shape.dkv() * 4, Purpose::Scratch);
      Buffer small = m.backend->allocate(shape.dkv() * width * 4, Purpose::Scratch);
      const View expected = sides.f32(2 * kTokens, shape.dkv()).rowRange(0, kTokens);
      const View actual = sides.f32(2 * kTokens, shape.dkv()).rowRange(kTokens, kTokens);
      openLoop(*method, trace, State::All, [&](Index layer, const Cache &cache) {
        ASSERT_TRUE(cache.reconstruct(layer, latent ? Site::LatentV : Site::X, {0, kTokens}, rows.f32(kTokens, width)))
            << policy << settings;
        ConstView map = m.model->layer(layer).wv;
        if (latent) {
          const std::vector<float> back = m.calibration.svd(SvdOf::Wv, layer).bTimesS(width);
          m.backend->upload(Queue::Compute, small.data(), back.data(), small.bytes());
          map = small.f32(shape.dkv(), width);
        }
        m.backend->matmul(Queue::Compute, rows.f32(kTokens, width), map, actual);
        cache.rebuild(layer, Side::V, Version::Stored, {0, kTokens}, expected);
        ErrorSums sums;
        m.backend->compare(Queue::Compute, expected, actual, sums);
        EXPECT_LT(std::sqrt(sums.errorSquares / sums.exactSquares), 1e-5) << policy << settings << " layer " << layer;
        if (!latent) return;
        // K is rotated by RoPE: its latent is held against the exact one, from which another basis would be a whole away.
        const std::vector<float> u = m.calibration.svd(SvdOf::Wk, layer).uTransposed(width);
        Buffer ut = m.backend->allocate(std::ssize(u) * 4, Purpose::Scratch);
        m.backend->upload(Queue::Compute, ut.data(), u.data(), ut.bytes());
        m.backend->matmul(Queue::Compute, trace.normed(layer), ut.f32(width, shape.d), actual);
        ASSERT_TRUE(cache.reconstruct(layer, Site::LatentK, {0, kTokens}, rows.f32(kTokens, width)));
        ErrorSums latentSums;
        m.backend->compare(Queue::Compute, actual, rows.f32(kTokens, width), latentSums);
        EXPECT_LT(std::sqrt(latentSums.errorSquares / latentSums.exactSquares), 0.4)
            << policy << settings << " layer " << layer;
      });
    }
}

/// Attention output of one step of `queries` tokens behind a prefix, in a given form.
std::vector<float> attended(SmallModel &m, const std::string &policy, AttendForm form, Index queries) {
  const auto method = prepareMethod(PolicySpec::parse(policy), *m.model, m.calibration);
  const auto cache = method->makeCache({64, 600, State::Stream});
  cache->setAttendForm(form);
  Engine engine(*m.model);
  Lane lane;
  lane.cache = cache.get();
  const std::vector<TokenId> tokens = test::randomTokens(560 + queries, 256, 23);
  engine.step({&lane, 1}, std::span(tokens).first(560));
  engine.step({&lane, 1}, std::span(tokens).subspan(560));
  return test::values(engine.hidden(0));
}

TEST(Absorbed, EqualsTheRebuiltFormWithinRounding) {
  SmallModel gqa(test::kGqaModel), withoutRope(std::string(test::kGqaModel) + ",rope=0");
  for (SmallModel *m : {&gqa, &withoutRope}) // without RoPE K is absorbed too
    for (const char *policy : {"xquant:bits=4,group=32,source=x", "xquant:bits=3,group=32", "low-rank:rank=16",
                               "xquant:bits=3,group=32,source=x,outlier_channels=3,rotate=hadamard,center=on,sink_tokens=2",
                               "xquant-cl:bits=3,group=32,source=x", "xquant-cl:bits=3,group=32,domain=residual,source=x"})
      for (const Index queries : {1, 5}) {
        const std::vector<float> rebuilt = attended(*m, policy, AttendForm::Rebuilt, queries);
        const std::vector<float> absorbed = attended(*m, policy, AttendForm::Absorbed, queries);
        EXPECT_NE(rebuilt, absorbed) << policy; // else nothing was absorbed
        double error = 0, size = 0;
        for (std::size_t i = 0; i < rebuilt.size(); ++i) {
          error += std::pow(rebuilt[i] - absorbed[i], 2);
          size += std::pow(rebuilt[i], 2);
        }
        // A code may lie on a tie in a later layer, so not every element is equal to rounding; their norm is.
        EXPECT_LT(std::sqrt(error / size), 2e-3) << policy << ", " << queries << " queries";
      }
}

TEST(Plans, AreTheMethodsTheyName) {
  SmallModel &m = modelOf(false);
  const std::vector<std::pair<std::string, std::string>> equal = {
      {"plan:*=xquant:bits=3,group=32", "xquant:bits=3,group=32,first_layers=0"},
      {"plan:*.v=kivi-star:bits=3,group=32;*.k=kivi-star:bits=3,group=32", "kivi-star:bits=3,group=32,first_layers=0"},
      {"plan:0-4=xquant-cl:bits=2,group=32,source=x", "xquant-cl:bits=2,group=32,source=x,first_layers=1"},
      {"plan:0-1=xquant:bits=4,group=32,source=x;2-4=xquant-cl:bits=2,group=32,source=x",
       "xquant-cl:bits=2,group=32,source=x"},
      {"plan:7=fp16", ""}};
  const std::vector<TokenId> tokens = test::randomTokens(96, 256, 31);
  ExactTrace trace(*m.model, 96);
  WindowEvaluator(*m.model, State::All).exact(tokens, &trace);
  const auto errors = [&](const std::string &policy) {
    std::vector<double> all;
    for (const LayerError &e :
         openLoop(*prepareMethod(PolicySpec::parse(policy), *m.model, m.calibration), trace, State::All))
      all.insert(all.end(), {e.k, e.v});
    return all;
  };
  for (const auto &[plan, policy] : equal) {
    if (policy.empty()) {
      EXPECT_THROW(cacheLayout(PolicySpec::parse(plan), m.model->shape()), Error);
      continue;
    }
    EXPECT_EQ(errors(plan), errors(policy)) << plan;
    EXPECT_EQ(footprint(PolicySpec::parse(plan), m.model->shape(), 96, State::All).formatBits(),
              footprint(PolicySpec::parse(policy), m.model->shape(), 96, State::All).formatBits());
  }
}

TEST(Identity, FullRankLowRankIsExact) {
  EXPECT_LT(worstError(modelOf(false), "low-rank:rank=32", State::All), 1e-3);
  EXPECT_LT(worstError(modelOf(true), "low-rank:rank=64", State::All), 1e-3);
}

TEST(Identity, LatentDeltasInTheResidualDomainLoseWhatTheNormNeeds) {
  // The norm needs the whole X, which a latent narrower than d does not hold (findings.md 3).
  const char *policy = "xquant-cl:bits=16,first_bits=16,source=latent,domain=residual,base=latent";
  SmallModel narrow("synthetic:layers=5,d=64,heads=4,kv_heads=1,head_dim=16,ffn=96,vocab=256,seed=7");
  EXPECT_GT(worstError(narrow, policy, State::All), 1e-2);
  EXPECT_LT(worstError(narrow, "xquant-cl:bits=16,first_bits=16,source=latent,base=latent", State::All), 3e-3);
}

TEST(Threads, TheFastBackendGivesTheSameBitsForAnyThreadCount) {
  const std::vector<TokenId> tokens = test::randomTokens(140, 256, 13);
  for (const char *policy :
       {"fp16", "kivi:bits=2", "xquant:bits=3,group=32", "xquant-cl:bits=2,group=32,source=x,domain=residual"}) {
    std::vector<std::vector<double>> results;
    for (const int threads : {1, 2, 3}) {
      SmallModel m(test::kGqaModel, cpuBackendModule(), threads);
      const auto method = prepareMethod(PolicySpec::parse(policy), *m.model, m.calibration);
      WindowEvaluator evaluator(*m.model, State::Stream);
      const WindowScore exact = evaluator.exact(tokens);
      const Method *one = method.get();
      const WindowScore score = evaluator.run({&one, 1}).front().score;
      results.push_back({exact.meanNll, score.meanNll, score.meanKl, score.top1});
    }
    EXPECT_EQ(results[0], results[1]) << policy;
    EXPECT_EQ(results[0], results[2]) << policy;
  }
}

TEST(SyntheticModel, AWeakerResidualConnectionMakesNeighbouringLayersLessAlike) {
  const auto neighbours = [](const char *strength) {
    SmallModel m(std::string(test::kGqaModel) + ",residual=" + strength);
    ExactTrace trace(*m.model, 40);
    WindowEvaluator(*m.model, State::All).exact(test::randomTokens(40, 256, 19), &trace);
    const std::vector<float> cosine = layerSimilarity(trace, *m.model, Site::Residual);
    const auto layers = static_cast<std::size_t>(m.model->shape().layers);
    double sum = 0;
    for (std::size_t i = 0; i + 1 < layers; ++i) sum += cosine[i * layers + i + 1];
    return sum / static_cast<double>(layers - 1);
  };
  const double full = neighbours("1"), half = neighbours("0.5"), none = neighbours("0");
  EXPECT_GT(full, half);
  EXPECT_GT(half, none);
}

TEST(Lanes, SideBySideEqualsOneByOneOnTheReferenceBackend) {
  SmallModel &m = modelOf(false);
  const std::vector<TokenId> tokens = test::randomTokens(60, 256, 17);
  std::vector<std::unique_ptr<Method>> methods;
  std::vector<const Method *> pointers;
  for (const char *policy : {"fp16", "xquant:bits=2,group=32", "xquant-cl:bits=2,group=32"}) {
    methods.push_back(prepareMethod(PolicySpec::parse(policy), *m.model, m.calibration));
    pointers.push_back(methods.back().get());
  }
  WindowEvaluator evaluator(*m.model, State::All);
  evaluator.exact(tokens);
  const auto together = evaluator.run(pointers);
  for (std::size_t i = 0; i < pointers.size(); ++i)
    EXPECT_EQ(together[i].score.meanNll, evaluator.run({&pointers[i], 1}).front().score.meanNll);
}

} // namespace
} // namespace xqs

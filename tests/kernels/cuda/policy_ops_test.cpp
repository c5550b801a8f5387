// SPDX-License-Identifier: Apache-2.0
// Every policy on the CUDA backend: the same method code, so what the reference gives within rounding; decoding in every
// form gives what one pass gives.
#include "cuda_test.h"
#include "model/matrices.h"
#include "support/contract_cases.h"

#include <map>

namespace xqs::test {
namespace {

/// A model whose matrices are those that a backend with FP16 weights keeps.
class HalfReader final : public ModelReader {
public:
  explicit HalfReader(const std::string &location) : m_reader(openModel(location)) {}
  const ModelConfig &config() const override { return m_reader->config(); }
  std::shared_ptr<const Tokenizer> tokenizer() const override { return m_reader->tokenizer(); }
  const std::string &hash() const override { return m_reader->hash(); }
  void read(Weight weight, Index layer, std::span<float> out) const override {
    m_reader->read(weight, layer, out);
    if (weight == Weight::OutputNorm || weight == Weight::AttentionNorm || weight == Weight::FfnNorm) return;
    for (float &x : out) x = toFloat(toHalf(x));
  }

private:
  std::unique_ptr<ModelReader> m_reader;
};

constexpr Index kTokens = kEmulated ? 68 : 300; ///< groups of 32 close on the way

class CudaPolicies : public CudaTest, public testing::WithParamInterface<Case> {
protected:
  static void TearDownTestSuite() {
    s_models.clear();
    CudaTest::TearDownTestSuite();
  }
  static SmallModel &model(const XqsBackendModule *module) {
    auto &slot = s_models[{module, GetParam().mha}];
    if (!slot) slot = std::make_unique<SmallModel>(HalfReader(GetParam().mha ? kMhaModel : kGqaModel), module);
    return *slot;
  }
  SmallModel &cuda() { return model(s_module); }
  SmallModel &reference() { return model(referenceBackendModule()); }
  std::unique_ptr<Method> method(SmallModel &m) {
    return prepareMethod(PolicySpec::parse(GetParam().policy), *m.model, m.calibration);
  }

  /// What every layer's attention gives for the last of kTokens tokens, whose rows are random and the same each time.
  std::vector<std::vector<float>> attended(const Method &method, Rebuild rebuild, Placement placement = Placement::Device) {
    const Model &m = method.model();
    Backend &backend = m.backend();
    const ModelShape &shape = m.shape();
    const HostMatrix<float> host = randomMatrix(kTokens, shape.d, shape.d, 17);
    const Buffer rows = toDevice(host.values, backend), q = toDevice(randomMatrix(1, shape.d, shape.d, 18).values, backend),
                 out = backend.allocate(shape.d * 4, Purpose::Activations);
    const auto cache = method.makeCache({40, kTokens, State::Stream, placement});
    cache->setRebuild(rebuild);
    std::vector<std::vector<float>> all;
    const auto step = [&](Index count, bool attend) {
      const Index first = cache->tokens();
      cache->beginStep(first, count);
      for (Index layer = 0; layer < shape.layers; ++layer) {
        if (layer == 0) cache->prefetch(0);
        if (layer + 1 < shape.layers) cache->prefetch(layer + 1);
        const View x = rows.f32(kTokens, shape.d).rowRange(first, count);
        const View kv = x.colRange(0, shape.dkv());
        cache->append(layer, {x, x, kv, kv, kv});
        cache->advance(layer);
        if (!attend) continue;
        cache->attend(layer, q.f32(1, shape.d), out.f32(1, shape.d));
        all.push_back(downloadMatrix(backend, out.f32(1, shape.d)));
      }
      cache->endStep();
    };
    for (const Index count : {Index{31}, Index{1}, kTokens - 33}) step(count, false);
    step(1, true);
    return all;
  }

  static inline std::map<std::pair<const XqsBackendModule *, bool>, std::unique_ptr<SmallModel>> s_models;
};

/// ||a - b|| / ||b||.
double relativeDistance(const std::vector<float> &a, const std::vector<float> &b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

/// Errors of K and V, layer by layer, of one window: codes next to a tie may differ, which moves an error by less than the 2
/// % that separate independent implementations.
TEST_P(CudaPolicies, LayerErrorsAreTheReferences) {
  const std::vector<TokenId> tokens = randomTokens(kTokens, 256, 9);
  const auto errors = [&](SmallModel &m) {
    ExactTrace trace(*m.model, kTokens);
    WindowEvaluator(*m.model, State::All).exact(tokens, &trace);
    return openLoop(*method(m), trace, State::All);
  };
  const auto expected = errors(reference()), actual = errors(cuda());
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i].k, expected[i].k, 0.02 * expected[i].k + 1e-6) << "layer " << i;
    EXPECT_NEAR(actual[i].v, expected[i].v, 0.02 * expected[i].v + 1e-6) << "layer " << i;
  }
}

/// The same stored rows in every form of attention. Fused, what is read is rounded to FP16 (2^-11 of a value) before its
/// product, and softmax weighs such errors of scores with their size (up to about 10 here).
TEST_P(CudaPolicies, EveryFormOfAttentionGivesTheSame) {
  const auto prepared = method(cuda());
  const auto chunks = attended(*prepared, Rebuild::Chunks);
  for (const Rebuild rebuild : {Rebuild::Fused, Rebuild::Ahead}) {
    const auto other = attended(*prepared, rebuild);
    for (std::size_t layer = 0; layer < chunks.size(); ++layer)
      EXPECT_LT(relativeDistance(other[layer], chunks[layer]), 5e-3) << static_cast<int>(rebuild) << ", layer " << layer;
  }
}

/// The same values, wherever they come from. Where rows are rebuilt, those that were copied ahead and the others are two
/// products, and a product of few rows may sum in another order.
TEST_P(CudaPolicies, ACacheInTheHostsMemoryGivesTheSame) {
  const auto prepared = method(cuda());
  for (const Rebuild rebuild : {Rebuild::Fused, Rebuild::Chunks, Rebuild::Ahead}) {
    const auto host = attended(*prepared, rebuild, Placement::Host), device = attended(*prepared, rebuild);
    for (std::size_t layer = 0; layer < device.size(); ++layer)
      EXPECT_LT(relativeDistance(host[layer], device[layer]), 1e-5) << static_cast<int>(rebuild) << ", layer " << layer;
  }
}

TEST_P(CudaPolicies, FootprintIsWhatTheAllocatorCounted) {
  SmallModel &m = cuda();
  const auto counted = [&] {
    Index sum = 0;
    for (const Purpose p : {Purpose::CacheCodes, Purpose::CacheScales, Purpose::CacheOutliers, Purpose::CacheExact})
      sum += m.backend->allocated(p);
    return sum;
  };
  const auto prepared = method(m);
  const Index before = counted();
  const auto cache = prepared->makeCache({kTokens, kTokens, State::Stream});
  Engine engine(*m.model);
  Lane lane;
  lane.cache = cache.get();
  engine.step({&lane, 1}, randomTokens(kTokens, 256));
  const CacheBytes predicted = footprint(PolicySpec::parse(GetParam().policy), m.model->shape(), kTokens, State::Stream);
  EXPECT_EQ(cache->bytes(), predicted);
  EXPECT_EQ(counted() - before, predicted.allocated + predicted.scratch);
}

INSTANTIATE_TEST_SUITE_P(All, CudaPolicies, testing::ValuesIn(cases()));

/// Whole steps, gathered into one graph each, give what one pass gives. At 8 bits a code next to a tie moves nothing much.
TEST_F(CudaTest, DecodingStepByStepIsWhatOnePassGives) {
  SmallModel m(HalfReader(kGqaModel), s_module);
  const std::vector<TokenId> tokens = randomTokens(kTokens, 256, 3);
  const Index prompt = kTokens - 8, d = m.model->shape().d;
  for (const char *policy :
       {"fp16", "kivi-star:bits=8,group=32", "xquant:bits=8,group=32,source=x", "xquant-cl:bits=8,group=32"}) {
    const auto prepared = prepareMethod(PolicySpec::parse(policy), *m.model, m.calibration);
    Engine engine(*m.model);
    // Two sequences side by side.
    const auto states = [&](const std::vector<Index> &steps, Index from, Placement placement, Rebuild rebuild) {
      std::vector<float> all;
      std::array<Lane, 2> lanes;
      std::array<std::unique_ptr<Cache>, 2> caches;
      for (std::size_t i = 0; i < lanes.size(); ++i) {
        caches[i] = prepared->makeCache({kTokens / 2, kTokens, State::Stream, placement});
        caches[i]->setRebuild(rebuild);
        lanes[i].cache = caches[i].get();
      }
      Index first = 0;
      for (const Index count : steps) {
        engine.step(lanes, std::span(tokens).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
        const std::vector<float> part = downloadMatrix(*m.backend, engine.hidden(1));
        all.insert(all.end(), part.begin(), part.end());
        first += count;
      }
      return std::vector<float>(all.begin() + from * d, all.end());
    };
    std::vector<Index> steps = {prompt};
    steps.resize(9, 1);
    const std::vector<float> onePass = states({kTokens}, prompt, Placement::Device, Rebuild::Fused);
    const std::vector<float> decoded = states(steps, prompt, Placement::Device, Rebuild::Fused);
    EXPECT_LT(relativeDistance(decoded, onePass), 5e-3) << policy;
    EXPECT_LT(relativeDistance(states(steps, prompt, Placement::Host, Rebuild::Fused), decoded), 1e-4) << policy;
    for (const Placement placement : {Placement::Device, Placement::Host})
      EXPECT_LT(relativeDistance(states(steps, prompt, placement, Rebuild::Ahead), onePass), 5e-3) << policy;
  }
}

} // namespace
} // namespace xqs::test

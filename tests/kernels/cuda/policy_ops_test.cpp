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

constexpr Index kPrompt = 60, kSteps = kEmulated ? 8 : 100; ///< groups of 32 close on the way
constexpr Index kTokens = kPrompt + kSteps;

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

  /// Final hidden states of the tokens from kPrompt on, fed one by one or with all the others in one pass.
  std::vector<float> hiddenStates(const Method &method, bool decode, Rebuild rebuild = Rebuild::Fused,
                                  Placement placement = Placement::Device) {
    const Model &m = method.model();
    const std::vector<TokenId> tokens = randomTokens(kTokens, 256, 3);
    Engine engine(m);
    const auto cache = method.makeCache({decode ? kPrompt / 2 : kTokens, kTokens, State::Stream, placement});
    cache->setRebuild(rebuild);
    Lane lane;
    lane.cache = cache.get();
    const auto feed = [&](Index first, Index count) {
      engine.step({&lane, 1}, std::span(tokens).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
      return downloadMatrix(m.backend(), engine.hidden(0));
    };
    if (!decode) {
      const std::vector<float> all = feed(0, kTokens);
      return {all.begin() + kPrompt * m.shape().d, all.end()};
    }
    std::vector<float> states;
    feed(0, kPrompt);
    for (Index t = kPrompt; t < kTokens; ++t) {
      const std::vector<float> state = feed(t, 1);
      states.insert(states.end(), state.begin(), state.end());
    }
    return states;
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

/// What a step packs depends on rounding only at ties; what it reads in FP16 (2^-11 of a value) is far below 2e-3 of the
/// norm.
TEST_P(CudaPolicies, DecodingInEveryFormIsWhatOnePassGives) {
  const auto prepared = method(cuda());
  const std::vector<float> onePass = hiddenStates(*prepared, false);
  for (const Rebuild rebuild : {Rebuild::Fused, Rebuild::Chunks, Rebuild::Ahead})
    EXPECT_LT(relativeDistance(hiddenStates(*prepared, true, rebuild), onePass), 2e-3) << static_cast<int>(rebuild);
}

/// The same kernels on the same values, wherever these come from.
TEST_P(CudaPolicies, ACacheInTheHostsMemoryGivesTheSameBits) {
  const auto prepared = method(cuda());
  for (const Rebuild rebuild : {Rebuild::Fused, Rebuild::Ahead})
    EXPECT_EQ(hiddenStates(*prepared, true, rebuild, Placement::Host), hiddenStates(*prepared, true, rebuild))
        << static_cast<int>(rebuild);
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
  const auto cache = prepared->makeCache({kPrompt, kPrompt, State::Stream});
  Engine engine(*m.model);
  Lane lane;
  lane.cache = cache.get();
  engine.step({&lane, 1}, randomTokens(kPrompt, 256));
  const CacheBytes predicted = footprint(PolicySpec::parse(GetParam().policy), m.model->shape(), kPrompt, State::Stream);
  EXPECT_EQ(cache->bytes(), predicted);
  EXPECT_EQ(counted() - before, predicted.allocated + predicted.scratch);
}

INSTANTIATE_TEST_SUITE_P(All, CudaPolicies, testing::ValuesIn(cases()));

} // namespace
} // namespace xqs::test

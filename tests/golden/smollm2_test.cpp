// SPDX-License-Identifier: Apache-2.0
// Agreement with an independent FP32 implementation on SmolLM2-135M-Instruct Q4_1 and WikiText-2 raw test. The figures, how
// they were made and their tolerances are in the golden files' own notes (findings.md 7 says why the limits are what they
// are).
#include "cpu_backends.h"
#include "engine/evaluate.h"
#include "run/results.h"
#include "support/default_model.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <iostream>
#include <set>

using namespace xqs;
using nlohmann::json;

namespace {

/// The same figures on another backend, where it can be used (label gpu).
#if !defined(XQS_GOLDEN_BACKEND)
#define XQS_GOLDEN_BACKEND "cpu"
#endif
const std::vector<BackendInfo> &backends() {
  static const XqsBackendModule *const kBuiltIn[] = {cpuBackendModule()};
  static const std::vector<BackendInfo> all = listBackends(kBuiltIn);
  return all;
}
/// Empty where the backend can be used.
std::string unusableReason() {
  std::string reason = "no backend " XQS_GOLDEN_BACKEND " was built";
  for (const BackendInfo &info : backends())
    if (info.name == XQS_GOLDEN_BACKEND) {
      if (info.usable()) return {};
      reason = info.reason;
    }
  return reason;
}
#define XQS_NEED_BACKEND()                                                                                                  \
  if (const std::string reason = unusableReason(); !reason.empty()) GTEST_SKIP() << XQS_GOLDEN_BACKEND ": " << reason

json golden(const std::string &shared, const std::string &name) {
  return json::parse(std::ifstream(shared + "/golden/" + name));
}

std::unique_ptr<Session> openSession(const std::string &model, const std::string &shared) {
  SessionOptions options;
  options.backend = XQS_GOLDEN_BACKEND;
  options.model = model;
  options.text = shared + "/data/wikitext-2-raw-test.txt";
  return std::make_unique<Session>(options, backends());
}

double mean(const json &values) {
  double sum = 0;
  for (const json &value : values) sum += value.get<double>();
  return sum / static_cast<double>(values.size());
}

TEST(SmolLM2, TokenIdsAreIdentical) {
  XQS_NEED_BACKEND();
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  const json expected = golden(shared, "smollm2-512.json");
  const auto session = openSession(model, shared);
  EXPECT_EQ(session->model().hash(), expected["model_sha256"]);
  EXPECT_EQ(session->text().sha256, expected["text_sha256"]);
  ASSERT_EQ(static_cast<Index>(session->tokens().size()), expected["n_tokens"].get<Index>());
  const auto first = expected["first_64_token_ids"].get<std::vector<TokenId>>();
  EXPECT_TRUE(std::equal(first.begin(), first.end(), session->tokens().begin()));
  EXPECT_EQ(session->tokensHash(), expected["token_ids_sha256_le_int32"]);
}

/// How far the mean NLL of a policy over these windows moves when the embedded rows do by 1e-6 (relative): codes that lie on
/// rounding ties flip, and at 2 bits the difference grows through the layers (findings.md 7). The largest of six draws.
double noiseOf(Session &session, const PolicySpec &policy, Index window, Index windows, State state) {
  const auto method = session.method(policy);
  const Method *one = method.get();
  WindowEvaluator evaluator(session.model(), state);
  std::vector<double> moved(6, 0.0);
  for (Index w = 0; w < windows; ++w) {
    evaluator.exact(session.windowTokens(window, w));
    const double base = evaluator.run({&one, 1}).front().score.meanNll;
    for (std::size_t draw = 0; draw < moved.size(); ++draw)
      moved[draw] += evaluator.run({&one, 1}, {{}, {}, 1e-6f, draw + 1}).front().score.meanNll - base;
  }
  double largest = 0;
  for (const double sum : moved) largest = std::max(largest, std::abs(sum) / static_cast<double>(windows));
  return largest;
}

/// All entries of one state in one run: the exact pass is shared.
void expectEval(const std::string &model, const std::string &shared, State state) {
  const json expected = golden(shared, "smollm2-512.json");
  Experiment experiment;
  experiment.window = expected["window"];
  experiment.windows = static_cast<Index>(expected["windows"].size());
  experiment.state = state;
  std::vector<json> entries;
  for (const json &entry : expected["policies"]) {
    if (entry["state"] != stateName(state)) continue;
    entries.push_back(entry);
    experiment.policies.push_back(PolicySpec::parse(entry["policy"].get<std::string>()));
  }
  ASSERT_FALSE(entries.empty());
  const auto session = openSession(model, shared);
  const json result = evalJson(Runner(*session, experiment, nullptr).run({}));

  const double exact = mean(expected["exact"]["mean_nll"]);
  EXPECT_NEAR(mean(result["exact"]["mean_nll"]), exact, 2e-4 * exact);
  EXPECT_NEAR(result["exact"]["ppl"].get<double>(), expected["exact"]["ppl"].get<double>(),
              2e-4 * exact * expected["exact"]["ppl"].get<double>());
  int beyond = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    SCOPED_TRACE(entries[i]["policy"]);
    const json &got = result["policies"][i];
    const double want = mean(entries[i]["mean_nll"]), share = entries[i]["tolerance_mean_nll"].get<double>();
    const double error = std::abs(mean(got["mean_nll"]) / want - 1);
    std::cout << "share of tolerance used " << error / share << ": " << got["policy"].get<std::string>() << "\n";
    // The recorded tolerance is a few draws of this noise on one machine; where another machine's BLAS falls beyond it, the
    // policy's own noise here says how far two correct implementations may be apart.
    if (error > share) {
      const double noise = noiseOf(*session, experiment.policies[i], experiment.window, experiment.windows, state) / want;
      std::cout << "beyond its tolerance of " << share << ": off by " << error << ", noise " << noise << "\n";
      EXPECT_LE(error, share + noise);
      ++beyond;
    }
    EXPECT_EQ(got["format_bytes_per_window"].get<double>(), entries[i]["format_bytes_per_window"].get<double>());
    EXPECT_NEAR(got["relative_size"].get<double>(), entries[i]["relative_size"].get<double>(), 1e-9);
  }
  EXPECT_LE(beyond, 2); // of some forty: more would be a fault, not rounding
}

TEST(SmolLM2, PerplexityStateAll) {
  XQS_NEED_BACKEND();
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  expectEval(model, shared, State::All);
}

TEST(SmolLM2, PerplexityStateStream) {
  XQS_NEED_BACKEND();
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  expectEval(model, shared, State::Stream);
}

/// The trace with every value of X moved by up to `kRounding` of itself, alike in all layers: rounding errors of the first
/// layers stay in the residual stream.
constexpr float kRounding = 1e-6f;
ExactTrace movedByRounding(const Model &model, const ExactTrace &trace, std::uint64_t seed) {
  ExactTrace moved(model, trace.tokens());
  Backend &backend = model.backend();
  for (Index layer = 0; layer < model.shape().layers; ++layer) {
    backend.copy(Queue::Compute, trace.k(layer), moved.k(layer));
    backend.copy(Queue::Compute, trace.kRope(layer), moved.kRope(layer));
    backend.copy(Queue::Compute, trace.v(layer), moved.v(layer));
    backend.sync(Queue::Compute);
    std::uint64_t random = seed;
    for (Index r = 0; r < trace.tokens(); ++r)
      for (Index c = 0; c < model.shape().d; ++c) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        const float factor = 1 + kRounding * (static_cast<float>(random >> 40) * 0x1p-23f - 1); // share in [-1, 1)
        moved.residual(layer).row(r)[c] = trace.residual(layer).row(r)[c] * factor;
        moved.normed(layer).row(r)[c] = trace.normed(layer).row(r)[c] * factor;
      }
  }
  return moved;
}

/// One policy's figures against the record's.
class LayerComparison {
public:
  LayerComparison(const json &entry, double most) : m_k(entry["k_rel_error"]), m_v(entry["v_rel_error"]), m_most(most) {}
  /// Relative deviation of a layer: K, V.
  std::pair<double, double> deviation(const LayerError &e, std::size_t layer) const {
    return {e.k / m_k[layer] - 1, e.v / m_v[layer] - 1};
  }
  bool agrees(const LayerError &e, std::size_t layer) const {
    const auto [k, v] = deviation(e, layer);
    return std::abs(k) <= m_most && std::abs(v) <= m_most;
  }
  std::size_t layers() const { return m_k.size(); }

private:
  std::vector<double> m_k, m_v;
  double m_most;
};

/// The sharp test: every layer gets the exact X, so that nothing can hide in accumulated rounding: K and V of every layer
/// within 1 %.
///
/// In a chain of deltas a flipped code reaches all later layers, so that X decides only as far as FP32 rounds it. There, K
/// and V of a layer agree where they are within 1 % for one of 32 X that differ from ours by 1e-6 of each value: what the
/// record itself takes for rounding, and what X of two correct implementations differs by (a token's largest difference over
/// its largest value, `reference` against `cpu`: median 3e-7, worst 1.5e-5). Two policies need it:
/// - `xquant-cl:bits=3,source=x,domain=residual`, 512 tokens. The group of channels 384..511 of token 84 in layer 5 has its
///   FP16 zero and scale and the code of channel 485 (3.500) on ties; its minimum is channel 507, X = 394.69. 6 to 12 units
///   in the last place (5e-7 to 9e-7) below ours that code is 3 instead of 4, and what the token holds differs from there
///   on: K and V of layers 11 and 12, up to 1.15 % off before, are within 0.03 % of the record.
/// - `xquant-cl:bits=3,source=latent,delta_axis=channel`. A flipped extreme changes the scale of 128 tokens, each of which
///   may be another group's extreme: FP32 and FP64 differ in 2 to 34 codes of layer 3, in more than half of the tokens by
///   layer 7, in all of them later. A layer's error then has a standard deviation of 0.3 to 0.6 % over such X, and the
///   record lies within 2.1 of them in every layer, 0.9 in the root mean square: it is one more draw.
void expectLayers(const std::string &model, const std::string &shared, const std::string &file) {
  const json expected = golden(shared, file);
  std::vector<PolicySpec> policies;
  for (const json &entry : expected["policies"]) policies.push_back(PolicySpec::parse(entry["policy"].get<std::string>()));
  const auto session = openSession(model, shared);
  const auto tokens = session->windowTokens(expected["window"], expected["first_window"]);
  const json result = layersJson(runLayers(*session, tokens, policies));
  ExactTrace trace(session->model(), expected["window"]);
  WindowEvaluator(session->model(), State::All).exact(tokens, &trace);

  for (std::size_t i = 0; i < policies.size(); ++i) {
    SCOPED_TRACE(policies[i].canonical());
    // FP16 weights are not quite the record's: X differs by more than rounding, and 2 % it is, without draws.
    const bool halfWeights = session->backend().weightType() == DType::F16;
    const LayerComparison record(expected["policies"][i], halfWeights ? 0.02 : 0.01);
    const json &ours = result["policies"][i];
    ASSERT_EQ(ours["k_rel_error"].size(), record.layers());
    std::set<std::size_t> open;
    double meanK = 0, meanV = 0;
    for (std::size_t layer = 0; layer < record.layers(); ++layer) {
      const LayerError e{ours["k_rel_error"][layer], ours["v_rel_error"][layer], 0};
      const auto [k, v] = record.deviation(e, layer);
      meanK += k / static_cast<double>(record.layers());
      meanV += v / static_cast<double>(record.layers());
      if (record.agrees(e, layer)) continue;
      open.insert(layer);
      std::cout << policies[i].canonical() << ", layer " << layer << ": K " << 100 * k << " %, V " << 100 * v << " %\n";
    }
    const bool chain = policies[i].method().name == "xquant-cl";
    for (std::uint64_t seed = 1; chain && !halfWeights && !open.empty() && seed <= 32; ++seed) {
      const auto moved = openLoop(*session->method(policies[i]), movedByRounding(session->model(), trace, seed), State::All);
      const auto agreed = std::erase_if(open, [&](std::size_t layer) { return record.agrees(moved[layer], layer); });
      if (agreed > 0) std::cout << agreed << " of these layers within 1 % for X moved by rounding, draw " << seed << "\n";
    }
    EXPECT_TRUE(open.empty()) << "layers beyond 1 %: " << json(open);
    // Ties fall either way, a wrong formula shows as a trend. For the second policy above the mean over layers has a
    // standard deviation of 0.08 % over such X.
    const double most = chain ? 0.005 : 0.001;
    EXPECT_LE(std::abs(meanK), most) << "K, mean over layers";
    EXPECT_LE(std::abs(meanV), most) << "V, mean over layers";
  }
  for (const auto &[site, matrix] : expected["similarity"].items())
    for (std::size_t i = 0; i < matrix.size(); ++i)
      for (std::size_t j = 0; j < matrix.size(); ++j)
        ASSERT_NEAR(result["similarity"][site][i][j].get<double>(), matrix[i][j].get<double>(), 0.002)
            << site << " " << i << " " << j;
  for (const auto &[k, rate] : expected["outlier_hit_rate_percent"].items())
    EXPECT_NEAR(result["outlier_hit_rate_percent"][k].get<double>(), rate.get<double>(), 1e-9) << "k = " << k;
  EXPECT_EQ(result["layers_with_latent_channel_0_largest"], expected["layers_with_latent_channel_0_largest"]);
}

TEST(SmolLM2, OpenLoopOfTheFirstWindow) {
  XQS_NEED_BACKEND();
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  expectLayers(model, shared, "smollm2-512-layers.json");
}

TEST(SmolLM2, OpenLoopOfAWindowThatEndsInsideAGroup) {
  XQS_NEED_BACKEND();
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  expectLayers(model, shared, "smollm2-500-layers.json");
}

} // namespace

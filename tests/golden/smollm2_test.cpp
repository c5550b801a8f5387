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
#include <map>

using namespace xqs;
using nlohmann::json;

namespace {

json golden(const std::string &shared, const std::string &name) {
  return json::parse(std::ifstream(shared + "/golden/" + name));
}

std::unique_ptr<Session> openSession(const std::string &model, const std::string &shared) {
  static const XqsBackendModule *const kBuiltIn[] = {cpuBackendModule()};
  SessionOptions options;
  options.model = model;
  options.text = shared + "/data/wikitext-2-raw-test.txt";
  return std::make_unique<Session>(options, listBackends(kBuiltIn));
}

double mean(const json &values) {
  double sum = 0;
  for (const json &value : values) sum += value.get<double>();
  return sum / static_cast<double>(values.size());
}

TEST(SmolLM2, TokenIdsAreIdentical) {
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
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  expectEval(model, shared, State::All);
}

TEST(SmolLM2, PerplexityStateStream) {
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  expectEval(model, shared, State::Stream);
}

/// An evaluation of the same windows with NumPy, in double and in single precision, shows the same: it agrees with this
/// program to 0.1 % at the layer of `domain=residual,bits=3` where the record is 1.1 % off, and differs from the record by
/// up to 1.5 % a layer for `delta_axis=channel`, as it does from itself when X is scaled by 1 +- 1e-6.
///
/// How far a layer's error moves when X does by 1e-5 (relative): what two FP32 implementations differ by after a dozen
/// layers. A code, or a scale in FP16, that lies on a rounding tie flips, and in a chain of deltas every later layer answers
/// to it.
LayerError movedBy(const Method &method, const ExactTrace &trace, std::size_t layer) {
  const Model &model = method.model();
  const auto base = openLoop(method, trace, State::All);
  LayerError spread;
  for (std::uint64_t seed = 1; seed <= 16; ++seed) {
    ExactTrace moved(model, trace.tokens());
    std::uint64_t random = seed;
    for (Index l = 0; l < model.shape().layers; ++l) {
      const LayerInput from = trace.input(l), to = moved.input(l);
      const std::pair<ConstView, ConstView> parts[] = {
          {from.residual, to.residual}, {from.normed, to.normed}, {from.k, to.k}, {from.kRope, to.kRope}, {from.v, to.v}};
      for (const auto &[source, target] : parts)
        for (Index r = 0; r < source.rows; ++r)
          for (Index c = 0; c < source.cols; ++c) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            const float share = static_cast<float>(random >> 40) * 0x1p-23f - 1; // [-1, 1)
            const bool isX = source.data == from.residual.data || source.data == from.normed.data;
            const_cast<float *>(target.row(r))[c] = source.row(r)[c] * (isX ? 1 + 1e-5f * share : 1.0f);
          }
    }
    const LayerError e = openLoop(method, moved, State::All)[layer];
    spread.k = std::max(spread.k, std::abs(e.k / base[layer].k - 1));
    spread.v = std::max(spread.v, std::abs(e.v / base[layer].v - 1));
  }
  return spread;
}

/// The sharp test: every layer gets the exact X, so that nothing can hide in accumulated rounding.
void expectLayers(const std::string &model, const std::string &shared, const std::string &file) {
  const json expected = golden(shared, file);
  std::vector<PolicySpec> policies;
  for (const json &entry : expected["policies"]) policies.push_back(PolicySpec::parse(entry["policy"].get<std::string>()));
  const auto session = openSession(model, shared);
  const Index window = expected["window"], first = expected["first_window"];
  const json result = layersJson(runLayers(*session, session->windowTokens(window, first), policies));

  ExactTrace trace(session->model(), window);
  WindowEvaluator(session->model(), State::All).exact(session->windowTokens(window, first), &trace);
  int beyond = 0;
  for (std::size_t i = 0; i < policies.size(); ++i) {
    for (const char *side : {"k_rel_error", "v_rel_error"}) {
      const json &got = result["policies"][i][side], &want = expected["policies"][i][side];
      ASSERT_EQ(got.size(), want.size());
      double sum = 0;
      for (std::size_t layer = 0; layer < want.size(); ++layer) {
        const double signedError = got[layer].get<double>() / want[layer].get<double>() - 1, error = std::abs(signedError);
        sum += signedError;
        if (error <= 0.01) continue;
        // Only a chain of deltas may be further off, and only as far as its own rounding moves it.
        ++beyond;
        const LayerError moved = movedBy(*session->method(policies[i]), trace, layer);
        // Both implementations are moved, each its own way: hence twice.
        const double share = side[0] == 'k' ? moved.k : moved.v;
        const double limit = policies[i].method().name == "xquant-cl" ? 2 * share : 0.01;
        std::cout << "beyond 1 %: " << policies[i].canonical() << " " << side << ", layer " << layer << ": " << 100 * error
                  << " %, rounding moves it by " << 100 * share << " %\n";
        EXPECT_LE(error, limit) << policies[i].canonical() << " " << side << ", layer " << layer << ": " << got[layer]
                                << " instead of " << want[layer];
      }
      // Ties fall either way; a wrong formula shows as a trend.
      EXPECT_LE(std::abs(sum) / static_cast<double>(want.size()), 0.005)
          << policies[i].canonical() << " " << side << ", mean";
    }
  }
  // Of 31 policies x 30 layers x 2 sides. More would be a fault, not rounding.
  EXPECT_LE(beyond, 12);
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
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  expectLayers(model, shared, "smollm2-512-layers.json");
}

TEST(SmolLM2, OpenLoopOfAWindowThatEndsInsideAGroup) {
  XQS_NEED_MODEL(model);
  XQS_NEED_SHARED(shared);
  expectLayers(model, shared, "smollm2-500-layers.json");
}

} // namespace

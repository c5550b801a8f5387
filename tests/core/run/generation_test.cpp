// SPDX-License-Identifier: Apache-2.0
#include "run/generation.h"

#include "cpu_backends.h"
#include "support/model_files.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <cmath>

using namespace xqs;
using nlohmann::json;
using testing::HasSubstr;

namespace {

constexpr const char *kPolicies[] = {"fp16", "xquant:bits=2,group=16", "kivi:bits=2,group=16,residual=16"};

class GenerationTest : public testing::Test {
protected:
  GenerationTest() {
    static const XqsBackendModule *const kBuiltIn[] = {cpuBackendModule()};
    SessionOptions options;
    options.model = "synthetic:layers=3,d=64,heads=4,kv_heads=2,vocab=256";
    options.threads = 1;
    m_session = std::make_unique<Session>(options, listBackends(kBuiltIn));
    for (const char *policy : kPolicies) m_request.policies.push_back(PolicySpec::parse(policy));
    m_request.prompt = std::string(300, 'a') + " cache"; // more than is fed at a time
    m_request.raw = true, m_request.tokens = 40;
  }
  void run(const RunHooks &hooks = {}) {
    RunStore store(m_dir / "run.xqs");
    runGeneration(*m_session, m_request, store, hooks);
    store.close();
  }
  /// Refused, and nothing written but an empty store.
  std::string refusal(Code code = Code::Usage) {
    try {
      run();
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_TRUE(RunReader(m_dir / "run.xqs").rowsAfter<RunRow>(0).empty());
      return error.what();
    }
    ADD_FAILURE() << "accepted";
    return "";
  }
  std::vector<GeneratedRow> rowsOf(std::int64_t policy) {
    std::vector<GeneratedRow> rows;
    for (GeneratedRow &row : RunReader(m_dir / "run.xqs").rowsAfter<GeneratedRow>(0))
      if (row.policy == policy) rows.push_back(std::move(row));
    return rows;
  }

  test::TempDir m_dir;
  std::unique_ptr<Session> m_session;
  GenerationRequest m_request;
};

TEST_F(GenerationTest, RowsAreWhatTheGeneratorDraws) {
  run();
  const std::vector<TokenId> prompt = promptTokens(m_request, m_session->model());
  std::vector<std::shared_ptr<const Method>> methods;
  std::vector<Generator::Start> lanes;
  lanes.push_back({});
  for (const PolicySpec &policy : m_request.policies) {
    methods.push_back(m_session->method(policy));
    lanes.push_back({methods.back().get(), nullptr, 0});
  }
  Generator generator(m_session->model(), std::move(lanes), prompt, m_request.sampling);
  for (Index count = 1; count < m_request.tokens && generator.step(); ++count) {
  }
  const auto &exact = generator.sequences().front().tokens;
  for (std::size_t lane = 0; lane < generator.sequences().size(); ++lane) {
    const auto &sequence = generator.sequences()[lane];
    const auto rows = rowsOf(static_cast<std::int64_t>(lane) - 1);
    ASSERT_EQ(rows.size(), sequence.tokens.size()) << lane;
    const Index same = firstDivergence(exact, sequence.tokens);
    std::string text;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i].step, static_cast<std::int64_t>(i));
      EXPECT_EQ(rows[i].token, sequence.tokens[i]);
      EXPECT_EQ(rows[i].sameAsExact, static_cast<Index>(i) < same) << lane << " " << i;
      EXPECT_EQ(rows[i].cacheTokens, std::ssize(prompt) + static_cast<Index>(i));
      EXPECT_LE(rows[i].logProbability, 0);
      EXPECT_GT(rows[i].logProbability, -std::log(256.0)) << "greedy: more than an even share";
      text += rows[i].text;
    }
    TextStream stream(m_session->model().tokenizer(), false);
    std::string all;
    for (const TokenId token : sequence.tokens) all += stream.push(token);
    EXPECT_EQ(text, all + stream.finish());
    EXPECT_EQ(rows.back().ends, sequence.ended);
  }
}

TEST_F(GenerationTest, BytesAreTheLedgersWhileTheCacheGrows) {
  run();
  const ModelShape &shape = m_session->model().shape();
  const Index prompt = std::ssize(promptTokens(m_request, m_session->model()));
  const CacheSize size{prompt, std::min(prompt, Generator::kPromptTokens), State::Stream};
  for (std::size_t i = 0; i < m_request.policies.size(); ++i) {
    const CacheLayout layout = cacheLayout(m_request.policies[i], shape);
    for (const GeneratedRow &row : rowsOf(static_cast<std::int64_t>(i))) {
      const CacheBytes bytes = footprint(layout, row.cacheTokens, size);
      EXPECT_EQ(row.formatBytes, bytes.formatBytes()) << kPolicies[i] << " " << row.step;
      EXPECT_EQ(row.allocatedBytes, bytes.allocated) << kPolicies[i] << " " << row.step;
    }
  }
  for (const GeneratedRow &row : rowsOf(-1)) EXPECT_EQ(row.formatBytes, fp16KvBytes(shape, row.cacheTokens));
}

TEST_F(GenerationTest, TheNoiseFloorIsWhereAPerturbedCopyParts) {
  run();
  const std::vector<TokenId> prompt = promptTokens(m_request, m_session->model());
  const auto method = m_session->method(m_request.policies[1]);
  std::vector<Generator::Start> lanes;
  lanes.push_back({method.get(), nullptr, 0});
  lanes.push_back({method.get(), nullptr, kNoisePerturbation});
  Generator generator(m_session->model(), std::move(lanes), prompt, m_request.sampling);
  for (Index count = 1; count < m_request.tokens && generator.step(); ++count) {
  }
  const Index same = firstDivergence(generator.sequences()[0].tokens, generator.sequences()[1].tokens);
  const auto rows = rowsOf(1);
  for (const GeneratedRow &row : rows) EXPECT_EQ(row.sameAsPerturbed, row.step < same) << row.step;

  std::filesystem::remove(m_dir / "run.xqs");
  m_request.noiseFloor = false;
  run();
  const auto without = rowsOf(1);
  ASSERT_EQ(without.size(), rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(without[i].token, rows[i].token) << "lanes beside it change no text";
    EXPECT_EQ(without[i].sameAsPerturbed, -1);
  }
}

TEST_F(GenerationTest, CachesInTheHostsMemoryChangeNoText) {
  m_request.policies.clear();
  for (const char *policy :
       {"fp16", "xquant:bits=4,group=16,source=x", "xquant:bits=2,group=16", "xquant-cl:bits=3,group=16",
        "kivi:bits=2,group=16,residual=16", "plan:0=fp16;*=kivi-star:bits=4,group=16"})
    m_request.policies.push_back(PolicySpec::parse(policy));
  const auto drawn = [&](Placement placement) {
    std::filesystem::remove(m_dir / "run.xqs");
    m_request.placement = placement;
    run();
    std::vector<std::pair<std::int64_t, double>> all;
    for (const GeneratedRow &row : RunReader(m_dir / "run.xqs").rowsAfter<GeneratedRow>(0))
      all.emplace_back(row.token, row.logProbability);
    return all;
  };
  const auto onDevice = drawn(Placement::Device), onHost = drawn(Placement::Host);
  EXPECT_GT(onDevice.size(), 6u * 30u);
  EXPECT_EQ(onHost, onDevice) << "to the last bit";
  const RunRow row = RunReader(m_dir / "run.xqs").rowsAfter<RunRow>(0).at(0);
  EXPECT_EQ(json::parse(row.spec).at("placement"), "host");
  EXPECT_THAT(row.protocol, HasSubstr("host's memory"));
}

TEST_F(GenerationTest, AStopKeepsWhatWasDrawn) {
  std::stop_source stop;
  RunHooks hooks;
  hooks.stop = stop.get_token();
  hooks.progress = [&](const RunProgress &p) {
    if (p.done == 5) stop.request_stop();
  };
  try {
    run(hooks);
    FAIL() << "it ran on";
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), Code::Cancelled);
  }
  RunReader reader(m_dir / "run.xqs");
  EXPECT_EQ(reader.rowsAfter<RunEndRow>(0).at(0).status, "cancelled");
  EXPECT_EQ(rowsOf(-1).size(), 5u);
  EXPECT_EQ(rowsOf(2).size(), 5u);
}

TEST_F(GenerationTest, TheRunSaysWhatRepeatsIt) {
  m_request.sampling.temperature = 0.7, m_request.sampling.topK = 20, m_request.sampling.seed = 5;
  run();
  RunReader reader(m_dir / "run.xqs");
  const RunRow row = reader.rowsAfter<RunRow>(0).at(0);
  EXPECT_EQ(row.kind, "generate");
  EXPECT_EQ(row.state, "stream");
  EXPECT_EQ(row.textTokens, std::ssize(promptTokens(m_request, m_session->model())));
  EXPECT_THAT(row.protocol, HasSubstr("temperature 0.7, top-k 20, seed 5"));
  EXPECT_EQ(reader.rowsAfter<PolicyRow>(0).size(), 3u);
  const auto first = reader.rowsAfter<GeneratedRow>(0);
  m_request = generationFromJson(json::parse(row.spec));
  std::filesystem::remove(m_dir / "run.xqs");
  run();
  const auto again = RunReader(m_dir / "run.xqs").rowsAfter<GeneratedRow>(0);
  ASSERT_EQ(again.size(), first.size());
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(again[i].token, first[i].token);
}

TEST_F(GenerationTest, WhatCannotBeGeneratedIsRefusedBeforeTheRunBegins) {
  m_request.policies.push_back(PolicySpec::parse(kPolicies[0]));
  EXPECT_THAT(refusal(), HasSubstr("twice"));
  m_request.policies.back() = PolicySpec::parse("low-rank:rank=4096");
  EXPECT_THAT(refusal(), HasSubstr("rank"));
  m_request.policies.pop_back();
  m_request.prompt = std::string(static_cast<std::size_t>(m_session->model().config().contextLength) + 1, 'x');
  EXPECT_THAT(refusal(), HasSubstr("shorten"));
  m_request.prompt.clear();
  EXPECT_THAT(refusal(), HasSubstr("empty"));
  m_request.prompt = "hello", m_request.raw = false;
  EXPECT_THAT(refusal(Code::Unsupported), HasSubstr("plain text")) << "this model has no chat template";
}

TEST(GenerationJson, SurvivesAndRefuses) {
  GenerationRequest request = defaultGeneration();
  request.system = "be brief", request.raw = true, request.tokens = 7, request.noiseFloor = false;
  request.sampling = {0.5, 40, 0.9, 12}, request.placement = Placement::Host;
  const json written = toJson(request);
  EXPECT_EQ(toJson(generationFromJson(written)), written);
  EXPECT_EQ(generationFromJson(written).placement, Placement::Host);
  EXPECT_EQ(generationFromJson(json::object()).tokens, 128);
  const auto refused = [](const char *text) {
    try {
      generationFromJson(json::parse(text));
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), Code::Usage);
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refused("[]"), HasSubstr("one object"));
  EXPECT_THAT(refused(R"({"promt": "x"})"), HasSubstr("valid keys are model, prompt"));
  EXPECT_THAT(refused(R"({"prompt": 3})"), HasSubstr("'prompt' must be a text"));
  EXPECT_THAT(refused(R"({"tokens": 0})"), HasSubstr("from 1 to"));
  EXPECT_THAT(refused(R"({"tokens": 18446744073709551615})"), HasSubstr("from 1 to"));
  EXPECT_THAT(refused(R"({"temperature": -1})"), HasSubstr("temperature"));
  EXPECT_THAT(refused(R"({"placement": "moon"})"), HasSubstr("neither device nor host"));
  EXPECT_THAT(refused(R"({"top_p": 0})"), HasSubstr("top-p"));
  EXPECT_THAT(refused(R"({"policies": ["xquant:bits=7"]})"), HasSubstr("bits"));
}

} // namespace

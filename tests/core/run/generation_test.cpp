// SPDX-License-Identifier: Apache-2.0
#include "run/generation.h"

#include "cpu_backends.h"
#include "support/model_files.h"
#include "support/sampled_backend.h"

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
  /// Refused, and nothing written.
  std::string refusal(Code code = Code::Usage) {
    try {
      run();
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_FALSE(std::filesystem::exists(m_dir / "run.xqs"));
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

// Traffic -----------------------------------------------------------------------------------------------------------------

test::SampledBackend *s_backend = nullptr; ///< of the session in use

/// A generation on a backend whose samples are made up.
class SampledGeneration : public GenerationTest {
protected:
  SampledGeneration() {
    static constexpr XqsBackendModule kModule = {kBackendAbi,
                                                 "cpu",
                                                 "the CPU with made-up samples",
                                                 [] { return static_cast<const char *>(nullptr); },
                                                 [](int) -> Backend * { return s_backend = new test::SampledBackend; },
                                                 [](Backend *backend) { delete backend; }};
    static const XqsBackendModule *const kBuiltIn[] = {&kModule};
    SessionOptions options = m_session->options();
    m_session = std::make_unique<Session>(options, listBackends(kBuiltIn));
    m_request.prompt = "a cache", m_request.tokens = 8, m_request.samplingMicroseconds = 250;
  }
  test::MadeUpSamples &samples() { return s_backend->samples; }
  template <class Row> std::vector<Row> rows() { return RunReader(m_dir / "run.xqs").rowsAfter<Row>(0); }
  std::vector<std::int64_t> tokens() {
    std::vector<std::int64_t> all;
    for (const GeneratedRow &row : rows<GeneratedRow>()) all.push_back(row.token);
    return all;
  }
  void runUntil(Index step, Code code, const std::function<void()> &end) {
    RunHooks hooks;
    std::stop_source stop;
    hooks.stop = stop.get_token();
    hooks.progress = [&](const RunProgress &p) {
      if (p.done != step) return;
      stop.request_stop();
      if (end) end();
    };
    try {
      run(hooks);
      ADD_FAILURE() << "it ran on";
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), code);
    }
  }
};

TEST_F(SampledGeneration, SamplesComeWithTheTokensOfAllPoliciesTogether) {
  run();
  EXPECT_EQ(samples().starts, 1);
  EXPECT_EQ(samples().intervalNs, 250'000);
  EXPECT_FALSE(samples().running);
  SampledTraffic sum;
  const auto sampled = rows<ThroughputRow>();
  EXPECT_EQ(sampled.size(), 8u + 1u) << "with each token, and the rest at the end";
  for (const ThroughputRow &row : sampled) {
    EXPECT_EQ(row.policy, -1);
    EXPECT_EQ(row.context, 0);
    EXPECT_EQ(row.batch, 2 * (3 + 1)) << "the exact model, three policies, and each once more for the noise floor";
    sum.add(row);
  }
  EXPECT_EQ(sum.samples, 9);
  EXPECT_NEAR(sum.meanRead(), 100 / 250e-6, 1);
  const auto instruments = rows<InstrumentRow>();
  ASSERT_EQ(instruments.size(), 1u) << "nothing to be added at the end";
  EXPECT_EQ(instruments[0].instrument, "sampling");
  EXPECT_EQ(instruments[0].state, "ready");
  EXPECT_TRUE(rows<PeakRow>().empty());
  EXPECT_TRUE(rows<LogRow>().empty());
}

TEST_F(SampledGeneration, ATextIsTheSameWithAndWithoutSamples) {
  run();
  const std::vector<std::int64_t> with = tokens();
  std::filesystem::remove(m_dir / "run.xqs");
  m_request.samplingMicroseconds = 0;
  run();
  EXPECT_EQ(tokens(), with);
  EXPECT_EQ(with.size(), 4u * 8u);
  EXPECT_EQ(samples().starts, 1) << "nothing is asked of an instrument that is not wanted";
  EXPECT_TRUE(rows<InstrumentRow>().empty());
  EXPECT_TRUE(rows<ThroughputRow>().empty());
}

TEST_F(SampledGeneration, WhereTheInstrumentCannotTheRunSaysWhyAndGoesOn) {
  samples().state = InstrumentState::NoPermission;
  run();
  EXPECT_EQ(tokens().size(), 4u * 8u);
  EXPECT_EQ(rows<RunEndRow>().at(0).status, "finished");
  const auto instruments = rows<InstrumentRow>();
  ASSERT_EQ(instruments.size(), 1u);
  EXPECT_EQ(instruments[0].state, "no-permission");
  EXPECT_EQ(instruments[0].sentence, test::MadeUpSamples::kSentence);
  ASSERT_EQ(rows<LogRow>().size(), 1u);
  EXPECT_EQ(rows<LogRow>()[0].level, "warning");
  EXPECT_THAT(rows<LogRow>()[0].text, HasSubstr(test::MadeUpSamples::kSentence));
  EXPECT_TRUE(rows<ThroughputRow>().empty());
}

TEST_F(SampledGeneration, SamplingThatIsTakenAwayIsAProblemAndTheTextGoesOn) {
  samples().failAt = 3, samples().droppedAtStop = 2;
  run();
  EXPECT_EQ(tokens().size(), 4u * 8u);
  EXPECT_FALSE(samples().running) << "it is given back at once";
  EXPECT_EQ(samples().starts, 1) << "and not tried again";
  EXPECT_EQ(rows<ThroughputRow>().size(), 3u + 1u) << "what was sampled up to then is kept";
  ASSERT_EQ(rows<ProblemRow>().size(), 1u);
  EXPECT_EQ(rows<ProblemRow>()[0].code, "instrument-lost");
  EXPECT_THAT(rows<ProblemRow>()[0].text, testing::AllOf(HasSubstr("sampling failed"), HasSubstr("another profiler")));
  EXPECT_EQ(rows<InstrumentRow>().back().dropped, 2);
}

TEST_F(SampledGeneration, LostSamplesAreSaidAtTheEnd) {
  samples().dropped = 5, samples().droppedAtStop = 3;
  run();
  const auto instruments = rows<InstrumentRow>();
  ASSERT_EQ(instruments.size(), 2u);
  EXPECT_EQ(instruments[0].dropped, 0) << "of this run";
  EXPECT_EQ(instruments[1].dropped, 3);
  EXPECT_THAT(rows<LogRow>().at(0).text, HasSubstr("lost: 3"));
}

TEST_F(SampledGeneration, AStopInTheMiddleEndsSampling) {
  runUntil(5, Code::Cancelled, {});
  EXPECT_FALSE(samples().running);
  EXPECT_EQ(rows<RunEndRow>().at(0).status, "cancelled");
  EXPECT_EQ(rows<ThroughputRow>().size(), 5u + 1u) << "the last samples are kept, too";
}

TEST_F(SampledGeneration, AnErrorInTheMiddleEndsSampling) {
  runUntil(5, Code::BackendUnusable, [] { throw Error(Code::BackendUnusable, "the device is gone"); });
  EXPECT_FALSE(samples().running);
  EXPECT_EQ(rows<RunEndRow>().at(0).message, "the device is gone");
  // A recorder that is not ended, as where the store cannot be written.
  const std::vector<TokenId> prompt = promptTokens(m_request, m_session->model());
  RunStore store(m_dir / "other.xqs");
  {
    GenerationRecorder recorder(*m_session, m_request, prompt, store);
    std::vector<Generator::Start> lanes;
    lanes.push_back({});
    Generator generator(m_session->model(), std::move(lanes), prompt, m_request.sampling);
    recorder.record(generator, 0);
    EXPECT_TRUE(samples().running);
  }
  EXPECT_FALSE(samples().running);
}

TEST(GenerationJson, SurvivesAndRefuses) {
  GenerationRequest request = defaultGeneration();
  request.system = "be brief", request.raw = true, request.tokens = 7, request.noiseFloor = false;
  request.samplingMicroseconds = 250;
  request.sampling = {0.5, 40, 0.9, 12}, request.placement = Placement::Host;
  const json written = toJson(request);
  EXPECT_EQ(toJson(generationFromJson(written)), written);
  EXPECT_EQ(generationFromJson(written).placement, Placement::Host);
  EXPECT_EQ(generationFromJson(written).samplingMicroseconds, 250);
  EXPECT_EQ(generationFromJson(json::object()).samplingMicroseconds, 0);
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
  EXPECT_THAT(refused(R"({"sampling_us": -1})"), HasSubstr("from 0 to 1000000"));
  EXPECT_THAT(refused(R"({"sampling_us": 24})"), HasSubstr("0 (no samples), or from 25 to 1000000"));
  EXPECT_THAT(refused(R"({"sampling_us": 1000001})"), HasSubstr("from 0 to 1000000"));
  EXPECT_THAT(refused(R"({"top_p": 0})"), HasSubstr("top-p"));
  EXPECT_THAT(refused(R"({"policies": ["xquant:bits=7"]})"), HasSubstr("bits"));
}

} // namespace

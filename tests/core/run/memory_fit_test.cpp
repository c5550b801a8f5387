// SPDX-License-Identifier: Apache-2.0
// A device whose memory is small: what does not fit is refused before, what fits one by one goes one by one, and where
// memory runs out all the same, or the device breaks down, nothing that was finished is lost.
#include "run/memory_fit.h"

#include "cpu_backends.h"
#include "reference_backend.h"
#include "run/generation.h"
#include "run/study_runner.h"
#include "support/figures.h"
#include "support/model_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <limits>

using namespace xqs;
using namespace xqs::test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

namespace {

constexpr Index kNever = std::numeric_limits<Index>::max();

/// What the device has and what was asked of it.
struct Device {
  Index limit = kNever, used = 0, peak = 0;
  bool tellsFree = true;
  Index products = kNever; ///< matrix products until it breaks down
  int refused = 0;         ///< allocations
} small;

class SmallDevice final : public ReferenceBackend {
public:
  using ReferenceBackend::ReferenceBackend;
  const char *name() const override { return "small"; }
  Index freeBytes() const override { return small.tellsFree ? small.limit - small.used : -1; }
  void matmul(Queue queue, ConstView x, ConstView w, View out, bool accumulate) override {
    if (--small.products < 0) throw Error(Code::BackendUnusable, "backend small: an illegal memory access was encountered");
    ReferenceBackend::matmul(queue, x, w, out, accumulate);
  }

protected:
  std::byte *allocateBytes(Index bytes, Purpose purpose, Placement placement) override {
    if (bytes > small.limit - small.used) return ++small.refused, nullptr;
    small.used += bytes;
    small.peak = std::max(small.peak, small.used);
    return ReferenceBackend::allocateBytes(bytes, purpose, placement);
  }
  void releaseBytes(const Buffer &buffer) noexcept override {
    small.used -= buffer.bytes();
    ReferenceBackend::releaseBytes(buffer);
  }
};

constexpr XqsBackendModule kSmall = {kBackendAbi,
                                     "small",
                                     "little memory",
                                     [] { return static_cast<const char *>(nullptr); },
                                     [](int threads) -> Backend * { return new SmallDevice(threads); },
                                     [](Backend *backend) { delete backend; }};

const char *const kModel = "synthetic:layers=2,d=64,heads=4,kv_heads=4,vocab=256";

class SmallMemory : public testing::Test {
protected:
  SmallMemory() {
    small = {};
    static const XqsBackendModule *const kBuiltIn[] = {&kSmall, referenceBackendModule()};
    m_backends = listBackends(kBuiltIn);
    for (const char *policy : {"fp16", "xquant:bits=4,group=32", "kivi-star:bits=2,group=32", "xquant-cl:bits=3,group=32"})
      m_experiment.policies.push_back(PolicySpec::parse(policy));
    m_experiment.window = 96, m_experiment.windows = 2, m_experiment.lanes = 4, m_experiment.captures = false;
  }
  std::unique_ptr<Session> open() {
    SessionOptions options;
    options.model = kModel, options.backend = "small", options.threads = 1;
    return std::make_unique<Session>(options, m_backends);
  }
  WindowMemory memory(const Session &session) const { return windowMemory(session, m_experiment, false); }
  RunResult run(Session &session, RunStore *store = nullptr) { return Runner(session, m_experiment, store).run({}); }
  /// Of all windows, in order of window and policy.
  static std::vector<std::pair<double, double>> figures(const RunResult &result) {
    std::vector<std::pair<double, double>> all;
    for (const WindowRow &row : result.windows) all.emplace_back(row.meanNll, row.meanKl);
    return all;
  }
  /// Of what is refused before it begins.
  template <typename Fn> static Error refusalOf(const Fn &fn) {
    try {
      fn();
    } catch (const MemoryRefusal &error) {
      return error;
    }
    ADD_FAILURE() << "nothing was refused";
    return {Code::Internal, ""};
  }
  template <typename Fn> static Error errorOf(const Fn &fn) {
    try {
      fn();
    } catch (const Error &error) {
      return error;
    }
    ADD_FAILURE() << "nothing was thrown";
    return {Code::Internal, ""};
  }

  TempDir m_dir;
  std::vector<BackendInfo> m_backends;
  Experiment m_experiment;
};

TEST_F(SmallMemory, TheArithmeticIsWhatTheAllocatorGives) {
  const auto session = open();
  const ModelConfig &config = session->model().config();
  EXPECT_EQ(weightBytes(config, DType::F32), session->backend().allocated(Purpose::Weights));
  EXPECT_EQ(weightBytes(config, DType::F32), parameterCount(config) * 4);
  EXPECT_LT(weightBytes(config, DType::F16), weightBytes(config, DType::F32) * 6 / 10);
  WindowEvaluator evaluator(session->model(), State::All);
  const Index before = small.used;
  small.peak = small.used;
  evaluator.exact(session->windowTokens(96, 0));
  const double exact = static_cast<double>(memory(*session).exact());
  EXPECT_LE(static_cast<double>(small.peak - before), exact);
  EXPECT_GE(static_cast<double>(small.peak - before), 0.6 * exact) << "little more than what is needed is asked for";
  std::vector<std::shared_ptr<const Method>> methods;
  std::vector<const Method *> lanes;
  for (const PolicySpec &policy : m_experiment.policies) {
    methods.push_back(session->method(policy));
    lanes.push_back(methods.back().get());
  }
  const Index maps = session->backend().allocated(Purpose::Weights) - weightBytes(config, DType::F32);
  small.peak = small.used;
  evaluator.run(lanes, WindowEvaluator::Options{});
  const double group = static_cast<double>(memory(*session).group(m_experiment.policies));
  EXPECT_LE(static_cast<double>(small.peak - before - maps), group);
  EXPECT_GE(static_cast<double>(small.peak - before - maps), 0.6 * group);
}

TEST_F(SmallMemory, AModelThatDoesNotFitIsRefusedBeforeItIsLoaded) {
  small.limit = 1000;
  const Error error = refusalOf([&] { open(); });
  EXPECT_EQ(error.code(), Code::OutOfMemory);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("KiB of the GPU's memory, 1.0 KiB are free"), HasSubstr("backend cpu")));
  EXPECT_EQ(small.refused, 0);
  EXPECT_EQ(small.peak, 0);
}

TEST_F(SmallMemory, PoliciesThatDoNotFitSideBySideGoOneAfterTheOther) {
  const auto session = open();
  const auto wanted = figures(run(*session));
  session->dropMethods();
  // Two lanes fit, and what their maps take; four do not.
  small.limit = small.used + memory(*session).group(std::span(m_experiment.policies).first(2)) + (Index{200} << 10);
  ASSERT_FALSE(memory(*session).fits(memory(*session).group(m_experiment.policies)));
  EXPECT_EQ(figures(run(*session)), wanted);
  EXPECT_EQ(small.refused, 0);
}

TEST_F(SmallMemory, WhatDoesNotFitAloneIsRefusedBeforeTheRunBegins) {
  const auto session = open();
  m_experiment.window = 512, m_experiment.windows = 1;
  small.limit = small.used + memory(*session).exact() - 1;
  RunStore store(m_dir / "run.xqs");
  const Error error = refusalOf([&] { run(*session, &store); });
  EXPECT_EQ(error.code(), Code::OutOfMemory);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("window of 512 tokens"), HasSubstr("MiB are free"), HasSubstr("shorter window")));
  EXPECT_EQ(small.refused, 0);
  store.close();
  EXPECT_EQ(RunReader(m_dir / "run.xqs").rowsAfter<RunRow>(0).size(), 0u);
}

TEST_F(SmallMemory, WhereItRunsOutAllTheSamePoliciesAreTriedOneByOne) {
  const auto session = open();
  const auto wanted = figures(run(*session));
  session->dropMethods();
  small.limit = small.used + memory(*session).group(std::span(m_experiment.policies).first(2)) + (Index{200} << 10);
  small.tellsFree = false;
  const RunResult result = run(*session);
  EXPECT_GT(small.refused, 0);
  auto got = figures(result);
  EXPECT_EQ(got, wanted);
}

TEST_F(SmallMemory, AFailedRunLeavesASessionThatComputes) {
  const auto session = open();
  m_experiment.policies.resize(1);
  const auto wanted = figures(run(*session));
  small.tellsFree = false;
  // Memory runs out at every place in turn: nothing half made is taken for whole.
  const Index needed = memory(*session).exact(), free = small.limit, before = small.used;
  int failures = 0;
  for (Index part = 1; part < 7; ++part) {
    small.limit = before + needed * part / 7;
    try {
      run(*session);
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), Code::OutOfMemory);
      ++failures;
    }
    EXPECT_EQ(small.used, before) << "and nothing is held";
    small.limit = free;
    EXPECT_EQ(figures(run(*session)), wanted);
  }
  EXPECT_GT(failures, 2);
}

TEST_F(SmallMemory, AnEvaluatorGoesOnAfterMemoryRanOut) {
  const auto session = open();
  WindowEvaluator fresh(session->model(), State::All);
  const double wanted = fresh.exact(session->windowTokens(96, 0)).meanNll;
  for (Index part = 1; part < 16; ++part) {
    WindowEvaluator evaluator(session->model(), State::All); // the same one goes on: what it holds was made in part
    small.limit = small.used + memory(*session).exact() * part / 16;
    try {
      evaluator.exact(session->windowTokens(96, 0));
    } catch (const Error &error) {
      EXPECT_EQ(error.code(), Code::OutOfMemory);
    }
    small.limit = kNever;
    EXPECT_EQ(evaluator.exact(session->windowTokens(96, 0)).meanNll, wanted);
  }
}

TEST_F(SmallMemory, AGenerationThatDoesNotFitIsRefused) {
  const auto session = open();
  GenerationRequest request;
  request.prompt = "a cache", request.raw = true, request.tokens = 100;
  request.policies = {PolicySpec::parse("xquant:bits=4,group=32")};
  small.limit = small.used + (Index{64} << 10);
  RunStore store(m_dir / "generation.xqs");
  const Error error = refusalOf([&] { runGeneration(*session, request, store, {}); });
  EXPECT_EQ(error.code(), Code::OutOfMemory);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("generating 100 tokens"), HasSubstr("64.0 KiB are free"), HasSubstr("fewer")));
  small.limit = kNever;
  const Index before = small.used;
  small.peak = before;
  runGeneration(*session, request, store, {});
  small.limit = 2 * small.peak - before; // what it took is enough
  small.refused = 0;
  EXPECT_NO_THROW(runGeneration(*session, request, store, {}));
  EXPECT_EQ(small.refused, 0);
}

TEST_F(SmallMemory, ADeviceThatBreaksDownEndsTheStudyAndItsPointsStay) {
  const auto study = [](const char *backend) {
    return Study::parse(fmt::format(R"({{"base": {{"model": "{}", "windows": 2, "window": 64, "lanes": 2, "captures": false,
        "threads": 1, "backend": "{}"}}, "policies": ["fp16", "xquant:bits=4,group=32", "kivi-star:bits=2,group=32"]}})",
                                    kModel, backend),
                        "study.json");
  };
  StudyPart part;
  part.store = m_dir / "study.xqs";
  part.autoBackend = "small";
  small.products = 60;
  const Error error = errorOf([&] { runStudy(study("auto"), part, m_backends, {}); });
  EXPECT_EQ(error.code(), Code::BackendUnusable);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("illegal memory access"), HasSubstr("are in the store")));
  std::size_t kept = 0;
  {
    RunReader reader(part.store);
    kept = reader.rowsAfter<WindowRow>(0).size();
    EXPECT_EQ(reader.rowsAfter<ProblemRow>(0).size(), 0u) << "the policies are not at fault";
    ASSERT_EQ(reader.rowsAfter<RunEndRow>(0).size(), 1u);
    EXPECT_EQ(reader.rowsAfter<RunEndRow>(0)[0].status, "failed");
  }
  EXPECT_GE(kept, 1u);
  EXPECT_LT(kept, 8u);
  small.products = kNever;
  const StudyOutcome outcome = runStudy(study("auto"), part, m_backends, {});
  EXPECT_EQ(outcome.points, 6);
  EXPECT_LT(outcome.computed, 6) << "what was finished is not computed again";
  EXPECT_EQ(runStudy(study("reference"), part, m_backends, {}).computed, 6) << "figures of two backends are two runs";
  RunReader reader(part.store);
  EXPECT_EQ(reader.rowsAfter<RunRow>(0).size(), 2u);
}

} // namespace

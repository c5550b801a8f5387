// SPDX-License-Identifier: Apache-2.0
// The timeline of whole steps: CUPTI's launches, of graphs too, are those of the operations that events time one by one.
#include "cuda_test.h"
#include "support/small_model.h"

#include <cstdlib>
#include <map>
#include <ostream>
#include <set>

namespace xqs::test {
namespace {

/// What a timeline must say of an operation, whatever it is made from.
struct Call {
  std::uint64_t number = 0; ///< from the timeline's first operation on
  std::string what;         ///< operation, tag and queue
  double bytes = 0, flops = 0;
  friend bool operator==(const Call &, const Call &) = default;
  friend void PrintTo(const Call &c, std::ostream *out) {
    *out << c.number << " " << c.what << " " << c.bytes << " bytes " << c.flops << " FLOP";
  }
};

std::vector<Call> callsOf(const Instruments::Timeline &timeline, std::uint64_t before) {
  std::map<std::uint64_t, Call> calls;
  for (const KernelRecord &r : timeline.records) {
    if (r.call == 0) continue; // what belongs to no operation
    Call &call = calls[r.call];
    call.number = r.call - before;
    call.what = std::string(r.kernel) + " of " + r.tag.op + ", layer " + std::to_string(r.tag.layer) + ", lane " +
                std::to_string(r.tag.lane) + ", queue " + std::to_string(static_cast<int>(r.queue));
    call.bytes += r.bytes, call.flops += r.flops;
  }
  std::vector<Call> all;
  for (const auto &[number, call] : calls) all.push_back(call);
  return all;
}

class CudaTimeline : public CudaTest {
protected:
  void SetUp() override {
#if defined(XQS_FAKE_CUPTI)
    setenv("XQSCOPE_CUPTI", XQS_FAKE_CUPTI, 1);
#else
    if (kEmulated) GTEST_SKIP() << "no CUPTI headers to build a stand-in for CUPTI with";
#endif
    CudaTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    m_model = std::make_unique<SmallModel>(kGqaModel, s_module);
  }
  void TearDown() override {
    m_model.reset();
    if (kEmulated) setenv("XQSCOPE_CUPTI", "off", 1);
  }
  Backend &backend() { return *m_model->backend; }
  Instruments &instruments() { return backend().instruments(); }
  InstrumentStatus status() { return instruments().status().at(static_cast<std::size_t>(Instrument::Timeline)); }
  bool skipWithoutCupti() {
    const InstrumentStatus found = status();
    if (found.state == InstrumentState::Ready) return false;
    EXPECT_FALSE(kEmulated) << found.sentence;
    return true;
  }

  /// Two sequences that hold `prompt` tokens, about to decode.
  struct Sequences {
    Sequences(SmallModel &model, const std::string &policy, Placement placement, Rebuild rebuild)
        : method(prepareMethod(PolicySpec::parse(policy), *model.model, model.calibration)), engine(*model.model) {
      for (std::size_t i = 0; i < lanes.size(); ++i) {
        caches[i] = method->makeCache({kPrompt, kPrompt + 16, State::Stream, placement});
        caches[i]->setRebuild(rebuild);
        lanes[i].cache = caches[i].get();
      }
      engine.step(lanes, std::span(tokens).first(kPrompt));
      model.backend->sync(kQ);
    }
    void decode(Index steps) {
      for (Index i = 0; i < steps; ++i) engine.step(lanes, std::span(tokens).subspan(kPrompt, 1));
    }
    static constexpr Index kPrompt = 34; // a group of 32 has closed, the next one does not before the end
    std::vector<TokenId> tokens = randomTokens(kPrompt + 1, 256, 3);
    std::unique_ptr<Method> method;
    std::array<std::unique_ptr<Cache>, 2> caches;
    std::array<Lane, 2> lanes;
    Engine engine;
  };

  /// Calls that moved bytes of some steps; timed one by one by events, or as they run.
  std::vector<Call> decoded(bool events, const std::string &policy, Placement placement, Rebuild rebuild) {
    Sequences sequences(*m_model, policy, placement, rebuild);
    Instruments byEvents(backend());
    Instruments &timed = events ? byEvents : instruments();
    timed.startTimeline();
    const std::uint64_t before = backend().operations();
    sequences.decode(3);
    const auto timeline = timed.stopTimeline();
    EXPECT_EQ(timeline.dropped, 0);
    m_launches = timeline.records;
    std::vector<Call> calls = callsOf(timeline, before);
    std::erase_if(calls, [](const Call &call) { return call.bytes == 0; });
    return calls;
  }

  std::unique_ptr<SmallModel> m_model;
  std::vector<KernelRecord> m_launches;
};

TEST_F(CudaTimeline, StepsOfOneGraphAreTheOperationsThatRunOneByOne) {
  if (skipWithoutCupti()) GTEST_SKIP() << status().sentence;
  const struct {
    const char *policy;
    Placement placement;
    Rebuild rebuild;
  } cases[] = {{"fp16", Placement::Device, Rebuild::Fused},
               {"kivi:bits=2,group=16", Placement::Device, Rebuild::Chunks},
               {"xquant:bits=2,group=32,source=x,residual=4", Placement::Device, Rebuild::Ahead},
               {"xquant:bits=2,group=32,source=latent", Placement::Host, Rebuild::Ahead},
               {"xquant-cl:bits=4,group=32,source=x", Placement::Host, Rebuild::Fused}};
  for (const auto &[policy, placement, rebuild] : cases) {
    const std::vector<Call> eager = decoded(true, policy, placement, rebuild);
    EXPECT_GT(eager.size(), 100u);
    EXPECT_EQ(decoded(false, policy, placement, rebuild), eager) << policy;
    EXPECT_GE(m_launches.size(), eager.size());
    for (const KernelRecord &r : m_launches) EXPECT_TRUE(r.call != 0 || r.launch == "memset") << r.launch; // of new memory
  }
}

/// A step that is made of other operations than the one before cannot take over its executable; one of the same can, with
/// other bytes. Between them, steps of several tokens run operation by operation.
TEST_F(CudaTimeline, StepsOfEveryKindInOneTimeline) {
  if (skipWithoutCupti()) GTEST_SKIP() << status().sentence;
  const auto run = [&](Instruments &timed) {
    Sequences a(*m_model, "fp16", Placement::Device, Rebuild::Fused);
    Sequences b(*m_model, "xquant:bits=2,group=32,source=x", Placement::Device, Rebuild::Ahead);
    b.decode(1); // an executable of before the timeline
    timed.startTimeline();
    const std::uint64_t before = backend().operations();
    for (int i = 0; i < 2; ++i) {
      a.decode(2);
      b.decode(1);
    }
    a.engine.step(a.lanes, std::span(a.tokens).first(3));
    b.decode(2);
    std::vector<Call> calls = callsOf(timed.stopTimeline(), before);
    std::erase_if(calls, [](const Call &call) { return call.bytes == 0; });
    return calls;
  };
  Instruments events(backend());
  const std::vector<Call> eager = run(events);
  EXPECT_EQ(run(instruments()), eager);
  EXPECT_EQ(run(instruments()), eager); // a second timeline, and none of the first one's nodes
}

/// The driver takes such a step over into the executable of the other, node by node of a stream: not in the order of calls.
TEST_F(CudaTimeline, StepsThatDifferOnlyBetweenQueues) {
  if (skipWithoutCupti()) GTEST_SKIP() << status().sentence;
  constexpr Index kFloats = 1024;
  Backend &b = backend();
  const Buffer x = b.allocate(kFloats * 4, Purpose::Activations), y = b.allocate(kFloats * 4, Purpose::Activations),
               z = b.allocate(kFloats * 4, Purpose::Activations);
  const auto view = [](const Buffer &buffer) { return buffer.f32(1, kFloats); };
  const auto step = [&](bool copyFirst) {
    Gathered gathered(b, true);
    b.scale(kQ, view(x), 1.25f);
    for (const Queue queue : {Queue::Copy, Queue::Rebuild}) b.wait(queue, b.record(kQ));
    if (copyFirst) b.copy(Queue::Copy, view(x), view(y));
    b.scale(Queue::Rebuild, view(z), 0.5f);
    if (!copyFirst) b.copy(Queue::Copy, view(x), view(y));
    for (const Queue queue : {Queue::Copy, Queue::Rebuild}) b.wait(kQ, b.record(queue));
    gathered.submit();
  };
  instruments().startTimeline();
  for (const bool copyFirst : {true, false, false, true}) step(copyFirst);
  const auto timeline = instruments().stopTimeline();
  ASSERT_EQ(timeline.records.size(), 12u);
  for (const KernelRecord &r : timeline.records) {
    EXPECT_EQ(r.launch.starts_with("memcpy"), r.queue == Queue::Copy) << r.call;
    EXPECT_STREQ(r.kernel, r.queue == Queue::Copy ? "copy" : "scale") << r.call;
  }
}

/// Reported of GPUs: sampling may silence what comes after it. Then the timeline is the events'; a lost one is not an
/// option.
TEST_F(CudaTimeline, AfterSamplingThereIsATimeline) {
  const std::vector<Call> eager = decoded(true, "fp16", Placement::Device, Rebuild::Fused);
  const InstrumentStatus sampling = instruments().status().at(static_cast<std::size_t>(Instrument::Sampling));
  if (sampling.state != InstrumentState::Ready) GTEST_SKIP() << sampling.sentence;
  if (skipWithoutCupti()) GTEST_SKIP() << status().sentence;
  instruments().startSampling(1'000'000);
  Sequences(*m_model, "fp16", Placement::Device, Rebuild::Fused).decode(1);
  backend().sync(kQ);
  instruments().stopSampling();
  EXPECT_EQ(decoded(false, "fp16", Placement::Device, Rebuild::Fused), eager);
  EXPECT_EQ(status().state, InstrumentState::Ready) << status().sentence;
}

/// cuBLAS launches through the driver's functions (on sm_90).
TEST_F(CudaTimeline, ALibrarysLaunchesAreThoseOfTheOperation) {
#if defined(XQS_FAKE_CUBLAS)
  setenv("XQSCOPE_CUBLAS", XQS_FAKE_CUBLAS, 1);
#endif
  const BackendOwner asked = makeBackend(s_module, 0);
  if (kEmulated) setenv("XQSCOPE_CUBLAS", "off", 1);
  if (asked->device().find("cuBLAS") == std::string::npos) GTEST_SKIP() << asked->device();
  if (skipWithoutCupti()) GTEST_SKIP() << status().sentence;
  constexpr Index kRows = 64, kWidth = 64;
  const Buffer x = asked->allocate(kRows * kWidth * 4, Purpose::Activations),
               w = asked->allocate(kWidth * kWidth * 2, Purpose::Weights),
               out = asked->allocate(kRows * kWidth * 4, Purpose::Activations);
  const auto product = [&] {
    asked->matmul(kQ, x.f32(kRows, kWidth), w.view(DType::F16, kWidth, kWidth), out.f32(kRows, kWidth));
  };
  product(); // makes the library's handle
  asked->sync(kQ);
  asked->instruments().startTimeline();
  product();
  const auto timeline = asked->instruments().stopTimeline();
  EXPECT_GE(timeline.records.size(), 2u) << "rows in two halves, and their product";
  for (const KernelRecord &r : timeline.records) EXPECT_STREQ(r.kernel, "matmul") << r.launch;
}

TEST_F(CudaTimeline, CountsStandOnOneLaunchOfAnOperation) {
  if (skipWithoutCupti()) GTEST_SKIP() << status().sentence;
  decoded(false, "kivi:bits=2,group=16", Placement::Device, Rebuild::Fused);
  std::map<std::uint64_t, int> launches, counted;
  for (const KernelRecord &r : m_launches) ++launches[r.call], counted[r.call] += r.bytes > 0 ? 1 : 0;
  int several = 0;
  for (const auto &[call, count] : launches) {
    EXPECT_LE(counted[call], 1) << call;
    several += count > 1 ? 1 : 0;
  }
  EXPECT_GT(several, 0); // attention is more than one kernel
}

TEST_F(CudaTimeline, TheStatusSaysWhereItComesFrom) {
  if (skipWithoutCupti()) GTEST_SKIP() << status().sentence;
  EXPECT_THAT(status().source, testing::StartsWith("CUPTI 13"));
  EXPECT_THAT(status().sentence, testing::HasSubstr(status().source));
  // Copies and fills are launches like kernels.
  instruments().startTimeline();
  const Buffer filled = backend().allocate(1 << 16, Purpose::Activations);
  std::vector<std::byte> host(16);
  backend().download(kQ, host.data(), filled.data(), 16);
  const auto timeline = instruments().stopTimeline();
  std::set<std::string> names;
  for (const KernelRecord &r : timeline.records) names.insert(r.launch);
  EXPECT_TRUE(names.contains("memset"));
  EXPECT_TRUE(names.contains("memcpy DtoH"));
}

#if defined(XQS_FAKE_CUPTI)
/// Whatever CUPTI answers, there is a timeline: of events, with its reason.
TEST_F(CudaTimeline, WhereCuptiCannotEventsDo) {
  for (const char *answer :
       {"cuptiSubscribe=39", "cuptiActivityEnable=35", "cuptiActivityRegisterCallbacks=999", "cuptiEnableCallback=27",
        "cuptiGetGraphNodeId=19", "cuptiActivityPushExternalCorrelationId=999", "cuptiActivityPopExternalCorrelationId=18",
        "cuptiActivityFlushAll=999", "cuptiActivityGetNextRecord=21", "cuptiGetTimestamp=999", "cuptiActivityDisable=999"}) {
    setenv("XQS_FAKE_CUPTI_ANSWERS", answer, 1);
    const BackendOwner asked = makeBackend(s_module, 0);
    const InstrumentStatus found = asked->instruments().status().front();
    EXPECT_EQ(found.instrument, Instrument::Timeline);
    EXPECT_EQ(found.state, InstrumentState::Fallback) << answer;
    EXPECT_EQ(found.source, "CUDA events") << answer;
    EXPECT_THAT(found.sentence, testing::StartsWith("operations are timed by CUDA events, one by one: ")) << answer;
    const Buffer x = asked->allocate(64, Purpose::Activations);
    asked->instruments().startTimeline();
    for (const bool gathered : {false, true}) {
      Gathered step(*asked, gathered);
      asked->scale(kQ, x.f32(1, 16), 2.0f);
      step.submit();
    }
    EXPECT_EQ(asked->instruments().stopTimeline().records.size(), 2u) << answer;
    unsetenv("XQS_FAKE_CUPTI_ANSWERS");
  }
}

TEST_F(CudaTimeline, AToolThatCameAfterTheTestIsNamed) {
  ASSERT_EQ(status().state, InstrumentState::Ready);
  setenv("XQS_FAKE_CUPTI_ANSWERS", "cuptiSubscribe=39", 1);
  EXPECT_FALSE(decoded(false, "fp16", Placement::Device, Rebuild::Fused).empty());
  unsetenv("XQS_FAKE_CUPTI_ANSWERS");
  EXPECT_EQ(status().state, InstrumentState::Fallback);
  EXPECT_THAT(status().sentence, testing::HasSubstr("another NVIDIA tool"));
}

TEST_F(CudaTimeline, OneThatComesBackEmptyIsNone) {
  const std::vector<Call> eager = decoded(true, "fp16", Placement::Device, Rebuild::Fused);
  ASSERT_EQ(status().state, InstrumentState::Ready);
  setenv("XQS_FAKE_CUPTI_SILENT", "1", 1);
  EXPECT_THROW(decoded(false, "fp16", Placement::Device, Rebuild::Fused), Error);
  unsetenv("XQS_FAKE_CUPTI_SILENT");
  EXPECT_EQ(status().state, InstrumentState::Fallback);
  EXPECT_THAT(status().sentence, testing::HasSubstr("gave no launch of any operation"));
  EXPECT_EQ(decoded(false, "fp16", Placement::Device, Rebuild::Fused), eager);
}

TEST_F(CudaTimeline, OneThatOtherInstrumentsSilenceFailsItsTest) {
  setenv("XQS_FAKE_CUPTI_SILENT", "sampled", 1);
  EXPECT_EQ(status().state, InstrumentState::Fallback) << status().sentence;
  unsetenv("XQS_FAKE_CUPTI_SILENT");
  EXPECT_EQ(instruments().status().at(static_cast<std::size_t>(Instrument::Sampling)).state, InstrumentState::Ready);
}

TEST_F(CudaTimeline, WithoutTheLibraryThereIsATimeline) {
  const std::vector<Call> eager = decoded(true, "fp16", Placement::Device, Rebuild::Fused);
  for (const char *library : {"off", "/nowhere/libcupti.so"}) {
    setenv("XQSCOPE_CUPTI", library, 1);
    m_model = std::make_unique<SmallModel>(kGqaModel, s_module);
    EXPECT_EQ(status().state, InstrumentState::Fallback) << library;
    EXPECT_EQ(decoded(false, "fp16", Placement::Device, Rebuild::Fused), eager) << library;
  }
}
#endif

} // namespace
} // namespace xqs::test

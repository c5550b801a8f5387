// SPDX-License-Identifier: Apache-2.0
// Counters and samples of the CUDA backend: on a GPU with the real CUPTI where it allows them, on the emulator with a fake
// one (tests/emulator/fake_cupti.h), which counts what is moved there and gives every answer that CUPTI documents.
#include "cuda_test.h"

#include <dlfcn.h>

#include <chrono>
#include <fstream>
#include <numeric>
#include <thread>
#include <unistd.h>

namespace xqs::test {
namespace {

using testing::HasSubstr;

std::int64_t steadyNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class CudaInstruments : public CudaTest {
protected:
  void SetUp() override {
#if defined(XQS_FAKE_CUPTI)
    set("XQSCOPE_CUPTI", XQS_FAKE_CUPTI);
#else
    if (kEmulated) GTEST_SKIP() << "no CUPTI headers of CUDA 13 to build a stand-in for CUPTI with";
#endif
    CudaTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) makeBackend();
  }
  void TearDown() override {
    m_x = {};
    m_backend.reset();
    EXPECT_EQ(held(), 0) << "objects of CUPTI's are left";
    for (const std::string &name : m_set) unsetenv(name.c_str());
    if (kEmulated) setenv("XQSCOPE_CUPTI", "off", 1);
  }
  void set(const std::string &name, const std::string &value) {
    setenv(name.c_str(), value.c_str(), 1);
    m_set.push_back(name);
  }
  void answer(const std::string &answers) { set("XQS_FAKE_CUPTI_ANSWERS", answers); }
  /// A backend of its own: its instruments have not been asked yet.
  void makeBackend() {
    m_x = {};
    m_backend = {s_module->create(0), BackendDeleter{s_module->destroy}};
    m_x = m_backend->allocate(64 * 64 * 4, Purpose::Activations);
  }
  Instruments &instruments() { return m_backend->instruments(); }
  InstrumentStatus status(Instrument instrument) { return instruments().status().at(static_cast<std::size_t>(instrument)); }
  /// True on a GPU that does not allow it, which is said.
  bool without(Instrument instrument) {
    const InstrumentStatus s = status(instrument);
    if (!kEmulated) std::cout << instrumentName(instrument) << ": " << s.sentence << '\n';
    return !kEmulated && s.state != InstrumentState::Ready;
  }
  void tag(std::int16_t layer, std::int16_t lane, const char *op) { m_backend->setTag({layer, lane, op}); }
  /// One operation of one launch, always the same.
  void operate(int times = 1) {
    for (int i = 0; i < times; ++i) m_backend->scale(kQ, m_x.f32(64, 64), 1.0f);
  }
  /// The backend after an error, its instruments new: what was counted then goes as well as ever.
  void expectCounting() {
    const auto counted = instruments().count(CounterSet::Traffic, RangeBy::Layer, [&] { operate(); });
    EXPECT_EQ(counted.ranges.size(), 1u);
  }
  static int held() {
#if defined(XQS_FAKE_CUPTI)
    void *const fake = dlopen(XQS_FAKE_CUPTI, RTLD_NOW | RTLD_NOLOAD);
    return fake != nullptr ? reinterpret_cast<int (*)()>(dlsym(fake, "xqsFakeCuptiHeld"))() : 0;
#else
    return 0;
#endif
  }

  BackendPtr m_backend;
  Buffer m_x;
  std::vector<std::string> m_set;
};

/// What only the fake one can do.
class FakeCupti : public CudaInstruments {
protected:
  void SetUp() override {
    if (!kEmulated) GTEST_SKIP() << "the answers of a fake CUPTI are tested on the emulator";
    CudaInstruments::SetUp();
  }
};

std::string sentenceOf(const std::function<void()> &call, Code code) {
  try {
    call();
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

double sum(const Instruments::Counted &counted, double CounterFigures::*figure) {
  return std::accumulate(counted.ranges.begin(), counted.ranges.end(), 0.0,
                         [&](double all, const RangeRecord &r) { return all + r.figures.*figure; });
}
std::string textOf(const Tag &tag) { return std::to_string(tag.layer) + " " + std::to_string(tag.lane) + " " + tag.op; }
std::vector<std::string> tagsOf(const Instruments::Counted &counted) {
  std::vector<std::string> tags;
  for (const RangeRecord &range : counted.ranges) tags.push_back(textOf(range.tag));
  return tags;
}

} // namespace

// States ------------------------------------------------------------------------------------------------------------------

TEST_F(CudaInstruments, AreReadyWhereTheSelfTestReadsBackWhatWasMoved) {
  for (const Instrument instrument : {Instrument::Counters, Instrument::Sampling}) {
    if (without(instrument)) continue;
    const InstrumentStatus s = status(instrument);
    EXPECT_EQ(s.state, InstrumentState::Ready) << s.sentence;
    EXPECT_TRUE(s.usable());
    EXPECT_EQ(s.source, "CUPTI 13.0");
    EXPECT_THAT(s.sentence, HasSubstr("measured by CUPTI 13.0"));
    EXPECT_THAT(s.metrics, HasSubstr("dram__bytes"));
    EXPECT_GT(s.selfTestExpected, 0);
    EXPECT_NEAR(s.selfTestRead / s.selfTestExpected, 1, 0.03);
  }
}

namespace {

struct State {
  const char *name;
  int answer;
  InstrumentState state;
  const char *sentence;
};
void PrintTo(const State &state, std::ostream *out) { *out << state.name; }
constexpr State kStates[] = {
    {"noPermission", 35, InstrumentState::NoPermission, "NVreg_RestrictProfilingToAdminUsers=0"},
    {"virtualGpu", 33, InstrumentState::Virtualized, "this is a virtual GPU"},
    {"virtualGpuForbidden", 40, InstrumentState::Virtualized, "does not allow profiling"},
    {"mig", 43, InstrumentState::Mig, "MIG slice"},
    {"confidential", 41, InstrumentState::Confidential, "confidential computing"},
    {"wsl", 45, InstrumentState::Wsl, "Windows Subsystem for Linux"},
    {"busy", 26, InstrumentState::InUse, "dcgmi profile --pause"},
    {"otherTool", 39, InstrumentState::InUse, "another NVIDIA tool"},
    {"otherProfiler", 23, InstrumentState::InUse, "another profiler"},
    {"notSupported", 27, InstrumentState::NotOnThisDevice, "does not support"},
    {"miningProcessor", 42, InstrumentState::NotOnThisDevice, "mining"},
    {"sli", 44, InstrumentState::NotOnThisDevice, "SLI"},
    {"unknownChip", 46, InstrumentState::NotOnThisDevice, "newer CUDA toolkit"},
    {"unknown", 999, InstrumentState::Broken, "reports 999: a message of the fake CUPTI"},
    {"notInitialized", 15, InstrumentState::Broken, "reports 15"},
};
class CuptiAnswers : public FakeCupti, public testing::WithParamInterface<State> {
protected:
  void expect(Instrument instrument, const std::string &where) {
    const InstrumentStatus s = status(instrument);
    EXPECT_EQ(instrumentStateName(s.state), std::string(instrumentStateName(GetParam().state))) << where;
    EXPECT_THAT(s.sentence, HasSubstr(GetParam().sentence)) << where;
    EXPECT_FALSE(s.usable());
    const auto count = [&] { (void)instruments().count(CounterSet::Traffic, RangeBy::Layer, [] {}); };
    const auto sample = [&] { instruments().startSampling(1'000'000); };
    EXPECT_EQ(instrument == Instrument::Counters ? sentenceOf(count, Code::Unsupported)
                                                 : sentenceOf(sample, Code::Unsupported),
              s.sentence);
  }
};
INSTANTIATE_TEST_SUITE_P(All, CuptiAnswers, testing::ValuesIn(kStates), [](const auto &s) { return s.param.name; });

} // namespace

TEST_P(CuptiAnswers, AreAStateWithItsSentenceWhereverTheyCome) {
  const std::string result = "=" + std::to_string(GetParam().answer);
  const std::pair<const char *, const char *> calls[] = {
      {"cuptiProfilerInitialize", "cuptiProfilerInitialize"},
      {"cuptiProfilerDeviceSupported", "cuptiProfilerDeviceSupported"},
      {"cuptiProfilerGetCounterAvailability", "cuptiPmSamplingGetCounterAvailability"},
      {"cuptiProfilerHostInitialize", "cuptiProfilerHostInitialize"},
      {"cuptiRangeProfilerEnable", "cuptiPmSamplingEnable"},
      {"cuptiRangeProfilerSetConfig", "cuptiPmSamplingSetConfig"},
      {"cuptiRangeProfilerStart", "cuptiPmSamplingStart"},
  };
  for (const auto &[counters, sampling] : calls) {
    answer(counters + result + "," + sampling + result);
    makeBackend();
    expect(Instrument::Counters, counters);
    expect(Instrument::Sampling, sampling);
  }
}

/// Every call of the two, and none of them leaves anything behind or crashes.
TEST_F(FakeCupti, AnErrorOfAnyCallIsNamed) {
  const std::pair<Instrument, std::vector<const char *>> all[] = {
      {Instrument::Counters,
       {"cuptiDeviceGetChipName", "cuptiProfilerHostConfigAddMetrics", "cuptiProfilerHostGetConfigImageSize",
        "cuptiProfilerHostGetConfigImage", "cuptiProfilerHostGetNumOfPasses", "cuptiProfilerHostEvaluateToGpuValues",
        "cuptiRangeProfilerGetCounterDataSize", "cuptiRangeProfilerCounterDataImageInitialize",
        "cuptiRangeProfilerPushRange", "cuptiRangeProfilerPopRange", "cuptiRangeProfilerStop",
        "cuptiRangeProfilerDecodeData", "cuptiRangeProfilerGetCounterDataInfo",
        "cuptiRangeProfilerCounterDataGetRangeInfo"}},
      {Instrument::Sampling,
       {"cuptiGetTimestamp", "cuptiPmSamplingGetCounterDataSize", "cuptiPmSamplingCounterDataImageInitialize",
        "cuptiPmSamplingStop", "cuptiPmSamplingDecodeData", "cuptiPmSamplingGetCounterDataInfo",
        "cuptiPmSamplingCounterDataGetSampleInfo"}},
  };
  for (const auto &[instrument, calls] : all)
    for (const char *call : calls) {
      answer(std::string(call) + "=9");
      makeBackend();
      const InstrumentStatus s = status(instrument);
      EXPECT_EQ(s.state, InstrumentState::Broken) << call;
      EXPECT_THAT(s.sentence, HasSubstr(std::string(call) + " reports 9: a message of the fake CUPTI"));
    }
}

TEST_F(FakeCupti, AFieldOfDeviceSupportIsAState) {
  const std::pair<const char *, InstrumentState> fields[] = {{"wsl", InstrumentState::Wsl},
                                                             {"vGpu", InstrumentState::Virtualized},
                                                             {"vGpuDisabled", InstrumentState::Virtualized},
                                                             {"confidentialCompute", InstrumentState::Confidential},
                                                             {"sli", InstrumentState::NotOnThisDevice},
                                                             {"cmp", InstrumentState::NotOnThisDevice},
                                                             {"architecture", InstrumentState::NotOnThisDevice}};
  for (const auto &[field, state] : fields) {
    set("XQS_FAKE_CUPTI_UNSUPPORTED", field);
    makeBackend();
    EXPECT_EQ(status(Instrument::Counters).state, state) << field;
    EXPECT_EQ(status(Instrument::Sampling).state, state) << field;
  }
}

TEST_F(FakeCupti, ASelfTestThatIsOffSaysBothNumbersAndNothingIsMeasured) {
  for (const auto &[factor, passes] :
       {std::pair("0.5", false), {"0.96", false}, {"0.98", true}, {"1.02", true}, {"1.04", false}}) {
    set("XQS_FAKE_CUPTI_FACTOR", factor);
    makeBackend();
    for (const Instrument instrument : {Instrument::Counters, Instrument::Sampling}) {
      const InstrumentStatus s = status(instrument);
      EXPECT_EQ(s.state, passes ? InstrumentState::Ready : InstrumentState::SelfTestFailed) << factor << s.sentence;
      EXPECT_NEAR(s.selfTestRead, std::atof(factor) * s.selfTestExpected, 1) << factor;
      if (!passes) {
        EXPECT_THAT(s.sentence, testing::ContainsRegex("a copy of [0-9]+ bytes was measured as [0-9]+ bytes read"));
      }
    }
    if (!passes) {
      EXPECT_EQ(sentenceOf([&] { expectCounting(); }, Code::Unsupported), status(Instrument::Counters).sentence);
    }
  }
}

TEST_F(FakeCupti, ALibraryThatCannotBeUsedIsAStateWithItsReason) {
  const auto folder = std::filesystem::temp_directory_path() / ("xqs-cupti-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const std::string alone = folder / "libcupti.so.13"; // without its host part
#if defined(XQS_FAKE_CUPTI)
  std::filesystem::copy_file(XQS_FAKE_CUPTI, alone);
#endif
  const std::pair<std::string, const char *> libraries[] = {
      {"off", "CUPTI is switched off: unset XQSCOPE_CUPTI"},
      {"/no/such/libcupti.so.13", "XQSCOPE_CUPTI=/no/such/libcupti.so.13: "},
      {"libm.so.6", "it has no function cuptiGetVersion"},
      {alone, "it needs libnvperf_host.so beside it"},
  };
  for (const auto &[file, reason] : libraries) {
    set("XQSCOPE_CUPTI", file);
    makeBackend();
    for (const Instrument instrument : {Instrument::Counters, Instrument::Sampling}) {
      const InstrumentStatus s = status(instrument);
      EXPECT_EQ(s.state, InstrumentState::NoLibrary) << file;
      EXPECT_THAT(s.sentence, HasSubstr(reason));
      EXPECT_THAT(s.sentence, HasSubstr("counted from shapes, not measured"));
      EXPECT_EQ(s.source, "");
    }
    EXPECT_EQ(status(Instrument::Timeline).state, InstrumentState::Fallback);
    EXPECT_EQ(status(Instrument::Timeline).source, "CUDA events");
  }
  std::filesystem::remove_all(folder);
}

/// The real library, on a machine where several of its functions crash.
TEST_F(FakeCupti, WithoutADriverTheRealOneIsAskedNothingThatCrashes) {
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) != nullptr) GTEST_SKIP() << "there is an NVIDIA driver";
  set("XQSCOPE_CUPTI", ""); // whichever is found
  makeBackend();
  const std::vector<InstrumentStatus> all = instruments().status();
  if (all[1].state == InstrumentState::NoLibrary) GTEST_SKIP() << "the real CUPTI: " << all[1].sentence;
  EXPECT_EQ(all[0].state, InstrumentState::Fallback);
  for (const Instrument instrument : {Instrument::Counters, Instrument::Sampling}) {
    const InstrumentStatus s = status(instrument);
    EXPECT_EQ(s.state, InstrumentState::Broken) << s.sentence;
    EXPECT_THAT(s.sentence, HasSubstr("cuptiProfilerInitialize reports 999"));
    EXPECT_EQ(s.source, "CUPTI 13.0");
  }
}

/// This process may have the capability: then the driver would let it.
TEST_F(FakeCupti, ARestrictionOfTheDriverIsSeenBeforeCuptiIsAsked) {
  const std::string file = std::filesystem::temp_directory_path() / ("xqs-params-" + std::to_string(getpid()));
  std::ofstream(file) << "RmProfilingAdminOnly: 1\n";
  set("XQSCOPE_NVIDIA_PARAMS", file);
  answer("cuptiProfilerInitialize=999"); // what is said where it is asked
  std::ifstream self("/proc/self/status");
  std::uint64_t capabilities = 0;
  for (std::string line; std::getline(self, line);)
    if (line.starts_with("CapEff:")) capabilities = std::strtoull(line.c_str() + 7, nullptr, 16);
  const bool admin = (capabilities >> 21 & 1) != 0;
  const InstrumentStatus s = status(Instrument::Counters);
  EXPECT_EQ(s.state, admin ? InstrumentState::Broken : InstrumentState::NoPermission) << s.sentence;
  std::filesystem::remove(file);
}

TEST_F(FakeCupti, MetricsGoByWhatTheChipHas) {
  const auto metrics = [&](const std::string &lacks) {
    set("XQS_FAKE_CUPTI_LACKS", lacks);
    makeBackend();
    return status(Instrument::Counters).metrics;
  };
  const std::string beside =
      " gpu__time_duration.sum lts__t_sectors.sum sm__cycles_active.avg lts__d_sectors_fill_device.sum "
      "sm__inst_executed_pipe_tensor.sum";
  EXPECT_EQ(metrics(""), "dram__bytes_read.sum dram__bytes_write.sum" + beside);
  EXPECT_EQ(metrics("dram__bytes_read.sum"), "dram__bytes_op_read.sum dram__bytes_op_write.sum" + beside);
  EXPECT_EQ(metrics("dram__bytes_read.sum,dram__bytes_op_write.sum"),
            "fbpa__dram_read_bytes.sum fbpa__dram_write_bytes.sum" + beside);
  EXPECT_EQ(status(Instrument::Sampling).metrics, "fbpa__dram_read_bytes.sum fbpa__dram_write_bytes.sum");
  EXPECT_EQ(metrics("dram__bytes_read.sum,dram__bytes_op_write.sum,fbpa__dram_read_bytes.sum"), "");
  EXPECT_EQ(status(Instrument::Counters).state, InstrumentState::NotOnThisDevice);
  EXPECT_THAT(status(Instrument::Sampling).sentence, HasSubstr("GH100"));
  EXPECT_THAT(metrics("sm__cycles_active.avg"), testing::Not(HasSubstr("cycles")));
}

TEST_F(FakeCupti, ChipsThatHaveNoTimedTriggerAreSampledByCycles) {
  for (const char *chip : {"TU102", "GA100"}) {
    set("XQS_FAKE_CUPTI_CHIP", chip);
    makeBackend();
    EXPECT_EQ(status(Instrument::Sampling).state, InstrumentState::Ready) << status(Instrument::Sampling).sentence;
  }
}

#if !defined(XQS_FAKE_CUPTI)
TEST_F(CudaTest, ABuildWithoutHeadersOfCuptiSaysSo) {
  if (!kEmulated) GTEST_SKIP() << "it has them";
  for (const Instrument instrument : {Instrument::Counters, Instrument::Sampling}) {
    const InstrumentStatus s = s_cuda->instruments().status().at(static_cast<std::size_t>(instrument));
    EXPECT_EQ(s.state, InstrumentState::NoLibrary);
    EXPECT_THAT(s.sentence, HasSubstr("built without CUPTI's headers"));
  }
}
#endif

// Ranges ------------------------------------------------------------------------------------------------------------------

TEST_F(CudaInstruments, RangesAreTheOperationsOfATag) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  const auto work = [&] {
    tag(0, -1, "qkv"), operate(2);
    tag(0, -1, "attend"); // nothing runs
    tag(0, 1, "cache"), operate();
    tag(0, 2, "cache"), operate(); // another lane is the same range
    tag(1, -1, "qkv"), operate();
    tag(0, -1, "qkv"), operate(3); // no longer the first one
  };
  const auto operations = instruments().count(CounterSet::Traffic, RangeBy::Operation, work);
  EXPECT_THAT(tagsOf(operations), testing::ElementsAre("0 -1 qkv", "0 1 cache", "1 -1 qkv", "0 -1 qkv"));
  EXPECT_EQ(operations.passes, 1);
  EXPECT_EQ(operations.dropped, 0);
  const auto layers = instruments().count(CounterSet::Traffic, RangeBy::Layer, work);
  EXPECT_THAT(tagsOf(layers), testing::ElementsAre("0 -1 ", "1 -1 ", "0 -1 "));
  for (const auto *counted : {&operations, &layers})
    for (const RangeRecord &range : counted->ranges) {
      EXPECT_GT(range.figures.seconds, 0);
      EXPECT_GE(range.figures.dramRead, 0);
      EXPECT_GT(range.figures.cacheAccesses, 0);
      EXPECT_GT(range.figures.cycles, 0);
      EXPECT_EQ(range.kernel, "");
    }
  if (!kEmulated) return; // there a launch takes 1 us and moves the same each time
  const auto launches = [](const Instruments::Counted &counted) {
    std::vector<int> all;
    for (const RangeRecord &range : counted.ranges)
      all.push_back(static_cast<int>(std::lround(range.figures.seconds * 1e6)));
    return all;
  };
  EXPECT_THAT(launches(operations), testing::ElementsAre(2, 2, 1, 3));
  EXPECT_THAT(launches(layers), testing::ElementsAre(4, 1, 3));
  const double once = operations.ranges[2].figures.dramRead;
  EXPECT_EQ(once, 64 * 64 * 4);
  EXPECT_EQ(operations.ranges[3].figures.dramRead, 3 * once);
  EXPECT_EQ(layers.ranges[0].figures.dramWrite, 4 * once);
  EXPECT_EQ(sum(operations, &CounterFigures::dramRead), sum(layers, &CounterFigures::dramRead));
}

TEST_F(CudaInstruments, CountedStepsAreNotGathered) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  const auto counted = instruments().count(CounterSet::Traffic, RangeBy::Layer, [&] {
    Gathered step(*m_backend, true);
    for (std::int16_t layer = 0; layer < 3; ++layer) tag(layer, -1, "qkv"), operate();
    step.submit();
  });
  EXPECT_THAT(tagsOf(counted), testing::ElementsAre("0 -1 ", "1 -1 ", "2 -1 "));
  for (const RangeRecord &range : counted.ranges) EXPECT_GT(range.figures.cacheAccesses, 0);
}

TEST_F(CudaInstruments, AllQueuesCountToTheRangeThatStartedTheirWork) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  const auto counted = instruments().count(CounterSet::Traffic, RangeBy::Layer, [&] {
    tag(0, -1, "qkv"), m_backend->scale(Queue::Rebuild, m_x.f32(64, 64), 1.0f);
    tag(1, -1, "qkv"), operate();
  });
  ASSERT_EQ(counted.ranges.size(), 2u);
  for (const RangeRecord &range : counted.ranges) EXPECT_GT(range.figures.cacheAccesses, 0);
}

TEST_F(CudaInstruments, TheHitRateTakesTwoPassesOfTheWork) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  int runs = 0;
  const auto counted = instruments().count(CounterSet::HitRate, RangeBy::Operation, [&] {
    ++runs;
    tag(0, -1, "qkv"), operate();
    tag(0, -1, "attend"), operate();
  });
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(counted.passes, 2);
  ASSERT_THAT(tagsOf(counted), testing::ElementsAre("0 -1 qkv", "0 -1 attend"));
  for (const RangeRecord &range : counted.ranges) {
    EXPECT_GE(range.figures.cacheHitRate, 0);
    EXPECT_LE(range.figures.cacheHitRate, 1);
    if (kEmulated) {
      EXPECT_EQ(range.figures.cacheHitRate, 0.25);
    }
    EXPECT_TRUE(std::isnan(range.figures.dramRead));
  }
}

TEST_F(FakeCupti, WorkThatDiffersFromPassToPassIsRefused) {
  for (const bool more : {true, false}) {
    int runs = 0;
    const auto count = [&] {
      (void)instruments().count(CounterSet::HitRate, RangeBy::Operation, [&] {
        tag(0, -1, "qkv"), operate();
        if ((++runs == 2) == more) tag(1, -1, "qkv"), operate();
      });
    };
    EXPECT_THAT(sentenceOf(count, Code::Internal), HasSubstr("in a later pass than in its first"));
  }
  expectCounting();
}

TEST_F(CudaInstruments, EveryKernelCanBeARange) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  int runs = 0;
  const auto counted = instruments().count(CounterSet::HitRate, RangeBy::Kernel, [&] {
    ++runs;
    tag(0, 1, "qkv"), operate(2);
    tag(1, -1, "cache"), m_backend->convert(kQ, m_x.f32(64, 32), m_x.view(DType::F16, 64, 32));
  });
  EXPECT_EQ(runs, 1) << "CUPTI runs each kernel again";
  EXPECT_EQ(counted.passes, 1);
  EXPECT_THAT(tagsOf(counted), testing::ElementsAre("0 1 qkv", "0 1 qkv", "1 -1 cache"));
  ASSERT_EQ(counted.ranges.size(), 3u);
  EXPECT_FALSE(counted.ranges[0].kernel.empty());
  EXPECT_EQ(counted.ranges[0].kernel, counted.ranges[1].kernel);
  EXPECT_NE(counted.ranges[0].kernel, counted.ranges[2].kernel);
  for (const RangeRecord &range : counted.ranges) EXPECT_GE(range.figures.cacheHitRate, 0);
}

TEST_F(FakeCupti, DroppedRangesAreSaidAndHoldNothing) {
  (void)status(Instrument::Counters);
  set("XQS_FAKE_CUPTI_DROPPED", "2");
  const auto work = [&] {
    for (std::int16_t layer = 0; layer < 5; ++layer) tag(layer, -1, "qkv"), operate();
  };
  const auto counted = instruments().count(CounterSet::Traffic, RangeBy::Layer, work);
  EXPECT_EQ(counted.dropped, 2);
  ASSERT_EQ(counted.ranges.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(std::isnan(counted.ranges[i].figures.dramRead), i >= 3) << i;
  EXPECT_EQ(status(Instrument::Counters).dropped, 2);
  EXPECT_EQ(instruments().count(CounterSet::Traffic, RangeBy::Kernel, work).dropped, 2);
  EXPECT_EQ(status(Instrument::Counters).dropped, 4);
}

TEST_F(FakeCupti, MoreRangesThanCuptiTakesAreDroppedAndNotBegun) {
  const int ranges = 1024 + 50;
  const auto counted = instruments().count(CounterSet::Traffic, RangeBy::Layer, [&] {
    for (int i = 0; i < ranges; ++i) tag(static_cast<std::int16_t>(i % 2), -1, "qkv"), operate();
  });
  EXPECT_EQ(counted.ranges.size(), static_cast<std::size_t>(ranges));
  EXPECT_EQ(counted.dropped, 50);
  EXPECT_GT(counted.ranges[1023].figures.dramRead, 0);
  EXPECT_TRUE(std::isnan(counted.ranges[1024].figures.dramRead));
}

TEST_F(CudaInstruments, AnErrorInTheWorkEndsTheCount) {
  if (without(Instrument::Counters)) GTEST_SKIP();
  for (const RangeBy by : {RangeBy::Layer, RangeBy::Kernel}) {
    const auto count = [&] {
      (void)instruments().count(CounterSet::Traffic, by, [&] {
        tag(0, -1, "qkv"), operate();
        throw Error(Code::Cancelled, "enough");
      });
    };
    EXPECT_EQ(sentenceOf(count, Code::Cancelled), "enough");
    expectCounting();
  }
}

// Samples -----------------------------------------------------------------------------------------------------------------

TEST_F(CudaInstruments, SamplesHoldWhatWasMovedAtTheirTime) {
  if (without(Instrument::Sampling)) GTEST_SKIP();
  for (const char *clock : {"", "own"}) {
    set("XQS_FAKE_CUPTI_CLOCK", clock);
    const std::int64_t before = steadyNs();
    instruments().startSampling(1'000'000);
    operate(30);
    m_backend->sync(kQ);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    std::vector<ThroughputSample> samples = instruments().takeSamples();
    EXPECT_FALSE(samples.empty()) << "while it goes on";
    operate(10);
    m_backend->sync(kQ);
    instruments().stopSampling();
    const std::int64_t after = steadyNs();
    const auto rest = instruments().takeSamples();
    samples.insert(samples.end(), rest.begin(), rest.end());
    EXPECT_TRUE(instruments().takeSamples().empty());

    double read = 0;
    constexpr std::int64_t kSlack = 20'000'000;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const ThroughputSample &s = samples[i];
      EXPECT_GE(s.startNs, before - kSlack);
      EXPECT_LE(s.endNs, after + kSlack);
      EXPECT_LE(s.startNs, s.endNs);
      EXPECT_GE(s.startNs, samples[i > 0 ? i - 1 : 0].startNs);
      read += s.dramRead;
    }
    if (!kEmulated) continue; // matrices of this size stay in a cache
    EXPECT_EQ(samples.size(), 40u);
    EXPECT_EQ(read, 40 * 64 * 64 * 4) << "16 bytes a thread, which has four elements";
  }
}

TEST_F(FakeCupti, FullBuffersAreCounted) {
  (void)status(Instrument::Sampling);
  set("XQS_FAKE_CUPTI_OVERFLOWS", "1");
  for (int i = 1; i <= 2; ++i) {
    instruments().startSampling(1'000'000);
    operate();
    m_backend->sync(kQ);
    instruments().stopSampling();
    EXPECT_EQ(status(Instrument::Sampling).dropped, i);
  }
}

TEST_F(FakeCupti, AnErrorOfTheDecodingThreadComesWithTheNextSamples) {
  instruments().startSampling(1'000'000);
  answer("cuptiPmSamplingDecodeData=26");
  std::string sentence;
  for (const std::int64_t end = steadyNs() + 10'000'000'000; sentence.empty() && steadyNs() < end;) {
    try {
      (void)instruments().takeSamples();
    } catch (const Error &error) {
      sentence = error.what();
    }
  }
  EXPECT_THAT(sentence, HasSubstr("dcgmi profile --pause"));
  answer("");
  instruments().stopSampling();
  expectCounting();
}

TEST_F(CudaInstruments, CountersAndSamplesAreNotTakenAtOnce) {
  if (without(Instrument::Sampling) || without(Instrument::Counters)) GTEST_SKIP();
  instruments().startSampling(1'000'000);
  EXPECT_THAT(sentenceOf([&] { expectCounting(); }, Code::Unsupported), HasSubstr("stop sampling first"));
  EXPECT_THAT(sentenceOf([&] { instruments().startSampling(1'000'000); }, Code::Unsupported),
              HasSubstr("stop sampling first"));
  instruments().stopSampling();
  expectCounting();
  instruments().startSampling(1'000'000); // a backend may go while it is sampled
}

} // namespace xqs::test

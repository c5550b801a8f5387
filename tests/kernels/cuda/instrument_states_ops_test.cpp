// SPDX-License-Identifier: Apache-2.0
// What the CUDA backend's instruments say they can do, and why not.
#include "instruments_test.h"

#include <dlfcn.h>

#include <fstream>
#include <unistd.h>

namespace xqs::test {

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

TEST_F(FakeCupti, AFirstSampleThatIsNoneFailsNoTest) {
  set("XQS_FAKE_CUPTI_FIRST", "nan");
  EXPECT_EQ(status(Instrument::Sampling).state, InstrumentState::Ready) << status(Instrument::Sampling).sentence;
}

TEST_F(FakeCupti, ASelfTestThatLosesItsSamplesSaysWhy) {
  set("XQS_FAKE_CUPTI_DECODINGS", "1");
  EXPECT_EQ(status(Instrument::Sampling).state, InstrumentState::Broken);
  EXPECT_THAT(status(Instrument::Sampling).sentence, HasSubstr("buffer of samples was full"));
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
  const bool admin = (capabilities >> 21 & 1) != 0 || (capabilities >> 38 & 1) != 0;
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

} // namespace xqs::test

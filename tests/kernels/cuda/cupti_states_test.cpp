// SPDX-License-Identifier: Apache-2.0
// What CUPTI's answers mean: state, sentence and cure, for every answer that a machine can give.
#include "cupti/states.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace xqs;
using namespace xqs::cuda::cupti;
using testing::HasSubstr;

namespace {

struct Answer {
  int result;
  InstrumentState state;
  std::vector<const char *> cure;
};
const Answer kAnswers[] = {
    {23, InstrumentState::InUse, {"another profiler", "end nsys, ncu"}},
    {26, InstrumentState::InUse, {"dcgmi profile --pause"}},
    {27, InstrumentState::NotOnThisDevice, {"newer driver"}},
    {33, InstrumentState::Virtualized, {"virtual GPU", "use a whole GPU"}},
    {35, InstrumentState::NoPermission, {"CAP_SYS_ADMIN", "CAP_PERFMON", "NVreg_RestrictProfilingToAdminUsers=0"}},
    {38, InstrumentState::NotOnThisDevice, {"compute capability 7.5"}},
    {39, InstrumentState::InUse, {"another NVIDIA tool", "without nsys, ncu and cuda-gdb"}},
    {40, InstrumentState::Virtualized, {"administrator can allow it"}},
    {41, InstrumentState::Confidential, {"confidential computing"}},
    {42, InstrumentState::NotOnThisDevice, {"mining"}},
    {43, InstrumentState::Mig, {"MIG", "whole GPU"}},
    {44, InstrumentState::NotOnThisDevice, {"SLI"}},
    {45, InstrumentState::Wsl, {"Windows Subsystem for Linux"}},
    {46, InstrumentState::NotOnThisDevice, {"newer CUDA toolkit"}},
};

/// One sentence: no line breaks, no full stop, and it says what is shown instead.
void expectSentence(const std::string &text) {
  EXPECT_THAT(text, HasSubstr("bytes are counted from shapes, not measured"));
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_FALSE(text.ends_with('.'));
}

} // namespace

TEST(CuptiStates, EveryDocumentedAnswerHasItsStateAndItsCure) {
  for (const Answer &answer : kAnswers) {
    const Finding finding = findingOf(answer.result, "cuptiRangeProfilerEnable", "CUPTI's text");
    EXPECT_EQ(finding.state, answer.state) << answer.result;
    for (const char *part : answer.cure) EXPECT_THAT(finding.sentence, HasSubstr(part)) << answer.result;
    EXPECT_EQ(finding.sentence.find("CUPTI's text"), std::string::npos) << answer.result;
    expectSentence(finding.sentence);
  }
}

TEST(CuptiStates, AnyOtherAnswerIsBrokenWithItsNumberAndText) {
  for (const int result : {1, 2, 3, 7, 8, 9, 15, 999}) {
    const Finding finding = findingOf(result, "cuptiRangeProfilerStart", "CUPTI's text");
    EXPECT_EQ(finding.state, InstrumentState::Broken);
    EXPECT_THAT(finding.sentence, HasSubstr("cuptiRangeProfilerStart reports " + std::to_string(result) + ": CUPTI's text"));
    expectSentence(finding.sentence);
  }
}

TEST(CuptiStates, FieldsOfDeviceSupportSayWhichOfThem) {
  EXPECT_FALSE(findingOf(DeviceSupport{3, 3, 3, 3, 3, 3, 3}));
  EXPECT_FALSE(findingOf(DeviceSupport{0, 0, 0, 0, 0, 0, 0})) << "not known is no reason";
  const auto stateOf = [](int DeviceSupport::*field, int level) {
    DeviceSupport support{1, 3, 3, 3, 3, 3, 3};
    support.*field = level;
    const auto finding = findingOf(support);
    EXPECT_TRUE(finding);
    if (finding) expectSentence(finding->sentence);
    return finding ? finding->state : InstrumentState::Ready;
  };
  EXPECT_EQ(stateOf(&DeviceSupport::wsl, 1), InstrumentState::Wsl);
  EXPECT_EQ(stateOf(&DeviceSupport::confidentialCompute, 1), InstrumentState::Confidential);
  EXPECT_EQ(stateOf(&DeviceSupport::vGpu, 1), InstrumentState::Virtualized);
  EXPECT_EQ(stateOf(&DeviceSupport::vGpu, 2), InstrumentState::Virtualized);
  EXPECT_EQ(stateOf(&DeviceSupport::cmp, 1), InstrumentState::NotOnThisDevice);
  EXPECT_EQ(stateOf(&DeviceSupport::sli, 1), InstrumentState::NotOnThisDevice);
  EXPECT_EQ(stateOf(&DeviceSupport::architecture, 1), InstrumentState::NotOnThisDevice);
  EXPECT_EQ(stateOf(&DeviceSupport::supported, 1), InstrumentState::NotOnThisDevice) << "all fields are fine";
}

TEST(CuptiStates, TheDriversRestrictionIsSeenAheadOfTime) {
  const auto folder = std::filesystem::temp_directory_path() / ("xqs-states-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const auto file = [&](const char *name, const char *text) {
    std::ofstream(folder / name) << text;
    return (folder / name).string();
  };
  const std::string restricted =
      file("restricted", "ResmanDebugLevel: 4294967295\nRmProfilingAdminOnly: 1\nPermitCount: 2\n");
  const std::string open = file("open", "RmProfilingAdminOnly: 0\n"), silent = file("silent", "Mobile: 4294967295\n");
  const std::string user = file("user", "Name:\tx\nCapPrm:\tffffffffffffffff\nCapEff:\t00000000a80425fb\n");
  const std::string admin = file("admin", "CapEff:\t000001ffffffffff\n"),
                    monitor = file("monitor", "CapEff:\t0000004000000000\n"),
                    other = file("other", "CapEff:\t000000bfffdfffff\n");

  const auto finding = restrictedByDriver(restricted, user);
  ASSERT_TRUE(finding);
  EXPECT_EQ(finding->state, InstrumentState::NoPermission);
  EXPECT_EQ(finding->sentence, findingOf(35, "", "").sentence) << "both cures, as if CUPTI had said so";
  EXPECT_TRUE(restrictedByDriver(restricted, other)) << "every other capability";
  EXPECT_FALSE(restrictedByDriver(restricted, monitor)) << "CAP_PERFMON alone";
  EXPECT_FALSE(restrictedByDriver(restricted, admin));
  EXPECT_FALSE(restrictedByDriver(open, user));
  EXPECT_FALSE(restrictedByDriver(silent, user));
  EXPECT_FALSE(restrictedByDriver((folder / "missing").string(), user));
  EXPECT_FALSE(restrictedByDriver(restricted, (folder / "missing").string()));
  std::filesystem::remove_all(folder);
}

TEST(CuptiStates, ALibraryThatIsNotThereHasACure) {
  const std::pair<Finding, const char *> findings[] = {
      {libraryOff(), "unset XQSCOPE_CUPTI"},
      {libraryMissing("libcupti.so.13"), "install NVIDIA's CUDA toolkit or the Python package nvidia-cuda-cupti, or set "
                                         "XQSCOPE_CUPTI to the path of libcupti.so.13"},
      {libraryUnusable("it has no function cuptiGetVersion", "libcupti.so.13"),
       "it has no function cuptiGetVersion; set XQSCOPE_CUPTI to a complete libcupti.so.13"},
      {headersMissing(), "built without CUPTI's headers"},
  };
  for (const auto &[finding, cure] : findings) {
    EXPECT_EQ(finding.state, InstrumentState::NoLibrary);
    EXPECT_THAT(finding.sentence, HasSubstr(cure));
    expectSentence(finding.sentence);
  }
}

TEST(CuptiStates, ASelfTestThatFailsSaysBothNumbers) {
  const Finding finding = selfTestFailed(4194304, 2097152, 4194000);
  EXPECT_EQ(finding.state, InstrumentState::SelfTestFailed);
  EXPECT_THAT(finding.sentence, HasSubstr("a copy of 4194304 bytes was measured as 2097152 bytes read and 4194000 written"));
  expectSentence(finding.sentence);
}

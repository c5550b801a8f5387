// SPDX-License-Identifier: Apache-2.0
// Counters and samples against a fake CUPTI, without a device: threads and callbacks of theirs.
#include "cupti/ranges.h"
#include "cupti/sampling.h"
#include "emulator/fake_cupti.h"

#include <cupti_driver_cbid.h>
#include <dlfcn.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <stdexcept>

using namespace xqs;
using namespace xqs::cuda::cupti;

namespace {

constexpr std::int64_t kIntervalNs = 100'000; ///< an image then holds a thousand samples
constexpr std::size_t kBytes = 1000;          ///< that a launch reads and writes

std::int64_t steadyNow() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Counters : public testing::Test {
protected:
  ~Counters() override {
    for (const char *name : m_set) unsetenv(name);
    EXPECT_EQ(fake::s_held, 0) << "objects of CUPTI's are left";
  }
  void set(const char *name, const char *value) {
    setenv(name, value, 1);
    m_set.push_back(name);
  }
  std::unique_ptr<Hooks> hooks() const { return std::make_unique<Hooks>(m_cupti); }
  std::unique_ptr<PmSampler> sampler() const {
    return std::make_unique<PmSampler>(hooks(), 0, m_chip, samplingSet(m_cupti, m_chip), kIntervalNs);
  }
  /// The device has run a kernel: with the fake one a sample each.
  static void launch(int times = 1) {
    emulator::Launch launch;
    launch.kind = emulator::Launch::Kernel, launch.bytes = kBytes;
    for (int i = 0; i < times; ++i) fake::counted(launch, steadyNow(), steadyNow());
  }
  /// As CUPTI does within the driver's launch.
  static void tellLaunch(const char *function) {
    CUpti_CallbackData call{};
    call.callbackSite = CUPTI_API_ENTER, call.symbolName = function;
    fake::tellSubscriber(CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_DRIVER_TRACE_CBID_cuLaunchKernelEx, &call);
  }

  const Library m_cupti{[](const char *name) { return dlsym(RTLD_DEFAULT, name); }};
  const Chip m_chip{"GH100", {}};
  std::vector<const char *> m_set;
};

class Sum {
public:
  void add(const std::vector<ThroughputSample> &samples) {
    for (const ThroughputSample &sample : samples) ++count, read += sample.dramRead, written += sample.dramWrite;
  }
  int count = 0;
  double read = 0, written = 0;
};

// Samples -----------------------------------------------------------------------------------------------------------------

TEST_F(Counters, SamplesAreTakenWhileTheThreadDecodesAndNoneIsLostOrDoubled) {
  constexpr int kRounds = 120, kLaunches = 5;
  const auto sampler = this->sampler();
  Sum sum;
  for (int round = 0; round < kRounds; ++round) {
    launch(kLaunches);
    sum.add(sampler->take());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GT(sum.count, 0) << "while it goes on";
  sampler->stop();
  sum.add(sampler->take());
  EXPECT_EQ(sum.count, kRounds * kLaunches);
  EXPECT_EQ(sum.read, 1.0 * kRounds * kLaunches * kBytes);
  EXPECT_EQ(sum.written, sum.read);
  EXPECT_EQ(sampler->losses(), 0);
}

TEST_F(Counters, FullBuffersAreCountedOnTheThread) {
  set("XQS_FAKE_CUPTI_OVERFLOWS", "1");
  const auto sampler = this->sampler();
  launch(100);
  sampler->stop();
  EXPECT_EQ(sampler->losses(), 1);
}

TEST_F(Counters, ASamplerThatDiesUnstoppedEndsItsThreadAndItsHardware) {
  for (int i = 0; i < 5; ++i) {
    const auto sampler = this->sampler();
    launch(10);
  }
  launch(); // nobody samples: the fixture sees that nothing is held
}

TEST_F(Counters, WhatBreaksOnTheThreadIsToldOnceWithTheNextSamples) {
  set("XQS_FAKE_CUPTI_ANSWERS", "cuptiPmSamplingDecodeData=26");
  const auto sampler = this->sampler();
  std::string sentence;
  for (const std::int64_t end = steadyNow() + 10'000'000'000; sentence.empty() && steadyNow() < end;) {
    try {
      (void)sampler->take();
    } catch (const Failure &failure) {
      sentence = failure.what();
    }
  }
  EXPECT_THAT(sentence, testing::HasSubstr("dcgmi profile --pause"));
  EXPECT_NO_THROW(sampler->stop());
  EXPECT_NO_THROW((void)sampler->take());
}

// Launches ----------------------------------------------------------------------------------------------------------------

TEST_F(Counters, AnExceptionAtALaunchCrossesNoFrameOfCuptisAndComesWithTheResult) {
  std::vector<std::string> launched;
  const LaunchSink sink = [&](const std::string &function) {
    if (function == "second") throw std::runtime_error("no room for its name");
    launched.push_back(function);
  };
  {
    RangeProfiler counter(hooks(), this, m_chip, trafficSet(m_cupti, m_chip), sink);
    counter.beginPass();
    for (const char *function : {"first", "second", "third"}) {
      EXPECT_NO_THROW(tellLaunch(function)) << "through C it would end the program";
      launch();
    }
    EXPECT_TRUE(counter.endPass());
    try {
      (void)counter.result();
      ADD_FAILURE() << "it was lost";
    } catch (const std::runtime_error &error) {
      EXPECT_STREQ(error.what(), "no room for its name");
    }
  }
  EXPECT_THAT(launched, testing::ElementsAre("first", "third"));
  RangeProfiler counter(hooks(), this, m_chip, trafficSet(m_cupti, m_chip), sink); // the next one knows nothing of it
  counter.beginPass();
  tellLaunch("first"), launch();
  EXPECT_TRUE(counter.endPass());
  EXPECT_EQ(counter.result().ranges.size(), 1u);
}

} // namespace

// SPDX-License-Identifier: Apache-2.0
#pragma once

// Counters and samples of the CUDA backend: on a GPU with the real CUPTI where it allows them, on the emulator with a fake
// one (tests/emulator/fake_cupti.h), which counts what is moved there and gives every answer that CUPTI documents.
#include "cuda_test.h"

#include <dlfcn.h>

#include <chrono>
#include <numeric>
#include <thread>

namespace xqs::test {

using testing::HasSubstr;

inline std::int64_t steadyNs() {
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
  /// A number that the fake CUPTI tells; 0 where there is none.
  static int told([[maybe_unused]] const char *function) {
#if defined(XQS_FAKE_CUPTI)
    void *const fake = dlopen(XQS_FAKE_CUPTI, RTLD_NOW | RTLD_NOLOAD);
    return fake != nullptr ? reinterpret_cast<int (*)()>(dlsym(fake, function))() : 0;
#else
    return 0;
#endif
  }
  static int held() { return told("xqsFakeCuptiHeld"); }

  /// Samples as they come; where `until` does not happen, those of 10 s.
  std::vector<ThroughputSample> takeUntil(const std::function<bool(const std::vector<ThroughputSample> &)> &until) {
    std::vector<ThroughputSample> all;
    for (const std::int64_t end = steadyNs() + 10'000'000'000; !until(all) && steadyNs() < end;) {
      for (const ThroughputSample &sample : instruments().takeSamples()) all.push_back(sample);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return all;
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

inline std::string sentenceOf(const std::function<void()> &call, Code code) {
  try {
    call();
  } catch (const Error &error) {
    EXPECT_EQ(error.code(), code);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

inline double sum(const Instruments::Counted &counted, double CounterFigures::*figure) {
  return std::accumulate(counted.ranges.begin(), counted.ranges.end(), 0.0,
                         [&](double all, const RangeRecord &r) { return all + r.figures.*figure; });
}
inline std::string textOf(const Tag &tag) {
  return std::to_string(tag.layer) + " " + std::to_string(tag.lane) + " " + tag.op;
}
inline std::vector<std::string> tagsOf(const Instruments::Counted &counted) {
  std::vector<std::string> tags;
  for (const RangeRecord &range : counted.ranges) tags.push_back(textOf(range.tag));
  return tags;
}

} // namespace xqs::test

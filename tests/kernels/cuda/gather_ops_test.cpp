// SPDX-License-Identifier: Apache-2.0
// Steps that run as one, on several queues, against the reference, which runs one operation after the other.
#include "cuda_test.h"

#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

using namespace xqs;
using namespace xqs::test;

class CudaGather : public CudaTest {
protected:
  /// Working matrices of a step on one of the backends, all [33, 17].
  struct State {
    Backend &backend;
    HostMatrix<float> values = randomMatrix(33, 17, 17, 1);
    Buffer x = make(), y = make(), z = make(), sum = make();
    explicit State(Backend &owner) : backend(owner) { backend.sync(kQ); }
    Buffer make() const { return toDevice(values.values, backend); }
    View of(const Buffer &buffer) { return values.viewOf(buffer); }
    std::vector<float> read(const Buffer &buffer) {
      backend.download(kQ, values.values.data(), buffer.data(), buffer.bytes());
      backend.sync(kQ);
      return values.values;
    }
    void follow(Queue queue, Queue leader) { backend.wait(queue, backend.record(leader)); }
  };

  /// A backend of its own: which events it has recorded decides what is tested.
  void SetUp() override {
    CudaTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    m_shared = std::exchange(s_cuda, s_module->create(0));
    m_state.emplace(*s_cuda);
    m_expected.emplace(*s_reference);
  }
  void TearDown() override {
    m_state.reset();
    m_expected.reset();
    if (m_shared != nullptr) s_module->destroy(std::exchange(s_cuda, m_shared));
  }
  State &state() { return *m_state; }
  State &expected() { return *m_expected; }

  /// x *= 1.25; on their own queues y = x and z = x + x; sum = y + z, and x changes once more behind them.
  static void forkedStep(State &s, bool joined = true) {
    Backend &b = s.backend;
    b.scale(kQ, s.of(s.x), 1.25f);
    s.follow(Queue::Copy, kQ);
    s.follow(Queue::Rebuild, kQ);
    b.copy(Queue::Copy, s.of(s.x), s.of(s.y));
    b.add(Queue::Rebuild, s.of(s.x), s.of(s.x), s.of(s.z));
    if (!joined) return;
    s.follow(kQ, Queue::Copy);
    s.follow(kQ, Queue::Rebuild);
    b.add(kQ, s.of(s.y), s.of(s.z), s.of(s.sum));
    b.scale(kQ, s.of(s.x), 0.75f);
  }

  /// A step on both backends, on the one under test gathered or not.
  template <typename Step> void run(bool gathered, const Step &body) {
    for (State *s : {&state(), &expected()}) {
      Gathered step(s->backend, gathered);
      body(*s);
      step.submit();
    }
  }
  void run(bool gathered) {
    run(gathered, [](State &s) { forkedStep(s); });
  }
  void expectSame() {
    for (const auto matrix : {&State::x, &State::y, &State::z, &State::sum})
      expectSameBits(state().read(state().*matrix), expected().read(expected().*matrix));
  }
  /// Steps of both kinds still do what they should.
  void expectWorks() {
    for (const bool gathered : {false, true, true}) run(gathered);
    expectSame();
  }

private:
  Backend *m_shared = nullptr;
  std::optional<State> m_state, m_expected;
};

TEST_F(CudaGather, ForkedAndJoinedQueuesGiveWhatTheyGiveOneByOne) {
  for (const bool gathered : {true, false}) {
    for (int i = 0; i < 3; ++i) run(gathered);
    expectSame();
  }
}

TEST_F(CudaGather, AQueueThatIsNotJoinedIsRefused) {
  Gathered step(*s_cuda, true);
  forkedStep(state(), false);
  EXPECT_THROW(step.submit(), Error);
  expectWorks();
}

TEST_F(CudaGather, NothingOfADroppedStepRuns) {
  for (const bool joined : {true, false}) {
    const auto broken = [&] {
      Gathered step(*s_cuda, true);
      forkedStep(state(), joined);
      throw std::runtime_error("in the middle of a step");
    };
    EXPECT_THROW(broken(), std::runtime_error);
    expectSame();
    expectWorks();
  }
}

TEST_F(CudaGather, AStepMayRecordManyEvents) {
  constexpr int kRounds = 160; // of two events
  run(true, [](State &s) {
    for (int i = 0; i < kRounds; ++i) {
      s.backend.scale(kQ, s.of(s.x), i % 2 == 0 ? 1.25f : 0.75f);
      s.follow(Queue::Copy, kQ);
      s.backend.copy(Queue::Copy, s.of(s.x), s.of(s.y));
      s.follow(kQ, Queue::Copy);
    }
  });
  expectSame();
  expectWorks();
}

TEST_F(CudaGather, AnEventIsWaitedForBehindManyOthers) {
  constexpr int kOthers = 300;
  run(true, [](State &s) {
    s.follow(Queue::Copy, kQ);
    s.backend.copy(Queue::Copy, s.of(s.x), s.of(s.y));
    const Event copied = s.backend.record(Queue::Copy);
    for (int i = 0; i < kOthers; ++i) s.backend.record(kQ);
    s.backend.wait(kQ, copied);
    s.backend.scale(kQ, s.of(s.x), 1.25f);
  });
  expectSame();
  expectWorks();
}

TEST_F(CudaGather, AnEventOfAnEarlierStepIsNoneOfThisOne) {
  Event before;
  const auto step = [&](Event earlier) {
    run(true, [&](State &s) {
      s.follow(Queue::Copy, kQ);
      s.backend.copy(Queue::Copy, s.of(s.x), s.of(s.y));
      s.backend.wait(kQ, earlier);
      s.follow(kQ, Queue::Copy);
      s.backend.scale(kQ, s.of(s.x), 1.25f);
      for (int i = 0; i < 4; ++i) before = s.backend.record(kQ); // a place that the next step has nothing in yet
    });
  };
  step({});
  step(before);
  expectSame();
  s_cuda->wait(Queue::Copy, before);
  expectWorks();
}

TEST_F(CudaGather, GatheredAndOtherStepsMayAlternate) {
  constexpr int kSteps = 140; // of four events; every seven, of which three are gathered, 28: no power of two is a multiple
  for (int i = 0; i < kSteps; ++i) run(i % 7 < 3);
  expectSame();
}

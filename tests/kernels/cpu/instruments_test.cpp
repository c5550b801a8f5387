// SPDX-License-Identifier: Apache-2.0
// Counters of the CPU: ranges, threads, scaling, the memory controllers in sysfs, their self test, samples, and a sentence
// for everything that a kernel may answer; at the end, whatever this machine's kernel answers.
#include "cpu_backend.h"
#include "fake_perf.h"
#include "host_instruments.h"
#include "stream_copy.h"
#include "support.h"

#include <cmath>
#include <set>
#include <thread>

namespace xqs::test {
namespace {

using ::testing::Test;
constexpr std::uint64_t kCycles = PERF_COUNT_HW_CPU_CYCLES, kReferences = PERF_COUNT_HW_CACHE_REFERENCES,
                        kMisses = PERF_COUNT_HW_CACHE_MISSES;

struct CpuInstruments : Test {
  FakePerf fake;
  CpuBackend backend{3};
  Matrix x{backend, 300, 192}, w{backend, 192, 192}, out{backend, 300, 192};

  void operation(int layer, const char *part) {
    backend.setTag({static_cast<std::int16_t>(layer), 0, part});
    backend.add(Queue::Compute, x, x, out);
  }
  InstrumentStatus counters(HostInstruments &instruments) const { return instruments.status()[1]; }
  InstrumentStatus sampling(HostInstruments &instruments) const { return instruments.status()[2]; }
  /// Reads and writes of 64 bytes at two controllers of two packages each: a quarter of `copied` bytes at each.
  void countCopies(double factor = 1) {
    fake.intelController("uncore_imc_0", 20, "0,4");
    fake.intelController("uncore_imc_1", 21, "0,4");
    fake.copied = [this, factor](std::int64_t bytes) { moved += static_cast<std::int64_t>(factor * double(bytes)); };
    fake.value = [this](const FakePerf::Opened &e) {
      return static_cast<std::uint64_t>(e.attributes.type >= 20 ? moved / 64 / 4 : 0);
    };
  }
  std::int64_t moved = 0;
};

/// Counters advance by 10 an operation, in each thread.
TEST_F(CpuInstruments, RangesAreCountedInEveryThread) {
  fake.value = [this](const FakePerf::Opened &e) { return backend.operations() * (10 + e.attributes.config); };
  HostInstruments instruments(backend, fake.system());
  fake.everOpened.clear();
  const auto counted = instruments.count(CounterSet::Traffic, RangeBy::Operation, [&] {
    operation(-1, "embed");
    operation(0, "attend"), operation(0, "attend"), operation(0, "feed"), operation(1, "feed");
    backend.setTag({7, 0, "nothing"}); // no operation: no range
    operation(1, "feed");
  });
  ASSERT_EQ(counted.ranges.size(), 4u);
  const std::vector<double> operations = {1, 2, 1, 2};
  const std::vector<std::pair<int, std::string>> tags = {{-1, "embed"}, {0, "attend"}, {0, "feed"}, {1, "feed"}};
  for (std::size_t i = 0; i < 4; ++i) {
    const RangeRecord &range = counted.ranges[i];
    EXPECT_EQ(range.tag.layer, tags[i].first);
    EXPECT_EQ(range.tag.op, tags[i].second);
    EXPECT_EQ(range.kernel, "");
    EXPECT_EQ(range.figures.cycles, operations[i] * 3 * double(10 + kCycles)) << i;
    EXPECT_EQ(range.figures.cacheAccesses, operations[i] * 3 * double(10 + kReferences)) << i;
    EXPECT_EQ(range.figures.cacheMisses, operations[i] * 3 * double(10 + kMisses)) << i;
    EXPECT_GT(range.figures.seconds, 0);
    EXPECT_TRUE(std::isnan(range.figures.dramRead) && std::isnan(range.figures.dramWrite));
    EXPECT_TRUE(std::isnan(range.figures.cacheHitRate) && std::isnan(range.figures.tensorInstructions));
  }
  std::set<int> threads;
  for (const auto &e : fake.everOpened) {
    threads.insert(e.thread);
    EXPECT_TRUE(e.attributes.exclude_kernel);
  }
  EXPECT_EQ(threads.size(), 3u) << "the caller and the pool's two";
  EXPECT_TRUE(threads.contains(static_cast<int>(gettid())));
  EXPECT_EQ(fake.open(), 0u) << "every descriptor is given back";
}

TEST_F(CpuInstruments, RangesByLayerAndByKernel) {
  HostInstruments instruments(backend, fake.system());
  const auto work = [&] { operation(-1, "embed"), operation(2, "attend"), operation(2, "feed"), operation(2, "feed"); };
  const auto layers = instruments.count(CounterSet::Traffic, RangeBy::Layer, work).ranges;
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[1].tag.layer, 2);
  EXPECT_EQ(layers[1].tag.lane, -1);
  EXPECT_STREQ(layers[1].tag.op, "");
  const auto kernels = instruments.count(CounterSet::Traffic, RangeBy::Kernel, work).ranges;
  ASSERT_EQ(kernels.size(), 4u);
  EXPECT_EQ(kernels[3].kernel, "add");
  EXPECT_TRUE(instruments.count(CounterSet::Traffic, RangeBy::Layer, [] {}).ranges.empty());
}

TEST_F(CpuInstruments, SharedCountersAreScaledAndSaid) {
  std::uint64_t ns = 0, count = 0;
  fake.enabledNs = [&] { return ns += 1000; };
  fake.runningNs = [&] { return ns / 4; };
  fake.value = [&](const FakePerf::Opened &) { return count; };
  HostInstruments instruments(backend, fake.system());
  const auto half = instruments.count(CounterSet::Traffic, RangeBy::Layer, [&] { operation(0, "a"), count = 100; });
  EXPECT_EQ(half.ranges.at(0).figures.cycles, 3 * 100 * 4) << "a quarter of the time was counted";
  EXPECT_NE(counters(instruments).sentence.find("25 %"), std::string::npos) << counters(instruments).sentence;
  fake.runningNs = [] { return 0; };
  const auto never = instruments.count(CounterSet::Traffic, RangeBy::Layer, [&] { operation(0, "a"); });
  EXPECT_TRUE(std::isnan(never.ranges.at(0).figures.cycles)) << "not zero: it was not measured";
}

TEST_F(CpuInstruments, SomeCountersAreBetterThanNone) {
  fake.refuse = [](const FakePerf::Opened &e) { return e.attributes.config == kReferences ? ENOENT : 0; };
  HostInstruments instruments(backend, fake.system());
  const InstrumentStatus status = counters(instruments);
  EXPECT_EQ(status.state, InstrumentState::Ready);
  EXPECT_EQ(status.metrics, "cycles cache-misses");
  EXPECT_NE(status.sentence.find("no cache-references"), std::string::npos) << status.sentence;
  const auto counted = instruments.count(CounterSet::Traffic, RangeBy::Layer, [&] { operation(0, "a"); });
  EXPECT_EQ(counted.ranges.at(0).figures.cycles, 0);
  EXPECT_TRUE(std::isnan(counted.ranges.at(0).figures.cacheAccesses));
}

struct Answer {
  const char *name;
  int error;
  const char *paranoid; ///< null: the file is not there
  InstrumentState state;
  std::vector<std::string> says;
  friend void PrintTo(const Answer &answer, std::ostream *out) { *out << answer.name; }
};
struct CpuInstrumentErrors : ::testing::WithParamInterface<Answer>, CpuInstruments {};

TEST_P(CpuInstrumentErrors, HaveTheirStateAndSentence) {
  const Answer &answer = GetParam();
  if (answer.paranoid == nullptr)
    fake.remove("perf_event_paranoid");
  else
    fake.file("perf_event_paranoid", answer.paranoid);
  fake.refuse = [&](const FakePerf::Opened &) { return answer.error; };
  HostInstruments instruments(backend, fake.system());
  const InstrumentStatus status = counters(instruments);
  EXPECT_EQ(status.state, answer.state);
  for (const std::string &text : answer.says) EXPECT_NE(status.sentence.find(text), std::string::npos) << status.sentence;
  EXPECT_NE(status.sentence.find("counted from shapes"), std::string::npos) << status.sentence;
  EXPECT_EQ(status.source, "");
  try {
    instruments.count(CounterSet::Traffic, RangeBy::Layer, [&] { FAIL() << "runs uncounted"; });
    FAIL() << "counted";
  } catch (const Error &e) {
    EXPECT_EQ(e.code(), Code::Unsupported);
    EXPECT_EQ(e.what(), status.sentence);
  }
  EXPECT_EQ(instruments.status()[0].state, InstrumentState::Ready) << "the timeline needs no counters";
}

INSTANTIATE_TEST_SUITE_P(
    Kernel, CpuInstrumentErrors,
    ::testing::Values(
        Answer{"Paranoid",
               EACCES,
               "4",
               InstrumentState::NoPermission,
               {"perf_event_paranoid is 4", "sysctl kernel.perf_event_paranoid=2", "CAP_PERFMON"}},
        Answer{"ParanoidEperm", EPERM, "3", InstrumentState::NoPermission, {"perf_event_paranoid is 3"}},
        Answer{"Sandbox", EPERM, "2", InstrumentState::NoPermission, {"sandbox", "seccomp"}},
        Answer{"SandboxHidesTheCall", ENOSYS, "1", InstrumentState::NoPermission, {"sandbox"}},
        Answer{"HiddenProc", EACCES, nullptr, InstrumentState::NoPermission, {"sandbox"}},
        Answer{"NoPerfEvents", ENOSYS, nullptr, InstrumentState::NotOnThisDevice, {"built without perf events"}},
        Answer{"VirtualMachine", ENOENT, "2", InstrumentState::NotOnThisDevice, {"virtual machine without a PMU"}},
        Answer{"NotSupported", EOPNOTSUPP, "-1", InstrumentState::NotOnThisDevice, {"virtual machine without a PMU"}},
        Answer{"NoDevice", ENODEV, "2", InstrumentState::NotOnThisDevice, {"virtual machine"}},
        Answer{"Busy", EBUSY, "2", InstrumentState::InUse, {"another profiler"}},
        Answer{"Descriptors", EMFILE, "2", InstrumentState::Broken, {std::to_string(EMFILE)}},
        Answer{"Invalid", EINVAL, "2", InstrumentState::Broken, {std::to_string(EINVAL)}}),
    [](const auto &p) { return p.param.name; });

TEST_F(CpuInstruments, AFailureWhileCountingIsAnErrorAndGivesEverythingBack) {
  int opened = 0;
  fake.refuse = [&](const FakePerf::Opened &) { return ++opened > 6 ? EMFILE : 0; }; // 3 tried, then a group of 3
  HostInstruments instruments(backend, fake.system());
  EXPECT_THROW(instruments.count(CounterSet::Traffic, RangeBy::Layer, [&] { operation(0, "a"); }), Error);
  EXPECT_EQ(fake.open(), 0u);
  fake.refuse = [](const FakePerf::Opened &) { return 0; };
  EXPECT_THROW(instruments.count(CounterSet::Traffic, RangeBy::Layer, [] { throw Error(Code::Cancelled, "work"); }), Error);
  EXPECT_EQ(fake.open(), 0u);
  operation(0, "nobody listens any more");
}

TEST(MemoryControllers, IntelServer) {
  FakePerf fake;
  fake.intelController("uncore_imc_1", 21, "0,28");
  fake.intelController("uncore_imc_0", 20, "0,28");
  fake.file("devices/uncore_imc_free_running_0/type", "30"); // the same bytes once more
  fake.file("devices/uncore_imc_free_running_0/cpumask", "0");
  fake.file("devices/cpu/type", "4");
  const auto found = findMemoryControllers(fake.path("devices"));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, "uncore_imc_0");
  EXPECT_EQ(found[0].cpus, (std::vector<int>{0, 28}));
  ASSERT_EQ(found[0].events.size(), 2u);
  EXPECT_EQ(found[0].events[0].type, 20u);
  EXPECT_EQ(found[0].events[0].config[0], 0x0304u);
  EXPECT_EQ(found[0].events[1].config[0], 0x0c04u);
  EXPECT_EQ(found[0].events[0].scale, 64);
  EXPECT_EQ(found[0].events[0].figure, &CounterFigures::dramRead);
  EXPECT_EQ(found[0].events[1].figure, &CounterFigures::dramWrite);
}

TEST(MemoryControllers, SubchannelsClientsAndAmd) {
  FakePerf fake;
  const std::string imc = "devices/uncore_imc_0/", umc = "devices/amd_umc_3/";
  fake.intelController("uncore_imc_0", 20, "0-1");
  for (const char *direction : {"read", "write"}) { // Granite Rapids: two subchannels, and no sum of them
    const std::string name = imc + "events/cas_count_" + direction;
    for (const char *ending : {"", ".scale", ".unit"}) fake.remove(name + ending);
    for (const char *part : {"_sch0", "_sch1"}) {
      fake.file(name + part, "event=0x05,umask=0xcf");
      fake.file(name + part + ".scale", "6.103515625e-5");
      fake.file(name + part + ".unit", "MiB");
    }
  }
  auto found = findMemoryControllers(fake.path("devices"));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].events.size(), 4u);
  EXPECT_EQ(found[0].cpus, (std::vector<int>{0, 1}));

  fake.file(imc + "events/cas_count_read_sch1.unit", "furlongs"); // half a figure is none
  EXPECT_TRUE(findMemoryControllers(fake.path("devices")).empty());

  fake.remove("devices/uncore_imc_0");
  fake.file("devices/uncore_imc/type", "12");
  fake.file("devices/uncore_imc/cpumask", "0");
  fake.file("devices/uncore_imc/format/event", "config:0-7");
  for (const char *name : {"data_reads", "data_writes"}) {
    fake.file(std::string("devices/uncore_imc/events/") + name, "event=0x01");
    fake.file(std::string("devices/uncore_imc/events/") + name + ".scale", "6.103515625e-5");
    fake.file(std::string("devices/uncore_imc/events/") + name + ".unit", "MiB");
  }
  found = findMemoryControllers(fake.path("devices"));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].events[0].name, "data_reads");

  fake.remove("devices/uncore_imc");
  fake.file(umc + "type", "40");
  fake.file(umc + "cpumask", "64");
  fake.file(umc + "format/event", "config:0-7");
  fake.file(umc + "format/rdwrmask", "config:8-9");
  found = findMemoryControllers(fake.path("devices"));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].events[0].config[0], 0x10au);
  EXPECT_EQ(found[0].events[1].config[0], 0x20au);
  EXPECT_EQ(found[0].events[1].scale, 64);

  fake.file(umc + "format/event", "config:0-7,32-35"); // fields in two parts; a field too narrow for its value is refused
  EXPECT_EQ(findMemoryControllers(fake.path("devices")).size(), 1u);
  fake.file(umc + "format/event", "config:0-2,32");
  EXPECT_EQ(findMemoryControllers(fake.path("devices")).at(0).events[0].config[0], 0x100000102u);
  fake.file(umc + "format/event", "config:0-2");
  EXPECT_TRUE(findMemoryControllers(fake.path("devices")).empty());
}

TEST_F(CpuInstruments, BytesThatTheSelfTestReadsBackAreMeasured) {
  countCopies();
  HostInstruments instruments(backend, fake.system());
  const InstrumentStatus status = counters(instruments);
  EXPECT_EQ(status.state, InstrumentState::Ready);
  EXPECT_EQ(status.selfTestExpected, 2.0 * (128 << 20));
  EXPECT_EQ(status.selfTestRead, status.selfTestExpected);
  EXPECT_EQ(status.metrics, "cycles cache-references cache-misses cas_count_read cas_count_write");
  EXPECT_NE(status.sentence.find("other programs' included"), std::string::npos) << status.sentence;
  const auto counted = instruments.count(CounterSet::Traffic, RangeBy::Layer, [&] { operation(0, "a"), moved += 64 * 400; });
  EXPECT_EQ(counted.ranges.at(0).figures.dramRead, 64 * 400);
  EXPECT_EQ(counted.ranges.at(0).figures.dramWrite, 64 * 400);
  int packages = 0;
  for (const auto &e : fake.everOpened) {
    if (e.attributes.type < 20) continue;
    ++packages;
    EXPECT_TRUE(e.thread == -1 && e.cpu >= 0 && !e.attributes.exclude_kernel);
  }
  EXPECT_GE(packages, 2 * 2 * 2);
  EXPECT_EQ(fake.open(), 0u);
}

TEST_F(CpuInstruments, BytesThatItDoesNotReadBackAreLeftOutWithBothNumbers) {
  countCopies(1.04);
  HostInstruments instruments(backend, fake.system());
  const InstrumentStatus status = counters(instruments), samples = sampling(instruments);
  EXPECT_EQ(status.state, InstrumentState::Ready) << "cycles are counted as before";
  EXPECT_EQ(samples.state, InstrumentState::SelfTestFailed);
  for (const std::string &sentence : {status.sentence, samples.sentence}) {
    EXPECT_NE(sentence.find(std::to_string(128 << 20)), std::string::npos) << sentence;
    EXPECT_NE(sentence.find("139586"), std::string::npos) << sentence; // 1.04 of it
  }
  EXPECT_NEAR(samples.selfTestRead / samples.selfTestExpected, 1.04, 1e-5);
  const auto counted = instruments.count(CounterSet::Traffic, RangeBy::Layer, [&] { operation(0, "a"); });
  EXPECT_TRUE(std::isnan(counted.ranges.at(0).figures.dramRead));
  EXPECT_THROW(instruments.startSampling(1'000'000), Error);
}

TEST_F(CpuInstruments, OneQuietCopyIsEnough) {
  countCopies();
  int copies = 0;
  fake.copied = [&](std::int64_t bytes) { moved += bytes + (++copies < 3 ? bytes / 2 : 0); };
  HostInstruments instruments(backend, fake.system());
  EXPECT_EQ(sampling(instruments).state, InstrumentState::Ready);
  EXPECT_EQ(copies, 3);
}

TEST_F(CpuInstruments, TheMemoryControllerHasItsOwnPermission) {
  countCopies();
  fake.file("perf_event_paranoid", "1");
  fake.refuse = [](const FakePerf::Opened &e) { return e.attributes.type >= 20 ? EACCES : 0; };
  HostInstruments instruments(backend, fake.system());
  const InstrumentStatus samples = sampling(instruments);
  EXPECT_EQ(samples.state, InstrumentState::NoPermission);
  EXPECT_NE(samples.sentence.find("perf_event_paranoid is 1"), std::string::npos) << samples.sentence;
  EXPECT_NE(samples.sentence.find("kernel.perf_event_paranoid=0"), std::string::npos) << samples.sentence;
  EXPECT_EQ(counters(instruments).state, InstrumentState::Ready);
  EXPECT_NE(counters(instruments).sentence.find(samples.sentence), std::string::npos);
  try {
    instruments.startSampling(1'000'000);
    FAIL() << "samples";
  } catch (const Error &e) {
    EXPECT_EQ(e.what(), samples.sentence);
  }
}

TEST_F(CpuInstruments, SamplesAddUpToWhatWasMoved) {
  countCopies();
  HostInstruments instruments(backend, fake.system());
  std::atomic<std::int64_t> traffic = 0;
  ASSERT_EQ(sampling(instruments).state, InstrumentState::Ready);
  fake.value = [&](const FakePerf::Opened &) { return static_cast<std::uint64_t>(traffic.load()); };
  instruments.startSampling(1);
  std::vector<ThroughputSample> samples;
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    traffic += 1000;
    for (const ThroughputSample &s : instruments.takeSamples()) samples.push_back(s);
  }
  instruments.stopSampling();
  for (const ThroughputSample &s : instruments.takeSamples()) samples.push_back(s);
  ASSERT_GE(samples.size(), 2u);
  double read = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    EXPECT_GT(samples[i].endNs, samples[i].startNs);
    EXPECT_EQ(samples[i].startNs, i == 0 ? samples[i].startNs : samples[i - 1].endNs) << "no time is lost between two";
    read += samples[i].dramRead;
  }
  EXPECT_EQ(read, 20 * 1000 * 64.0 * 4) << "two controllers of two packages";
  EXPECT_EQ(fake.open(), 0u) << "the hardware is free again";
  EXPECT_TRUE(instruments.takeSamples().empty());
}

TEST_F(CpuInstruments, SamplingThatFailsSaysSo) {
  countCopies();
  HostInstruments instruments(backend, fake.system());
  ASSERT_EQ(sampling(instruments).state, InstrumentState::Ready);
  std::atomic<int> answers = 100;
  fake.value = [&](const FakePerf::Opened &) {
    if (--answers < 0) throw Error(Code::Unsupported, "gone");
    return std::uint64_t{0};
  };
  instruments.startSampling(1'000'000);
  while (answers >= 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  instruments.stopSampling();
  EXPECT_THROW(instruments.takeSamples(), Error);
}

template <typename B> std::vector<float> computed(B &backend) {
  std::mt19937 rng(5);
  Matrix x(backend, 130, 65), w(backend, 67, 65), out(backend, 130, 67);
  x.fill(rng), w.fill(rng);
  backend.setTag({0, 0, "a"});
  backend.matmul(Queue::Compute, x, w, out, false);
  backend.setTag({1, 0, "b"});
  backend.siluMul(Queue::Compute, out, out, out);
  return out.values();
}

TEST(CpuInstrumentsAnyKernel, CountingChangesNothing) {
  FakePerf fake;
  for (const int threads : {1, 3}) {
    CpuBackend plain(threads), counted(threads);
    HostInstruments instruments(counted, fake.system());
    const std::vector<float> expected = computed(plain);
    std::vector<float> got;
    instruments.count(CounterSet::Traffic, RangeBy::Kernel, [&] { got = computed(counted); });
    EXPECT_TRUE(sameBits(expected, got));
    EXPECT_EQ(plain.operations(), counted.operations());
  }
}

/// This machine's kernel: either it counts, and a matrix product takes cycles, or it says why not.
template <typename B> void askThisKernel(B backend) {
  Instruments &instruments = backend->instruments();
  EXPECT_EQ(&instruments, &backend->instruments());
  const std::vector<InstrumentStatus> status = instruments.status();
  ASSERT_EQ(status.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(static_cast<std::size_t>(status[i].instrument), i);
    EXPECT_FALSE(status[i].sentence.empty());
    Test::RecordProperty(instrumentName(status[i].instrument), status[i].sentence);
  }
  std::vector<float> out;
  const auto work = [&] { out = computed(*backend); };
  if (!status[1].usable()) {
    EXPECT_THROW(instruments.count(CounterSet::Traffic, RangeBy::Layer, work), Error);
    EXPECT_EQ(status[1].metrics, "");
  } else {
    const auto ranges = instruments.count(CounterSet::Traffic, RangeBy::Layer, work).ranges;
    ASSERT_EQ(ranges.size(), 2u);
    const bool cycles = status[1].metrics.find("cycles") != std::string::npos;
    EXPECT_TRUE(cycles ? ranges[0].figures.cycles > 0 : std::isnan(ranges[0].figures.cycles));
    EXPECT_EQ(std::isnan(ranges[0].figures.dramRead), !status[2].usable());
  }
  if (status[2].usable()) {
    instruments.startSampling(1'000'000);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    instruments.stopSampling();
    EXPECT_FALSE(instruments.takeSamples().empty());
  } else
    EXPECT_THROW(instruments.startSampling(1'000'000), Error);
  instruments.startTimeline();
  work();
  EXPECT_EQ(instruments.stopTimeline().records.size(), 2u);
}

TEST(CpuInstrumentsThisKernel, Cpu) { askThisKernel(make(cpuBackendModule())); }
TEST(CpuInstrumentsThisKernel, Reference) { askThisKernel(make(referenceBackendModule())); }

TEST(StreamCopy, CopiesEverything) {
  alignas(64) float source[1040], target[1040 + 16] = {};
  for (std::size_t i = 0; i < std::size(source); ++i) source[i] = static_cast<float>(i + 1);
  streamCopy(source, target, std::size(source));
  EXPECT_TRUE(std::equal(std::begin(source), std::end(source), target));
  EXPECT_EQ(target[1040], 0);
  prepareStreamCopy(1 << 20)();
  EXPECT_THROW(prepareStreamCopy(std::int64_t{1} << 60), Error);
}

} // namespace
} // namespace xqs::test

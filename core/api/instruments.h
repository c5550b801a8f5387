// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "error.h"
#include "tensor.h"

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

/// What a device tells of the operations that run on it: when each ran, what it moved, and what moves right now.
namespace xqs {

class Backend;

/// Where an operation runs relative to others. Operations of one queue run in order; queues are ordered by events. On the
/// CPU every queue is the calling thread, an operation has finished when the call returns, and events are no-ops.
enum class Queue : std::uint8_t { Compute, Copy, Rebuild };

/// What the operations that follow are for. On a GPU it becomes CUPTI's external-correlation id.
struct Tag {
  std::int16_t layer = -1; ///< -1: outside the layers
  std::int16_t lane = -1;  ///< -1: all lanes at once
  const char *op = "";     ///< a part of a step: "attend", "feed forward"; a string literal
};

/// One launch of one operation; on a CPU, and where only events tell the time, the operation is one launch.
struct KernelRecord {
  Tag tag;
  const char *kernel = "";     ///< the backend's operation: "matmul", "quantize"; a string literal
  std::int64_t startNs = 0;    ///< of the steady clock
  std::int64_t durationNs = 0; ///< on the device
  /// Of the whole operation, counted from shapes and not measured; on the first of its launches, 0 on the others.
  double bytes = 0, flops = 0;
  std::uint64_t call = 0;  ///< launches of one operation have one number
  std::string launch = {}; ///< the function that the device ran; empty where nobody says
  Queue queue = Queue::Compute;
};
using TraceSink = std::function<void(const KernelRecord &)>;
using TagSink = std::function<void(const Tag &)>;

constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

/// What hardware counted in one range of operations; kNotMeasured where it did not.
struct CounterFigures {
  double seconds = kNotMeasured; ///< from the first operation's start to the last one's end, by the counters' own clock
  double dramRead = kNotMeasured, dramWrite = kNotMeasured; ///< bytes between the memory and the chip
  /// GPU: sectors of 32 bytes at L2, and those filled from memory. CPU: references to the last level (AMD: L2), and misses.
  double cacheAccesses = kNotMeasured, cacheMisses = kNotMeasured;
  double cacheHitRate = kNotMeasured;       ///< 0..1; a counter of its own (CounterSet::HitRate), not 1 - misses / accesses
  double cycles = kNotMeasured;             ///< GPU: mean active cycles of an SM. CPU: of the threads that compute
  double tensorInstructions = kNotMeasured; ///< GPU: issued to the tensor pipe
};

enum class CounterSet : std::uint8_t {
  Traffic, ///< bytes, time, cache accesses and fills, tensor pipe: one pass
  HitRate  ///< the true L2 hit rate: two passes
};
/// A range ends where the next operation's tag differs: in its layer, in layer or op, or with every kernel (slow: each is
/// replayed by itself).
enum class RangeBy : std::uint8_t { Layer, Operation, Kernel };

struct RangeRecord {
  Tag tag;            ///< of the range's first operation; RangeBy::Layer: without op and lane
  std::string kernel; ///< RangeBy::Kernel: the function; else empty
  CounterFigures figures;
};

/// Traffic of the whole device, other processes included, between two moments.
struct ThroughputSample {
  std::int64_t startNs = 0, endNs = 0; ///< of the steady clock
  double dramRead = 0, dramWrite = 0;  ///< bytes
};

enum class Instrument : std::uint8_t { Timeline, Counters, Sampling };

/// Why an instrument gives what it gives. Each state has its sentence where it is found (InstrumentStatus). A backend that
/// cannot be used has no instruments: no module, no GPU and an old driver are its own reason (BackendInfo::reason).
enum class InstrumentState : std::uint8_t {
  Ready,           ///< figures may be called measured: a self test has read back what was moved
  Fallback,        ///< a lesser source is used and named (events for the timeline)
  NoLibrary,       ///< CUPTI cannot be opened
  NoPermission,    ///< the driver or the kernel keeps counters from this user
  Virtualized,     ///< a virtual GPU, a guest without counters
  Mig,             ///< a slice of a GPU
  Confidential,    ///< confidential computing is on
  Wsl,             //
  InUse,           ///< another profiler holds the counters
  NotOnThisDevice, ///< the device has no such counters
  SelfTestFailed,  ///< what was read back is not what was moved
  Broken           ///< any other answer, with its number
};

/// Stable names, for the store and for JSON.
constexpr const char *instrumentName(Instrument i) {
  constexpr const char *kNames[] = {"timeline", "counters", "sampling"};
  return kNames[static_cast<std::size_t>(i)];
}
constexpr const char *instrumentStateName(InstrumentState s) {
  constexpr const char *kNames[] = {
      "ready",        "fallback", "no-library", "no-permission",      "virtualized",      "mig",
      "confidential", "wsl",      "in-use",     "not-on-this-device", "self-test-failed", "broken"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(InstrumentState::Broken) + 1);
  return kNames[static_cast<std::size_t>(s)];
}

struct InstrumentStatus {
  Instrument instrument = Instrument::Timeline;
  InstrumentState state = InstrumentState::NotOnThisDevice;
  std::string sentence; ///< what a person sees: what is measured, or why not and what would change it
  std::string source;   ///< "CUPTI 13.0", "CUDA events", "steady clock", "perf"; empty where there is none
  std::string metrics;  ///< names asked for, separated by spaces
  double selfTestExpected = kNotMeasured, selfTestRead = kNotMeasured; ///< bytes
  std::int64_t dropped = 0; ///< records or ranges lost so far, or times that samples were: never hidden
  bool usable() const { return state == InstrumentState::Ready || state == InstrumentState::Fallback; }
};

/// The instruments of one backend; on the backend's thread. The timeline always works: where nothing better is there it
/// comes from the backend's own trace, for which steps run operation by operation. Counters and samples throw Unsupported
/// with the status's sentence where they are not usable.
class Instruments {
public:
  explicit Instruments(Backend &backend) : m_backend(backend) {}
  virtual ~Instruments() = default;
  Instruments(const Instruments &) = delete;
  Instruments &operator=(const Instruments &) = delete;

  /// One an instrument, in the order of the enum. The first call may run a self test on the device.
  virtual std::vector<InstrumentStatus> status();

  struct Timeline {
    std::vector<KernelRecord> records; ///< by start
    std::int64_t dropped = 0;          ///< records that the device could not keep: never hidden
    std::int64_t overheadNs = 0;       ///< that the tracer says it took itself
  };
  virtual void startTimeline();
  virtual Timeline stopTimeline(); ///< waits for the device

  struct Counted {
    std::vector<RangeRecord> ranges; ///< in order
    std::int64_t dropped = 0;
    int passes = 1;
  };
  /// Counts what `work` runs, range by range. `work` is called once a pass and must run the same operations each time.
  virtual Counted count(CounterSet set, RangeBy by, const std::function<void()> &work);

  virtual void startSampling(std::int64_t intervalNs);
  virtual std::vector<ThroughputSample> takeSamples(); ///< since the last call
  virtual void stopSampling();

protected:
  Backend &m_backend;

private:
  Timeline m_timeline;
};

} // namespace xqs

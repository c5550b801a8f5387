// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "timeline.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

// CUPTI's counters for the rest of the module: plain types, so that no other file sees CUPTI's headers. What cannot be done
// throws Failure (states.h).
namespace xqs::cuda::cupti {

/// One count of ranges of work, on the thread that owns the context. `beginPass`, ranges one after the other, `endPass`,
/// until that says that all passes are in; then `result`. Nothing runs on the device while it is called.
class RangeCounter {
public:
  virtual ~RangeCounter() = default; ///< also in the middle of a pass
  virtual int passes() const = 0;    ///< of the work; 1 where every kernel is replayed by itself
  virtual void beginPass() = 0;
  virtual void beginRange() = 0; ///< not where every kernel is a range
  virtual void endRange() = 0;
  virtual bool endPass() = 0; ///< true: that was the last

  struct Result {
    std::vector<CounterFigures> ranges; ///< by begin; what was dropped holds kNotMeasured throughout
    std::int64_t dropped = 0;
  };
  virtual Result result() = 0;
};

/// Samples of the whole device, from its making on, taken in by a thread of its own.
class Sampler {
public:
  virtual ~Sampler() = default;
  virtual void stop() = 0; ///< what was sampled before can still be taken
  /// Since the last call. Where sampling has failed meanwhile: throws that once, when there are no more.
  virtual std::vector<ThroughputSample> take() = 0;
  virtual std::int64_t losses() const = 0; ///< times that samples were lost
};

/// A function was launched, whose name is given as people write it.
using LaunchSink = std::function<void(const std::string &function)>;

/// CUPTI on one device. Its hooks are in the driver only while a counter or a sampler lives; one of them at a time.
class Session {
public:
  virtual ~Session() = default;
  virtual const std::string &description() const = 0; ///< "CUPTI 13.0"
  virtual std::string metrics(CounterSet set) = 0;    ///< separated by spaces
  virtual std::string samplingMetrics() = 0;
  /// `launched`: where given, every kernel is a range of its own and is told when it is launched.
  virtual std::unique_ptr<RangeCounter> count(CounterSet set, const LaunchSink &launched) = 0;
  /// Throws Usage where samples of such short intervals would be lost.
  virtual std::unique_ptr<Sampler> sample(std::int64_t intervalNs) = 0;
  virtual std::unique_ptr<Recording> record() = 0; ///< timeline.h
};

/// Opens the library. `context`: the device's CUcontext, current on this thread; `device`: its number. Only where the CUDA
/// runtime has found a device: calls behind this one crash without a driver.
std::unique_ptr<Session> openSession(void *context, int device);

} // namespace xqs::cuda::cupti

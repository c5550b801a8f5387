// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "store/records.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

/// What a profile says about bytes: counted from shapes beside measured by counters, by layer and by method, and what the
/// bytes that a method need not read cost in time. Pure functions on the rows of one run of kind "profile"; a figure that
/// was not measured is NaN.
namespace xqs {

/// Place of a part (Tag::op) in a step, for lists; parts that are not known come last.
std::size_t partOrder(std::string_view part);

/// Parts of a step (Tag::op) in which a cache is written, rebuilt and read; what a method changes.
inline constexpr const char *kCacheParts[] = {"cache", "attend"};
bool isCachePart(const std::string &part);

/// One point of a profile.
struct ProfileKey {
  std::int64_t policy = 0, context = 0, batch = 1;
  friend auto operator<=>(const ProfileKey &, const ProfileKey &) = default;
};
template <class Row> ProfileKey profileKey(const Row &row) { return {row.policy, row.context, row.batch}; }

/// Sums over rows of traffic. A measured figure is NaN where one of the rows has none.
struct TrafficSum {
  double seconds = 0; ///< of the operations, from the timeline: those of several queues may overlap
  double countedBytes = 0, countedFlops = 0;
  double measuredRead = 0, measuredWrite = 0;
  double cacheAccesses = 0, cacheMisses = 0, cacheHits = 0, cycles = 0; ///< as CounterFigures; hits: accesses * hit rate
  double cacheHitRate() const { return cacheHits / cacheAccesses; }     ///< NaN: not measured
  double measuredBytes() const { return measuredRead + measuredWrite; }
  double ratio() const { return measuredBytes() / countedBytes; } ///< measured to counted; NaN: not measured
  void add(const TrafficRow &row);
};

/// Everything of each layer (rows with part ""), -1 first; of one point.
std::map<std::int64_t, TrafficSum> trafficByLayer(const std::vector<TrafficRow> &rows, const ProfileKey &key);
/// Each part of a step, all layers; of one point.
std::map<std::string, TrafficSum> trafficByPart(const std::vector<TrafficRow> &rows, const ProfileKey &key);
/// Each policy's whole step at one context and batch, by index.
std::map<std::int64_t, TrafficSum> trafficByPolicy(const std::vector<TrafficRow> &rows, std::int64_t context,
                                                   std::int64_t batch);
/// The parts in which the cache is written, rebuilt and read; all layers.
TrafficSum cacheTraffic(const std::vector<TrafficRow> &rows, const ProfileKey &key);

/// How far the measured sum over layers is from the whole step, which was measured by itself: relative; NaN: not measured.
double layersBesideStep(const StepRow &step, const std::vector<TrafficRow> &rows);

/// A policy at a context and batch beside FP16 there. What needs FP16's point is NaN without it; what needs a timeline,
/// without one.
struct TradePoint {
  ProfileKey key;
  std::string policy, method; ///< canonical string; as PolicyRow::method
  StepRow step;
  double cacheBytes = 0;    ///< counted: format bytes of all sequences together, what a step reads of them at least
  TrafficSum cache;         ///< of the parts that write, rebuild and read the cache
  double cacheShare = 0;    ///< of the time of a traced step's operations
  double savedBytes = 0;    ///< counted: FP16's cacheBytes less these
  double savedMeasured = 0; ///< measured: what FP16's step moved in these parts less what this one's did; NaN: not measured
  double rebuildFlops = 0;  ///< counted: of these parts, beyond FP16's
  double extraSeconds = 0;  ///< time of these parts beyond FP16's; below 0: a gain
  double stepRatio = 0;     ///< time of a whole step over FP16's
  /// Of a step: bytes/s, of all that operations read and write, counted; or between memory and chip, measured (NaN: not).
  double countedRate() const { return step.countedBytes / step.seconds; }
  double measuredRate() const { return measuredBytes() / step.seconds; }
  double measuredBytes() const { return step.measuredRead + step.measuredWrite; } ///< of a whole step; NaN: not measured
};
/// By context, batch and the order of `policies`. FP16 is the policy "fp16".
std::vector<TradePoint> tradePoints(const std::vector<PolicyRow> &policies, const std::vector<StepRow> &steps,
                                    const std::vector<TrafficRow> &traffic);

/// Samples of the whole device's traffic together: bytes, and bytes a second of the largest sample.
struct SampledTraffic {
  std::int64_t samples = 0;
  double seconds = 0, readBytes = 0, writtenBytes = 0;
  double peakRead = 0, peakWrite = 0;
  double meanRead() const { return readBytes / seconds; } ///< bytes a second, as the next; NaN: no samples
  double meanWrite() const { return writtenBytes / seconds; }
  void add(const ThroughputRow &row);
  std::string text() const; ///< "measured, of the whole device: read 812.40 GB/s (at most ...), ..."
};

/// The last row of each instrument of a run, which says; in their order.
std::vector<InstrumentRow> lastInstruments(const std::vector<InstrumentRow> &rows);
/// The row of one peak, or null.
const PeakRow *peakOf(const std::vector<PeakRow> &rows, const std::string &name);
const char *peakUnit(const PeakRow &peak); ///< of 1e-9 times its value

} // namespace xqs

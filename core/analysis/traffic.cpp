// SPDX-License-Identifier: Apache-2.0
#include "traffic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>

namespace xqs {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr const char *kBaseline = "fp16";

/// Sums by what `keyOf` gives for the rows that it gives anything for; no row has both a part and its whole layer.
template <class Key, class Takes, class KeyOf>
std::map<Key, TrafficSum> sums(const std::vector<TrafficRow> &rows, const Takes &takes, const KeyOf &keyOf) {
  std::map<Key, TrafficSum> all;
  for (const TrafficRow &row : rows)
    if (takes(row)) all[keyOf(row)].add(row);
  return all;
}

/// What FP16's point is needed for.
void compare(TradePoint &point, const TradePoint *baseline) {
  if (baseline == nullptr) {
    point.savedBytes = point.savedMeasured = point.rebuildFlops = point.extraSeconds = point.stepRatio = kNaN;
    return;
  }
  point.savedBytes = baseline->cacheBytes - point.cacheBytes;
  point.savedMeasured = baseline->cache.measuredBytes() - point.cache.measuredBytes();
  point.rebuildFlops = point.cache.countedFlops - baseline->cache.countedFlops;
  point.extraSeconds = point.cache.seconds - baseline->cache.seconds;
  point.stepRatio = point.step.seconds / baseline->step.seconds;
}

TradePoint tradePoint(const PolicyRow &policy, const StepRow &step, const std::vector<TrafficRow> &traffic) {
  TradePoint point;
  point.key = profileKey(step), point.policy = policy.policy, point.method = policy.method, point.step = step;
  point.cacheBytes = static_cast<double>(step.cacheBytes * step.batch);
  double seconds = 0;
  for (const auto &[part, sum] : trafficByPart(traffic, point.key)) seconds += sum.seconds;
  if (seconds == 0) {
    TrafficSum &cache = point.cache;
    cache.seconds = cache.countedBytes = cache.countedFlops = kNaN;
    cache.measuredRead = cache.measuredWrite = kNaN;
  } else {
    point.cache = cacheTraffic(traffic, point.key);
  }
  point.cacheShare = point.cache.seconds / seconds;
  return point;
}

} // namespace

std::size_t partOrder(std::string_view part) {
  constexpr std::string_view kParts[] = {"embedding",         "qkv",          "cache", "attend",
                                         "output projection", "feed forward", "logits"};
  return static_cast<std::size_t>(std::ranges::find(kParts, part) - std::begin(kParts));
}

bool isCachePart(const std::string &part) {
  return std::find(std::begin(kCacheParts), std::end(kCacheParts), part) != std::end(kCacheParts);
}

void TrafficSum::add(const TrafficRow &row) {
  seconds += row.seconds, countedBytes += row.countedBytes, countedFlops += row.countedFlops;
  measuredRead += row.measuredRead, measuredWrite += row.measuredWrite;
  cacheAccesses += row.cacheAccesses, cacheMisses += row.cacheMisses, cycles += row.cycles;
  cacheHits += row.cacheAccesses * row.cacheHitRate;
}

std::map<std::int64_t, TrafficSum> trafficByLayer(const std::vector<TrafficRow> &rows, const ProfileKey &key) {
  return sums<std::int64_t>(
      rows, [&](const TrafficRow &row) { return row.part.empty() && profileKey(row) == key; },
      [](const TrafficRow &row) { return row.layer; });
}

std::map<std::string, TrafficSum> trafficByPart(const std::vector<TrafficRow> &rows, const ProfileKey &key) {
  return sums<std::string>(
      rows, [&](const TrafficRow &row) { return !row.part.empty() && profileKey(row) == key; },
      [](const TrafficRow &row) { return row.part; });
}

std::map<std::int64_t, TrafficSum> trafficByPolicy(const std::vector<TrafficRow> &rows, std::int64_t context,
                                                   std::int64_t batch) {
  return sums<std::int64_t>(
      rows, [&](const TrafficRow &row) { return row.part.empty() && row.context == context && row.batch == batch; },
      [](const TrafficRow &row) { return row.policy; });
}

TrafficSum cacheTraffic(const std::vector<TrafficRow> &rows, const ProfileKey &key) {
  TrafficSum sum;
  for (const TrafficRow &row : rows)
    if (profileKey(row) == key && isCachePart(row.part)) sum.add(row);
  return sum;
}

double layersBesideStep(const StepRow &step, const std::vector<TrafficRow> &rows) {
  const auto layers = trafficByLayer(rows, profileKey(step));
  if (layers.empty()) return kNaN;
  double sum = 0;
  for (const auto &[layer, traffic] : layers) sum += traffic.measuredBytes();
  return sum / (step.measuredRead + step.measuredWrite) - 1;
}

std::vector<TradePoint> tradePoints(const std::vector<PolicyRow> &policies, const std::vector<StepRow> &steps,
                                    const std::vector<TrafficRow> &traffic) {
  std::vector<TradePoint> points;
  for (const PolicyRow &policy : policies)
    for (const StepRow &step : steps)
      if (step.policy == policy.index) points.push_back(tradePoint(policy, step, traffic));
  std::stable_sort(points.begin(), points.end(), [](const TradePoint &a, const TradePoint &b) {
    return std::tie(a.key.context, a.key.batch) < std::tie(b.key.context, b.key.batch);
  });
  for (TradePoint &point : points) {
    const auto baseline = std::find_if(points.begin(), points.end(), [&](const TradePoint &other) {
      return other.policy == kBaseline && other.key.context == point.key.context && other.key.batch == point.key.batch;
    });
    compare(point, baseline != points.end() ? &*baseline : nullptr);
  }
  return points;
}

void SampledTraffic::add(const ThroughputRow &row) {
  const double interval = 1e-9 * static_cast<double>(row.intervalNs);
  const auto sum = [&](const Blob &rates, double &bytes, double &peak) {
    for (std::size_t at = 0; at + sizeof(float) <= rates.size(); at += sizeof(float)) {
      float rate = 0;
      std::memcpy(&rate, rates.data() + at, sizeof rate);
      bytes += interval * static_cast<double>(rate), peak = std::max(peak, static_cast<double>(rate));
    }
  };
  sum(row.read, readBytes, peakRead), sum(row.write, writtenBytes, peakWrite);
  const auto count = static_cast<std::int64_t>(row.read.size() / sizeof(float));
  samples += count, seconds += interval * static_cast<double>(count);
}

std::string SampledTraffic::text() const {
  return fmt::format(
      "measured, of the whole device: read {:.2f} GB/s (at most {:.2f}), written {:.2f} GB/s (at most {:.2f}), "
      "{} samples over {:.2f} s",
      1e-9 * meanRead(), 1e-9 * peakRead, 1e-9 * meanWrite(), 1e-9 * peakWrite, samples, seconds);
}

std::vector<InstrumentRow> lastInstruments(const std::vector<InstrumentRow> &rows) {
  std::vector<InstrumentRow> last;
  for (const InstrumentRow &row : rows) {
    const auto known = std::find_if(last.begin(), last.end(),
                                    [&](const InstrumentRow &other) { return other.instrument == row.instrument; });
    if (known == last.end())
      last.push_back(row);
    else
      *known = row;
  }
  return last;
}

const PeakRow *peakOf(const std::vector<PeakRow> &rows, const std::string &name) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const PeakRow &row) { return row.name == name; });
  return found != rows.end() ? &*found : nullptr;
}

const char *peakUnit(const PeakRow &peak) { return peak.name == "matmul" ? "GFLOP/s" : "GB/s"; }

} // namespace xqs

// SPDX-License-Identifier: Apache-2.0
#include "run/profile_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <tuple>

namespace xqs {

namespace {

constexpr double kPerSecond = 1e9; ///< nanoseconds

/// The row of a layer and part, appended where there is none: `counted` are its figures of a timeline then.
TrafficRow &rowOf(std::vector<TrafficRow> &rows, const PointKey &key, std::int64_t layer, std::string_view part,
                  double counted = 0) {
  const auto same = [&](const TrafficRow &row) { return row.layer == layer && row.part == part; };
  const auto found = std::find_if(rows.begin(), rows.end(), same);
  if (found != rows.end()) return *found;
  TrafficRow &row = rows.emplace_back(key.row<TrafficRow>());
  row.layer = layer, row.part = part;
  row.seconds = row.countedBytes = row.countedFlops = counted;
  return row;
}

void addRecord(TrafficRow &row, const KernelRecord &record) {
  row.seconds += static_cast<double>(record.durationNs) / kPerSecond;
  row.countedBytes += record.bytes, row.countedFlops += record.flops;
}

/// The figures that are sums, of a row and of a range.
void addFigures(MeasuredFigures &row, const CounterFigures &f, bool first) {
  using Row = MeasuredFigures;
  const std::tuple<double Row::*, double> figures[] = {{&Row::measuredSeconds, f.seconds},
                                                       {&Row::measuredRead, f.dramRead},
                                                       {&Row::measuredWrite, f.dramWrite},
                                                       {&Row::cacheAccesses, f.cacheAccesses},
                                                       {&Row::cacheMisses, f.cacheMisses},
                                                       {&Row::cycles, f.cycles},
                                                       {&Row::tensorInstructions, f.tensorInstructions}};
  for (const auto &[member, value] : figures) row.*member = first ? value : row.*member + value;
}

/// fn(range, part) for what each range belongs to: its layer and part, and the whole layer.
template <class Fn> void forParts(std::span<const RangeRecord> ranges, const Fn &fn) {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    fn(i, std::string_view());
    if (ranges[i].tag.op[0] != '\0') fn(i, std::string_view(ranges[i].tag.op));
  }
}

} // namespace

std::vector<KernelRow> kernelRows(const PointKey &key, std::span<const KernelRecord> records) {
  std::vector<KernelRow> rows;
  for (const KernelRecord &record : records) {
    KernelRow &row = rows.emplace_back(key.row<KernelRow>());
    row.sequence = std::ssize(rows) - 1;
    row.layer = record.tag.layer, row.lane = record.tag.lane, row.part = record.tag.op;
    row.operation = record.kernel, row.launch = record.launch;
    row.call = static_cast<std::int64_t>(record.call), row.queue = static_cast<std::int64_t>(record.queue);
    row.startNs = record.startNs - records.front().startNs, row.durationNs = record.durationNs;
    row.bytes = record.bytes, row.flops = record.flops;
  }
  return rows;
}

std::vector<TrafficRow> trafficRows(const PointKey &key, std::span<const KernelRecord> records) {
  std::vector<TrafficRow> rows;
  for (const KernelRecord &record : records) {
    addRecord(rowOf(rows, key, record.tag.layer, ""), record);
    if (record.tag.op[0] != '\0') addRecord(rowOf(rows, key, record.tag.layer, record.tag.op), record);
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto &a, const auto &b) { return a.layer < b.layer; });
  return rows;
}

void addCounted(std::vector<TrafficRow> &rows, const PointKey &key, std::span<const RangeRecord> ranges) {
  const double counted = rows.empty() ? kNotMeasured : 0;
  std::vector<std::pair<std::int64_t, std::string>> known;
  forParts(ranges, [&](std::size_t i, std::string_view part) {
    const std::pair<std::int64_t, std::string> place(ranges[i].tag.layer, part);
    const bool first = std::find(known.begin(), known.end(), place) == known.end();
    if (first) known.push_back(place);
    addFigures(rowOf(rows, key, place.first, part, counted), ranges[i].figures, first);
  });
}

void addHitRates(std::vector<TrafficRow> &rows, std::span<const RangeRecord> ranges, std::span<const RangeRecord> weights) {
  const bool weighted = weights.size() == ranges.size() &&
                        std::all_of(weights.begin(), weights.end(),
                                    [](const RangeRecord &range) { return std::isfinite(range.figures.cacheAccesses); });
  for (TrafficRow &row : rows) {
    double sum = 0, weight = 0;
    forParts(ranges, [&](std::size_t i, std::string_view part) {
      const CounterFigures &figures = ranges[i].figures;
      if (ranges[i].tag.layer != row.layer || part != row.part || std::isnan(figures.cacheHitRate)) return;
      const double w = weighted ? weights[i].figures.cacheAccesses : 1;
      sum += w * figures.cacheHitRate, weight += w;
    });
    if (weight > 0) row.cacheHitRate = sum / weight;
  }
}

StepBytes stepBytes(std::span<const RangeRecord> ranges) {
  if (ranges.empty()) return {};
  StepBytes sum{0, 0};
  for (const RangeRecord &range : ranges) sum.read += range.figures.dramRead, sum.write += range.figures.dramWrite;
  return sum;
}

std::vector<ThroughputRow> throughputRows(const PointKey &key, std::span<const ThroughputSample> samples,
                                          std::int64_t firstNs) {
  std::vector<ThroughputRow> rows;
  std::int64_t nextNs = 0; ///< where the next sample of the last row is due
  const auto append = [](Blob &blob, double rate) {
    const auto value = static_cast<float>(rate);
    const std::size_t at = blob.size();
    blob.resize(at + sizeof value);
    std::memcpy(blob.data() + at, &value, sizeof value);
  };
  for (const ThroughputSample &sample : samples) {
    const std::int64_t length = sample.endNs - sample.startNs;
    if (length <= 0) continue;
    const auto near = [](std::int64_t a, std::int64_t b, std::int64_t of) { return std::abs(a - b) * 2 <= of; };
    if (rows.empty() || !near(sample.startNs, nextNs, rows.back().intervalNs) ||
        !near(length, rows.back().intervalNs, rows.back().intervalNs)) {
      ThroughputRow &row = rows.emplace_back(key.row<ThroughputRow>());
      row.startNs = sample.startNs - firstNs, row.intervalNs = length;
      nextNs = sample.startNs;
    }
    append(rows.back().read, sample.dramRead * kPerSecond / static_cast<double>(length));
    append(rows.back().write, sample.dramWrite * kPerSecond / static_cast<double>(length));
    nextNs += rows.back().intervalNs;
  }
  return rows;
}

InstrumentRow instrumentRow(RowId run, const InstrumentStatus &status, std::int64_t dropped) {
  InstrumentRow row;
  row.run = run, row.dropped = dropped;
  row.instrument = instrumentName(status.instrument), row.state = instrumentStateName(status.state);
  row.sentence = status.sentence, row.source = status.source, row.metrics = status.metrics;
  row.selfTestExpected = status.selfTestExpected, row.selfTestRead = status.selfTestRead;
  return row;
}

} // namespace xqs
